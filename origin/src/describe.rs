//! The event's document: what the edges must know of an event to admit viewers and write its
//! multivariant playlist.

use sightscreen_core::document::{Bound, Event, MediaOrigin, Rendition, RenditionKind};

use crate::config::Config;
use crate::grid::Kind;
use crate::live::{self, Live};

/// Payload of `events/{event}`.
#[must_use]
pub fn event(config: &Config, live: &Live) -> Event {
    Event {
        epoch: Some(live.epoch().to_owned()),
        target_duration: u32::try_from(live.grid().target_duration_s()).unwrap_or(u32::MAX),
        parts: u32::try_from(live.grid().most_parts()).ok(),
        renditions: live.renditions().into_iter().map(rendition).collect(),
        ..admission(config)
    }
}

/// The same with a rendition in place of those that the media will have: what the settings say of
/// viewers can be checked before there is media.
#[must_use]
pub fn admission(config: &Config) -> Event {
    let admission = config.admission.clone();
    let bound = config.snapshots.iter().filter(|rule| !rule.countries.is_empty());
    let bound =
        bound.map(|rule| Bound { path: rule.path.clone(), countries: rule.countries.clone() });
    Event {
        event: config.event.clone(),
        epoch: None,
        title: config.title.clone(),
        target_duration: 1,
        parts: None,
        plans: admission.plans,
        cohorts: admission.schema,
        consent: admission.consent,
        territories: admission.territories,
        bound: bound.collect(),
        pass: admission.pass,
        media: config.media_url.clone().map(|url| MediaOrigin { url }),
        renditions: vec![some_rendition()],
    }
}

fn some_rendition() -> Rendition {
    Rendition {
        id: "v".to_owned(),
        kind: RenditionKind::Video,
        codecs: "avc1".to_owned(),
        bandwidth: 1,
        average_bandwidth: 1,
        phases: 1,
        width: Some(1),
        height: Some(1),
        frame_rate: None,
        language: None,
        name: None,
        channels: None,
        default: false,
    }
}

fn rendition(from: live::Rendition) -> Rendition {
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
