//! `/api/...`: the origin within its time budget, else the stored snapshot.
//!
//! A request about one user (it carries `authorization`) is never answered from, and never put
//! into, anything that is shared. What is bound to countries is bound whoever answers: the event's
//! document says which paths are, and is looked at before the origin is asked. So an outage changes
//! nothing about who may see an answer. A snapshot's own countries hold as well.

use crate::context::{Context, Flow, Found, is_missing, refuse};
use crate::document::{Snapshot, event_of_api};
use crate::exchange::{Class, Got, Object, Response, Sharing, Source, Want, forbids_sharing};
use crate::flags::{PANIC, SNAPSHOTS, Subject};
use crate::keyring::sha256_hex;
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
/// Longest target that is a key as it is.
const KEY_BYTES_MAX: usize = 128;
/// Stands for no event: the flags of all.
const SITE: &str = "site";

/// An API request.
pub(crate) fn answer(cx: &mut Context<'_>, path: &str, query: Option<&str>) -> Flow<Response> {
    let target = target(path, query)?;
    let (scope, event, flags) = match event_of_api(path) {
        Some(id) => {
            let (event, flags) = cx.event_and_flags(id)?;
            (id, event, flags)
        }
        None => (SITE, Found::Absent, cx.flags(SITE)?),
    };
    let client = &cx.request.client;
    let country = client.country.as_deref();
    let bound = match &event {
        Found::Here(event) if !event.shows(path, country) => {
            return refuse(Problem::RegionExcluded.response());
        }
        Found::Here(event) => event.binds(path),
        Found::Absent => false,
        Found::Unavailable => true,
    };
    // Without the event's bounds the origin's answer may be one that this viewer may not see. A
    // snapshot has its own.
    let may_ask = !matches!(event, Found::Unavailable);
    if cx.request.header("authorization").is_some() {
        return if may_ask { personal(cx, path, target) } else { refuse(cx.unavailable()) };
    }
    let subject = Subject {
        event: Some(scope),
        country,
        region: client.region.as_deref(),
        ..Subject::default()
    };
    if may_ask
        && !flags.is_on(PANIC, false, subject)
        && let Got::Object(object) = cx.want(shared_want(path, target))?
        && !Class::Api.is_failure(object.status)
    {
        return Ok(from_origin(object, kept_for(object, bound)));
    }
    let snapshot = match query {
        None if flags.is_on(SNAPSHOTS, true, subject) => cx.snapshot(path)?,
        // A snapshot is of a path alone: with a query it would be the answer to another question.
        _ => None,
    };
    match snapshot.filter(|snapshot| snapshot.path == path) {
        Some(snapshot) => stored(cx, snapshot, bound),
        None => refuse(cx.unavailable()),
    }
}

/// Passed on as it is, refusals included, to the viewer alone.
fn personal(cx: &Context<'_>, path: &str, target: String) -> Flow<Response> {
    let want = Want {
        key: format!("personal{target}"),
        class: Class::Personal,
        sharing: Sharing::OneViewer,
        fresh_ms: 0,
        missing_ms: 0,
        timeout_ms: PERSONAL_TIMEOUT_MS,
        ..shared_want(path, target)
    };
    match cx.want(want)? {
        Got::Object(object) if !Class::Personal.is_failure(object.status) => {
            Ok(from_origin(object, "private, no-store"))
        }
        _ => refuse(cx.unavailable()),
    }
}

fn shared_want(path: &str, target: String) -> Want {
    Want {
        key: key(&target),
        source: Source::Origin(target),
        event: event_of_api(path).map(str::to_owned),
        class: Class::Api,
        sharing: Sharing::Everyone,
        fresh_ms: API_FRESH_MS,
        stale_ms: 0,
        missing_ms: API_FRESH_MS,
        timeout_ms: API_BUDGET_MS,
        max_bytes: API_BYTES_MAX,
    }
}

/// Under what the answer is kept. A long target stands there by its digest, so that what a viewer
/// writes makes no key longer.
fn key(target: &str) -> String {
    if target.len() <= KEY_BYTES_MAX {
        return format!("origin{target}");
    }
    format!("origin#{}", sha256_hex(target.as_bytes()))
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
    Response { status: object.status, headers, body: object.body.clone(), ..Response::default() }
}

fn stored(cx: &Context<'_>, snapshot: Snapshot, bound: bool) -> Flow<Response> {
    if !may_see(&snapshot, cx.request.client.country.as_deref()) {
        return refuse(Problem::RegionExcluded.response());
    }
    let age_s = cx.request.now_ms.saturating_sub(snapshot.taken_ms) / 1000;
    let (fresh_s, stale_s) = (u64::from(snapshot.fresh_s), u64::from(snapshot.stale_s));
    let band = match age_s {
        age if age < fresh_s => "fresh",
        age if age < fresh_s.saturating_add(stale_s) => "stale",
        _ => return refuse(cx.retry(Problem::SnapshotExpired)),
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
    Ok(Response { status: 200, headers, body: snapshot.body.into_bytes(), ..Response::default() })
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
        return refuse(Problem::QueryInvalid.response());
    }
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    Ok(format!("{path}?{}", pairs.join("&")))
}
