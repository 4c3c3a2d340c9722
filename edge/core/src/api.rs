//! `/api/...`: the origin within its time budget, else the stored snapshot.
//!
//! A request about one user (it carries `authorization`) is never answered from, and never put
//! into, anything that is shared. What is bound to countries is bound whoever answers: the event's
//! document says which paths are, and is looked at before the origin is asked. So an outage changes
//! nothing about who may see an answer. A snapshot's own countries hold as well.

use crate::context::{Context, Flow, Known, has_failed, is_missing, stop};
use crate::document::Snapshot;
use crate::exchange::{Got, Object, Response, Source, Want, forbids_sharing};
use crate::flags::{PANIC, SNAPSHOTS, Subject};
use crate::live::header;
use crate::problem::Problem;

/// Milliseconds that the origin has for an API answer before the snapshot takes its place.
pub const API_BUDGET_MS: u32 = 800;
/// Milliseconds for which an API answer is shared.
const API_FRESH_MS: u32 = 1000;
const API_BYTES_MAX: u32 = 1 << 20;
/// Milliseconds until an answer about one user, which nothing can stand in for, has failed.
const PERSONAL_TIMEOUT_MS: u32 = 10_000;
/// Longest query of a shared API answer.
const QUERY_BYTES_MAX: usize = 1024;
/// Stands for no event: the flags of all.
const SITE: &str = "site";
/// A `retry-after` between 1 s and 4 s spreads those who come back.
const RETRY_SPREAD_S: u32 = 5;

/// An API request.
pub(crate) fn answer(cx: &mut Context<'_>, path: &str, query: Option<&str>) -> Flow<Response> {
    let target = target(path, query)?;
    let scope = scope(path);
    let (event, flags) = match scope {
        SITE => (Known::Absent, cx.flags(SITE)?),
        event => cx.event_and_flags(event)?,
    };
    let client = &cx.request.client;
    let country = client.country.as_deref();
    let bound = match &event {
        Known::Is(event) if !event.shows(path, country) => {
            return stop(Problem::RegionExcluded.response());
        }
        Known::Is(event) => event.binds(path),
        Known::Absent => false,
        Known::Unavailable => true,
    };
    // Without the event's bounds the origin's answer may be one that this viewer may not see. A
    // snapshot has its own.
    let may_ask = !matches!(event, Known::Unavailable);
    if cx.request.header("authorization").is_some() {
        return if may_ask { personal(cx, target) } else { unavailable(cx) };
    }
    let subject = Subject {
        event: Some(scope),
        country,
        region: client.region.as_deref(),
        ..Subject::default()
    };
    if may_ask && !flags.is_on(PANIC, false, subject) {
        let got = cx.want(shared_want(target))?;
        if let (Got::Object(object), false) = (got, has_failed(got)) {
            return Ok(from_origin(object, kept_for(object, bound)));
        }
    }
    let snapshot = match query {
        None if flags.is_on(SNAPSHOTS, true, subject) => cx.snapshot(path)?,
        // A snapshot is of a path alone: with a query it would be the answer to another question.
        _ => None,
    };
    match snapshot.filter(|snapshot| snapshot.path == path) {
        Some(snapshot) => stored(cx, snapshot, bound),
        None => unavailable(cx),
    }
}

fn unavailable<T>(cx: &Context<'_>) -> Flow<T> {
    stop(cx.unavailable(Problem::OriginUnavailable, RETRY_SPREAD_S))
}

/// Passed on as it is, refusals included, to the viewer alone.
fn personal(cx: &Context<'_>, target: String) -> Flow<Response> {
    let want = Want {
        key: format!("personal{target}"),
        fresh_ms: 0,
        missing_ms: 0,
        collapse: false,
        timeout_ms: PERSONAL_TIMEOUT_MS,
        forward: vec!["authorization".to_owned()],
        ..shared_want(target)
    };
    match cx.want(want)? {
        got @ Got::Object(object) if !has_failed(got) => {
            Ok(from_origin(object, "private, no-store"))
        }
        _ => unavailable(cx),
    }
}

fn shared_want(target: String) -> Want {
    Want {
        key: format!("origin{target}"),
        source: Source::Origin(target),
        fresh_ms: API_FRESH_MS,
        stale_ms: 0,
        stale_error_ms: 0,
        missing_ms: API_FRESH_MS,
        collapse: true,
        timeout_ms: API_BUDGET_MS,
        forward: Vec::new(),
        max_bytes: API_BYTES_MAX,
    }
}

/// What is kept beyond the edge: an answer, and that there is none. Not a refusal, which may end at
/// any moment, and not what the origin says is for one viewer alone.
fn kept_for(object: &Object, bound: bool) -> &'static str {
    if object.header("cache-control").is_some_and(forbids_sharing) {
        "private, no-store"
    } else if object.status == 200 || is_missing(object.status) {
        shared_for(bound)
    } else {
        "no-store"
    }
}

/// What is for some countries only is for no cache that knows no places.
fn shared_for(bound: bool) -> &'static str {
    if bound { "private, max-age=1" } else { "public, max-age=1" }
}

fn from_origin(object: &Object, cache_control: &str) -> Response {
    let content_type = object.header("content-type").unwrap_or("application/json");
    let headers = vec![
        header("content-type", content_type),
        header("cache-control", cache_control),
        header("access-control-allow-origin", "*"),
    ];
    Response { status: object.status, headers, body: object.body.clone(), store: Vec::new() }
}

fn stored(cx: &Context<'_>, snapshot: Snapshot, bound: bool) -> Flow<Response> {
    if !may_see(&snapshot, cx.request.client.country.as_deref()) {
        return stop(Problem::RegionExcluded.response());
    }
    let age_s = cx.request.now_ms.saturating_sub(snapshot.taken_ms) / 1000;
    let (fresh_s, stale_s) = (u64::from(snapshot.fresh_s), u64::from(snapshot.stale_s));
    let band = match age_s {
        age if age < fresh_s => "fresh",
        age if age < fresh_s.saturating_add(stale_s) => "stale",
        _ => return stop(cx.unavailable(Problem::SnapshotExpired, RETRY_SPREAD_S)),
    };
    let cache_control = shared_for(bound || !snapshot.countries.is_empty());
    let headers = vec![
        ("content-type".to_owned(), snapshot.content_type),
        header("cache-control", cache_control),
        header("access-control-allow-origin", "*"),
        header("access-control-expose-headers", "age, sightscreen-snapshot"),
        ("age".to_owned(), age_s.to_string()),
        header("sightscreen-snapshot", band),
    ];
    Ok(Response { status: 200, headers, body: snapshot.body.into_bytes(), store: Vec::new() })
}

fn may_see(snapshot: &Snapshot, country: Option<&str>) -> bool {
    snapshot.countries.is_empty()
        || country.is_some_and(|country| snapshot.countries.iter().any(|c| c == country))
}

/// The target at the origin, parameters sorted so that their order makes no other cache key.
fn target(path: &str, query: Option<&str>) -> Flow<String> {
    let Some(query) = query else {
        return Ok(path.to_owned());
    };
    if query.len() > QUERY_BYTES_MAX {
        return stop(Problem::QueryInvalid.response());
    }
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    Ok(format!("{path}?{}", pairs.join("&")))
}

/// The event that the path is about, whose flags and bounds hold; else `site`.
fn scope(path: &str) -> &str {
    let event = path.strip_prefix("/api/events/").and_then(|rest| rest.split('/').next());
    event.filter(|event| crate::route::is_identifier(event)).unwrap_or(SITE)
}
