//! The origin, over HTTP: connections, one GET, and what counts as its failure.
//!
//! Owns the connection pool of a worker. Keeps no answer. Invariant: a request to the origin says
//! nothing of a viewer but the headers that it is given.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::metrics::Metrics;
use crate::transfer::{Head, Transfer};
use sightscreen_core::{Failure, Want};
use sightscreen_door::{self as door, Lifetime};

const CONNECT: Duration = Duration::from_secs(2);
/// Below the ten seconds after which the origin closes an idle connection.
const POOL_IDLE: Duration = Duration::from_secs(8);
/// Requests to the origin that a worker has under way at one time; the others wait within their own
/// time.
const REQUESTS_MAX: usize = 256;
/// Longest that a body may stand still.
const STALL: Duration = Duration::from_secs(10);

/// The origin's address and the connections to it.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// Scheme and authority.
    origin: Arc<str>,
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

/// Limits of one transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Until the head.
    pub(crate) head: Duration,
    /// Until the last byte.
    pub(crate) whole: Duration,
    /// Bytes of body.
    pub(crate) bytes: u64,
}

impl Upstream {
    /// `origin` is scheme and authority, such as `http://127.0.0.1:9080`.
    pub(crate) fn new(origin: &str, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(trust(origin)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(tls);
        Ok(Self {
            client,
            origin: origin.trim_end_matches('/').into(),
            room: Arc::new(Semaphore::new(REQUESTS_MAX)),
            metrics,
        })
    }

    /// GET what `want` names with `headers`, until the head.
    pub(crate) async fn get(
        &self,
        want: &Want,
        headers: HeaderMap,
        within: Duration,
    ) -> Result<(Head, Arriving), Failure> {
        let start = Instant::now();
        let sent = async {
            // A semaphore that nobody closes has a permit for everyone in the end.
            let permit = Arc::clone(&self.room).acquire_owned().await.ok();
            Ok((self.send(want, headers).await?, permit))
        };
        let outcome = timeout(within, sent).await.unwrap_or(Err(Failure::Timeout));
        let status =
            outcome.as_ref().map_err(|failure| *failure).map(|(response, _)| response.status());
        self.metrics.upstream(status, start.elapsed());
        let (response, permit) = outcome?;
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let mut cache_control =
            parts.headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let private = cache_control.any(|value| Lifetime::of(want, status, Some(value)).is_none());
        let length =
            parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((
            Head { status: parts.status, headers: parts.headers, length, private },
            Arriving { body, _permit: permit },
        ))
    }

    async fn send(&self, want: &Want, headers: HeaderMap) -> Result<Response<Incoming>, Failure> {
        let target = door::origin_target(&want.source).ok_or(Failure::Unreachable)?;
        // A target that is no URI cannot be asked for; to the component that is an origin that does
        // not answer.
        let uri: Uri =
            format!("{}{target}", self.origin).parse().map_err(|_| Failure::Unreachable)?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(|error| {
            tracing::debug!(error = %error, "origin did not answer");
            Failure::Unreachable
        })
    }

    /// GET what `want` names into `transfer`; `at_head` is called once between head and body.
    pub(crate) async fn fill(
        &self,
        want: &Want,
        headers: HeaderMap,
        limits: Limits,
        transfer: &Transfer,
        at_head: impl FnOnce(&Head),
    ) -> Result<(), Failure> {
        let work = async {
            let (head, mut body) = self.get(want, headers, limits.head).await?;
            at_head(&head);
            let too_large = head.length.is_some_and(|length| length > limits.bytes);
            if too_large {
                return Err(Failure::TooLarge);
            }
            transfer.set_head(head);
            let mut left = limits.bytes;
            while let Some(chunk) = next_chunk(&mut body).await? {
                left = left.checked_sub(chunk.len() as u64).ok_or(Failure::TooLarge)?;
                transfer.push(chunk);
            }
            Ok(())
        };
        timeout(limits.whole, work).await.unwrap_or(Err(Failure::Timeout))
    }
}

/// Whom to trust as the origin: this machine's authorities, and for an origin without TLS nobody.
fn trust(origin: &str) -> std::io::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    if origin.starts_with("https://") {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err(std::io::Error::other(format!(
                "--origin {origin}: this machine trusts no certificate authority; install Debian's package ca-certificates"
            )));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A body on its way, with its place among the requests under way.
pub(crate) struct Arriving {
    body: Incoming,
    _permit: Option<OwnedSemaphorePermit>,
}

/// The next bytes of a body that may not stand still for long.
pub(crate) async fn next_chunk(arriving: &mut Arriving) -> Result<Option<Bytes>, Failure> {
    loop {
        match timeout(STALL, arriving.body.frame()).await {
            Err(_) => return Err(Failure::Timeout),
            Ok(None) => return Ok(None),
            Ok(Some(Err(_))) => return Err(Failure::Unreachable),
            Ok(Some(Ok(frame))) => {
                // Trailers are of no use to anyone here.
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}
