//! The cohort schema of the demonstration: 72 demographic groups.

use sightscreen_core::document::{Dimension, GeoRule, Range};

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
    // There is no group of people under 18: a claim of 17 leads to the generic cohort.
    let mut age = dimension("age", &["18-34", "35-plus"], "35-plus", &[("35+", "35-plus")]);
    let range = |from, to, value: &str| Range { from, to, value: value.into() };
    age.ranges = vec![range(18, 34, "18-34"), range(35, 150, "35-plus")];
    let genders = &[("M", "m"), ("F", "f"), ("unknown", "u")];
    let gender = dimension("gender", &["m", "f", "u"], "u", genders);
    let device = dimension("device", &["mobile", "other"], "other", &[]);
    let language = dimension("language", &["hi", "en", "regional"], "en", &regional);
    vec![age, or_default(gender), or_default(metro), or_default(device), or_default(language)]
}

fn dimension(name: &str, values: &[&str], default: &str, aliases: &[(&str, &str)]) -> Dimension {
    Dimension {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        default: default.to_owned(),
        unknown: None,
        aliases: aliases.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        ranges: Vec::new(),
        geo: Vec::new(),
    }
}

/// The dimension with its default for claims that it does not know: it tells nobody apart.
fn or_default(dimension: Dimension) -> Dimension {
    Dimension { unknown: Some(dimension.default.clone()), ..dimension }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::cohorts;

    #[test]
    fn there_are_72_cohorts_in_the_edges_spelling() {
        let all = cohorts(&schema());
        assert_eq!(all.len(), 72);
        assert!(all.contains(&"18-34.f.metro.mobile.hi".to_owned()));
        assert!(all.iter().all(|cohort| sightscreen_core::route::is_identifier(cohort)));
    }
}
