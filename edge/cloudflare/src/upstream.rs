//! Requests to the origin. They follow no redirect.

use futures_util::StreamExt;
use sightscreen_core::{Class, Failure, Sharing, Source, Want};
use sightscreen_door::{self as door, Arrival, Lifetime, headers};
use worker::wasm_bindgen::JsValue;
use worker::{
    AbortController, Fetch, Request, Response, ResponseBody, ResponseBuilder, js_sys, web_sys,
};

/// A body that the platform moves.
pub(crate) type Stream = ResponseBody;

/// Ends a request that nobody waits for any more.
struct AbortUnlessDone(Option<AbortController>);

impl Drop for AbortUnlessDone {
    fn drop(&mut self) {
        if let Some(controller) = self.0.take() {
            controller.abort();
        }
    }
}

/// GET of what `want` names, until the head.
pub(crate) async fn send(
    origin: &str,
    secret: Option<&str>,
    want: &Want,
    forwarded: &[(String, String)],
) -> Result<Arrival<Stream>, Failure> {
    let request = request(origin, secret, want, forwarded).ok_or(Failure::Unreachable)?;
    let abort = AbortController::default();
    let signal = abort.signal();
    let mut guard = AbortUnlessDone(Some(abort));
    let sent = Fetch::Request(request).send_with_signal(&signal).await;
    guard.0 = None;
    let response = sent.map_err(|_| Failure::Unreachable)?;
    let status = response.status_code();
    let headers = headers::read(|name| header(&response, name));
    Ok(Arrival { status, headers, stream: response.into_parts().1 })
}

/// A header's value by lower case name.
pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name).ok().flatten()
}

/// The whole body, if it is not longer than `max_bytes`.
pub(crate) async fn read(stream: Stream, max_bytes: u32) -> Result<Vec<u8>, Failure> {
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut response = ResponseBuilder::new().body(stream);
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

fn request(
    origin: &str,
    secret: Option<&str>,
    want: &Want,
    forwarded: &[(String, String)],
) -> Option<Request> {
    let url = door::url_of(&want.source, origin)?;
    let fields = web_sys::Headers::new().ok()?;
    for (name, value) in forwarded {
        fields.append(name, value).ok()?;
    }
    if let Some(secret) = secret {
        fields.append(headers::SECRET, secret).ok()?;
    }
    let init = web_sys::RequestInit::new();
    init.set_method("GET");
    init.set_redirect(web_sys::RequestRedirect::Manual);
    init.set_headers(&fields);
    if is_for_the_cache(want) {
        js_sys::Reflect::set(&init, &"cf".into(), &cache_settings(want)).ok()?;
    } else {
        init.set_cache(web_sys::RequestCache::NoStore);
    }
    web_sys::Request::new_with_str_and_init(&url, &init).ok().map(Request::from)
}

/// Whether Cloudflare's own cache keeps the answer. It counts in whole seconds. What it keeps, it
/// asks for once for all isolates of a data centre, and with tiered cache once for many of those:
/// so the answers to blocking requests are for it too.
fn is_for_the_cache(want: &Want) -> bool {
    let is_media = matches!(want.class, Class::Object | Class::Playlist | Class::Page);
    let is_plain = matches!(want.source, Source::Origin(_) | Source::Media(_));
    want.sharing == Sharing::Everyone && is_plain && is_media && want.fresh_ms >= 1000
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
