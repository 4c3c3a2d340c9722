//! The listener: HTTP/1.1, each request as it came.

use crate::pool::Pool;
use crate::single::Single;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use wasmtime_wasi_http::{Error, WasiBody};

/// What serves the requests.
pub(crate) enum Instances {
    Pool(Pool),
    One(Single),
}

/// Serves until the process ends.
pub(crate) async fn serve(listen: SocketAddr, instances: Instances) -> wasmtime::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let instances = Arc::new(instances);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let instances = Arc::clone(&instances);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let instances = Arc::clone(&instances);
                async move { Ok::<_, Infallible>(answer(&instances, request).await) }
            });
            // A connection that breaks is its viewer's matter.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    instances: &Instances,
    request: hyper::Request<Incoming>,
) -> http::Response<WasiBody> {
    let request = absolute(request);
    let response = match instances {
        Instances::Pool(pool) => pool.handle((), request).await,
        Instances::One(single) => single.handle(request).await,
    };
    match response {
        Ok(response) => response,
        Err(error) => {
            eprintln!("sightscreen-spin-host: a request failed: {error:#}");
            let body = Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync();
            let mut response = http::Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}

/// Takes the authority from `host`, as Spin does. Path and query stay as they are.
fn absolute(request: hyper::Request<Incoming>) -> http::Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    let host = parts.headers.remove(header::HOST);
    let authority =
        host.as_ref().and_then(|host: &HeaderValue| host.to_str().ok()?.parse::<Authority>().ok());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = uri.authority.or(authority).or(Some(Authority::from_static("localhost")));
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
    http::Request::from_parts(parts, body.map_err(Error::Hyper).boxed_unsync())
}
