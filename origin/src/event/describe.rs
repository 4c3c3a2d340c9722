//! The event's document: what the edges must know of an event to admit viewers and write its
//! multivariant playlist.

use sightscreen_core::document::{Event, Rendition, RenditionKind};

use super::{Live, media};
use crate::grid::Kind;

/// Payload of `events/{event}`: what the settings say, with the media as they are.
pub(super) fn event(settings: Event, live: &Live) -> Event {
    Event {
        epoch: Some(live.epoch().to_owned()),
        target_duration: u32::try_from(live.grid().target_duration_s()).unwrap_or(u32::MAX),
        parts: u32::try_from(live.grid().most_parts()).ok(),
        renditions: live.renditions().into_iter().map(rendition).collect(),
        ..settings
    }
}

fn rendition(from: media::Rendition) -> Rendition {
    let audio = from.kind == Kind::Audio;
    let bits = |bits: u64| u32::try_from(bits).unwrap_or(u32::MAX);
    Rendition {
        id: from.id,
        kind: if audio { RenditionKind::Audio } else { RenditionKind::Video },
        codecs: from.codecs,
        bandwidth: bits(from.bandwidth),
        average_bandwidth: bits(from.average_bandwidth),
        phases: u32::try_from(from.phases).unwrap_or(u32::MAX),
        width: from.width,
        height: from.height,
        frame_rate: from.frame_rate.map(|(num, den)| f64::from(num) / f64::from(den)),
        language: from.language,
        name: audio.then_some(from.name),
        channels: from.channels.map(u32::from),
        default: audio && from.default,
    }
}
