//! Requests to the backend `origin` and to where an event has its media, and bodies as they arrive.

use std::io::Read;

use fastly::backend::{Backend, BackendCreationError};
use fastly::handle::{
    BodyHandle, CacheOverride, PendingRequestHandle, PollHandleResult, RequestHandle,
};
use fastly::http::header::{HeaderName, HeaderValue};
use fastly::http::{Method, Url};
use sightscreen_core::{Failure, Source, Want};
use sightscreen_door::{self as door, Arrival, headers};

use crate::abi;
use crate::relay::Stream;
use crate::task::wait_for;

const BACKEND: &str = "origin";
/// Bytes that one read may bring.
const CHUNK: usize = 64 * 1024;
/// More than any header that the doors read.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// GET of what `want` names, until the head.
pub(crate) async fn send(
    secret: Option<&str>,
    want: &Want,
    forwarded: &[(String, String)],
) -> Result<Arrival<Stream>, Failure> {
    let mut pending = request(secret, want, forwarded);
    let Some(item) = pending.as_ref().map(abi::of_request) else {
        return Err(Failure::Unreachable);
    };
    let arrived = wait_for(item, || match pending.take()?.poll() {
        PollHandleResult::Pending(again) => {
            pending = Some(again);
            None
        }
        PollHandleResult::Done(result) => Some(result),
    });
    let (response, body) = arrived.await.map_err(|_| Failure::Unreachable)?;
    let header = |name: &str| -> Vec<String> {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return Vec::new() };
        let values = response.get_header_values(&name, MAX_HEADER_BYTES);
        values.filter_map(|value| value.ok()?.to_str().ok().map(str::to_owned)).collect()
    };
    let status = response.get_status().as_u16();
    Ok(Arrival { status, headers: headers::read(header), stream: Stream::Native(body.into()) })
}

fn request(
    secret: Option<&str>,
    want: &Want,
    forwarded: &[(String, String)],
) -> Option<PendingRequestHandle> {
    // The address and host of the backend `origin` take the place of this authority.
    let url = Url::parse(&door::url_of(&want.source, &format!("http://{BACKEND}"))?).ok()?;
    let backend = match &want.source {
        Source::Media(_) => media_backend(&url)?,
        _ => BACKEND.to_owned(),
    };
    let mut request = RequestHandle::new();
    request.set_method(&Method::GET);
    request.set_url(&url);
    let forwarded = forwarded.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in forwarded.chain(secret.map(|secret| (headers::SECRET, secret))) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.append_header(&name, &HeaderValue::from_str(value).ok()?);
    }
    // The platform's read-through cache would keep answers by the origin's headers; the want's
    // times hold instead.
    request.set_cache_override(&CacheOverride::Pass);
    request.send_async(BodyHandle::new(), &backend).ok()
}

/// The backend for an event's media, which its document names and the service does not: made where
/// this session has none yet.
fn media_backend(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let is_tls = url.scheme() == "https";
    let address = format!("{host}:{}", url.port_or_known_default()?);
    let name = format!("media-{}-{address}", url.scheme());
    let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let backend = Backend::builder(&name, &address).override_host(authority);
    let backend = if is_tls {
        backend.enable_ssl().sni_hostname(host).check_certificate(host)
    } else {
        backend.disable_ssl()
    };
    match backend.finish() {
        Ok(_) | Err(BackendCreationError::NameInUse) => Some(name),
        Err(_) => None,
    }
}

/// The next bytes of a body, as soon as there are some; empty at its end.
pub(crate) async fn chunk(body: &mut BodyHandle) -> Result<Vec<u8>, Failure> {
    let item = abi::of_body(body);
    wait_for(item, || abi::is_ready(item).then_some(())).await;
    let mut chunk = vec![0; CHUNK];
    let count = body.read(&mut chunk).map_err(|_| Failure::Unreachable)?;
    chunk.truncate(count);
    Ok(chunk)
}

/// The whole body, if it is not longer than `max_bytes`.
pub(crate) async fn read(mut body: BodyHandle, max_bytes: u32) -> Result<Vec<u8>, Failure> {
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let mut whole = Vec::new();
    loop {
        let chunk = chunk(&mut body).await?;
        if chunk.is_empty() {
            return Ok(whole);
        }
        if whole.len() + chunk.len() > limit {
            return Err(Failure::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
}
