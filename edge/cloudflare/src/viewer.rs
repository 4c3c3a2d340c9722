//! From the platform's request to the core's, and from the driver's answer to the platform's.

use crate::upstream::Stream;
use sightscreen_core::{Client, REQUEST_HEADERS, Request};
use sightscreen_door::{self as door, Answer, Body};
use worker::{EncodeBody, Env, Headers, Response, ResponseBody, ResponseBuilder, Result, js_sys};

/// Cloudflare's word for "not known" in place of a country.
const UNKNOWN_COUNTRY: &str = "XX";

/// A variable or secret by name; empty is the same as absent.
pub(crate) fn setting(env: &Env, name: &str) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string()).filter(|value| !value.is_empty())
}

/// The core's request for the platform's.
pub(crate) fn request(incoming: &worker::Request, geo_header: Option<&str>) -> Request {
    Request {
        method: incoming.inner().method(),
        target: origin_form(&incoming.inner().url()),
        headers: headers(incoming),
        client: client(incoming, geo_header),
        now_ms: now_ms(),
        entropy: entropy(),
    }
}

/// Milliseconds since the Unix epoch. On this platform time stands still while code runs, and moves
/// with each wait.
pub(crate) fn now_ms() -> u64 {
    worker::Date::now().as_millis()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "each half is below 2^32"
)]
pub(crate) fn entropy() -> u64 {
    let half = || (js_sys::Math::random() * 4_294_967_296.0) as u64;
    half() << 32 | half()
}

/// Path and query of an absolute URL, untouched.
fn origin_form(url: &str) -> String {
    match url.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]).to_owned(),
        None => url.to_owned(),
    }
}

fn headers(incoming: &worker::Request) -> Vec<(String, String)> {
    let value = |name: &str| match name {
        "accept-encoding" => accepted_encodings(incoming),
        name => incoming.headers().get(name).ok()?,
    };
    REQUEST_HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect()
}

/// What the viewer accepts: the header itself says what the platform does.
fn accepted_encodings(incoming: &worker::Request) -> Option<String> {
    let cf = js_sys::Reflect::get(incoming.inner(), &"cf".into()).ok()?;
    let accepted = js_sys::Reflect::get(&cf, &"clientAcceptEncoding".into()).ok()?;
    accepted.as_string()
}

fn client(incoming: &worker::Request, geo_header: Option<&str>) -> Client {
    let (country, region) = match geo_header {
        Some(name) => {
            let value = incoming.headers().get(name).ok().flatten();
            value.as_deref().map_or((None, None), door::geography)
        }
        None => platform_geography(incoming),
    };
    Client { country, region, mobile: None }
}

fn platform_geography(incoming: &worker::Request) -> (Option<String>, Option<String>) {
    let country = incoming.cf().and_then(worker::Cf::country).unwrap_or_default();
    if country == UNKNOWN_COUNTRY {
        return (None, None);
    }
    let region = incoming.cf().and_then(worker::Cf::region_code);
    let with_region = region.map(|region| door::geography(&format!("{country}-{region}")));
    match with_region {
        Some((Some(country), region)) => (Some(country), region),
        _ => door::geography(&country),
    }
}

/// The platform's response.
pub(crate) fn response(answer: Answer<Stream>) -> Result<Response> {
    let Answer { status, headers, body } = answer;
    let body = match body {
        Body::Whole(body) => ResponseBody::Body(body),
        Body::Stream(stream) => stream,
    };
    let fields = Headers::new();
    for (name, value) in &headers {
        fields.append(name, value)?;
    }
    // The platform refuses a body, even an empty one, with 204.
    let body = if status == 204 { ResponseBody::Empty } else { body };
    let mut builder = ResponseBuilder::new().with_status(status).with_headers(fields);
    // The bytes are in their encoding already; the platform would encode them once more.
    if headers.iter().any(|(name, _)| name == "content-encoding") {
        builder = builder.with_encode_body(EncodeBody::Manual);
    }
    Ok(builder.body(body))
}
