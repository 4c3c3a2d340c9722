//! Codes the fillers of an event: a standing picture for each rung, and silence.
//!
//! What was coded is kept among the creatives, so that a restarted origin has it at once.

use std::path::{Path, PathBuf};

use super::condition::{identify, kept, stand};
use super::cut::Conditioned;
use super::{Clip, CreativeError, Loudness, Target};
use crate::grid::Grid;
use crate::package::filler::Filler;

/// Parts that are coded, so that the encoder's rate control has settled at the last.
const PARTS: u64 = 20;

/// What an event's fillers are coded of.
pub(crate) struct Slate {
    clip: Clip,
    /// With segments as short as parts, so that each part begins with an IDR picture.
    target: Target,
    folder: PathBuf,
}

impl Slate {
    pub(super) async fn new(
        clip: Clip,
        target: Target,
        cache: &Path,
    ) -> Result<Self, CreativeError> {
        let grid = Grid { segment_frames: target.grid.part_frames, ..target.grid };
        let target = Target { grid, ..target };
        // It is silent.
        let id = identify(&clip, Loudness::Keep, &target).await?;
        let folder = cache.join(format!("filler-{id}"));
        Ok(Self { clip, target, folder })
    }

    /// The fillers, where they were coded before.
    pub(crate) async fn kept(&self) -> Option<Vec<Filler>> {
        let coded = kept(&self.target, &self.folder).await?;
        self.cut(&coded).ok()
    }

    /// The fillers of the event's tracks, in their order; coded, unless they are kept.
    ///
    /// # Errors
    /// See [`CreativeError`].
    pub(crate) async fn fillers(&self) -> Result<Vec<Filler>, CreativeError> {
        self.cut(&stand(&self.clip, &self.target, PARTS, &self.folder).await?)
    }

    fn cut(&self, coded: &Conditioned) -> Result<Vec<Filler>, CreativeError> {
        let Self { clip, target, .. } = self;
        let failed = |reason: String| CreativeError::Failed { name: clip.name(), reason };
        let sound = coded.tracks.len().saturating_sub(1);
        let tracks = target.plan.tracks().into_iter().enumerate().map(|(position, (_, kind))| {
            let from = if kind.is_picture() { position } else { sound };
            let track =
                coded.tracks.get(from).ok_or_else(|| failed("a track is missing".to_owned()))?;
            Filler::new(&target.grid, kind, track.init.clone(), &track.samples)
                .map_err(|error| failed(error.to_string()))
        });
        tracks.collect()
    }
}
