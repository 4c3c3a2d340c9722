//! The operator's port: metrics and health, on a thread of its own, so that they answer under load.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::body::Body;
use crate::node::Node;
use crate::server::{accept, told_to_stop};

/// Time between two looks at the copies of documents.
const SWEEP: Duration = Duration::from_secs(3600);

/// Serves until the node stops.
pub(crate) async fn serve(
    node: Arc<Node>,
    listeners: Vec<std::net::TcpListener>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(listener) = listeners.into_iter().next() else {
        return Ok(());
    };
    let accepting = accept(TcpListener::from_std(listener)?, |stream| {
        let node = Arc::clone(&node);
        let service = service_fn(move |request| {
            let response = answer(&node, &request);
            async move { Ok::<_, Infallible>(response) }
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
        () = sweep(&node) => Ok(()),
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

fn answer(node: &Node, request: &Request<Incoming>) -> Response<Body> {
    let (status, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, node.metrics_text()),
        "/healthz" if node.unwell.load(Ordering::Relaxed) => (
            StatusCode::SERVICE_UNAVAILABLE,
            b"a serving thread ended; the log says why\n".to_vec(),
        ),
        "/healthz" => (StatusCode::OK, b"ok\n".to_vec()),
        _ => (StatusCode::NOT_FOUND, b"here are /metrics and /healthz\n".to_vec()),
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
    response
}
