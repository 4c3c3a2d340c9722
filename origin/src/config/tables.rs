//! The tables that only the file has: who sees what, and which API answers are stored.
//!
//! A creative that is only missing is no fault here, because it may come later.

use std::collections::BTreeMap;

use serde::Deserialize;
use sightscreen_core::document::Dimension;
use toml::Value;

use super::reader::Reader;
use crate::breaks::decision::{Pattern, Rule, Table};
use crate::breaks::ledger::GENERIC;
use crate::creative::shelf::{BUILT_IN, built_in_names};
use crate::event::snapshots::SnapshotRule;

/// One `[[pods]]`. Values of any kind, so that one wrong field does not hide the next.
#[derive(Deserialize)]
struct PodsRow {
    cohort: Option<Value>,
    creatives: Option<Value>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// One `[[snapshots]]`.
#[derive(Deserialize)]
struct SnapshotRow {
    path: Option<Value>,
    fresh_s: Option<Value>,
    stale_s: Option<Value>,
    countries: Option<Value>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// A reader of one kind of tables.
struct Rows<'a> {
    reader: &'a mut Reader,
    place: String,
    remedy: &'static str,
    /// Number of the table that is being read, from 1.
    at: usize,
}

const PODS: &str = "write [[pods]] and below it cohort = \"...\" and creatives = [\"...\"]";
const SNAPSHOTS: &str =
    "write [[snapshots]] and below it path = \"/api/...\", fresh_s, stale_s, countries";

/// The table of pods; without one, that of the demonstration.
pub(super) fn pods(reader: &mut Reader, schema: &[Dimension]) -> Table {
    let tables: Vec<PodsRow> = reader.tables("pods", |s| &s.pods, PODS);
    if tables.is_empty() {
        let mut table = demonstration();
        table.rules.retain(|rule| fits(&rule.pattern, schema));
        return table;
    }
    let place = reader.place("pods", |s| &s.pods);
    let mut rows = Rows { reader, place, remedy: PODS, at: 0 };
    let mut table = Table::default();
    for row in tables {
        rows.next(&row.unknown);
        let creatives = rows.texts("creatives", row.creatives);
        for fault in creatives.iter().filter_map(|name| creative_fault(name)) {
            let names = built_in_names().join(", ");
            rows.fault(&fault, &format!("use a file, or {BUILT_IN} and one of {names}"));
        }
        let Some(cohort) = rows.text("cohort", row.cohort) else {
            continue;
        };
        match cohort.as_str() {
            GENERIC => table.generic = creatives,
            "fallback" => table.fallback = creatives,
            _ => {
                let pattern = Pattern::parse(&cohort);
                if !fits(&pattern, schema) {
                    let names: Vec<&str> = schema.iter().map(|d| d.name.as_str()).collect();
                    let remedy = format!(
                        "write generic, fallback, or one value or * for each of {}",
                        names.join(".")
                    );
                    rows.fault(&format!("cohort {cohort:?} matches nobody"), &remedy);
                }
                table.rules.push(Rule { pattern, creatives });
            }
        }
    }
    table
}

/// Which API answers are stored; without tables, all that no viewer's request shapes.
pub(super) fn snapshots(reader: &mut Reader, event: &str) -> Vec<SnapshotRule> {
    let usual =
        |path: String| SnapshotRule { path, fresh_s: 30, stale_s: 6 * 3600, countries: Vec::new() };
    let tables: Vec<SnapshotRow> = reader.tables("snapshots", |s| &s.snapshots, SNAPSHOTS);
    if tables.is_empty() {
        let below = |tail: String| usual(format!("/api/events{tail}"));
        let own = [format!("/{event}"), format!("/{event}/score")];
        return [String::new()].into_iter().chain(own).map(below).collect();
    }
    let place = reader.place("snapshots", |s| &s.snapshots);
    let mut rows = Rows { reader, place, remedy: SNAPSHOTS, at: 0 };
    let mut rules = Vec::new();
    for row in tables {
        rows.next(&row.unknown);
        let (fresh_s, stale_s) = (
            rows.seconds("fresh_s", row.fresh_s.as_ref()),
            rows.seconds("stale_s", row.stale_s.as_ref()),
        );
        let countries = rows.texts("countries", row.countries);
        let Some(path) = rows.text("path", row.path) else {
            continue;
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.-".contains(&b);
        if !path.starts_with("/api/") || !path.bytes().all(plain) || path.contains("..") {
            let remedy = "write a path such as /api/events, of a-z 0-9 / . -";
            rows.fault(&format!("{path:?} is not an API path"), remedy);
        }
        let usual = usual(path);
        rules.push(SnapshotRule {
            fresh_s: fresh_s.unwrap_or(usual.fresh_s),
            stale_s: stale_s.unwrap_or(usual.stale_s),
            countries,
            ..usual
        });
    }
    rules
}

impl Rows<'_> {
    /// Goes on to the next table, which has these fields beside those that there are.
    fn next(&mut self, unknown: &BTreeMap<String, Value>) {
        self.at += 1;
        for name in unknown.keys() {
            self.fault(&format!("there is no field {name:?}"), self.remedy);
        }
    }

    fn fault(&mut self, fault: &str, remedy: &str) {
        let fault = format!("table {}: {fault}", self.at);
        self.reader.fault(self.place.clone(), &fault, remedy);
    }

    /// A field that must be there.
    fn text(&mut self, name: &str, value: Option<Value>) -> Option<String> {
        match value {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self.fault(&format!("{name} is not text"), "write it in quotes"),
            None => self.fault(&format!("{name} is missing"), self.remedy),
        }
        None
    }

    fn texts(&mut self, name: &str, value: Option<Value>) -> Vec<String> {
        let items = match value {
            None => return Vec::new(),
            Some(Value::Array(items)) => items.into_iter().map(text_of).collect(),
            Some(_) => None,
        };
        items.unwrap_or_else(|| {
            let remedy = "write it as [\"one\", \"two\"]";
            self.fault(&format!("{name} is not a list of texts"), remedy);
            Vec::new()
        })
    }

    fn seconds(&mut self, name: &str, value: Option<&Value>) -> Option<u32> {
        let number = value?.as_integer().and_then(|number| u32::try_from(number).ok());
        if number.is_none() {
            let remedy = "write a whole number from 0 to 4294967295";
            self.fault(&format!("{name} is not a number of seconds"), remedy);
        }
        number
    }
}

fn text_of(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
fn creative_fault(name: &str) -> Option<String> {
    let built_in = name.strip_prefix(BUILT_IN)?;
    (!built_in_names().contains(&built_in))
        .then(|| format!("there is no built-in creative {built_in:?}"))
}

fn fits(pattern: &Pattern, schema: &[Dimension]) -> bool {
    let parts = pattern.parts();
    let known = |(part, dimension): (&Option<String>, &Dimension)| {
        part.as_ref().is_none_or(|part| dimension.values.contains(part))
    };
    parts.len() == schema.len() && parts.iter().zip(schema).all(known)
}

/// Four audiences that are told apart, and everyone else.
fn demonstration() -> Table {
    let names = |cards: [&str; 2]| cards.map(|card| format!("{BUILT_IN}{card}")).to_vec();
    let rule = |pattern, cards| Rule { pattern: Pattern::parse(pattern), creatives: names(cards) };
    Table {
        rules: vec![
            rule("18-34.f.*.*.*", ["sneakers", "cola"]),
            rule("18-34.m.*.*.*", ["motorbike", "cola"]),
            rule("35-plus.*.metro.*.*", ["car", "bank"]),
            rule("35-plus.*.rest.*.*", ["tractor", "bank"]),
        ],
        generic: names(["cola", "bank"]),
        fallback: names(["bank", "cola"]),
    }
}
