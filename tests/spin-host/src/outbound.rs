//! Requests that the component makes: over plain HTTP, to the origins that the manifest allows, with
//! one pool of connections for all instances.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// The client; a clone shares its connections.
#[derive(Clone)]
pub(crate) struct Outbound {
    client: Client<HttpConnector, WasiBody>,
    /// Scheme and authority of each origin that may be asked.
    allowed: Arc<[String]>,
}

type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Io), Error>> + Send>;

impl Outbound {
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), allowed: allowed.into() }
    }

    fn allows(&self, uri: &http::Uri) -> bool {
        let asked = format!(
            "{}://{}",
            uri.scheme_str().unwrap_or_default(),
            uri.authority().map_or("", http::uri::Authority::as_str)
        );
        self.allowed.contains(&asked)
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Io,
    ) -> Sent {
        let (client, allowed) = (self.client.clone(), self.allows(request.uri()));
        Box::new(async move {
            if !allowed {
                return Err(Error::HttpRequestDenied);
            }
            let response = client.request(request).await.map_err(|error| {
                if error.is_connect() { Error::ConnectionRefused } else { Error::HttpProtocolError }
            })?;
            let response = response.map(|body| body.map_err(Error::Hyper).boxed_unsync());
            let io: Io = Box::new(async { Ok(()) });
            Ok((response, io))
        })
    }
}
