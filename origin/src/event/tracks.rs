//! Which tracks an event has, by its source and its settings.

use super::LiveConfig;
use super::error::StartError;
use crate::demo::testmatch;
use crate::encode::EncodeError;
use crate::encode::budget::Claim;
use crate::encode::graph;
use crate::encode::ladder::{self, LadderInput, LadderLimits, Plan, Shape};
use crate::encode::probe::probe_whole;
use crate::grid::Grid;
use crate::ingest::Input;

pub(super) struct Probed {
    pub(super) shape: Shape,
    pub(super) fps: (u32, u32),
    pub(super) languages: usize,
}

/// What is known of the source before it runs; `None` for what is published.
pub(super) async fn probe_source(config: &LiveConfig) -> Result<Option<Probed>, StartError> {
    Ok(match &config.input {
        Input::TestMatch => Some(Probed {
            shape: testmatch::SHAPE,
            fps: testmatch::FPS,
            languages: config.languages.len(),
        }),
        Input::File(path) => {
            let source = probe_whole(path).await?;
            tracing::info!(event = config.event, ?source, "the source is known");
            let picture = source.picture.as_ref();
            let (shape, fps) = (graph::shape(picture), config.deinterlace.fps(picture));
            Some(Probed { shape, fps, languages: source.sounds.len().max(1) })
        }
        Input::Publisher(_) | Input::Udp(_) | Input::Pipe(_) => None,
    })
}

pub(super) async fn make_plan(
    config: &LiveConfig,
    claim: &Claim,
    shape: Shape,
    languages: usize,
    fps: (u32, u32),
) -> Result<Plan, EncodeError> {
    let grid = Grid::new(0, fps, config.segment_ms, config.part_ms);
    let source = LadderInput { shape, fps, can_halve: grid.is_ok_and(|grid| grid.can_halve()) };
    let video = ladder::choose(source, &config.ladder, claim).await?;
    let mut audio: Vec<String> = config.languages.iter().take(languages.max(1)).cloned().collect();
    if audio.is_empty() {
        audio.push("en".to_owned());
    }
    let LadderLimits { preset, audio_bitrate, .. } = config.ladder;
    Ok(Plan { video, audio, audio_bitrate, preset })
}
