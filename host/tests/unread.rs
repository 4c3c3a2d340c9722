//! Memory: what viewers who ask and do not read may take of it, and what the cache does.
#![allow(clippy::unwrap_used, clippy::tests_outside_test_module, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{Origin, Program, config, fixture, folder, get, metric, node, reply, until};
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use sightscreen_host::start;
use tokio::net::TcpStream;

/// As many as one connection may have.
const STREAMS: usize = 128;
const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn they_hold_none_of_the_requests_under_way() {
    let origin = Origin::new(|_, _| reply(200, "", "body"));
    let folder = folder();
    let mut config = config(origin.address, &folder, Some(fixture()));
    config.threads = 1;
    config.limits.requests.personal = STREAMS;
    let node = start(&config).unwrap();
    let mut unread = Vec::new();
    // More in all than may be under way.
    for _ in 0..3 {
        let targets = (0..STREAMS).map(|_| "/relay?origin=/a&personal=1&class=personal".to_owned());
        unread.extend(asked(node.listen, targets, 0).await);
    }
    let mine = "GET /get?origin=/b&key=b&personal=1&class=personal HTTP/1.1\r\nhost: x\r\n\
                authorization: me\r\nconnection: close\r\n\r\n";
    assert_eq!(common::send(node.listen, mine).text(), "200 body");
    assert_eq!(unread.len(), 3 * STREAMS);
    drop(unread);
    node.stop();
}

/// Four connections ask for a gibibyte and take none of it, or a byte.
#[tokio::test(flavor = "multi_thread")]
async fn their_bytes_stay_within_the_budget() {
    let body = "x".repeat(2 * MIB as usize);
    let origin = Origin::new(move |_, _| reply(200, "", &body));
    let component = fixture();
    let settings = ["--cache-bytes", "16777216", "--unread-bytes", "50331648", "--component"];
    let settings = [&settings[..], &[component.to_str().unwrap()]].concat();
    let edge = Program::start(&format!("http://{}", origin.address), &folder(), &settings);
    assert_eq!(get(edge.listen, "/get?origin=/warm&key=warm&max=4194304").status, 200);
    let before = edge.memory("VmRSS");
    let listen = edge.listen;
    let attack = (0..4_u32).map(|connection| async move {
        let targets = (0..STREAMS).map(|stream| {
            let name = format!("{connection}-{stream}");
            format!("/relay?class=object&origin=/{name}&key={name}&fresh=60000&max=4194304&timeout=20000")
        });
        asked(listen, targets, connection % 2).await
    });
    let attack: Vec<_> = attack.map(tokio::spawn).collect();
    let mut answered = 0;
    let mut held = Vec::new();
    for connection in attack {
        let responses = connection.await.unwrap();
        answered += responses.len();
        held.push(responses);
    }
    // What was asked for after the last look is seen by the next.
    let limit = 64 * MIB;
    until("the bodies fit", || edge.metric("sightscreen_body_bytes") <= limit);
    let grown = edge.memory("VmHWM").saturating_sub(before);
    assert!(answered > 32, "there was an attack: {answered}");
    assert!(edge.metric("sightscreen_connections_unread_total") >= 1);
    // Without a budget it is the gibibyte.
    assert!(grown < 3 * limit, "{} MiB for {answered} answers", grown / MIB);
    let other = get(edge.listen, "/relay?class=object&origin=/b&key=b&max=4194304&timeout=20000");
    assert_eq!((other.status, other.body.len() as u64), (200, 2 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_no_byte_is_closed_and_who_reads_is_not() {
    // More than the buffers of the system between node and viewer hold.
    let body = "x".repeat(32 * MIB as usize);
    let origin = Origin::new(move |_, _| reply(200, "", &body));
    let mut config = config(origin.address, &folder(), Some(fixture()));
    config.limits.unread = Duration::from_millis(500);
    let node = start(&config).unwrap();
    let target = "/relay?class=object&origin=/a&key=a&fresh=60000&max=41943040&timeout=20000";
    let http1 = common::open(node.listen, &format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
    let http2 = asked(node.listen, [target.to_owned()].into_iter(), 0).await;
    until("both are closed", || {
        metric(node.admin, "sightscreen_connections_unread_total") == 2
            && metric(node.admin, "sightscreen_connections") == 0
    });
    // One who reads a little at a time, for longer than the limit.
    let mut slow = common::open(
        node.listen,
        &format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"),
    );
    let mut read = 0;
    let mut buffer = vec![0; 2 * MIB as usize];
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        match std::io::Read::read(&mut slow, &mut buffer).unwrap() {
            0 => break,
            bytes => read += bytes as u64,
        }
    }
    assert!(read > 32 * MIB, "{read}");
    drop((http1, http2));
    node.stop();
}

/// Here because it needs a client of HTTP/2.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_long_is_431_over_http2() {
    let origin = Origin::new(|_, _| reply(200, "", "body"));
    let node = node(origin.address);
    let ask = async |bytes: usize| {
        let stream = TokioIo::new(TcpStream::connect(node.listen).await.unwrap());
        let client = http2::Builder::new(TokioExecutor::new()).handshake(stream);
        let (mut sender, connection) = client.await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://x/get?origin=/a").header("x-long", "x".repeat(bytes));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        // The library resets the stream of what it refuses by itself.
        let body = response.into_body().collect().await.map(Collected::to_bytes);
        (status, String::from_utf8(body.unwrap_or_default().to_vec()).unwrap())
    };
    assert_eq!(ask(16 * 1024).await, (200, "200 body".to_owned()));
    let (status, body) = ask(40 * 1024).await;
    assert_eq!(status, 431);
    assert!(body.contains("urn:sightscreen:problem:headers-too-large"), "{body}");
    assert_eq!(ask(100 * 1024).await, (431, String::new()));
    node.stop();
}

#[test]
fn more_connections_than_the_settings_allow_are_closed_at_once() {
    let origin = Origin::new(|_, _| reply(200, "", "body"));
    let mut config = config(origin.address, &folder(), Some(fixture()));
    config.limits.connections = 3;
    let node = start(&config).unwrap();
    let idle: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(node.listen).unwrap()).collect();
    until("all are in", || metric(node.admin, "sightscreen_connections") == 3);
    assert_eq!(get(node.listen, "/get?origin=/a").status, 0);
    assert!(metric(node.admin, "sightscreen_connections_refused_total") >= 1);
    drop(idle);
    until("they are gone", || metric(node.admin, "sightscreen_connections") == 0);
    assert_eq!(get(node.listen, "/get?origin=/a").text(), "200 body");
    node.stop();
}

/// Objects of all sizes go through the cache, eight viewers at a time; what the program takes of
/// the machine is the cache's budget and no more than a quarter above it. With `--nocapture` this
/// is the measurement; `SIGHTSCREEN_TEST_CACHE_MIB` and `SIGHTSCREEN_TEST_OBJECTS` size it.
#[test]
fn the_cache_takes_its_budget_and_no_more() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let budget = number("SIGHTSCREEN_TEST_CACHE_MIB", 96) * MIB;
    let objects = number("SIGHTSCREEN_TEST_OBJECTS", 1200);
    let origin = Origin::new(|target, _| {
        let size: usize = target.rsplit('-').next().unwrap().parse().unwrap();
        reply(200, "", &"x".repeat(size))
    });
    let (component, cache_bytes) = (fixture(), budget.to_string());
    let settings = ["--cache-bytes", &cache_bytes, "--component", component.to_str().unwrap()];
    let edge = Program::start(&format!("http://{}", origin.address), &folder(), &settings);
    assert_eq!(get(edge.listen, "/get?origin=/warm-9&key=warm").status, 200);
    let before = edge.memory("VmRSS");
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= objects {
                        return;
                    }
                    // From 64 KiB to 2 MiB, in no order.
                    let size = 65_536 + number.wrapping_mul(2_654_435_761) % (2 * MIB - 65_536);
                    let name = format!("{number}-{size}");
                    let reply = get(
                        edge.listen,
                        &format!(
                            "/relay?class=object&origin=/{name}&key={name}&fresh=600000&max=4194304&timeout=60000"
                        ),
                    );
                    assert_eq!(reply.body.len() as u64, size);
                }
            });
        }
    });
    let (cached, bodies) =
        (edge.metric("sightscreen_cache_bytes"), edge.metric("sightscreen_body_bytes"));
    let grown = edge.memory("VmRSS").saturating_sub(before);
    let found = format!(
        "budget {} MiB: cached {} MiB, bodies {} MiB, memory {} MiB more (at most {})",
        budget / MIB,
        cached / MIB,
        bodies / MIB,
        grown / MIB,
        edge.memory("VmHWM").saturating_sub(before) / MIB
    );
    eprintln!("{found}");
    assert!(cached > budget / 2, "the cache is not full: {found}");
    assert!(grown < budget * 5 / 4, "{found}");
}

/// Responses of one connection, each of whose bodies may be sent up to `window` bytes. Ends with
/// the connection.
async fn asked(
    address: SocketAddr,
    targets: impl Iterator<Item = String>,
    window: u32,
) -> Vec<Response<Incoming>> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let mut sent = Vec::new();
    for target in targets {
        let request = Request::get(format!("http://localhost{target}"))
            .header("authorization", "me")
            .body(Empty::<Bytes>::new())
            .unwrap();
        if sender.ready().await.is_err() {
            break;
        }
        sent.push(sender.send_request(request));
    }
    let responses = futures_util::future::join_all(sent).await;
    responses.into_iter().filter_map(Result::ok).collect()
}
