//! From the encoder's samples to parts and segments.

pub mod assemble;
pub mod end;
pub mod filler;
pub mod inits;
pub mod message;
pub mod packager;
pub mod queue;
