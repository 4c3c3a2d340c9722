//! The cohort schema of the demonstration: 72 demographic groups.
//!
//! Owns the schema's values and the list of all cohorts. Does not choose a viewer's cohort: the
//! edge does. Invariant: a cohort is one value of each dimension in order, joined by dots, as the
//! edge writes it.

use sightscreen_core::document::{Dimension, GeoRule};

/// Indian languages that the demonstration sums up as `regional`.
const REGIONAL: [&str; 12] =
    ["as", "bn", "gu", "kn", "ml", "mr", "ne", "or", "pa", "ta", "te", "ur"];
/// States and territories whose viewers mostly live in one of the six metropolitan areas' reach.
const METRO_REGIONS: [&str; 6] = ["DL", "KA", "MH", "TG", "TN", "WB"];

/// Age, gender, metro, device, language.
#[must_use]
pub fn schema() -> Vec<Dimension> {
    let mut metro = dimension("metro", &["metro", "rest"], "rest", &[("non-metro", "rest")]);
    let rule = |region: &str| GeoRule {
        country: "IN".into(),
        region: Some(region.into()),
        value: "metro".into(),
    };
    metro.geo = METRO_REGIONS.map(rule).into();
    let regional = REGIONAL.map(|language| (language, "regional"));
    vec![
        dimension("age", &["18-34", "35-plus"], "35-plus", &[("35+", "35-plus")]),
        dimension("gender", &["m", "f", "u"], "u", &[("M", "m"), ("F", "f"), ("unknown", "u")]),
        metro,
        dimension("device", &["mobile", "other"], "other", &[]),
        dimension("language", &["hi", "en", "regional"], "en", &regional),
    ]
}

/// Every cohort of a schema.
#[must_use]
pub fn all(schema: &[Dimension]) -> Vec<String> {
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

fn dimension(name: &str, values: &[&str], default: &str, aliases: &[(&str, &str)]) -> Dimension {
    Dimension {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        default: default.to_owned(),
        aliases: aliases.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        geo: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_72_cohorts_in_the_edges_spelling() {
        let all = all(&schema());
        assert_eq!(all.len(), 72);
        assert!(all.contains(&"18-34.f.metro.mobile.hi".to_owned()));
        assert!(all.iter().all(|cohort| sightscreen_core::route::is_identifier(cohort)));
    }
}
