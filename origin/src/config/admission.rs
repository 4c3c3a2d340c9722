//! Who is let in and as what: plans, cohort schema, consent, territories, and the life of passes.
//!
//! What is wrong with them together is said by the core, in words of the event's document.

use std::collections::BTreeMap;

use super::Config;
use super::reader::{Field, Reader};
use super::settings::{List, Text};
use crate::demo::cohorts;
use serde::Deserialize;
use sightscreen_core::document::{
    Bound, Consent, Dimension, Event, GeoRule, MediaOrigin, PassPolicy, Plan, Range, Rendition,
    RenditionKind, Territories, Unknown,
};

/// What the event's document says of viewers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// By what they may see.
    pub plans: Vec<Plan>,
    /// By how they are told apart.
    pub schema: Vec<Dimension>,
    /// Whether they may be told apart who did not say so.
    pub consent: Consent,
    /// Where they may be.
    pub territories: Option<Territories>,
    /// How long they may stay.
    pub pass: PassPolicy,
    /// The plan of those to whom the API gives a signed URL for the asking.
    pub playback_plan: Option<String>,
}

/// Most seconds of a session: a week.
const SESSION_MAX_S: u32 = 7 * 86_400;
const SESSION_MIN_S: u32 = 60;

/// One `[[plans]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanRow {
    id: String,
    max_height: u32,
}

/// One `[[cohorts]]`: a dimension as in the event's document. The core takes fields that it does
/// not know, for the sake of later documents; a file of settings may not have any.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DimensionRow {
    name: String,
    values: Vec<String>,
    default: String,
    unknown: Option<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    #[serde(default)]
    ranges: Vec<Range>,
    #[serde(default)]
    geo: Vec<GeoRule>,
}

pub(super) fn admission(reader: &mut Reader) -> Admission {
    Admission {
        plans: plans(reader),
        schema: schema(reader),
        consent: consent(reader),
        territories: territories(reader),
        pass: PassPolicy {
            ttl_s: reader.number("pass-ttl", |s| &s.pass_ttl, 0..=SESSION_MAX_S),
            session_s: reader.number("session", |s| &s.session, SESSION_MIN_S..=SESSION_MAX_S),
        },
        playback_plan: reader.optional(|s| &s.playback_plan),
    }
}

/// Without tables, the two of the demonstration.
fn plans(reader: &mut Reader) -> Vec<Plan> {
    let remedy = "write [[plans]] and below it id = \"...\" and max_height = LINES";
    let rows: Vec<PlanRow> = reader.tables("plans", |s| &s.plans, remedy);
    if rows.is_empty() {
        let plan = |id: &str, max_height| Plan { id: id.to_owned(), max_height };
        return vec![plan("premium", 2160), plan("free", 480)];
    }
    rows.into_iter().map(|PlanRow { id, max_height }| Plan { id, max_height }).collect()
}

/// Without tables, that of the demonstration.
fn schema(reader: &mut Reader) -> Vec<Dimension> {
    let remedy = "write [[cohorts]] and below it name, values and default, and where you need them \
        unknown, aliases = { spelling = \"value\" }, ranges = [{ from, to, value }] and \
        geo = [{ country, region, value }]";
    let rows: Vec<DimensionRow> = reader.tables("cohorts", |s| &s.cohorts, remedy);
    if rows.is_empty() {
        return cohorts::schema();
    }
    let dimension = |row: DimensionRow| Dimension {
        name: row.name,
        values: row.values,
        default: row.default,
        unknown: row.unknown,
        aliases: row.aliases.into_iter().collect(),
        ranges: row.ranges,
        geo: row.geo,
    };
    rows.into_iter().map(dimension).collect()
}

fn consent(reader: &mut Reader) -> Consent {
    one_of(
        reader,
        "consent",
        |s| &s.consent,
        [("required", Consent::Required), ("assumed", Consent::Assumed)],
    )
}

/// None where neither list names a place.
fn territories(reader: &mut Reader) -> Option<Territories> {
    let list = |field: Field<List>| reader.found(field).map(|list| list.0).unwrap_or_default();
    let (allow, deny) = (list(|s| &s.territories_allow), list(|s| &s.territories_deny));
    let unknown = one_of(
        reader,
        "territories-unknown",
        |s| &s.territories_unknown,
        [("deny", Unknown::Deny), ("allow", Unknown::Allow)],
    );
    let named = !allow.is_empty() || !deny.is_empty();
    named.then_some(Territories { allow, deny, unknown })
}

/// The value of the word that is set; where it is none of the two, a fault and the first.
pub(super) fn one_of<T>(
    reader: &mut Reader,
    name: &str,
    field: Field<Text>,
    [first, other]: [(&str, T); 2],
) -> T {
    let set = reader.text(field);
    if set != first.0 && set != other.0 {
        let remedy = format!("write {} or {}", first.0, other.0);
        reader.fault(reader.place(name, field), &format!("is {set:?}"), &remedy);
    }
    if set == other.0 { other.1 } else { first.1 }
}

impl Config {
    /// Payload of `events/{event}` with a rendition in place of those that the media will have:
    /// what the settings say of viewers can be checked before there is media.
    #[must_use]
    pub fn document(&self) -> Event {
        let admission = self.admission.clone();
        let bound = self.snapshots.iter().filter(|rule| !rule.countries.is_empty());
        let bound =
            bound.map(|rule| Bound { path: rule.path.clone(), countries: rule.countries.clone() });
        Event {
            event: self.event.clone(),
            epoch: None,
            title: self.title.clone(),
            target_duration: 1,
            parts: None,
            plans: admission.plans,
            cohorts: admission.schema,
            consent: admission.consent,
            territories: admission.territories,
            bound: bound.collect(),
            pass: admission.pass,
            media: self.media_url.clone().map(|url| MediaOrigin { url }),
            renditions: vec![some_rendition()],
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use sightscreen_core::document::Event;

    use super::super::tests::read;
    use super::*;

    #[test]
    fn nothing_said_is_the_safe_thing() {
        let admission = read("", &[]).unwrap().admission;
        assert_eq!(admission.consent, Consent::Required);
        assert_eq!(admission.pass, PassPolicy { ttl_s: 0, session_s: 43_200 });
        assert_eq!((admission.territories, admission.playback_plan), (None, None));
        assert_eq!(admission.plans.last().unwrap().id, "free");
    }

    #[test]
    fn each_has_a_setting() {
        let toml = "consent = \"assumed\"\nsession = 3600\npass-ttl = 600\nplayback-plan = \"gold\"\n\
            territories-allow = [\"IN\", \"LK\"]\nterritories-deny = [\"IN-MH\"]\n\
            territories-unknown = \"allow\"\n\
            [[plans]]\nid = \"gold\"\nmax_height = 1080\n[[plans]]\nid = \"tin\"\nmax_height = 360\n\
            [[cohorts]]\nname = \"team\"\nvalues = [\"red\", \"blue\"]\ndefault = \"red\"\n\
            unknown = \"blue\"\naliases = { rot = \"red\" }\n\
            ranges = [{ from = 1, to = 9, value = \"red\" }]\n\
            geo = [{ country = \"IN\", region = \"MH\", value = \"blue\" }]\n\
            [[pods]]\ncohort = \"red\"\ncreatives = [\"built-in:car\"]\n\
            [[snapshots]]\npath = \"/api/events/demo/score\"\ncountries = [\"IN\"]\n";
        let config = read(toml, &["--territories-deny", "IN-MH,IN-KA"]).unwrap();
        assert_eq!(config.admission.playback_plan.as_deref(), Some("gold"));
        let Event { plans, cohorts, consent, territories, pass, bound, .. } = config.document();
        assert_eq!((plans[1].id.as_str(), plans[1].max_height), ("tin", 360));
        assert_eq!((cohorts[0].read("rot"), cohorts[0].read("7")), (Some("red"), Some("red")));
        assert_eq!((cohorts.len(), cohorts[0].geo.len()), (1, 1));
        assert_eq!(consent, Consent::Assumed);
        let territories = territories.unwrap();
        assert_eq!((territories.allow.len(), territories.deny.len()), (2, 2));
        assert_eq!(territories.unknown, Unknown::Allow);
        assert_eq!((pass.ttl_s, pass.session_s), (600, 3600));
        assert_eq!(
            (bound[0].path.as_str(), bound[0].countries.len()),
            ("/api/events/demo/score", 1)
        );
    }

    #[test]
    fn what_would_lock_viewers_out_is_refused_at_the_start() {
        for (toml, told) in [
            ("consent = \"maybe\"", "write required or assumed"),
            ("territories-unknown = \"maybe\"", "write deny or allow"),
            ("territories-allow = [\"India\"]", "expected a country such as IN"),
            ("session = 0", "session"),
            ("pass-ttl = 5", "pass.ttl_s"),
            ("playback-plan = \"gold\"", "is none of the plans"),
            ("[[plans]]\nid = \"Premium\"\nmax_height = 1080", "expected an identifier"),
            ("[[plans]]\nid = \"premium\"", "write [[plans]]"),
            ("[[plans]]\nid = \"a\"\nmax_height = 1\nprice = 2", "write [[plans]]"),
            (
                "[[cohorts]]\nname = \"ads\"\nvalues = [\"none\"]\ndefault = \"none\"",
                "expected none of the words",
            ),
            (
                "[[cohorts]]\nname = \"a\"\nvalues = [\"b\"]\ndefault = \"b\"\nalias = 1",
                "write [[cohorts]]",
            ),
            (
                "[[snapshots]]\npath = \"/api/events\"\ncountries = [\"IN\"]",
                "expected a path of the event",
            ),
            (
                "[[snapshots]]\npath = \"/api/events/demo/score\"\ncountries = [\"in\"]",
                "expected countries such as IN",
            ),
        ] {
            let faults = read(toml, &[]).unwrap_err();
            let said: String = faults.iter().map(ToString::to_string).collect();
            assert!(said.contains(told), "{toml}: {said:?} lacks {told:?}");
        }
    }
}
