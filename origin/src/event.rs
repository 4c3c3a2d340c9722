//! One running event: its media, and what goes on around it.

mod cohorts;
mod describe;
mod error;
mod live;
pub(crate) mod media;
pub(crate) mod newest;
mod open;
pub mod registry;
mod runner;
mod running;
pub mod schedule;
pub mod score;
pub mod snapshots;
pub mod switches;
mod tracks;

pub use cohorts::cohorts;
pub use error::{EventError, StartError};
pub use live::{Live, LiveConfig, Position, Status};
pub use media::Rendition;
pub use registry::Registry;
pub use runner::{Runner, RunnerError};
pub use running::{RunningEvent, Settings, Shared, State};
