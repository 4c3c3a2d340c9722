//! From the encoder's samples to parts and segments.

pub mod assemble;
pub mod packager;
pub mod read;
pub mod write;
