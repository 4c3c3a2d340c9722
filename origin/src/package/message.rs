//! The packager's input: messages from the runs of the encoder and from the event.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::end::EndError;
use super::filler::Filler;
use crate::mp4::read::Header;

/// One sample and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Index on the grid.
    pub index: u64,
    /// Whether decoding can start here.
    pub sync: bool,
    /// Coded bytes.
    pub data: Bytes,
}

/// By a run of the encoder, but for the last two.
#[derive(Debug)]
pub enum Message {
    /// A run begins: nothing before this frame of the grid will come any more.
    Start {
        /// Frame of the grid.
        frame: u64,
    },
    /// How a track is decoded.
    Header {
        /// Position in [`Plan::tracks`].
        track: usize,
        /// Sample entry and size.
        header: Header,
    },
    /// Samples that came together.
    Samples {
        /// Position in [`Plan::tracks`].
        track: usize,
        /// In order.
        samples: Vec<Placed>,
        /// When the last of them came out of the encoder.
        came: Instant,
    },
    /// The run is over.
    End,
    /// What stands in for missing parts, by track.
    Fillers(Vec<Filler>),
    /// That is not coded yet: nothing should wait for it.
    FillersLater,
    /// The event is over: the segments that are being made are the last.
    Finish {
        /// Where the answer goes: the first segment that will never be, or why the event goes on.
        reply: oneshot::Sender<Result<u64, EndError>>,
    },
}
