//! From the platform's request to the core's, and from the driver's answer to the platform's.

use crate::upstream::Stream;
use sightscreen_core::{Client, REQUEST_HEADERS, Request};
use sightscreen_door::{self as door, Answer, Body};
use spin_sdk::{variables, wasip3};
use std::hash::{BuildHasher, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};
use wasip3::http::types::{self, ErrorCode, Fields, Method, Response};
use wasip3::wit_bindgen::StreamReader;
use wasip3::wit_bindgen::rt::async_support::FutureReader;
use wasip3::{wit_future, wit_stream};

/// How a body ended.
pub(crate) type Ending = FutureReader<Result<Option<types::Trailers>, ErrorCode>>;

/// An application variable by name; empty is the same as absent.
pub(crate) async fn setting(name: &str) -> Option<String> {
    variables::get(name).await.ok().filter(|value| !value.is_empty())
}

/// The core's request for the platform's.
pub(crate) fn request(incoming: &types::Request, geo_header: Option<&str>) -> Request {
    let fields = incoming.get_headers();
    let geography = geo_header.and_then(|name| door::only(texts(&fields, name)));
    let (country, region) = geography.as_deref().map_or((None, None), door::geography);
    Request {
        method: method(incoming.get_method()),
        target: incoming.get_path_with_query().unwrap_or_else(|| "/".to_owned()),
        headers: REQUEST_HEADERS
            .iter()
            .flat_map(|name| texts(&fields, name).map(|value| ((*name).to_owned(), value)))
            .collect(),
        client: Client { country, region, mobile: None },
        now_ms: now_ms(),
        entropy: entropy(),
    }
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

/// A header's values that are text.
pub(crate) fn texts(fields: &Fields, name: &str) -> impl Iterator<Item = String> + use<> {
    fields.get(name).into_iter().filter_map(|value| String::from_utf8(value).ok())
}

fn method(method: Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Other(name) => name,
    }
}

/// The platform's response.
pub(crate) fn response(answer: Answer<Stream>) -> Result<Response, ErrorCode> {
    let Answer { status, mut headers, body } = answer;
    let body = match body {
        Body::Stream(Stream { body, ending }) => return stream(status, &headers, body, ending),
        Body::Whole(body) => body,
    };
    headers.push(("content-length".to_owned(), body.len().to_string()));
    let (mut writer, reader) = wit_stream::new();
    let (ended, ending) = wit_future::new(|| Ok(None));
    let response = stream(status, &headers, reader, ending)?;
    wasip3::spawn(async move {
        // What is left unwritten is what a viewer who went away does not want.
        let _ = writer.write_all(body).await;
        drop(writer);
        let _ = ended.write(Ok(None)).await;
    });
    Ok(response)
}

/// With a body that the platform moves.
fn stream(
    status: u16,
    headers: &[(String, String)],
    body: StreamReader<u8>,
    ending: Ending,
) -> Result<Response, ErrorCode> {
    let fields: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let refused = |_| ErrorCode::InternalError(None);
    let fields = Fields::from_list(&fields).map_err(refused)?;
    let (response, _sent) = Response::new(fields, Some(body), ending);
    response.set_status_code(status).map_err(|()| ErrorCode::InternalError(None))?;
    Ok(response)
}
