//! The API that viewers' applications ask: events, playback, score. An answer depends on the path,
//! the query and the event, never on who asks, so that it can be shared and stored. A switch takes
//! the API down for rehearsals.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};
use sightscreen_core::document::Dimension;
use sightscreen_core::{route, signed_url};

use crate::clock::wall_ms;
use crate::demo::gate::Gate;
use crate::event::{Registry, RunningEvent};
use crate::http::{self as answers, not_found, problem};

/// Seconds for which the URL of a playback answer admits.
const PLAYBACK_TTL_S: u64 = 300;
/// How long a hanging API keeps a request.
const HANG: Duration = Duration::from_secs(120);
/// Answers change each second.
const SHARED: &str = "public, max-age=1";
/// The claim beyond the cohort's dimensions that playback signs. Not `plan`: whoever asks has
/// proved nothing, so the plan is the operator's setting.
const CONSENT: &str = "consent";

/// The API of all events.
pub struct Api {
    events: Registry,
    /// Whether playback signs for everyone.
    open_playback: bool,
    /// Whether the API answers at all.
    gate: RwLock<Gate>,
}

impl Api {
    /// Of these events. `open_playback`: whoever asks gets a signed entry URL.
    #[must_use]
    pub fn new(events: Registry, open_playback: bool) -> Self {
        Self { events, open_playback, gate: RwLock::new(Gate::Up) }
    }

    /// Answers `path` below `/api`. `None` closes the connection.
    pub async fn answer(
        self: Arc<Self>,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Option<Response<Bytes>> {
        match self.gate() {
            Gate::Up => {}
            Gate::Error => {
                return Some(problem(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "api-down",
                    "The API is switched off",
                ));
            }
            Gate::Hang => tokio::time::sleep(HANG).await,
            Gate::Refuse => return None,
        }
        if method != Method::GET && method != Method::HEAD {
            return Some(problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The method is not allowed",
            ));
        }
        Some(self.look_up(path, query))
    }

    /// The answer that a snapshot keeps; `None` while the API is down or has none.
    #[must_use]
    pub fn take(&self, path: &str) -> Option<(String, String)> {
        if self.gate() != Gate::Up {
            return None;
        }
        let response = self.look_up(path, None);
        let content_type =
            response.headers().get(::http::header::CONTENT_TYPE)?.to_str().ok()?.to_owned();
        let body = String::from_utf8(response.body().to_vec()).ok()?;
        (response.status() == StatusCode::OK).then_some((content_type, body))
    }

    /// Whether the API answers.
    #[must_use]
    pub fn gate(&self) -> Gate {
        *self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the API down or brings it back.
    pub fn set_gate(&self, gate: Gate) {
        tracing::info!(?gate, "the API is switched");
        *self.gate.write().unwrap_or_else(PoisonError::into_inner) = gate;
    }

    fn look_up(&self, path: &str, query: Option<&str>) -> Response<Bytes> {
        let mut parts = path.split('/').skip(1);
        if (parts.next(), parts.next()) != (Some("api"), Some("events")) {
            return not_found();
        }
        let Some(name) = parts.next() else {
            let events: Vec<Value> = self.events.all().iter().map(|event| summary(event)).collect();
            return ok(&json!({"events": events}));
        };
        let Some(event) = self.events.get(name) else { return not_found() };
        match (parts.next(), parts.next()) {
            (None, _) => ok(&detail(&event)),
            (Some("score"), None) => ok(&score_of(&event)),
            (Some("playback"), None) => self.playback(&event, query.unwrap_or_default()),
            _ => not_found(),
        }
    }

    /// A signed entry URL with the claims of the query that this event knows.
    fn playback(&self, event: &RunningEvent, query: &str) -> Response<Bytes> {
        if !self.open_playback {
            return problem(
                StatusCode::FORBIDDEN,
                "playback-closed",
                "Playback URLs are not given out here",
            );
        }
        let Some(claims) = claims(query, &event.schema()) else {
            return problem(StatusCode::BAD_REQUEST, "query-invalid", "The query is not valid");
        };
        let mut claims: Vec<(&str, &str)> =
            claims.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let plan = event.playback_plan();
        claims.extend(plan.as_deref().map(|plan| ("plan", plan)));
        let expires_s = wall_ms() / 1000 + PLAYBACK_TTL_S;
        let url = signed_url::sign(
            &format!("/live/{}/main.m3u8", event.name()),
            &claims,
            expires_s,
            &event.keys.url_key(),
        );
        ok(&json!({"event": event.name(), "url": url, "expires": expires_s}))
    }
}

fn summary(event: &RunningEvent) -> Value {
    json!({
        "event": event.name(),
        "title": event.title(),
        "state": event.state(),
        "starts_at_ms": event.starts_at_ms(),
    })
}

fn detail(event: &RunningEvent) -> Value {
    let (name, live) = (event.name(), &event.live);
    let renditions = live.renditions();
    let languages: Vec<_> = renditions
        .iter()
        .filter_map(|r| r.language.clone().map(|tag| json!({"language": tag, "name": r.name})))
        .collect();
    let mut heights: Vec<u32> = renditions.iter().filter_map(|r| r.height).collect();
    heights.sort_unstable();
    json!({
        "event": name,
        "title": event.title(),
        "state": event.state(),
        "starts_at_ms": event.starts_at_ms(),
        "started_ms": live.grid().zero_ms,
        "languages": languages,
        "heights": heights,
        "creatives": live.creatives().names(),
        "slates": event.slates(),
        "playback": format!("/api/events/{name}/playback"),
        "score": format!("/api/events/{name}/score"),
    })
}

/// How the match stands; without teams where nobody says.
fn score_of(event: &RunningEvent) -> Value {
    let mut value = event.score().map_or(json!({}), |score| json!(score));
    value["state"] = json!(event.state());
    value["at_ms"] = json!(wall_ms());
    value
}

/// The claims of a query that an event with these dimensions knows; `None` for a query with two
/// readings.
fn claims(query: &str, dimensions: &[Dimension]) -> Option<Vec<(String, String)>> {
    const VALUE_BYTES_MAX: usize = 32;
    let mut claims: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (route::decode(name)?, route::decode(value)?);
        if value.len() > VALUE_BYTES_MAX || claims.iter().any(|(claim, _)| *claim == name) {
            return None;
        }
        let known = name == CONSENT || dimensions.iter().any(|known| known.name == name);
        if known && !value.is_empty() {
            // The edge's spelling of a refusal.
            let refused = name == CONSENT && value == "off";
            let value = if refused { "0".to_owned() } else { value.into_owned() };
            claims.push((name.into_owned(), value));
        }
    }
    Some(claims)
}

fn ok(value: &Value) -> Response<Bytes> {
    answers::json(StatusCode::OK, SHARED, value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::demo::cohorts::schema;

    #[test]
    fn a_query_decides_the_cohort_and_never_the_plan() {
        let dimension = |name: &str| Dimension { name: name.to_owned(), ..schema().remove(0) };
        let dimensions = ["age", "language"].map(dimension);
        let signed = |query: &str| {
            let claims = claims(query, &dimensions)?;
            Some(claims.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(
            signed("age=18-34&plan=premium&consent=off&%70lan=premium&colour=red").unwrap(),
            "age=18-34 consent=0"
        );
        assert_eq!(signed("language=&plan=premium").unwrap(), "");
        assert_eq!(signed("age=18-34&age=35-plus"), None);
    }
}
