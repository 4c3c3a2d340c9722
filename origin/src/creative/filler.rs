//! Codes the fillers of an event: a standing picture for each rung, and silence.
//!
//! What was coded is kept among the creatives, so that a restarted origin has it at once.

use std::path::{Path, PathBuf};

use super::condition::{identify, is_kept, stand};
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

    /// Whether its fillers were coded before, and come at once.
    pub(crate) async fn is_kept(&self) -> bool {
        is_kept(&self.target, &self.folder).await
    }

    /// The fillers of the event's tracks, in their order.
    ///
    /// # Errors
    /// See [`CreativeError`].
    pub(crate) async fn fillers(&self) -> Result<Vec<Filler>, CreativeError> {
        let Self { clip, target, folder } = self;
        let coded = stand(clip, target, PARTS, folder).await?;
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
