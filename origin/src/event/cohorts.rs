//! The cohorts of a schema, in the edge's spelling: one value of each dimension in order, joined by
//! dots.

use sightscreen_core::document::Dimension;

/// Every cohort of a schema.
#[must_use]
pub fn cohorts(schema: &[Dimension]) -> Vec<String> {
    let start = vec![String::new()];
    schema.iter().fold(start, |cohorts, dimension| {
        let extended = |cohort: String| {
            let dot = if cohort.is_empty() { "" } else { "." };
            dimension
                .values
                .iter()
                .map(move |value| format!("{cohort}{dot}{value}"))
                .collect::<Vec<_>>()
        };
        cohorts.into_iter().flat_map(extended).collect()
    })
}
