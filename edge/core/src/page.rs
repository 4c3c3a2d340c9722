//! `/` and `/page/...`: the demonstration page, passed on from the origin.

use crate::context::{Context, Flow, is_missing, stop};
use crate::exchange::{Got, Relay, Response, Source, Want};
use crate::live::header;
use crate::problem::Problem;

/// Milliseconds for which a file is used, and for which an origin that fails does not take the page
/// down.
const FRESH_MS: u32 = 5000;
const STALE_ERROR_MS: u32 = 24 * 3600 * 1000;
const TIMEOUT_MS: u32 = 5000;
const BYTES_MAX: u32 = 8 << 20;

/// A file of the page.
pub(crate) fn answer(cx: &Context<'_>, file: &str) -> Flow<Response> {
    let target = format!("/page/{file}");
    let want = Want {
        key: format!("origin{target}"),
        source: Source::Origin(target),
        fresh_ms: FRESH_MS,
        stale_ms: FRESH_MS,
        stale_error_ms: STALE_ERROR_MS,
        missing_ms: FRESH_MS,
        collapse: true,
        timeout_ms: TIMEOUT_MS,
        forward: Vec::new(),
        max_bytes: BYTES_MAX,
    };
    let headers = vec![
        header("cache-control", "public, max-age=5"),
        header("x-content-type-options", "nosniff"),
        header("referrer-policy", "no-referrer"),
    ];
    match cx.relay(Relay { want, headers })? {
        Got::Object(object) if is_missing(object.status) => stop(Problem::ObjectUnknown.response()),
        _ => stop(cx.unavailable(Problem::OriginUnavailable, 2)),
    }
}
