//! Cohorts: which of the event's demographic groups a viewer is shown as, for a whole session.
//!
//! A cohort is one value of every dimension of the event's schema, or [`GENERIC`]. So the schema
//! bounds the number of playlists that caches hold, and no viewer can be told from the rest of the
//! cohort.

use crate::document::{Consent, Dimension, Event};
use crate::exchange::Request;
use crate::language::Preferences;
use crate::signed_url::Claims;

/// The cohort of viewers who may not be told apart. Its pods always exist.
pub const GENERIC: &str = "generic";
/// The cohort of sessions without ads.
pub const NONE: &str = "none";

/// The dimension whose claims and values are languages.
const LANGUAGE: &str = "language";

/// The cohort of a viewer who enters `event`: the claims decide first, then the request, then the
/// schema's default.
#[must_use]
pub fn choose(event: &Event, claims: &Claims<'_>, request: &Request) -> String {
    if event.cohorts.is_empty() || !has_consented(event, claims, request) {
        return GENERIC.to_owned();
    }
    let values = event.cohorts.iter().map(|dimension| value(dimension, claims, request));
    let values: Option<Vec<&str>> = values.collect();
    values.map_or_else(|| GENERIC.to_owned(), |values| values.join("."))
}

fn has_consented(event: &Event, claims: &Claims<'_>, request: &Request) -> bool {
    let said = match claims.get("consent") {
        // What cannot be read is a refusal.
        Some(consent) => consent == "1",
        None => event.consent == Consent::Assumed,
    };
    said && request.header("sec-gpc") != Some("1")
}

/// `None`: a claim says what the schema does not know, and the schema has no value for that.
fn value<'a>(dimension: &'a Dimension, claims: &Claims<'_>, request: &Request) -> Option<&'a str> {
    match claims.get(&dimension.name) {
        Some(said) => by_claim(dimension, said).or(dimension.unknown.as_deref()),
        None => by_place(dimension, request)
            .or_else(|| by_request(dimension, request))
            .or(Some(&dimension.default)),
    }
}

/// The dimension's value for what a claim says, if it has one.
pub(crate) fn by_claim<'a>(dimension: &'a Dimension, said: &str) -> Option<&'a str> {
    let language = || look_up(dimension, &Preferences::one(said));
    dimension.read(said).or_else(|| (dimension.name == LANGUAGE).then(language).flatten())
}

fn by_place<'a>(dimension: &'a Dimension, request: &Request) -> Option<&'a str> {
    let country = request.client.country.as_deref()?;
    let here = |region: &Option<String>| region.is_none() || *region == request.client.region;
    dimension
        .geo
        .iter()
        .find(|rule| rule.country == country && here(&rule.region))
        .map(|rule| rule.value.as_str())
}

fn by_request<'a>(dimension: &'a Dimension, request: &Request) -> Option<&'a str> {
    match dimension.name.as_str() {
        "device" => dimension.read(if is_mobile(request)? { "mobile" } else { "other" }),
        LANGUAGE => look_up(dimension, &Preferences::of(request)),
        _ => None,
    }
}

fn look_up<'a>(dimension: &'a Dimension, preferences: &Preferences<'_>) -> Option<&'a str> {
    preferences.look_up(|range| {
        let value = || dimension.values.iter().find(|value| value.eq_ignore_ascii_case(range));
        let alias = |(spelling, value)| range.eq_ignore_ascii_case(spelling).then_some(value);
        value()
            .or_else(|| dimension.aliases.iter().find_map(|(s, v)| alias((s, v))))
            .map(String::as_str)
    })
}

/// Whether the viewer holds a phone: what the platform detected, else the client hint, else the
/// user agent.
#[must_use]
pub fn is_mobile(request: &Request) -> Option<bool> {
    let hint = || match request.header("sec-ch-ua-mobile")? {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    };
    let agent = || {
        request.header("user-agent").map(|agent| agent.contains("Mobi") || agent.contains("iPhone"))
    };
    request.client.mobile.or_else(hint).or_else(agent)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    fn event() -> Event {
        let text = r#"{"event":"e","title":"","target_duration":2,"plans":[],"consent":"assumed",
            "cohorts":[
                {"name":"age","values":["18-34","35-plus"],"default":"35-plus",
                    "ranges":[{"from":18,"to":34,"value":"18-34"},{"from":35,"to":120,"value":"35-plus"}]},
                {"name":"metro","values":["metro","rest"],"default":"rest",
                    "geo":[{"country":"IN","region":"MH","value":"metro"}]},
                {"name":"device","values":["mobile","other"],"default":"other","unknown":"other"},
                {"name":"language","values":["hi","en","regional"],"default":"en","unknown":"en",
                    "aliases":[["ta","regional"],["zh-Hant","regional"]]}],
            "pass":{"session_s":600},"renditions":[]}"#;
        serde_json::from_str(text).unwrap()
    }

    fn cohort_of(
        event: &Event,
        query: &str,
        headers: &[(&str, &str)],
        place: Option<(&str, &str)>,
    ) -> String {
        let query = format!("kid=u&sig=s&{query}");
        let (claims, _) = crate::signed_url::read(&query).unwrap();
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut request = Request { headers, ..Request::default() };
        request.client.country = place.map(|(country, _)| country.into());
        request.client.region = place.map(|(_, region)| region.into());
        choose(event, &claims, &request)
    }

    fn cohort(query: &str, headers: &[(&str, &str)], place: Option<(&str, &str)>) -> String {
        cohort_of(&event(), query, headers, place)
    }

    #[test]
    fn claims_then_request_then_default() {
        assert_eq!(cohort("", &[], None), "35-plus.rest.other.en");
        let phone = ("user-agent", "Mozilla/5.0 (Linux; Android 16) Mobile");
        assert_eq!(
            cohort("", &[phone, ("accept-language", "fr, ta-IN;q=0.9")], Some(("IN", "MH"))),
            "35-plus.metro.mobile.regional"
        );
        // In two lines it is the same list.
        let lines = [("accept-language", "fr"), ("accept-language", "ta-IN")];
        assert_eq!(cohort("", &lines, None), "35-plus.rest.other.regional");
        assert_eq!(
            cohort("age=18-34&device=other&metro=rest", &[phone], Some(("IN", "MH"))),
            "18-34.rest.other.en"
        );
    }

    #[test]
    fn a_claim_is_a_value_an_alias_a_number_within_bounds_or_unknown() {
        assert_eq!(cohort("age=18", &[], None), "18-34.rest.other.en");
        assert_eq!(cohort("age=120", &[], None), "35-plus.rest.other.en");
        for age in ["17", "121", "-18", "18.5", "99999999999", "adult", ""] {
            assert_eq!(cohort(&format!("age={age}"), &[], None), GENERIC, "{age:?}");
        }
        // What the request says does not mend a claim.
        let phone = ("sec-ch-ua-mobile", "?1");
        assert_eq!(cohort("device=watch", &[phone], None), "35-plus.rest.other.en");
        assert_eq!(cohort("language=zh-hant-TW", &[], None), "35-plus.rest.other.regional");
        assert_eq!(cohort("language=fr", &[], None), "35-plus.rest.other.en");
    }

    #[test]
    fn without_consent_nobody_is_told_apart() {
        assert_eq!(cohort("consent=0&age=18-34", &[], None), GENERIC);
        assert_eq!(cohort("age=18-34", &[("sec-gpc", "1")], None), GENERIC);
        let required = Event { consent: Consent::default(), ..event() };
        let cohort = |query, headers: &[_]| cohort_of(&required, query, headers, None);
        assert_eq!(cohort("age=18-34", &[]), GENERIC);
        assert_eq!(cohort("age=18-34&consent=1", &[]), "18-34.rest.other.en");
        assert_eq!(cohort("age=18-34&consent=1", &[("sec-gpc", "1")]), GENERIC);
    }
}
