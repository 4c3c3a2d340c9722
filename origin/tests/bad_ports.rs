//! Garbage and slow peers at the HTTP ports of the real binary: each is answered with a refusal or
//! let go in time, and the event goes on. Those at the RTMP port are in rtmp.rs.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Origin, TOKEN, ask, get};

/// A connection that is patient for a minute, and has sent this.
fn enter(port: u16, sent: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    // One that is let go early cannot be sent all.
    let _ = stream.write_all(sent);
    stream
}

/// What comes until the other side closes.
fn said(mut stream: TcpStream) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return said,
            Ok(length) => said.extend(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return said,
            Err(error) => panic!("the origin keeps the connection: {error}"),
        }
    }
}

/// Whether that is a refusal of HTTP/1.1, a GOAWAY of HTTP/2, or nothing at all.
fn is_refusal(said: &[u8]) -> bool {
    said.is_empty() || said.starts_with(b"HTTP/1.1 4") || !said.starts_with(b"HTTP/")
}

fn garbage() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let request = |head: &str| format!("GET {head} HTTP/1.1\r\nhost: a\r\n").into_bytes();
    vec![
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(64),
        [&[3][..], &[0; 1536]].concat(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        [&request("/")[..], &b"a: b\r\n".repeat(20_000)].concat(),
        [&request("/")[..], b"a: ", &[b'x'; 1 << 20]].concat(),
        request(&format!("/{}", "a".repeat(1 << 20))),
        [&request("/")[..], b"content-length: -1\r\n\r\n"].concat(),
        [&request("/")[..], b"content-length: 1\r\ncontent-length: 2\r\n\r\n"].concat(),
        [&preface[..], &[0xff; 4096]].concat(),
        // A frame of HEADERS whose length is more than is allowed.
        [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1, 4, 0, 0, 0, 1]].concat(),
    ]
}

#[test]
fn garbage_is_refused_or_let_go_and_the_event_goes_on() {
    let origin = Origin::start(&[]);
    for port in [origin.main, origin.control] {
        for sent in garbage() {
            let said = said(enter(port, &sent));
            let head = &sent[..sent.len().min(40)];
            assert!(is_refusal(&said), "{head:?}: {}", String::from_utf8_lossy(&said));
        }
    }
    let long = format!("/live/demo/{}/index.m3u8", "a".repeat(60_000));
    for target in [
        "/live/demo/../../../etc/passwd",
        "/live/demo/..%2f..%2fevents/demo/stream-key",
        "/live/demo/%00/index.m3u8",
        "/live//v160//index.m3u8",
        "/live/demo/v160/index.m3u8?_HLS_msn=99999999999999999999999999",
        "/live/demo/v160/index.m3u8?_HLS_msn=-1&_HLS_part=x",
        "/documents/../keyring.json",
        "/page/../../keyring.json",
        &long,
    ] {
        let (status, _) = get(origin.main, target).unwrap();
        assert!((400..500).contains(&status), "{target}: {status}");
    }
    let (status, playlist) = get(origin.main, "/live/demo/v160/index.m3u8").unwrap();
    assert!(status == 200 && !String::from_utf8(playlist).unwrap().contains("GAP"));
    let log = std::fs::read_to_string(origin.folder.path().join("log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_body_that_is_no_json_too_large_or_too_slow_is_a_problem() {
    let origin = Origin::start(&[]);
    let deep = "[".repeat(100_000);
    let large = format!("\"{}\"", "x".repeat(300 << 10));
    for path in ["/control/events/demo/breaks", "/api/v1/streams"] {
        for body in ["", "{", "null", "\u{feff}{}", "{\"length_s\": 1e999}", &deep, &large] {
            let (status, said) = ask(origin.control, "POST", path, body).unwrap();
            let head = &body[..body.len().min(20)];
            assert!((400..500).contains(&status), "{path} {head}: {status}");
            assert!(said.starts_with(b"{\"type\":\"urn:sightscreen:problem:"), "{path} {head}");
        }
        let slow = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\n\
             connection: close\r\ncontent-length: 100\r\n\r\n{{"
        );
        let said = String::from_utf8(said(enter(origin.control, slow.as_bytes()))).unwrap();
        assert!(said.starts_with("HTTP/1.1 400") && said.contains("in time"), "{said}");
    }
}

#[test]
fn slow_and_half_open_peers_keep_nobody_out() {
    let origin = Origin::start(&[]);
    for port in [origin.main, origin.control] {
        let half = b"GET /health HTTP/1.1\r\nhost: a\r\n";
        let held: Vec<TcpStream> = (0..200).map(|_| enter(port, half)).collect();
        assert!(get(port, "/health").is_some());
        // A byte now and then is no request.
        let mut slow = enter(port, b"GET / HTTP/1.1\r\nx: ");
        let taken = (0..120).take_while(|_| {
            std::thread::sleep(Duration::from_millis(250));
            slow.write_all(b"x").is_ok()
        });
        assert!(taken.count() < 120, "a head that never ends is taken for half a minute");
        held.into_iter().for_each(|stream| drop(said(stream)));
    }
}
