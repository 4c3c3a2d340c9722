//! The operator's port: metrics and health, on a thread of its own, so that they answer under load.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

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
use crate::server::told_to_stop;

/// Serves until the node stops.
pub(crate) async fn serve(
    node: Arc<Node>,
    listeners: Vec<std::net::TcpListener>,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let Some(listener) = listeners.into_iter().next() else {
        return Ok(());
    };
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told_to_stop(&mut stopped) => return Ok(()),
        };
        let Ok((stream, _)) = accepted else { continue };
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
    }
}

fn answer(node: &Node, request: &Request<Incoming>) -> Response<Body> {
    let (status, text) = match request.uri().path() {
        "/metrics" => (StatusCode::OK, node.metrics_text()),
        "/healthz" => (StatusCode::OK, b"ok\n".to_vec()),
        _ => (
            StatusCode::NOT_FOUND,
            b"here are /metrics and /healthz\n".to_vec(),
        ),
    };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4"),
    );
    response
}
