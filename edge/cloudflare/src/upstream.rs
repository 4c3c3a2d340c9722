//! Requests to the origin, each with its own time limit.
//!
//! Owns the origin's address. Owns no cache of its own; says to Cloudflare's how long a relay may
//! stay there. Invariant: a request ends by its deadline, whatever the origin does, and follows no
//! redirect.

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use sightscreen_core::door::{self, Answer, Lifetime};
use sightscreen_core::{Failure, Object, Want};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use worker::wasm_bindgen::JsValue;
use worker::{AbortController, Delay, Fetch, Request, Response, js_sys, web_sys};

/// Whether Cloudflare's own cache keeps the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// As the want's times say, in whole seconds.
    AsWanted,
    /// Not at all.
    No,
}

/// The whole answer to `want`.
pub(crate) async fn whole(
    origin: &str,
    want: &Want,
    headers: &[(String, String)],
) -> Result<Answer, Failure> {
    let request = request(origin, want, headers, Keep::No).ok_or(Failure::Unreachable)?;
    let abort = AbortController::default();
    let signal = abort.signal();
    let answer = async {
        let response = Fetch::Request(request)
            .send_with_signal(&signal)
            .await
            .map_err(|_| Failure::Unreachable)?;
        read(response, want.max_bytes).await
    };
    match within(want.timeout_ms, answer).await {
        Some(result) => result,
        None => {
            abort.abort();
            Err(Failure::Timeout)
        }
    }
}

/// Status, headers and the body still to come.
pub(crate) async fn head(
    origin: &str,
    want: &Want,
    headers: &[(String, String)],
    keep: Keep,
) -> Result<Response, Failure> {
    let request = request(origin, want, headers, keep).ok_or(Failure::Unreachable)?;
    let abort = AbortController::default();
    let signal = abort.signal();
    let fetch = Fetch::Request(request);
    match within(want.timeout_ms, fetch.send_with_signal(&signal)).await {
        Some(result) => result.map_err(|_| Failure::Unreachable),
        None => {
            abort.abort();
            Err(Failure::Timeout)
        }
    }
}

/// What `future` comes to, unless `timeout_ms` pass first.
pub(crate) async fn within<T>(timeout_ms: u32, future: impl Future<Output = T>) -> Option<T> {
    let delay = Delay::from(Duration::from_millis(timeout_ms.into()));
    match select(pin!(future), pin!(delay)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// A header's value by lower case name.
pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).ok().flatten()
}

/// The object without its body.
pub(crate) fn without_body(response: &Response) -> Object {
    Object {
        status: response.status_code(),
        headers: door::object_headers(|name| header(response, name)),
        body: Vec::new(),
    }
}

/// The whole body, if it is not longer than `max_bytes`.
pub(crate) async fn body(response: &mut Response, max_bytes: u32) -> Result<Vec<u8>, Failure> {
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut body = Vec::new();
    let Ok(mut stream) = response.stream() else {
        // The platform has no stream for an empty body.
        return Ok(body);
    };
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Failure::Unreachable)?;
        if body.len() + chunk.len() > limit {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn read(mut response: Response, max_bytes: u32) -> Result<Answer, Failure> {
    let cache_control = header(&response, "cache-control");
    let mut object = without_body(&response);
    object.body = body(&mut response, max_bytes).await?;
    Ok(Answer { object, cache_control })
}

fn request(origin: &str, want: &Want, headers: &[(String, String)], keep: Keep) -> Option<Request> {
    let target = door::origin_target(&want.source)?;
    let fields = web_sys::Headers::new().ok()?;
    for (name, value) in headers {
        fields.append(name, value).ok()?;
    }
    let init = web_sys::RequestInit::new();
    init.set_method("GET");
    init.set_redirect(web_sys::RequestRedirect::Manual);
    init.set_headers(&fields);
    match keep {
        Keep::AsWanted => {
            js_sys::Reflect::set(&init, &"cf".into(), &cache_settings(want)).ok()?;
        }
        Keep::No => init.set_cache(web_sys::RequestCache::NoStore),
    }
    let url = format!("{}{target}", origin.trim_end_matches('/'));
    web_sys::Request::new_with_str_and_init(&url, &init).ok().map(Request::from)
}

/// The want's times as Cloudflare's cache takes them: seconds by status, and a negative number for
/// "never".
fn cache_settings(want: &Want) -> JsValue {
    let seconds = |status: u16| {
        let lifetime = Lifetime::of(want, status, None).unwrap_or_default();
        match i32::try_from(lifetime.fresh_ms / 1000) {
            Ok(0) => -1,
            Ok(seconds) => seconds,
            Err(_) => i32::MAX,
        }
    };
    let by_status = [
        ("200-299", seconds(200)),
        ("300-403", -1),
        ("404", seconds(404)),
        ("405-409", -1),
        ("410", seconds(410)),
        ("411-599", -1),
    ];
    let times = js_sys::Object::new();
    for (statuses, seconds) in by_status {
        // Setting a property of a plain object that was made here cannot fail.
        let _ = js_sys::Reflect::set(&times, &statuses.into(), &seconds.into());
    }
    let settings = js_sys::Object::new();
    for (name, value) in [
        ("cacheEverything", JsValue::TRUE),
        ("cacheKey", JsValue::from(&want.key)),
        ("cacheTtlByStatus", times.into()),
    ] {
        let _ = js_sys::Reflect::set(&settings, &name.into(), &value);
    }
    settings.into()
}
