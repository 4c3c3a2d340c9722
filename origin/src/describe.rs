//! The event's document: what the edges must know of an event to admit viewers and write its
//! multivariant playlist.
//!
//! Owns plans, pass lifetimes and the translation of the media's renditions. Invariant: the
//! document passes the core's own check.

use sightscreen_core::document::{Consent, Event, PassPolicy, Plan, Rendition, RenditionKind};

use crate::config::Config;
use crate::grid::Kind;
use crate::live::{self, Live};

/// Players do not load the multivariant playlist again, so a pass lasts as long as a session.
const PASS: PassPolicy = PassPolicy { ttl_s: 0, session_s: 12 * 3600 };
/// Lines of the plan that costs nothing.
const FREE_HEIGHT: u32 = 480;
const PAID_HEIGHT: u32 = 2160;

/// Payload of `events/{event}`.
#[must_use]
pub fn event(config: &Config, live: &Live) -> Event {
    let plan = |id: &str, max_height| Plan { id: id.to_owned(), max_height };
    Event {
        event: config.event.clone(),
        title: config.title.clone(),
        target_duration: u32::try_from(live.grid().target_duration_s()).unwrap_or(u32::MAX),
        parts: u32::try_from(live.grid().most_parts()).ok(),
        plans: vec![plan("premium", PAID_HEIGHT), plan("free", FREE_HEIGHT)],
        cohorts: config.schema.clone(),
        consent: Consent::Required,
        territories: None,
        bound: Vec::new(),
        pass: PASS,
        renditions: live.renditions().into_iter().map(rendition).collect(),
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
        default: from.default,
    }
}
