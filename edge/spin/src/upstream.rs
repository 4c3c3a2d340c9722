//! Requests to the origin.

use crate::viewer::{Ending, texts};
use sightscreen_core::{Failure, Want};
use sightscreen_door::{self as door, Arrival, headers};
use spin_sdk::wasip3;
use wasip3::http::client;
use wasip3::http::types::{Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::{StreamReader, StreamResult};
use wasip3::{wit_future, wit_stream};

/// Bytes that one read may bring.
const CHUNK: usize = 64 * 1024;

/// A body, and how it ended.
pub(crate) struct Stream {
    pub(crate) body: StreamReader<u8>,
    pub(crate) ending: Ending,
}

/// GET of what `want` names, until the head.
pub(crate) async fn send(
    origin: &str,
    secret: Option<&str>,
    want: &Want,
    forwarded: &[(String, String)],
) -> Result<Arrival<Stream>, Failure> {
    let request = request(origin, secret, want, forwarded).ok_or(Failure::Unreachable)?;
    let response = client::send(request).await.map_err(|_| Failure::Unreachable)?;
    let fields = response.get_headers();
    let status = response.get_status_code();
    let headers = headers::read(|name| texts(&fields, name));
    let (_, received) = wit_future::new(|| Ok(()));
    let (body, ending) = Response::consume_body(response, received);
    Ok(Arrival { status, headers, stream: Stream { body, ending } })
}

fn request(
    origin: &str,
    secret: Option<&str>,
    want: &Want,
    forwarded: &[(String, String)],
) -> Option<Request> {
    let url = door::url_of(&want.source, origin)?;
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/')?);
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    let secret = secret.map(|secret| (headers::SECRET.to_owned(), secret.as_bytes().to_vec()));
    let fields: Vec<(String, Vec<u8>)> = forwarded
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into_bytes()))
        .chain(secret)
        .collect();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::from_list(&fields).ok()?, None, trailers, None);
    request.set_method(&Method::Get).ok()?;
    request.set_scheme(Some(&scheme)).ok()?;
    request.set_authority(Some(authority)).ok()?;
    request.set_path_with_query(Some(path)).ok()?;
    Some(request)
}

/// The whole body, if it is not longer than `max_bytes` and came to its end.
pub(crate) async fn read(stream: Stream, max_bytes: u32) -> Result<Vec<u8>, Failure> {
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let Stream { mut body, ending } = stream;
    let mut whole = Vec::new();
    loop {
        let (result, chunk) = body.read(Vec::with_capacity(CHUNK)).await;
        if whole.len() + chunk.len() > limit {
            return Err(Failure::TooLarge);
        }
        whole.extend_from_slice(&chunk);
        if !matches!(result, StreamResult::Complete(_)) {
            break;
        }
    }
    ending.await.map_err(|_| Failure::Unreachable)?;
    Ok(whole)
}

/// The same body, copied chunk by chunk, which breaks where it goes on past `max_bytes`.
pub(crate) fn bounded(stream: Stream, max_bytes: u32) -> Stream {
    let Stream { mut body, ending } = stream;
    let (mut writer, reader) = wit_stream::new();
    let (ended, bounded) = wit_future::new(|| Ok(None));
    wasip3::spawn(async move {
        let mut left = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let outcome = loop {
            let (result, chunk) = body.read(Vec::with_capacity(CHUNK)).await;
            let Some(rest) = left.checked_sub(chunk.len()) else {
                break Err(wasip3::http::types::ErrorCode::HttpResponseBodySize(None));
            };
            left = rest;
            // What is left unwritten is what a viewer who went away does not want.
            if !writer.write_all(chunk).await.is_empty() {
                break Ok(None);
            }
            if !matches!(result, StreamResult::Complete(_)) {
                break ending.await;
            }
        };
        drop(writer);
        let _ = ended.write(outcome).await;
    });
    Stream { body: reader, ending: bounded }
}
