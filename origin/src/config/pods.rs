//! The table of pods, as the configuration says it.
//!
//! Owns its rows and the demonstration's own table. Invariant: every pattern fits the cohort
//! schema; a creative that is only missing is no fault here, because it may come later.

use sightscreen_core::document::Dimension;

use super::reader::{Field, Reader};
use crate::breaks::decision::{Pattern, Rule, Table};
use crate::breaks::ledger::GENERIC;
use crate::breaks::shelf::{BUILT_IN, built_in_names};

/// The table of pods; without one, that of the demonstration.
pub(super) fn table(reader: &mut Reader, schema: &[Dimension]) -> Table {
    let rows = reader.tables("pods", &[("cohort", Field::Text), ("creatives", Field::Texts)]);
    if rows.is_empty() {
        return demonstration();
    }
    let mut table = Table::default();
    for row in rows {
        let creatives = row.list("creatives");
        if let Some(fault) = creatives.iter().find_map(|name| creative_fault(name)) {
            reader.fault(
                "pods",
                &fault,
                &format!("use a file, or {BUILT_IN} and one of {}", built_in_names().join(", ")),
            );
        }
        // Without one, that was said already.
        let Some(cohort) = row.text("cohort") else {
            continue;
        };
        match cohort.as_str() {
            GENERIC => table.generic = creatives,
            "fallback" => table.fallback = creatives,
            _ => {
                let pattern = Pattern::parse(&cohort);
                if !fits(&pattern, schema) {
                    let remedy = "write generic, fallback, or one value or * for each of age.gender.metro.device.language";
                    reader.fault("pods", &format!("cohort {cohort:?} matches nobody"), remedy);
                }
                table.rules.push(Rule { pattern, creatives });
            }
        }
    }
    table
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
