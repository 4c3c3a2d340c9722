//! One running event: its media, and what goes on around it.

pub mod describe;
mod error;
mod live;
pub(crate) mod media;
mod open;
pub mod schedule;
pub mod snapshots;
pub mod switches;

pub use error::StartError;
pub use live::{Live, LiveConfig, Position, Status};
pub use media::Rendition;
