//! The node over TLS: both versions of HTTP, chosen by the viewer, and a certificate that stays.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{Origin, config, fixture, folder, reply};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sightscreen_host::start;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const TARGET: &str = "/get?origin=/a";

#[test]
fn both_versions_answer_alike_and_the_certificate_stays() {
    let (origin, data) = (Origin::new(|_, _| reply(200, "", "whole")), folder());
    let settings = config(origin.address, &data, Some(fixture()));
    let node = start(&settings).unwrap();
    let address = node.tls_listen.unwrap();
    let certificate = data.join("tls/cert.pem");
    let made = std::fs::read(&certificate).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (version, text) = over_2(address, &certificate).await;
        assert_eq!((version, text.as_str()), (Version::HTTP_2, "200 whole"));
        let (version, text) = over_1(address, &certificate).await;
        assert_eq!((version, text.as_str()), (Version::HTTP_11, "200 whole"));
        let (version, text) = by_prior_knowledge(node.listen).await;
        assert_eq!((version, text.as_str()), (Version::HTTP_2, "200 whole"));
    });
    node.stop();
    let again = start(&settings).unwrap();
    assert_eq!(std::fs::read(&certificate).unwrap(), made);
    let address = again.tls_listen.unwrap();
    let (version, _) = runtime.block_on(over_2(address, &certificate));
    assert_eq!(version, Version::HTTP_2);
    again.stop();
}

/// A connection on which the viewer offers `alpn` alone, and trusts this certificate alone.
async fn connect(
    address: SocketAddr,
    certificate: &Path,
    alpn: &[u8],
) -> TokioIo<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
    TokioIo::new(stream)
}

async fn over_2(address: SocketAddr, certificate: &Path) -> (Version, String) {
    let stream = connect(address, certificate, b"h2").await;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request()).await.unwrap()).await
}

async fn over_1(address: SocketAddr, certificate: &Path) -> (Version, String) {
    let stream = connect(address, certificate, b"http/1.1").await;
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request()).await.unwrap()).await
}

async fn by_prior_knowledge(address: SocketAddr) -> (Version, String) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    read(sender.send_request(request()).await.unwrap()).await
}

fn request() -> Request<Empty<Bytes>> {
    let uri = format!("https://localhost{TARGET}");
    Request::get(uri).header("host", "localhost").body(Empty::new()).unwrap()
}

async fn read(response: Response<Incoming>) -> (Version, String) {
    let version = response.version();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (version, String::from_utf8(body.to_vec()).unwrap())
}
