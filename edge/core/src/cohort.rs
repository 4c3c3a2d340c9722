//! Cohorts: which of the event's demographic groups a viewer is shown as, for a whole session.
//!
//! Owns the choice. Invariant: the cohort is one value of every dimension of the event's schema, or
//! [`GENERIC`], so the number of playlists that caches hold is bounded by the schema and no viewer
//! can be told from the rest of the cohort.

use crate::document::{Dimension, Event};
use crate::exchange::Request;
use crate::signed_url::Claims;

/// The cohort of viewers who have not consented to being told apart. Its pods always exist.
pub const GENERIC: &str = "generic";
/// The cohort of sessions without ads.
pub const NONE: &str = "none";

/// The cohort of a viewer who enters `event`: the claims decide first, then the request, then the
/// schema's default.
#[must_use]
pub fn choose(event: &Event, claims: &Claims<'_>, request: &Request) -> String {
    // A claim of which this cannot be sure is a refusal.
    let refused = claims.get("consent").is_some_and(|consent| consent != "1")
        || request.header("sec-gpc") == Some("1");
    if refused || event.cohorts.is_empty() {
        return GENERIC.to_owned();
    }
    let values: Vec<&str> =
        event.cohorts.iter().map(|dimension| value(dimension, claims, request)).collect();
    values.join(".")
}

fn value<'a>(dimension: &'a Dimension, claims: &Claims<'_>, request: &Request) -> &'a str {
    claims
        .get(&dimension.name)
        .and_then(|said| known(dimension, said))
        .or_else(|| by_place(dimension, request))
        .or_else(|| by_request(dimension, request))
        .unwrap_or(&dimension.default)
}

/// The dimension's value for what somebody said, if it has one.
fn known<'a>(dimension: &'a Dimension, said: &str) -> Option<&'a str> {
    let value = dimension.values.iter().find(|value| *value == said);
    let alias =
        || dimension.aliases.iter().find(|(spelling, _)| spelling == said).map(|(_, value)| value);
    value.or_else(alias).map(String::as_str)
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
        "device" => known(dimension, if is_mobile(request)? { "mobile" } else { "other" }),
        "language" => languages(request).find_map(|language| known(dimension, language)),
        _ => None,
    }
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

/// The primary language tags of `accept-language` in the order sent, which is the order of
/// preference in all browsers.
pub fn languages(request: &Request) -> impl Iterator<Item = &str> {
    const LANGUAGES_MAX: usize = 8;
    let tag = |item: &'_ str| item.split([';', '-']).next().unwrap_or_default().trim().len();
    let items = request.list("accept-language");
    items.take(LANGUAGES_MAX).map(move |item| {
        let item = item.trim();
        &item[..tag(item)]
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use crate::document::{GeoRule, PassPolicy};

    fn event() -> Event {
        let dimension = |name: &str, values: &[&str], default: &str| Dimension {
            name: name.into(),
            values: values.iter().map(ToString::to_string).collect(),
            default: default.into(),
            aliases: vec![],
            geo: vec![],
        };
        let mut metro = dimension("metro", &["metro", "rest"], "rest");
        metro.geo.push(GeoRule {
            country: "IN".into(),
            region: Some("MH".into()),
            value: "metro".into(),
        });
        let mut language = dimension("language", &["hi", "en", "regional"], "en");
        language.aliases.push(("ta".into(), "regional".into()));
        let age = dimension("age", &["18-34", "35-plus"], "35-plus");
        Event {
            event: "e".into(),
            title: String::new(),
            target_duration: 2,
            parts: None,
            plans: vec![],
            epoch: None,
            default_plan: String::new(),
            cohorts: vec![age, metro, dimension("device", &["mobile", "other"], "other"), language],
            pass: PassPolicy { ttl_s: 1, session_s: 1 },
            renditions: vec![],
        }
    }

    fn cohort(query: &str, headers: &[(&str, &str)], place: Option<(&str, &str)>) -> String {
        let query = format!("kid=u&sig=s&{query}");
        let (claims, _) = crate::signed_url::read(query.trim_end_matches('&')).unwrap();
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut request = Request { headers, ..Request::default() };
        request.client.country = place.map(|(country, _)| country.into());
        request.client.region = place.map(|(_, region)| region.into());
        choose(&event(), &claims, &request)
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
        assert_eq!(
            cohort("age=99&device=watch", &[("sec-ch-ua-mobile", "?1")], Some(("IN", "KA"))),
            "35-plus.rest.mobile.en"
        );
    }

    #[test]
    fn without_consent_nobody_is_told_apart() {
        assert_eq!(cohort("consent=0&age=18-34", &[], None), GENERIC);
        assert_eq!(cohort("age=18-34", &[("sec-gpc", "1")], None), GENERIC);
    }
}
