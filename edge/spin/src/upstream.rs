//! Requests to the origin, each with its own time limit.
//!
//! Owns the origin's address. Owns no cache. Invariant: a request ends by its deadline, whatever
//! the origin does.

use crate::viewer::{Ending, texts};
use futures::future::{Either, select};
use sightscreen_core::door::{self, Answer};
use sightscreen_core::{Failure, Object, Want};
use spin_sdk::wasip3;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::{StreamReader, StreamResult};
use wasip3::wit_future;

/// Bytes that one read may bring.
const CHUNK: usize = 64 * 1024;

/// Status and headers of the origin's answer, with the body still to come.
pub(crate) struct Head {
    pub(crate) status: u16,
    fields: Fields,
    response: Response,
}

impl Head {
    /// A header's value by lower case name.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        texts(&self.fields, name).next()
    }

    /// The object without its body.
    pub(crate) fn without_body(&self) -> Object {
        let headers = door::object_headers(|name| self.header(name));
        Object { status: self.status, headers, body: Vec::new() }
    }

    /// The body, and how it ended.
    pub(crate) fn into_body(self) -> (StreamReader<u8>, Ending) {
        let (_, received) = wit_future::new(|| Ok(()));
        Response::consume_body(self.response, received)
    }
}

/// The whole answer to `want`.
pub(crate) async fn whole(
    origin: &str,
    want: &Want,
    headers: &[(String, String)],
) -> Result<Answer, Failure> {
    let answer = async {
        let head = send(origin, want, headers).await?;
        let cache_control = head.header("cache-control");
        let mut object = head.without_body();
        let (body, ending) = head.into_body();
        object.body = read(body, want.max_bytes).await?;
        ending.await.map_err(|_| Failure::Unreachable)?;
        Ok(Answer { object, cache_control })
    };
    within(want.timeout_ms, answer).await.unwrap_or(Err(Failure::Timeout))
}

/// Status, headers and the body still to come.
pub(crate) async fn head(
    origin: &str,
    want: &Want,
    headers: &[(String, String)],
) -> Result<Head, Failure> {
    within(want.timeout_ms, send(origin, want, headers)).await.unwrap_or(Err(Failure::Timeout))
}

/// What `future` comes to, unless `timeout_ms` pass first.
pub(crate) async fn within<T>(timeout_ms: u32, future: impl Future<Output = T>) -> Option<T> {
    let limit = spin_sdk::time::sleep(Duration::from_millis(timeout_ms.into()));
    match select(pin!(future), pin!(limit)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

async fn send(origin: &str, want: &Want, headers: &[(String, String)]) -> Result<Head, Failure> {
    let request = request(origin, want, headers).ok_or(Failure::Unreachable)?;
    let response = client::send(request).await.map_err(|_| Failure::Unreachable)?;
    let fields = response.get_headers();
    Ok(Head { status: response.get_status_code(), fields, response })
}

fn request(origin: &str, want: &Want, headers: &[(String, String)]) -> Option<Request> {
    let target = door::origin_target(&want.source)?;
    let (scheme, rest) = origin.split_once("://")?;
    let (authority, prefix) = rest.find('/').map_or((rest, ""), |start| rest.split_at(start));
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let fields: Vec<(String, Vec<u8>)> =
        headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::from_list(&fields).ok()?, None, trailers, None);
    request.set_method(&Method::Get).ok()?;
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    let path = format!("{}{target}", prefix.trim_end_matches('/'));
    request.set_path_with_query(Some(&path)).ok()?;
    Some(request)
}

async fn read(mut body: StreamReader<u8>, max_bytes: u32) -> Result<Vec<u8>, Failure> {
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut whole = Vec::new();
    loop {
        let (result, chunk) = body.read(Vec::with_capacity(CHUNK)).await;
        if whole.len() + chunk.len() > limit {
            return Err(Failure::TooLarge);
        }
        whole.extend_from_slice(&chunk);
        if !matches!(result, StreamResult::Complete(_)) {
            return Ok(whole);
        }
    }
}
