//! Media playlists: the edits that turn the origin's content playlist into what one cohort sees.
//!
//! Owns stitching, delta updates and the low-latency kill switch on playlists. Does not own what
//! plays when: that is in the pods. Invariant: bytes that need no change are copied, and the output
//! depends on the playlist and the pods alone.

mod delta;
mod lines;
mod position;
mod stitch;

pub use delta::delta;
pub use position::{Asked, Position};
pub use stitch::{Latency, PlaylistError, Stitch, ledger_revision, stitch};
