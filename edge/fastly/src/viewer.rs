//! From the platform's request to the core's, and from the driver's answer to the platform's.

use crate::abi;
use crate::relay::Stream;
use fastly::geo::geo_lookup;
use fastly::http::header::HeaderName;
use fastly::http::{FramingHeadersMode, HeaderValue};
use fastly::{Response, device_detection};
use sightscreen_core::{Client, REQUEST_HEADERS, Request};
use sightscreen_door::{self as door, Answer, Body};
use std::hash::{BuildHasher, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

/// The core's request for the platform's.
pub(crate) fn request(incoming: &fastly::Request, geo_header: Option<&str>) -> Request {
    Request {
        method: incoming.get_method_str().to_owned(),
        target: origin_form(&abi::raw_url(incoming)),
        headers: headers(incoming),
        client: client(incoming, geo_header),
        now_ms: now_ms(),
        entropy: entropy(),
    }
}

/// Path and query of an absolute URL, untouched.
fn origin_form(url: &[u8]) -> String {
    let url = String::from_utf8_lossy(url);
    match url.split_once("://") {
        Some((_, rest)) => rest.find(['/', '?']).map_or("/", |start| &rest[start..]).to_owned(),
        None => url.into_owned(),
    }
}

fn headers(incoming: &fastly::Request) -> Vec<(String, String)> {
    REQUEST_HEADERS
        .iter()
        .flat_map(|name| {
            incoming
                .get_header_all(*name)
                .filter_map(|value| Some(((*name).to_owned(), value.to_str().ok()?.to_owned())))
        })
        .collect()
}

fn client(incoming: &fastly::Request, geo_header: Option<&str>) -> Client {
    let (country, region) = match geo_header {
        Some(name) => door::only(incoming.get_header_all(name))
            .and_then(|value| value.to_str().ok())
            .map_or((None, None), door::geography),
        None => platform_geography(incoming),
    };
    let mobile = incoming
        .get_header_str("user-agent")
        .and_then(device_detection::lookup)
        .and_then(|device| device.is_mobile());
    Client { country, region, mobile }
}

fn platform_geography(incoming: &fastly::Request) -> (Option<String>, Option<String>) {
    let Some(geo) = incoming.get_client_ip_addr().and_then(geo_lookup) else {
        return (None, None);
    };
    let country = geo.country_code().to_ascii_uppercase();
    let with_region = geo
        .region()
        .map(|region| door::geography(&format!("{country}-{}", region.to_ascii_uppercase())));
    match with_region {
        Some((Some(country), region)) => (Some(country), region),
        _ => door::geography(&country),
    }
}

/// Sends the answer. What the platform moves by itself is under way when this returns.
pub(crate) async fn send(answer: Answer<Stream>) {
    let Answer { status, mut headers, body } = answer;
    match body {
        Body::Whole(body) => {
            headers.push(("content-length".to_owned(), body.len().to_string()));
            response(status, &headers).with_body(body).send_to_client();
        }
        Body::Stream(Stream::Native(body)) => {
            response(status, &headers).with_body(body).send_to_client();
        }
        Body::Stream(Stream::Watched(watched)) => {
            watched.write_to(response(status, &headers).stream_to_client()).await;
        }
    }
}

fn response(status: u16, headers: &[(String, String)]) -> Response {
    let mut response = Response::from_status(status);
    // A stream has no length of its own; where one is known, the viewer has it too, for HEAD as
    // well.
    if headers.iter().any(|(name, _)| name == "content-length") {
        response.set_framing_headers_mode(FramingHeadersMode::ManuallyFromHeaders);
    }
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_str(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            response.append_header(name, value);
        }
    }
    response
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bits: the hasher's keys are the host's, drawn once an instance and then stepped.
pub(crate) fn entropy() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
