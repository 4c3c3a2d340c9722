//! `/` and `/page/...`: the demonstration page, passed on from the origin.

use crate::context::{Context, Flow, is_missing, refuse};
use crate::exchange::{Class, Got, Relay, Response, Sharing, Source, Want};
use crate::live::header;
use crate::problem::Problem;

/// Milliseconds for which a file is used.
const FRESH_MS: u32 = 5000;
const TIMEOUT_MS: u32 = 5000;
const BYTES_MAX: u32 = 8 << 20;

/// A file of the page.
pub(crate) fn answer(cx: &Context<'_>, file: &str) -> Flow<Response> {
    let target = format!("/page/{file}");
    let want = Want {
        key: format!("origin{target}"),
        source: Source::Origin(target),
        event: None,
        class: Class::Page,
        sharing: Sharing::Everyone,
        fresh_ms: FRESH_MS,
        stale_ms: FRESH_MS,
        missing_ms: FRESH_MS,
        timeout_ms: TIMEOUT_MS,
        max_bytes: BYTES_MAX,
    };
    let headers = vec![
        header("cache-control", "public, max-age=5"),
        header("x-content-type-options", "nosniff"),
        header("referrer-policy", "no-referrer"),
    ];
    match cx.relay(Relay { want, headers })? {
        Got::Object(object) if is_missing(object.status) => {
            refuse(Problem::ObjectUnknown.response())
        }
        _ => refuse(cx.unavailable()),
    }
}
