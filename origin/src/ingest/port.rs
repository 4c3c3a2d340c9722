//! What an input is, and what it needs of the event that it feeds.

use std::future::Future;
use std::path::PathBuf;

use crate::encode::EncodeError;
use crate::encode::ladder::{Plan, Shape};
use crate::grid::Grid;
use crate::ingest::StreamKey;
use crate::package::queue::Sink;

/// Where picture and sound come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// The built-in match: field, ball, score, clocks, and a tone of its own per language.
    TestMatch,
    /// A media file, played in real time and looped.
    File(PathBuf),
    /// A publisher (OBS, ffmpeg) that names this stream key.
    Publisher(StreamKey),
}

/// An event, as an input sees it. Clones are the same event.
pub(crate) trait Intake: Clone + Send + Sync + 'static {
    /// Its identifier, for the log.
    fn name(&self) -> &str;

    /// Its time base.
    fn grid(&self) -> Grid;

    /// Its tracks, once they are settled.
    fn plan(&self) -> Option<Plan>;

    /// Chooses the tracks for a publisher's picture.
    fn choose(&self, shape: Shape) -> impl Future<Output = Result<Plan, EncodeError>> + Send;

    /// Settles the tracks, for good. Returns where the encoder's messages go.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn adopt(&self, plan: Plan) -> Result<Sink, String>;
}
