//! The operator's port: metrics, health and purge, on a thread of its own, so that they answer
//! under load.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::body::Body;
use crate::listen::accept;
use crate::node::{Node, Worker};
use crate::purge::Purge;
use crate::server::told_to_stop;

/// Time between two looks at the copies of documents.
const SWEEP: Duration = Duration::from_secs(3600);
/// Longest that the origin may take to say that it is there.
const PROBE: Duration = Duration::from_secs(2);

/// What `/readyz` says.
#[derive(Serialize)]
struct Readiness {
    ready: bool,
    /// Whether the origin answers.
    origin: bool,
    /// Copies of documents, which answer in its place.
    copies: usize,
}

/// What a purge says.
#[derive(Serialize)]
struct Purged {
    /// Entries that are gone from the cache.
    purged: usize,
    /// Copies of documents that are gone from the disk, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<usize>,
}

/// Serves until the node stops. The worker is of this thread alone.
pub(crate) async fn serve(
    worker: Worker,
    listeners: Vec<std::net::TcpListener>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(listener) = listeners.into_iter().next() else {
        return Ok(());
    };
    let worker = Arc::new(worker);
    let accepting = accept(TcpListener::from_std(listener)?, |stream, _| {
        let worker = Arc::clone(&worker);
        let service = service_fn(move |request| {
            let worker = Arc::clone(&worker);
            async move { Ok::<_, Infallible>(answer(&worker, &request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A broken connection of the operator's is the operator's to see.
            let _ = connection.await;
        });
    });
    tokio::select! {
        ended = accepting => ended,
        () = sweep(&worker.node) => Ok(()),
        () = told_to_stop(&mut stopped) => Ok(()),
    }
}

/// Now and then removes copies of documents that are of no use any more. Never ends.
async fn sweep(node: &Node) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let documents = node.documents.clone();
        let swept = tokio::task::spawn_blocking(move || documents.sweep(SystemTime::now())).await;
        if let Ok(Err(error)) = swept {
            tracing::warn!(%error, "old copies of documents not removed");
        }
    }
}

async fn answer(worker: &Worker, request: &Request<Incoming>) -> Response<Body> {
    let node = &worker.node;
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/purge") => purge(node, request.uri().query().unwrap_or_default()).await,
        (_, "/purge") => text(StatusCode::METHOD_NOT_ALLOWED, "a purge is a POST\n"),
        (_, "/metrics") => text(StatusCode::OK, node.metrics_text()),
        (_, "/healthz") if node.unwell.load(Ordering::Relaxed) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "a serving thread ended; the log says why\n")
        }
        (_, "/healthz") => text(StatusCode::OK, "ok\n"),
        (_, "/readyz") => ready(worker).await,
        _ => text(StatusCode::NOT_FOUND, "here are /metrics, /healthz, /readyz and POST /purge\n"),
    }
}

/// Whether a viewer who comes now is served.
async fn ready(worker: &Worker) -> Response<Body> {
    let documents = worker.node.documents.clone();
    let copies = tokio::task::spawn_blocking(move || documents.count());
    let (origin, copies) = tokio::join!(worker.upstream.answers(PROBE), copies);
    let copies = copies.unwrap_or_default();
    let ready = (origin || copies > 0) && !worker.node.unwell.load(Ordering::Relaxed);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, origin, copies })
}

async fn purge(node: &Node, query: &str) -> Response<Body> {
    let Some(purge) = Purge::parse(query) else {
        let remedy = "write ?event=EVENT, ?event=EVENT&copies=true or ?key=KEY\n";
        return text(StatusCode::BAD_REQUEST, remedy);
    };
    // The disk first: a copy would be in the cache again as soon as the origin does not answer.
    let copies = node.purge_copies(&purge).await;
    let purged = node.purge(&purge);
    tracing::info!(?purge, purged, ?copies, "purged");
    match copies {
        Ok(copies) => json(StatusCode::OK, &Purged { purged, copies }),
        Err(error) => {
            let said = format!("copies of documents are left on disk: {error}\n");
            text(StatusCode::INTERNAL_SERVER_ERROR, said)
        }
    }
}

fn text(status: StatusCode, text: impl Into<bytes::Bytes>) -> Response<Body> {
    response(status, "text/plain; version=0.0.4", text)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    response(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<bytes::Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
