//! Media playlists: the edits that turn the origin's content playlist into what one cohort sees.
//!
//! What plays when is in the pods. Bytes that need no change are copied, and the output depends on
//! nothing but the playlist and the pods.

mod delta;
mod lines;
mod position;
mod stitch;
mod timeline;

pub use delta::delta;
pub use position::{Asked, Position};
pub use stitch::{Latency, PlaylistError, Stitch, ledger_revision, stitch};
