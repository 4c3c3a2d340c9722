//! What the tests of the real binary share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests; each uses a part of it"
)]

pub(crate) mod publisher;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const TOKEN: &str = "operator-of-the-test";

/// The binary's command line, up to its subcommand.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sightscreen-origin"))
}

/// Waits up to a minute and a half, for machines with much else to do.
pub(crate) fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(
            begun.elapsed() < Duration::from_secs(90),
            "{what} did not come"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

pub(crate) fn get(port: u16, path: &str) -> Option<(u16, Vec<u8>)> {
    ask(port, "GET", path, "")
}

pub(crate) fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()?;
    Some((status, answer[head + 4..].to_vec()))
}
