//! Fragmented MP4: what the encoder writes is read, and parts are written.

pub mod read;
pub mod write;
