//! HTTP: listening, connections, and the answers that are everywhere the same.
//!
//! Owns sockets and their limits. Decides nothing about a request. Invariant: shutting down stops listening at once and gives open requests a
//! bounded time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// For a connection to send its request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For open requests to end when the server stops. A playlist request that is held for longer (three target durations of long segments) is cut off, and players ask
/// again.
const DRAIN: Duration = Duration::from_secs(8);
/// Requests at once on one HTTP/2 connection; a door may bring all of its viewers over one.
const STREAMS_MAX: u32 = 1024;
/// Pause after a failed accept, which is nearly always too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Something that answers requests. `None` closes the connection without an answer.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Option<Response<Bytes>>> + Send;
}

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "--{setting} {address}: cannot listen ({source}): stop what uses the port, or choose another"
)]
pub struct ListenError {
    /// The setting that names the address.
    pub setting: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// Opens a listening socket.
///
/// # Errors
/// See [`ListenError`].
pub async fn listen(
    setting: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError {
            setting,
            address,
            source,
        })
}

/// Serves HTTP/1.1 and HTTP/2 without TLS until `stop` changes or its sender is gone.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    mut stop: watch::Receiver<bool>,
) {
    let builder = protocols();
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Parts are small and wanted at once.
        let _ = stream.set_nodelay(true);
        let handler = Arc::clone(&handler);
        let service = service_fn(move |request| respond(Arc::clone(&handler), request));
        let connection = builder
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "connection ended");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX);
    builder
}

/// The handler asked for the connection to be closed.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Closed;

async fn respond<H: Handler>(
    handler: Arc<H>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Closed> {
    handler
        .answer(request)
        .await
        .map(|response| response.map(Full::new))
        .ok_or(Closed)
}

/// JSON with a `cache-control`.
#[must_use]
pub fn json(status: StatusCode, cache: &'static str, value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(body) => reply(status, "application/json", cache, body.into()),
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The answer could not be written",
        ),
    }
}

/// RFC 9457 problem JSON, never stored.
#[must_use]
pub fn problem(status: StatusCode, code: &str, title: &str) -> Response<Bytes> {
    let body = Problem {
        kind: &["urn:sightscreen:problem:", code].concat(),
        title,
        status: status.as_u16(),
    };
    // Texts and a number cannot fail to be written.
    let body = serde_json::to_vec(&body).unwrap_or_default();
    reply(status, "application/problem+json", "no-store", body.into())
}

/// In the order in which every door writes it.
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
}

/// Nothing here.
#[must_use]
pub fn not_found() -> Response<Bytes> {
    problem(
        StatusCode::NOT_FOUND,
        "route-unknown",
        "There is nothing here",
    )
}

/// A whole answer.
#[must_use]
pub fn reply(
    status: StatusCode,
    content_type: &'static str,
    cache: &'static str,
    body: Bytes,
) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
