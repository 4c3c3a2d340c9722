//! Requests of a component to the outside, over one pool of connections for all instances.
//!
//! Owns the client. Plain HTTP only; a component that asks for TLS here is refused.

use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The client; a clone shares its connections.
#[derive(Clone)]
pub(crate) struct Outbound(Client<HttpConnector, WasiBody>);

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

impl Outbound {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Io,
    ) -> Sent {
        let client = self.0.clone();
        Box::new(async move {
            let response = client.request(request).await.map_err(|error| {
                if error.is_connect() {
                    Error::ConnectionRefused
                } else {
                    Error::HttpProtocolError
                }
            })?;
            let response = response.map(|body| body.map_err(Error::Hyper).boxed_unsync());
            let io: Io = Box::new(async { Ok(()) });
            Ok((response, io))
        })
    }
}
