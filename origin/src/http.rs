//! HTTP: listening, connections, and the answers that are everywhere the same.
//!
//! Owns sockets and their limits. Decides nothing about a request. Invariant: shutting down stops
//! listening at once and gives open requests a bounded time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use serde_json::{Map, Value};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// For a connection to send its request's head, and before that, to show which version of HTTP it
/// speaks.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest that a peer may leave what was sent to it unread, or an idle connection without a sign
/// of life.
const GONE: Duration = Duration::from_secs(60);
/// Longest pause between two signs of life of an HTTP/2 connection, and for the answer to one.
const PING: Duration = Duration::from_secs(20);
/// With what a connection says that it speaks HTTP/2 (RFC 9113 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Between two looks at a preface that has come in part.
const PREFACE_PAUSE: Duration = Duration::from_millis(10);
/// For open requests to end when the server stops. A playlist request that is held for longer
/// (three target durations of long segments) is cut off, and players ask again.
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
    let listener = TcpListener::bind(address).await;
    listener
        .and_then(|listener| {
            // Every accepted connection has these from its listener: a peer that is gone, or reads
            // no more, holds nothing for long.
            let socket = SockRef::from(&listener);
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(GONE))?;
            socket.set_tcp_user_timeout(Some(GONE))?;
            Ok(listener)
        })
        .map_err(|source| ListenError { setting, address, source })
}

/// Serves HTTP/1.1 and HTTP/2 without TLS until `stop` changes or its sender is gone.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    stop: watch::Receiver<bool>,
) {
    serve_within(HEAD_TIMEOUT, listener, handler, stop).await;
}

/// `first` is for a connection to show which version of HTTP it speaks.
async fn serve_within<H: Handler>(
    first: Duration,
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
        let (builder, watcher) = (builder.clone(), graceful.watcher());
        let (handler, mut stop) = (Arc::clone(&handler), stop.clone());
        tokio::spawn(async move {
            let speaks = tokio::select! {
                speaks = shows_version(&stream, first) => speaks,
                _ = stop.changed() => false,
            };
            if !speaks {
                return;
            }
            let service = service_fn(move |request| respond(Arc::clone(&handler), request));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error, "connection ended");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

/// Whether it is known in time which version of HTTP the peer speaks. From then on the version's
/// own limits hold; the library has none before.
async fn shows_version(stream: &TcpStream, limit: Duration) -> bool {
    let shown = async {
        let mut start = [0; PREFACE.len()];
        loop {
            match stream.peek(&mut start).await {
                Ok(0) | Err(_) => return false,
                Ok(length) if length < start.len() && PREFACE.starts_with(&start[..length]) => {
                    tokio::time::sleep(PREFACE_PAUSE).await;
                }
                Ok(_) => return true,
            }
        }
    };
    tokio::time::timeout(limit, shown).await.unwrap_or(false)
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
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
    let head = request.method() == Method::HEAD;
    let mut response = handler.answer(request).await.ok_or(Closed)?;
    if head {
        // Only HTTP/1.1 would drop the body by itself.
        let length = std::mem::take(response.body_mut()).len();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(response.map(Full::new))
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
    problem_with(status, code, title, &Value::Null)
}

/// The same with the members of an object besides.
#[must_use]
pub fn problem_with(
    status: StatusCode,
    code: &str,
    title: &str,
    members: &Value,
) -> Response<Bytes> {
    let body = Problem {
        kind: &["urn:sightscreen:problem:", code].concat(),
        title,
        status: status.as_u16(),
        members: members.as_object(),
    };
    // Texts and numbers cannot fail to be written.
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
    #[serde(flatten)]
    members: Option<&'a Map<String, Value>>,
}

/// Nothing here.
#[must_use]
pub fn not_found() -> Response<Bytes> {
    problem(StatusCode::NOT_FOUND, "route-unknown", "There is nothing here")
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Empty};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LONG: Duration = Duration::from_secs(600);

    struct Fixed;

    impl Handler for Fixed {
        async fn answer(self: Arc<Self>, _: Request<Incoming>) -> Option<Response<Bytes>> {
            let body = Bytes::from_static(b"seven b");
            Some(reply(StatusCode::OK, "text/plain", "no-store", body))
        }
    }

    /// A server, and what stops it.
    async fn server(first: Duration) -> (SocketAddr, watch::Sender<bool>) {
        let listener = listen("listen", SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(serve_within(first, listener, Arc::new(Fixed), stopped));
        (address, stop)
    }

    #[tokio::test]
    async fn an_answer_to_head_has_a_length_and_no_body_in_both_versions() {
        let (address, _stop) = server(LONG).await;
        let mut plain = TcpStream::connect(address).await.unwrap();
        let request = b"HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        plain.write_all(request).await.unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("content-length: 7\r\n") && answer.ends_with("\r\n\r\n"));

        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let executor = TokioExecutor::new();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
        tokio::spawn(connection);
        for (method, body) in [(Method::HEAD, ""), (Method::GET, "seven b")] {
            let request = Request::builder()
                .method(method)
                .uri(format!("http://{address}/"))
                .body(Empty::<Bytes>::new())
                .unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.headers()[header::CONTENT_LENGTH], "7");
            assert_eq!(answer.collect().await.unwrap().to_bytes(), body);
        }
    }

    #[tokio::test]
    async fn who_does_not_show_its_version_in_time_is_let_go() {
        let (address, _stop) = server(Duration::from_millis(50)).await;
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM"] {
            let mut peer = TcpStream::connect(address).await.unwrap();
            peer.write_all(said).await.unwrap();
            let mut answer = [0; 64];
            let ended = tokio::time::timeout(Duration::from_secs(60), peer.read(&mut answer));
            // Some systems say that what was sent was never read.
            assert!(matches!(ended.await, Ok(Ok(0) | Err(_))), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_preface_in_pieces_is_waited_for_and_anything_else_is_the_other_version() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for pieces in [&[&PREFACE[..5], &PREFACE[5..]][..], &[b"P", b"OST"]] {
            let mut peer = TcpStream::connect(address).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut shown = std::pin::pin!(shows_version(&stream, LONG));
            for piece in pieces {
                let soon = tokio::time::timeout(PREFACE_PAUSE, shown.as_mut());
                assert!(soon.await.is_err());
                peer.write_all(piece).await.unwrap();
            }
            assert!(shown.await);
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_gone_is_found_out() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = listen("listen", address).await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (_peer, accepted) = tokio::join!(connect, listener.accept());
        let (stream, _) = accepted.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(GONE));
    }
}
