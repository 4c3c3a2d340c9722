//! `events/{event}`: what is on the air and who may see what.

use serde::{Deserialize, Serialize};

/// Most cohorts that a schema may span. What a cache holds grows with it.
const COHORTS_MAX: usize = 100;

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
    /// Plans by identifier.
    pub plans: Vec<Plan>,
    /// The plan of a token that names none, or one that is not listed.
    pub default_plan: String,
    /// The cohort schema; the cohort is one value of each dimension, in this order.
    pub cohorts: Vec<Dimension>,
    /// Life of passes.
    pub pass: PassPolicy,
    /// All renditions, in the origin's order.
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

/// One dimension of the cohort schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// Name; a claim of the same name decides first. `device` and `language` may also come from the
    /// request.
    pub name: String,
    /// Values, each `[a-z0-9-]+`.
    pub values: Vec<String>,
    /// The value when nothing is known; one of `values`.
    pub default: String,
    /// Other spellings: from what a claim or the request says to one of `values` (`ta` to
    /// `regional`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<(String, String)>,
    /// Value by geography; the first rule that holds decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub geo: Vec<GeoRule>,
}

/// A value for viewers in a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeoRule {
    /// ISO 3166-1 alpha-2, capitals.
    pub country: String,
    /// ISO 3166-2 subdivision without the country; absent: the whole country.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// One of the dimension's values.
    pub value: String,
}

/// Life of passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassPolicy {
    /// Seconds from minting or renewal until a pass expires.
    pub ttl_s: u32,
    /// Seconds from entry after which no renewal goes.
    pub session_s: u32,
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

    /// Whether there is audio in that language.
    #[must_use]
    pub fn has_language(&self, language: &str) -> bool {
        self.renditions.iter().any(|rendition| rendition.language.as_deref() == Some(language))
    }

    /// The plan of that identifier, else the default plan.
    #[must_use]
    pub fn plan(&self, id: Option<&str>) -> Option<&Plan> {
        let by_id = |id: &str| self.plans.iter().find(|plan| plan.id == id);
        id.and_then(by_id).or_else(|| by_id(&self.default_plan))
    }

    /// What is wrong with the document, in words; `None` when every rule of the schema holds.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let epoch = self.epoch.as_deref().filter(|epoch| !crate::route::is_epoch(epoch));
        let epoch = epoch.map(|epoch| format!("epoch {epoch:?}: expected 1 to 16 of a-z 0-9"));
        epoch.or_else(|| self.cohort_fault()).or_else(|| self.rendition_fault()).or_else(|| {
            self.plan(None)
                .is_none()
                .then(|| format!("default_plan {:?} is not one of plans", self.default_plan))
        })
    }

    fn cohort_fault(&self) -> Option<String> {
        let mut cohorts = 1_usize;
        for dimension in &self.cohorts {
            cohorts = cohorts.saturating_mul(dimension.values.len());
            if let Some(fault) = dimension.fault() {
                return Some(format!("cohort dimension {:?}: {fault}", dimension.name));
            }
        }
        (cohorts > COHORTS_MAX)
            .then(|| format!("the schema spans {cohorts} cohorts; at most {COHORTS_MAX}"))
    }

    fn rendition_fault(&self) -> Option<String> {
        let bad = |r: &&Rendition| {
            !crate::route::is_identifier(&r.id)
                || r.phases == 0
                || r.codecs.contains(['"', '\n', '\r'])
        };
        let quoted = |r: &&Rendition| {
            r.name.iter().chain(&r.language).any(|text| text.contains(['"', '\n', '\r']))
        };
        let fault =
            self.renditions.iter().find(bad).or_else(|| self.renditions.iter().find(quoted));
        fault.map(|r| {
            format!(
                "rendition {:?}: an identifier, at least one phase, no quotes or line ends",
                r.id
            )
        })
    }
}

impl Dimension {
    fn fault(&self) -> Option<String> {
        let known = |value: &String| self.values.contains(value);
        let plain = |value: &String| {
            !value.is_empty()
                && value.len() <= 16
                && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if let Some(value) = self.values.iter().find(|value| !plain(value)) {
            return Some(format!("value {value:?}: expected 1 to 16 of a-z 0-9 -"));
        }
        let named = [&self.default]
            .into_iter()
            .chain(self.aliases.iter().map(|(_, v)| v))
            .chain(self.geo.iter().map(|g| &g.value));
        named
            .into_iter()
            .find(|value| !known(value))
            .map(|value| format!("{value:?} is not one of its values"))
    }
}
