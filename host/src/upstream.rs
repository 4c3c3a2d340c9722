//! The origin, over HTTP: connections, one GET, and its limits of time and bytes.
//!
//! A request to the origin says nothing of a viewer but the headers that it is given. Each class of
//! want has a budget of requests under way, shared by all threads of the node, so that an API that
//! hangs takes nothing from the media.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::buffer::Buffer;
use crate::config::{self, Budgets, Config};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::readers::Memory;
use crate::transfer::{Head, Transfer};
use crate::trouble::Troubles;
use crate::trust;
use sightscreen_core::{Class, Failure, Source, Want};
use sightscreen_door::{self as door, Lifetime};

/// In which the origin is told that an edge of its own asks.
const SECRET: HeaderName = HeaderName::from_static(door::headers::SECRET);
/// A document that every origin has, if only to say that there is none.
const PROBE: &str = "flags/site";

/// Most of a body that is read ahead of whoever takes it. A request that waits for room holds so
/// much.
const READ_BUFFER_BYTES: usize = 64 * 1024;

type HttpClient = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// The origin's address and this thread's connections to it.
#[derive(Clone)]
pub(crate) struct Upstream {
    client: HttpClient,
    /// For what an event's document names as the place of its media: another server, with another
    /// certificate, which is not shown this node's own.
    media: HttpClient,
    /// Scheme and authority.
    origin: Arc<str>,
    secret: Option<HeaderValue>,
    places: Arc<Places>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    troubles: Arc<Troubles>,
    /// Longest that a body may stand still.
    stall: Duration,
}

/// Limits of one transfer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransferLimits {
    /// Until the head.
    pub(crate) head: Duration,
    /// Until the last byte.
    pub(crate) whole: Duration,
    /// Bytes of body.
    pub(crate) bytes: u64,
}

/// Requests that may be under way, for each class.
pub(crate) struct Places([Arc<Semaphore>; Class::ALL.len()]);

impl Places {
    pub(crate) fn new(budgets: &Budgets) -> Self {
        Self(Class::ALL.map(|class| {
            Arc::new(Semaphore::new(match class {
                Class::Document => budgets.document,
                Class::Playlist => budgets.playlist,
                Class::Object => budgets.object,
                Class::Api => budgets.api,
                Class::Personal => budgets.personal,
                Class::Page => budgets.page,
            }))
        }))
    }

    /// Waits for a place. The caller sets a deadline.
    async fn place(&self, class: Class) -> Option<OwnedSemaphorePermit> {
        // Nobody closes the semaphore, so there is a permit for everyone in the end.
        Arc::clone(&self.0[class as usize]).acquire_owned().await.ok()
    }

    /// Requests that may still begin.
    pub(crate) fn left(&self, class: Class) -> usize {
        self.0[class as usize].available_permits()
    }
}

impl Upstream {
    /// A thread's own connections to the origin of these settings.
    pub(crate) fn new(config: &Config, node: &Node) -> std::io::Result<Self> {
        let limits = &config.limits;
        Ok(Self {
            client: client(trust::origin(&config.origin)?, limits),
            media: client(trust::media(&config.origin)?, limits),
            origin: config.origin.url.as_str().into(),
            secret: config.origin.secret.clone(),
            places: Arc::clone(&node.places),
            memory: Arc::clone(&node.memory),
            metrics: Arc::clone(&node.metrics),
            troubles: Arc::clone(&node.troubles),
            stall: limits.stall,
        })
    }

    /// GET what `want` names with `headers`, until the head.
    async fn get(
        &self,
        want: &Want,
        headers: HeaderMap,
        within: Duration,
        transfer: &Transfer,
    ) -> Result<(Head, Arriving), Failure> {
        let class = want.class;
        let start = Instant::now();
        let sent = async {
            let permit = transfer.in_line(self.places.place(class)).await;
            Ok((self.send(want, headers).await?, permit))
        };
        let outcome = timeout(within, sent).await.unwrap_or(Err(Failure::Timeout));
        let status =
            outcome.as_ref().map_err(|failure| *failure).map(|(response, _)| response.status());
        self.metrics.upstream(class, status, start.elapsed());
        let (response, permit) = outcome?;
        self.tell(want, response.status());
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let mut cache_control =
            parts.headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        let private = cache_control.any(|value| Lifetime::of(want, status, Some(value)).is_none());
        let length =
            parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((
            Head { status: parts.status, headers: parts.headers, length, private },
            Arriving { body, stall: self.stall, _permit: permit },
        ))
    }

    /// Says where an answer is a failure.
    fn tell(&self, want: &Want, status: StatusCode) {
        if !want.class.is_failure(status.as_u16()) {
            return;
        }
        let is_for_edges = matches!(want.class, Class::Document | Class::Playlist | Class::Object);
        let url = door::url_of(&want.source, &self.origin).unwrap_or_default();
        if is_for_edges && status == StatusCode::FORBIDDEN {
            self.troubles.refused(base(&url), self.secret.is_some());
        } else {
            self.troubles.failed(base(&url), status);
        }
    }

    async fn send(&self, want: &Want, headers: HeaderMap) -> Result<Response<Incoming>, Failure> {
        self.ask(&want.source, headers).await
    }

    async fn ask(
        &self,
        source: &Source,
        headers: HeaderMap,
    ) -> Result<Response<Incoming>, Failure> {
        // A URL that is none cannot be asked for; to the component that is an origin that does not
        // answer.
        let url = door::url_of(source, &self.origin).ok_or(Failure::Unreachable)?;
        let uri: Uri = url.parse().map_err(|_| Failure::Unreachable)?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if let Some(secret) = &self.secret {
            request.headers_mut().insert(SECRET, secret.clone());
        }
        let client = if let Source::Media(_) = source { &self.media } else { &self.client };
        client.request(request).await.map_err(|error| {
            self.troubles.tell(base(&url), &error);
            Failure::Unreachable
        })
    }

    /// Whether the origin answers a question that every origin can.
    pub(crate) async fn answers(&self, within: Duration) -> bool {
        let probe = Source::Document(PROBE.to_owned());
        let asked = timeout(within, self.ask(&probe, HeaderMap::new())).await;
        asked.is_ok_and(|answer| {
            answer.is_ok_and(|response| {
                response.status().is_success() || response.status() == StatusCode::NOT_FOUND
            })
        })
    }

    /// GET what `want` names into `transfer`; `at_head` is called once between head and body.
    pub(crate) async fn fill(
        &self,
        want: &Want,
        headers: HeaderMap,
        limits: TransferLimits,
        transfer: &Transfer,
        at_head: impl FnOnce(&Head),
    ) -> Result<(), Failure> {
        let work = async {
            let (head, mut body) = self.get(want, headers, limits.head, transfer).await?;
            at_head(&head);
            let too_large = head.length.is_some_and(|length| length > limits.bytes);
            if too_large {
                return Err(Failure::TooLarge);
            }
            let room = transfer.in_line(self.memory.room(head.length.unwrap_or(0)));
            let mut room = timeout(limits.head, room).await.map_err(|_| Failure::Timeout)?;
            transfer.set_head(head);
            let mut left = limits.bytes;
            let mut scattered = Scattered::default();
            while let Some(chunk) = next_chunk(&mut body).await? {
                left = left.checked_sub(chunk.len() as u64).ok_or(Failure::TooLarge)?;
                let chunk = room.count(chunk);
                transfer.push(chunk.clone());
                scattered.add(chunk, transfer, &self.memory);
            }
            Ok(())
        };
        timeout(limits.whole, work).await.unwrap_or(Err(Failure::Timeout))
    }
}

/// What came last of a body, still in its connection's read buffers. Left there, bodies that arrive
/// at the same time would leave the allocator with holes that it never gives back.
#[derive(Default)]
struct Scattered {
    start: u64,
    bytes: u64,
    chunks: Vec<Bytes>,
}

impl Scattered {
    /// One more chunk. If they are enough, they move to memory of their own.
    fn add(&mut self, chunk: Bytes, transfer: &Transfer, memory: &Arc<Memory>) {
        self.bytes += chunk.len() as u64;
        self.chunks.push(chunk);
        if self.bytes >= READ_BUFFER_BYTES as u64 {
            let joined = memory.count(Buffer::joined(self.chunks.iter()));
            transfer.replace(self.start, joined);
            *self = Self { start: self.start + self.bytes, ..Self::default() };
        }
    }
}

fn client(tls: rustls::ClientConfig, limits: &config::Limits) -> HttpClient {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(limits.connect));
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(limits.idle)
        .http1_max_buf_size(READ_BUFFER_BYTES)
        .build(connector)
}

/// Scheme and authority of a URL.
fn base(url: &str) -> &str {
    let start = url.find("://").map_or(0, |colon| colon + 3);
    let end = url[start..].find('/').map_or(url.len(), |slash| start + slash);
    &url[..end]
}

/// A body on its way, with its place among the requests under way.
pub(crate) struct Arriving {
    body: Incoming,
    stall: Duration,
    _permit: Option<OwnedSemaphorePermit>,
}

/// The next bytes of a body that may not stand still for long.
pub(crate) async fn next_chunk(arriving: &mut Arriving) -> Result<Option<Bytes>, Failure> {
    loop {
        match timeout(arriving.stall, arriving.body.frame()).await {
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
