//! Viewers who ask and do not read.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::net::SocketAddr;

use bytes::Bytes;
use common::{Origin, config, fixture, folder, get, reply};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sightscreen_host::start;
use tokio::net::TcpStream;

/// As many as one connection may have.
const STREAMS: usize = 128;

#[tokio::test(flavor = "multi_thread")]
async fn they_hold_none_of_the_requests_under_way() {
    let origin = Origin::new(|_, _| reply(200, "", "body"));
    let folder = folder();
    let mut config = config(origin.address, &folder, Some(fixture()));
    config.threads = 1;
    let node = start(&config).unwrap();
    let mut unread = Vec::new();
    // More in all than a thread has under way.
    for _ in 0..3 {
        unread.extend(asked(node.listen).await);
    }
    let other = get(node.listen, "/get?origin=/b&key=b");
    assert_eq!(other.text(), "200 body");
    drop(unread);
    node.stop();
}

/// Responses of one connection, none of whose bodies may be sent yet.
async fn asked(address: SocketAddr) -> Vec<Response<Incoming>> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(0)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut responses = Vec::new();
    for _ in 0..STREAMS {
        let request = Request::get("http://localhost/relay?origin=/a&personal=1")
            .header("authorization", "me")
            .body(Empty::<Bytes>::new())
            .unwrap();
        responses.push(sender.send_request(request).await.unwrap());
    }
    responses
}
