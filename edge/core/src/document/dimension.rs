//! One dimension of the cohort schema: what its values are, and what a claim's value means.

use serde::{Deserialize, Serialize};

use super::territories::{is_country, is_region};
use crate::cohort::{GENERIC, NONE};

const VALUE_BYTES_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 32;
const RANGES_MAX: usize = 64;

/// One dimension of the cohort schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    /// Name; a claim of the same name decides first. `device` and `language` may also come from the
    /// request.
    pub name: String,
    /// Values, each 1 to 16 of `a-z 0-9 -`, the first of them no `-`.
    pub values: Vec<String>,
    /// The value when nothing is known; one of `values`.
    pub default: String,
    /// The value for a claim whose value the schema does not know; one of `values`. None: such a
    /// viewer is of the cohort `generic`, which is targeted at nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Other spellings: from what a claim or the request says to one of `values` (`ta` to
    /// `regional`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<(String, String)>,
    /// Whole numbers that a claim may say, by their bounds (`age=17`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranges: Vec<Range>,
    /// Value by geography; the first rule that holds decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub geo: Vec<GeoRule>,
}

/// A value for whole numbers from `from` to `to`, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Least number.
    pub from: u32,
    /// Greatest number.
    pub to: u32,
    /// One of the dimension's values.
    pub value: String,
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

impl Dimension {
    /// The dimension's value for what a claim says: a value, another spelling of one, or a number
    /// within bounds. `None`: the schema does not know it.
    #[must_use]
    pub fn read(&self, said: &str) -> Option<&str> {
        let value = || self.values.iter().find(|value| *value == said);
        let alias = || self.aliases.iter().find(|(spelling, _)| spelling == said).map(|(_, v)| v);
        value().or_else(alias).or_else(|| self.in_range(said)).map(String::as_str)
    }

    fn in_range(&self, said: &str) -> Option<&String> {
        if self.ranges.is_empty() || !said.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: u32 = said.parse().ok()?;
        let range = self.ranges.iter().find(|range| (range.from..=range.to).contains(&number));
        range.map(|range| &range.value)
    }

    /// What is wrong with the dimension, in words; `None` when every rule holds.
    pub(super) fn fault(&self) -> Option<String> {
        self.name_fault()
            .or_else(|| self.value_fault())
            .or_else(|| self.unlisted())
            .or_else(|| self.alias_fault())
            .or_else(|| self.range_fault())
            .or_else(|| self.geo_fault())
    }

    fn name_fault(&self) -> Option<String> {
        /// Claims with a meaning of their own. `language` has one too, and means the same here.
        const RESERVED: [&str; 6] = ["consent", "expires", "kid", "nbf", "plan", "sig"];
        let plain = (1..=NAME_BYTES_MAX).contains(&self.name.len())
            && self
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !plain {
            return Some(format!("expected a name of 1 to {NAME_BYTES_MAX} of a-z 0-9 - _"));
        }
        RESERVED
            .contains(&self.name.as_str())
            .then(|| format!("expected another name than {}", RESERVED.join(", ")))
    }

    fn value_fault(&self) -> Option<String> {
        let plain = |value: &str| {
            (1..=VALUE_BYTES_MAX).contains(&value.len())
                && !value.starts_with('-')
                && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if let Some(value) = self.values.iter().find(|value| !plain(value)) {
            return Some(format!(
                "value {value:?}: expected 1 to {VALUE_BYTES_MAX} of a-z 0-9 -, not - first"
            ));
        }
        if let Some(value) = self.values.iter().find(|value| [GENERIC, NONE].contains(&&***value)) {
            return Some(format!("value {value:?}: expected none of the words {GENERIC}, {NONE}"));
        }
        repeated(self.values.iter())
            .map(|value| format!("value {value:?} is there twice: expected it once"))
    }

    /// What another field names, and is none of the values.
    fn unlisted(&self) -> Option<String> {
        let named = std::iter::once(&self.default)
            .chain(&self.unknown)
            .chain(self.aliases.iter().map(|(_, value)| value))
            .chain(self.ranges.iter().map(|range| &range.value))
            .chain(self.geo.iter().map(|rule| &rule.value));
        named
            .into_iter()
            .find(|value| !self.values.contains(value))
            .map(|value| format!("{value:?}: expected one of its values"))
    }

    fn alias_fault(&self) -> Option<String> {
        let spellings = || self.aliases.iter().map(|(spelling, _)| spelling);
        if let Some(spelling) = spellings().find(|spelling| self.values.contains(spelling)) {
            return Some(format!("alias {spelling:?}: expected none of its values"));
        }
        repeated(spellings())
            .map(|spelling| format!("alias {spelling:?} is there twice: expected it once"))
    }

    fn range_fault(&self) -> Option<String> {
        if self.ranges.len() > RANGES_MAX {
            return Some(format!("{} ranges: expected at most {RANGES_MAX}", self.ranges.len()));
        }
        let turned = self.ranges.iter().find(|range| range.from > range.to);
        if let Some(Range { from, to, .. }) = turned {
            return Some(format!("range from {from} to {to}: expected the smaller number first"));
        }
        let pairs = self
            .ranges
            .iter()
            .enumerate()
            .flat_map(|(at, one)| self.ranges[..at].iter().map(move |other| (one, other)));
        let mut meet = pairs.filter(|(one, other)| one.from <= other.to && other.from <= one.to);
        meet.next().map(|(one, other)| {
            format!(
                "ranges from {} and from {} overlap: expected each number in one of them",
                other.from, one.from
            )
        })
    }

    fn geo_fault(&self) -> Option<String> {
        let odd = self.geo.iter().find(|rule| {
            !is_country(&rule.country) || !rule.region.as_deref().is_none_or(is_region)
        });
        odd.map(|rule| {
            format!(
                "geo rule for {:?} {:?}: expected a country such as IN and a region such as MH",
                rule.country, rule.region
            )
        })
    }
}

/// The first item that stands before in the list.
pub(super) fn repeated<'a>(items: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = std::collections::BTreeSet::new();
    items.into_iter().find(|item| !seen.insert(item.as_str()))
}
