//! A stream's settings as the API has them: JSON with the same checks and defaults as the file, and
//! what may change while it runs.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Table;

use super::admission::one_of;
use super::reader::Reader;
use super::settings::Settings;
use super::{BREAK_S_MAX, Config, Fault};
use crate::breaks::decision::Pattern;
use crate::breaks::ledger::GENERIC;
use crate::clock::date;

/// The title of the built-in match, unless it is given another.
const TEST_TITLE: &str = "Sightscreen test match";

/// Longest title, in bytes.
const TITLE_BYTES_MAX: usize = 200;
/// Longest category or tag, in bytes.
const WORD_BYTES_MAX: usize = 64;
/// Most tags.
const TAGS_MAX: usize = 32;

/// How far viewers are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// Segments in parts, about two seconds.
    Low,
    /// Whole segments, about a dozen seconds.
    Standard,
}

/// How a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Number,
    /// A list of texts.
    Texts,
    /// A list of objects.
    Objects,
}

/// One field of a stream, and the setting that it is.
#[derive(Debug, Clone, Copy)]
struct Field {
    /// Where it stands in the JSON (RFC 6901).
    pointer: &'static str,
    /// The name of the setting.
    setting: &'static str,
    /// How it is written.
    kind: Kind,
    /// Why it cannot change while the stream runs; `None`: it can.
    fixed: Option<&'static str>,
}

const SETTLED: &str = "it is settled when the stream is made, because players hold on to it";
const SHAPES: &str = "every cohort and every pass has its shape";

/// Every field of a stream.
fn body_fields() -> &'static [Field] {
    const fn live(pointer: &'static str, setting: &'static str, kind: Kind) -> Field {
        Field { pointer, setting, kind, fixed: None }
    }
    const fn fixed(pointer: &'static str, setting: &'static str, kind: Kind) -> Field {
        Field { pointer, setting, kind, fixed: Some(SETTLED) }
    }
    const FIELDS: &[Field] = &[
        fixed("/id", "event", Kind::Text),
        live("/title", "title", Kind::Text),
        live("/category", "category", Kind::Text),
        live("/tags", "tags", Kind::Texts),
        live("/starts_at", "starts-at", Kind::Text),
        fixed("/latency", "latency", Kind::Text),
        fixed("/input", "input", Kind::Text),
        fixed("/languages", "languages", Kind::Texts),
        fixed("/ladder/max_height", "max-height", Kind::Number),
        fixed("/frame_rate", "frame-rate", Kind::Text),
        fixed("/segment_ms", "segment-ms", Kind::Number),
        fixed("/part_ms", "part-ms", Kind::Number),
        fixed("/window_s", "window", Kind::Number),
        fixed("/dvr_s", "dvr", Kind::Number),
        Field { fixed: Some(SHAPES), ..live("/cohorts", "cohorts", Kind::Objects) },
        live("/plans", "plans", Kind::Objects),
        live("/playback_plan", "playback-plan", Kind::Text),
        live("/consent", "consent", Kind::Text),
        live("/territories/allow", "territories-allow", Kind::Texts),
        live("/territories/deny", "territories-deny", Kind::Texts),
        live("/territories/unknown", "territories-unknown", Kind::Text),
        live("/pass/ttl_s", "pass-ttl", Kind::Number),
        live("/pass/session_s", "session", Kind::Number),
        live("/breaks/first_s", "first-break", Kind::Number),
        live("/breaks/every_s", "break-every", Kind::Number),
        live("/breaks/length_s", "break-length", Kind::Number),
        live("/breaks/lead_s", "break-lead", Kind::Number),
        live("/pods", "pods", Kind::Objects),
        live("/media_url", "media-url", Kind::Text),
    ];
    FIELDS
}

/// The setting at a pointer of [`fixed_differences`].
#[must_use]
pub fn setting_at(pointer: &str) -> &'static str {
    let field = body_fields().iter().find(|field| field.pointer == pointer);
    field.map_or("", |field| field.setting)
}

fn pointer_of(setting: &str) -> String {
    let field = body_fields().iter().find(|field| field.setting == setting);
    field.map_or("", |field| field.pointer).to_owned()
}

/// What is one event's own, and no other's default.
const OWN: [&str; 8] =
    ["event", "title", "category", "tags", "starts-at", "input", "stream-key", "snapshots"];

/// What holds for a stream that says nothing: the origin's settings for all events.
#[derive(Clone)]
pub struct Template {
    common: Table,
}

impl Template {
    /// Of flags and environment, and of the part of the file that is for all events.
    #[must_use]
    pub fn new(flags: &Settings, file: Option<&std::path::Path>) -> Self {
        let mut common = file.and_then(|file| super::settings::table_of_file(file).ok());
        let common = common.as_mut().map(std::mem::take).unwrap_or_default();
        let mut common = Table::from_iter(common.into_iter().filter(|(name, _)| name != "events"));
        common.extend(Table::try_from(flags).unwrap_or_default());
        for own in OWN {
            common.remove(own);
        }
        Self { common }
    }

    /// The settings of a stream as it was kept. The longest break may have been longer then.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn kept(&self, id: &str, body: &Value) -> Result<Config, Vec<Fault>> {
        let mut body = body.clone();
        let mut reader = Reader::of_stream(&self.common, Table::new(), pointer_of);
        let longest = reader.number("break-longest", |s| &s.break_longest, 2..=BREAK_S_MAX);
        if let Some(length) = body.pointer_mut("/breaks/length_s")
            && length.as_u64().is_some_and(|length| length > u64::from(longest))
        {
            tracing::warn!(event = id, longest, "the stream's breaks are as short as is set now");
            *length = longest.into();
        }
        self.stream(id, &body)
    }

    /// The settings of a stream that is made. `null` sets a field back to its default, and here is
    /// nothing to set back.
    ///
    /// # Errors
    /// As [`Self::stream`].
    pub fn new_stream(&self, id: &str, body: &Value) -> Result<Config, Vec<Fault>> {
        let mut faults: Vec<Fault> = nulls("", body).collect();
        faults.extend(body.as_object().into_iter().flatten().flat_map(|(name, inner)| {
            nulls(&format!("/{}", escaped(name)), inner).collect::<Vec<_>>()
        }));
        let more = match self.stream(id, body) {
            Ok(config) if faults.is_empty() => return Ok(config),
            Ok(_) => Vec::new(),
            Err(more) => more,
        };
        // What is wrong with it otherwise says more than that it is null.
        faults.retain(|fault| more.iter().all(|other| other.place != fault.place));
        Err(faults.into_iter().chain(more).collect())
    }

    /// The settings of a stream of that name, from the body of a request.
    ///
    /// # Errors
    /// Every fault found; the place is a JSON pointer.
    pub fn stream(&self, id: &str, body: &Value) -> Result<Config, Vec<Fault>> {
        let (mut own, mut faults) = table_of(body);
        own.insert("event".to_owned(), id.into());
        own.entry("input").or_insert_with(|| "rtmp".into());
        match body.get("input").and_then(Value::as_str) {
            None | Some("rtmp" | "test") => {}
            Some(_) => faults.push(fault("/input", "is no input of a stream", "use rtmp or test")),
        }
        if !body.get("title").is_some_and(Value::is_string) {
            faults.push(fault("/title", "is missing", "say what viewers call it"));
        }
        let mut reader = Reader::of_stream(&self.common, own, pointer_of);
        let config = Config::from_reader(&mut reader);
        // What is no value of its kind was told already.
        let told: Vec<String> = faults.iter().map(|fault| fault.place.clone()).collect();
        faults.extend(reader.finish().into_iter().filter(|fault| !told.contains(&fault.place)));
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }
}

impl Config {
    /// The event's settings as the API has them, all of them: read again, they are the same.
    #[must_use]
    pub fn body(&self) -> Value {
        let admission = &self.admission;
        let rate = |(num, den): (u32, u32)| format!("{num}/{den}");
        let mut body = json!({
            "title": self.title,
            "category": self.category,
            "tags": self.tags,
            "starts_at": self.starts_at_ms.map(date),
            "latency": if self.latency == Latency::Low { "low" } else { "standard" },
            "input": self.input.kind(),
            "languages": self.languages,
            "ladder": {"max_height": self.max_height},
            "frame_rate": self.frame_rate.map_or("source".to_owned(), rate),
            "segment_ms": self.segment_ms,
            "part_ms": self.part_ms,
            "window_s": self.window_s,
            "dvr_s": self.dvr_s,
            "cohorts": admission.schema.iter().map(dimension).collect::<Vec<_>>(),
            "plans": admission.plans,
            "consent": admission.consent,
            "territories": admission.territories,
            "pass": admission.pass,
            "breaks": {
                "first_s": self.schedule.first_s,
                "every_s": self.schedule.every_s,
                "length_s": self.schedule.length_s,
                "lead_s": self.schedule.lead_s,
            },
            "pods": self.pods(),
        });
        if body["territories"].is_null() {
            body["territories"] = json!({"allow": [], "deny": []});
        }
        for (name, value) in
            [("playback_plan", &admission.playback_plan), ("media_url", &self.media_url)]
        {
            body[name] = json!(value);
        }
        body
    }

    fn pods(&self) -> Vec<Value> {
        let row =
            |cohort: &str, creatives: &[String]| json!({"cohort": cohort, "creatives": creatives});
        let rules =
            self.table.rules.iter().map(|rule| row(&text_of(&rule.pattern), &rule.creatives));
        let others = [(GENERIC, &self.table.generic), ("fallback", &self.table.fallback)];
        rules.chain(others.map(|(cohort, creatives)| row(cohort, creatives))).collect()
    }
}

/// Which fields of a stream differ that cannot change while it runs, each with why.
#[must_use]
pub fn fixed_differences(before: &Value, after: &Value) -> Vec<(&'static str, &'static str)> {
    let differs = |field: &&Field| before.pointer(field.pointer) != after.pointer(field.pointer);
    let fixed = body_fields().iter().filter(differs);
    fixed.filter_map(|field| field.fixed.map(|why| (field.pointer, why))).collect()
}

fn text_of(pattern: &Pattern) -> String {
    let parts: Vec<&str> =
        pattern.parts().iter().map(|part| part.as_deref().unwrap_or("*")).collect();
    parts.join(".")
}

/// A dimension as `[[cohorts]]` has it: its spellings are a map.
fn dimension(dimension: &sightscreen_core::document::Dimension) -> Value {
    let mut value = json!(dimension);
    let spellings = dimension.aliases.iter();
    let spellings: Map<String, Value> =
        spellings.map(|(from, to)| (from.clone(), json!(to))).collect();
    if !spellings.is_empty() {
        value["aliases"] = Value::Object(spellings);
    }
    value
}

/// The settings of a body, and what is no field or no value of its kind.
fn table_of(body: &Value) -> (Table, Vec<Fault>) {
    let (mut table, mut faults) = (Table::new(), Vec::new());
    let Some(members) = body.as_object() else {
        return (table, vec![fault("", "is no object", "write {\"title\": \"...\"}")]);
    };
    let mut take = |pointer: String, value: &Value| {
        let Some(field) = body_fields().iter().find(|field| field.pointer == pointer) else {
            return faults.push(fault(&pointer, "is no field of a stream", "remove it"));
        };
        match setting(field.kind, value) {
            Some(value) => drop(table.insert(field.setting.to_owned(), value)),
            None if value.is_null() => {}
            None => faults.push(fault(&pointer, "is no such value", wanted(field.kind))),
        }
    };
    for (name, value) in members {
        let pointer = format!("/{}", escaped(name));
        let below = format!("{pointer}/");
        let is_group = body_fields().iter().any(|field| field.pointer.starts_with(&below));
        match (is_group, value) {
            (true, Value::Object(inner)) => {
                for (name, value) in inner {
                    take(format!("{below}{}", escaped(name)), value);
                }
            }
            (true, Value::Null) => {}
            _ => take(pointer, value),
        }
    }
    (table, faults)
}

/// A name as it stands in a JSON pointer (RFC 6901 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The members of an object that are null.
fn nulls<'a>(place: &'a str, value: &'a Value) -> impl Iterator<Item = Fault> + 'a {
    let members = value.as_object().into_iter().flatten();
    members.filter(|(_, value)| value.is_null()).map(move |(name, _)| {
        fault(&format!("{place}/{}", escaped(name)), "is null", "leave it out for the default")
    })
}

/// The value as the file would have it; `None` for another kind.
fn setting(kind: Kind, value: &Value) -> Option<toml::Value> {
    let texts = |items: &Vec<Value>| items.iter().all(Value::is_string);
    let objects = |items: &Vec<Value>| items.iter().all(Value::is_object);
    let fits = match (kind, value) {
        (Kind::Text, Value::String(_)) => true,
        (Kind::Number, Value::Number(number)) => number.is_u64(),
        (Kind::Texts, Value::Array(items)) => texts(items),
        (Kind::Objects, Value::Array(items)) => objects(items),
        _ => false,
    };
    fits.then(|| to_toml(value)).flatten()
}

/// What TOML has no word for is left out.
fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(is) => (*is).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().filter_map(to_toml).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            let each = members.iter().filter_map(|(name, v)| Some((name.clone(), to_toml(v)?)));
            toml::Value::Table(each.collect())
        }
    })
}

fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "write a text",
        Kind::Number => "write a whole number",
        Kind::Texts => "write a list of texts",
        Kind::Objects => "write a list of objects",
    }
}

fn fault(pointer: &str, fault: &str, remedy: &str) -> Fault {
    let place = pointer.chars().take(256).collect();
    Fault { place, fault: fault.to_owned(), remedy: remedy.to_owned() }
}

/// What the lengths of segments and parts and the lead of breaks are unless set depends on it.
pub(super) fn latency(reader: &mut Reader) -> Latency {
    let words = [("low", Latency::Low), ("standard", Latency::Standard)];
    let latency = one_of(reader, "latency", |s| &s.latency, words);
    // The lead is two segments.
    let (segment, part, lead) = match latency {
        Latency::Low => ("2000", "200", "4"),
        Latency::Standard => ("4000", "1000", "8"),
    };
    let defaults = reader.defaults();
    defaults.segment_ms = Some(segment.into());
    defaults.part_ms = Some(part.into());
    defaults.break_lead = Some(lead.into());
    latency
}

pub(super) fn title(reader: &mut Reader) -> String {
    let title =
        reader.optional(|s| &s.title).unwrap_or_else(|| match &*reader.text(|s| &s.input) {
            "test" => TEST_TITLE.to_owned(),
            _ => reader.text(|s| &s.event),
        });
    if title.trim().is_empty() || title.len() > TITLE_BYTES_MAX || has_control(&title) {
        let place = reader.place("title", |s| &s.title);
        let remedy = format!("use 1 to {TITLE_BYTES_MAX} bytes without control characters");
        reader.fault(place, "is no title", &remedy);
    }
    title
}

pub(super) fn category(reader: &mut Reader) -> String {
    let category = reader.optional(|s| &s.category).unwrap_or_default();
    if category.len() > WORD_BYTES_MAX || has_control(&category) {
        let place = reader.place("category", |s| &s.category);
        let remedy = format!("use at most {WORD_BYTES_MAX} bytes without control characters");
        reader.fault(place, "is no category", &remedy);
    }
    category
}

pub(super) fn tags(reader: &mut Reader) -> Vec<String> {
    let tags = reader.found(|s| &s.tags).map(|list| list.0).unwrap_or_default();
    let is_tag = |tag: &String| (1..=WORD_BYTES_MAX).contains(&tag.len()) && !has_control(tag);
    if tags.len() > TAGS_MAX || !tags.iter().all(is_tag) {
        let place = reader.place("tags", |s| &s.tags);
        let remedy = format!("list at most {TAGS_MAX} of 1 to {WORD_BYTES_MAX} bytes");
        reader.fault(place, "is no list of tags", &remedy);
    }
    tags
}

/// A time of RFC 3339, which has its zone with it.
pub(super) fn starts_at(reader: &mut Reader) -> Option<u64> {
    let text = reader.optional(|s| &s.starts_at)?;
    let time = OffsetDateTime::parse(&text, &Rfc3339).ok();
    let time = time.and_then(|time| u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok());
    if time.is_none() {
        let place = reader.place("starts-at", |s| &s.starts_at);
        let remedy = "write day, time and zone, such as 2026-12-01T20:00:00+01:00";
        reader.fault(place, "is no time after 1970", remedy);
    }
    time
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
