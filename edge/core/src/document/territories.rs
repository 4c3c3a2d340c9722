//! Territories: in which countries and regions something may be seen.

use serde::{Deserialize, Serialize};

use crate::exchange::Client;

/// Where something may be seen. Unknown fields are a fault of the document: a misspelt `deny` must
/// not open a country.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Territories {
    /// Countries (`IN`, ISO 3166-1 alpha-2) and regions (`IN-MH`, ISO 3166-2) where it may be seen;
    /// empty: wherever `deny` does not name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Countries and regions where it may not be seen. It wins over `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// What holds where the viewer's place is not known well enough for the lists.
    #[serde(default)]
    pub unknown: Unknown,
}

/// What holds for a viewer whose place is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// Let in.
    Allow,
    /// Kept out.
    #[default]
    Deny,
}

/// Whether a viewer is in one of the listed places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Yes,
    No,
    /// The viewer's country or region is not known.
    Unknown,
}

impl Territories {
    /// Whether a viewer at the client's place may see it.
    #[must_use]
    pub fn admit(&self, client: &Client) -> bool {
        let denied = inside(&self.deny, client);
        let allowed = if self.allow.is_empty() { Inside::Yes } else { inside(&self.allow, client) };
        match (denied, allowed) {
            (Inside::Yes, _) | (_, Inside::No) => false,
            (Inside::No, Inside::Yes) => true,
            _ => self.unknown == Unknown::Allow,
        }
    }

    /// What is wrong with the lists, in words; `None` when every rule holds.
    pub(super) fn fault(&self) -> Option<String> {
        if self.allow.is_empty() && self.deny.is_empty() {
            return Some("expected a place in allow or in deny, or no territories at all".into());
        }
        let mut places = self.allow.iter().chain(&self.deny);
        if let Some(place) = places.find(|place| !is_place(place)) {
            return Some(format!("{place:?}: expected a country such as IN or a region as IN-MH"));
        }
        let both = self.allow.iter().find(|place| self.deny.contains(place));
        both.map(|place| format!("{place:?} is in allow and in deny: expected it in one of them"))
    }
}

fn inside(places: &[String], client: &Client) -> Inside {
    let Some(country) = client.country.as_deref() else {
        return if places.is_empty() { Inside::No } else { Inside::Unknown };
    };
    let mut found = Inside::No;
    for place in places {
        let (listed, region) = split(place);
        match (listed == country, region, client.region.as_deref()) {
            (false, ..) => {}
            (true, None, _) => return Inside::Yes,
            (true, Some(region), Some(here)) if region == here => return Inside::Yes,
            (true, Some(_), Some(_)) => {}
            (true, Some(_), None) => found = Inside::Unknown,
        }
    }
    found
}

fn split(place: &str) -> (&str, Option<&str>) {
    place.split_once('-').map_or((place, None), |(country, region)| (country, Some(region)))
}

/// Whether `text` is a country (`IN`) or a country and a region (`IN-MH`), in capitals.
fn is_place(text: &str) -> bool {
    let (country, region) = split(text);
    is_country(country) && region.is_none_or(is_region)
}

/// Two capitals.
pub(super) fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// One to three capitals or digits.
pub(super) fn is_region(text: &str) -> bool {
    (1..=3).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn territories(allow: &[&str], deny: &[&str], unknown: Unknown) -> Territories {
        let list = |places: &[&str]| places.iter().map(ToString::to_string).collect();
        Territories { allow: list(allow), deny: list(deny), unknown }
    }

    fn admitted(territories: &Territories, country: &str, region: &str) -> bool {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let client = Client { country: known(country), region: known(region), ..Client::default() };
        territories.admit(&client)
    }

    #[test]
    fn allow_and_deny_by_country_and_region() {
        let only = territories(&["IN", "LK"], &["IN-MH"], Unknown::Deny);
        assert!(admitted(&only, "LK", "") && admitted(&only, "IN", "KA"));
        assert!(!admitted(&only, "IN", "MH") && !admitted(&only, "US", "MH"));
        let but = territories(&[], &["US"], Unknown::Deny);
        assert!(admitted(&but, "IN", "") && !admitted(&but, "US", "TX"));
        let region = territories(&["IN-MH"], &[], Unknown::Deny);
        assert!(admitted(&region, "IN", "MH") && !admitted(&region, "IN", "KA"));
    }

    #[test]
    fn a_place_that_is_not_known_well_enough_is_as_set() {
        for (unknown, open) in [(Unknown::Allow, true), (Unknown::Deny, false)] {
            assert_eq!(admitted(&territories(&["IN"], &[], unknown), "", ""), open);
            assert_eq!(admitted(&territories(&[], &["US"], unknown), "", ""), open);
            assert_eq!(admitted(&territories(&["IN-MH"], &[], unknown), "IN", ""), open);
            assert_eq!(admitted(&territories(&["IN"], &["IN-MH"], unknown), "IN", ""), open);
            // What is known is enough here.
            assert!(!admitted(&territories(&["IN-MH"], &[], unknown), "US", ""));
            assert!(!admitted(&territories(&[], &["US"], unknown), "US", ""));
        }
    }

    #[test]
    fn faults_are_named() {
        let fault = |allow: &[&str], deny: &[&str]| {
            territories(allow, deny, Unknown::Deny).fault().unwrap_or_default()
        };
        assert_eq!(fault(&["IN"], &["IN-MH", "US"]), "");
        assert!(fault(&[], &[]).contains("expected a place"));
        for place in ["in", "IND", "IN-", "IN-mh", "IN-MAHA", "IN-MH-1", "*", ""] {
            assert!(fault(&[place], &[]).contains("expected a country"), "{place:?}");
        }
        assert!(fault(&["IN"], &["IN"]).contains("in allow and in deny"));
        let misspelt = serde_json::from_str::<Territories>(r#"{"alow":["IN"]}"#);
        assert!(misspelt.is_err());
    }
}
