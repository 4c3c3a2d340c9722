//! `events/{event}`: what is on the air and who may see what.

mod fault;

use serde::{Deserialize, Serialize};

use super::dimension::Dimension;
use super::media::MediaOrigin;
use super::territories::Territories;
use crate::language::Preferences;

/// Payload of `events/{event}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The event's identifier; the same as in the document's name.
    pub event: String,
    /// Tells this event from an earlier one of the same name, see [`crate::route::is_epoch`]: it is
    /// in the names of the content's objects and of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// For people.
    pub title: String,
    /// Seconds; `EXT-X-TARGETDURATION` of every playlist of the event.
    pub target_duration: u32,
    /// Most parts that a segment of any rendition has; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// Plans by identifier. A token that names none, or one that is not listed, has the least: the
    /// one with the smallest `max_height`.
    pub plans: Vec<Plan>,
    /// The cohort schema; the cohort is one value of each dimension, in this order.
    pub cohorts: Vec<Dimension>,
    /// Whether viewers may be told apart who did not say so.
    #[serde(default)]
    pub consent: Consent,
    /// Where the event may be seen; none: everywhere. It holds for entry and for everything below a
    /// pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub territories: Option<Territories>,
    /// API paths that some countries alone may see, whether the origin answers or a snapshot.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound: Vec<Bound>,
    /// Life of passes.
    pub pass: PassPolicy,
    /// Where the edges fetch segments, parts and inits; none: at the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaOrigin>,
    /// All renditions, in the origin's order; none before the event has media.
    pub renditions: Vec<Rendition>,
}

/// What a viewer has paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Identifier.
    pub id: String,
    /// Tallest rendition, in lines.
    pub max_height: u32,
}

/// Whether a viewer who did not say so may be told apart from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Consent {
    /// Only with the claim `consent=1`; everybody else is of the cohort `generic`.
    #[default]
    Required,
    /// Unless the claim `consent` says otherwise.
    Assumed,
}

/// Life of passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassPolicy {
    /// Seconds from minting or renewal until a pass expires; 0: it lasts to the session's end.
    /// Players that do not load the multivariant playlist again, which is how a pass is renewed,
    /// stop when it expires.
    #[serde(default)]
    pub ttl_s: u32,
    /// Seconds from entry to the session's end, past which no renewal goes.
    pub session_s: u32,
}

/// API paths that some countries alone may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// An API path of the event, such as `/api/events/demo/score`; all below it is bound as well.
    pub path: String,
    /// ISO 3166-1 countries that may see it. A viewer whose country is unknown sees nothing.
    pub countries: Vec<String>,
}

/// One rendition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Identifier; its path segment.
    pub id: String,
    /// Video or audio.
    pub kind: RenditionKind,
    /// RFC 6381, of content and creatives alike.
    pub codecs: String,
    /// Peak bits a second, of the rendition alone.
    pub bandwidth: u32,
    /// Mean bits a second, of the rendition alone.
    pub average_bandwidth: u32,
    /// Segments after which the segment durations repeat; 1 for video.
    pub phases: u32,
    /// Pixels; video only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Lines; video only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames a second; video only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
    /// RFC 5646; audio only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// For people; audio only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Audio channels; audio only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// The rendition that plays where the viewer's language is not there; one of the audio
    /// renditions.
    #[serde(default)]
    pub default: bool,
}

/// Kind of a rendition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RenditionKind {
    /// Pictures alone.
    Video,
    /// Sound alone.
    Audio,
}

impl Event {
    /// The rendition of that identifier.
    #[must_use]
    pub fn rendition(&self, id: &str) -> Option<&Rendition> {
        self.renditions.iter().find(|rendition| rendition.id == id)
    }

    /// The language of audio that a viewer who asks for `wanted` hears, as the rendition spells it;
    /// `None` where there is none for that.
    #[must_use]
    pub fn language(&self, wanted: &str) -> Option<&str> {
        self.preferred(&Preferences::one(wanted))
    }

    /// The language of audio that fits the viewer's preferences best, as the rendition spells it.
    #[must_use]
    pub fn preferred(&self, preferences: &Preferences<'_>) -> Option<&str> {
        let tags = || self.renditions.iter().filter_map(|r| r.language.as_deref());
        preferences.look_up(|range| tags().find(|tag| tag.eq_ignore_ascii_case(range)))
    }

    /// The plan of that identifier; the least one where there is none of that name, or none is
    /// named. `None` in an event without plans, which is not sound.
    #[must_use]
    pub fn plan(&self, id: Option<&str>) -> Option<&Plan> {
        let named = self.plans.iter().find(|plan| Some(plan.id.as_str()) == id);
        named.or_else(|| self.plans.iter().min_by_key(|plan| plan.max_height))
    }

    /// Whether the API path is bound to countries.
    #[must_use]
    pub fn binds(&self, path: &str) -> bool {
        self.bounds(path).next().is_some()
    }

    /// Whether a viewer in that country may see the API path.
    #[must_use]
    pub fn shows(&self, path: &str, country: Option<&str>) -> bool {
        let among = |countries: &[String]| {
            country.is_some_and(|country| countries.iter().any(|listed| listed == country))
        };
        self.bounds(path).all(|bound| among(&bound.countries))
    }

    fn bounds(&self, path: &str) -> impl Iterator<Item = &Bound> {
        let covers = move |bound: &&Bound| {
            path.strip_prefix(bound.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.bound.iter().filter(covers)
    }
}
