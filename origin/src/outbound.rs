//! Requests that the origin makes of others: webhooks, and the edges' metrics. Each has its own
//! connection, an end in time, and an answer of bounded size.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::request::Builder;
use http::{HeaderValue, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

mod target;

pub(crate) use target::{Target, TargetError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("no connection: {0}")]
    Connect(#[from] std::io::Error),
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("its answer has the status {0}, expected 2xx")]
    Status(u16),
    #[error("its answer is too large or was cut off")]
    Body,
    #[error("no answer in {} s", .0.as_secs())]
    Late(Duration),
}

/// What holds for a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whether it may go to a private address.
    pub(crate) private: bool,
    /// For the whole of it, the answer's body included.
    pub(crate) within: Duration,
    /// Largest body of an answer, in bytes; 0: it is not read.
    pub(crate) body_max: usize,
}

/// The answer to a request, whose URI is the path alone.
///
/// # Errors
/// See [`AskError`]. A redirection could lead anywhere, so it is no success.
pub(crate) async fn ask(
    target: &Target,
    request: Builder,
    body: Bytes,
    bounds: Bounds,
) -> Result<Bytes, AskError> {
    let asked = async {
        let stream = TcpStream::connect(target.address(bounds.private).await?).await?;
        if !target.tls {
            return exchange(stream, target, request, body, bounds.body_max).await;
        }
        let name = rustls::pki_types::ServerName::try_from(target.host.clone());
        let name = name.map_err(std::io::Error::other)?;
        let stream = TlsConnector::from(roots()?).connect(name, stream).await?;
        exchange(stream, target, request, body, bounds.body_max).await
    };
    let asked = tokio::time::timeout(bounds.within, asked).await;
    asked.unwrap_or(Err(AskError::Late(bounds.within)))
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    target: &Target,
    request: Builder,
    body: Bytes,
    body_max: usize,
) -> Result<Bytes, AskError> {
    let agent = HeaderValue::from_static("sightscreen-origin");
    let request = request
        .header(header::HOST, &target.authority)
        .header(header::USER_AGENT, agent)
        .body(Full::new(body))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with the set, however this function is left.
    let _connection = JoinSet::from_iter([connection]);
    let answer = sender.send_request(request).await?;
    if !answer.status().is_success() {
        return Err(AskError::Status(answer.status().as_u16()));
    }
    if body_max == 0 {
        return Ok(Bytes::new());
    }
    let body = Limited::new(answer.into_body(), body_max).collect().await;
    Ok(body.map_err(|_| AskError::Body)?.to_bytes())
}

/// The machine's roots, read once.
fn roots() -> std::io::Result<Arc<rustls::ClientConfig>> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}
