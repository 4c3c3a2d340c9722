//! From the encoder's samples to parts and segments.

pub mod assemble;
pub mod end;
pub mod packager;
pub mod queue;
pub mod read;
pub mod write;
