//! What publishers send, read without IO: RTMP's chunks, values and sessions, FLV's tags, and MPEG
//! transport streams, also in RTP.
//!
//! A crate of its own, so that what fuzzes it compiles nothing else of the origin.
#![forbid(unsafe_code)]

pub mod amf;
mod amf3;
pub mod chunks;
pub mod flv;
pub mod message;
pub mod rtp;
pub mod session;
pub mod ts;
