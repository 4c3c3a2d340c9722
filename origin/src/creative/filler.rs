//! Codes the fillers of an event: a standing picture for each rung, and silence.
//!
//! What was coded is kept among the creatives, so that a restarted origin has it at once.

use std::path::Path;

use super::condition::{identify, stand};
use super::{Clip, CreativeError, Loudness};
use crate::encode::ladder::Plan;
use crate::grid::Grid;
use crate::package::filler::Filler;

/// Parts that are coded, so that the encoder's rate control has settled at the last.
const PARTS: u64 = 20;

/// The fillers of a plan's tracks, in their order.
pub(super) async fn fillers(
    slate: &Clip,
    plan: &Plan,
    grid: &Grid,
    cache: &Path,
) -> Result<Vec<Filler>, CreativeError> {
    // With segments as short as parts, each part begins with an IDR picture.
    let parts = Grid { segment_frames: grid.part_frames, ..*grid };
    // It is silent.
    let id = identify(slate, Loudness::Keep, plan, &parts).await?;
    let kept = cache.join(format!("filler-{id}"));
    let coded = stand(slate, plan, &parts, PARTS, &kept).await?;
    let failed = |reason: String| CreativeError::Failed { name: slate.name(), reason };
    let sound = coded.tracks.len().saturating_sub(1);
    let tracks = plan.tracks().into_iter().enumerate().map(|(position, (_, kind))| {
        let from = if kind.is_picture() { position } else { sound };
        let track =
            coded.tracks.get(from).ok_or_else(|| failed("a track is missing".to_owned()))?;
        let init = track.init.clone();
        Filler::new(grid, kind, init, &track.samples).map_err(|error| failed(error.to_string()))
    });
    tracks.collect()
}
