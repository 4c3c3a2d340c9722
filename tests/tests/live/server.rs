//! A server for the scripted event on a socket of its own, with one fault at most.
//!
//! Owns the connections, the headers of answers, and where a fault comes in. Invariant: a fault
//! changes answers and nothing that the event remembers.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use sightscreen_tests::wire::{self, Headers, Request, header};

use super::event::{Cursor, Directives, Event, multivariant};

/// One request as the event understood it.
pub(crate) struct Ask<'a> {
    pub(crate) event: &'a Event,
    /// Empty for the multivariant playlist.
    pub(crate) rendition: &'a str,
    /// The last piece of the path.
    pub(crate) object: &'a str,
    pub(crate) query: &'a str,
    /// How far the rendition is; none for anything but a playlist that is answered.
    pub(crate) cursor: Option<Cursor>,
    /// How often the same was asked before.
    pub(crate) before: usize,
}

/// An answer before it is sent.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// What is wrong with the server.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    Nothing,
    /// In the text of playlists.
    Text(fn(&Ask<'_>, String) -> String),
    /// In the answer as it is sent, gzip included.
    Answer(fn(&Ask<'_>, &mut Answer)),
}

/// The running server; it stops when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    addr: std::net::SocketAddr,
    stop: Arc<AtomicBool>,
    accepting: Option<thread::JoinHandle<()>>,
}

struct Shared {
    event: Event,
    fault: Fault,
    asked: Mutex<HashMap<String, usize>>,
}

impl Server {
    pub(crate) fn start(parts: u64, made: Range<u64>, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared =
            Arc::new(Shared { event: Event::new(parts, made), fault, asked: Mutex::default() });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&shared);
                // A client that goes away in the middle is part of some faults.
                thread::spawn(move || drop(serve(&stream.unwrap(), &shared)));
            }
        });
        Self {
            url: format!("http://{addr}/live/e/main.m3u8"),
            addr,
            stop,
            accepting: Some(accepting),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accept call, which then sees `stop`.
        drop(TcpStream::connect(self.addr));
        drop(self.accepting.take().map(thread::JoinHandle::join));
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    let Some(request) = wire::read_request(&mut BufReader::new(stream))? else {
        return Ok(());
    };
    let mut answer = shared.answer(&request);
    let length = ("content-length".to_owned(), answer.body.len().to_string());
    answer.headers.push(length);
    wire::write_reply(&mut stream, answer.status, &answer.headers, &answer.body)?;
    stream.flush()
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let rest = path.strip_prefix("/live/e/").unwrap_or_default();
        let (rendition, object) = rest.split_once('/').unwrap_or(("", rest));
        let asked = Directives::of(query);
        let is_playlist = object == "index.m3u8";
        let ask = Ask {
            event: &self.event,
            rendition,
            object,
            query,
            cursor: is_playlist.then(|| self.event.ask(rendition, asked)).flatten(),
            before: self.count(&request.target),
        };
        let text = match ask.cursor {
            Some(cursor) => Some(self.event.playlist(rendition, cursor, asked.skip)),
            None => (object == "main.m3u8").then(multivariant),
        };
        let mut answer = match text {
            Some(text) => self.playlist(&ask, request, text),
            None if is_playlist => plain(400, Vec::new()),
            None => match self.event.object(rendition, object) {
                Some(body) => plain(200, body),
                None => plain(404, Vec::new()),
            },
        };
        if let Fault::Answer(fault) = self.fault {
            fault(&ask, &mut answer);
        }
        answer
    }

    fn count(&self, target: &str) -> usize {
        let mut asked = self.asked.lock().unwrap();
        let count = asked.entry(target.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    fn playlist(&self, ask: &Ask<'_>, request: &Request, text: String) -> Answer {
        let text = match self.fault {
            Fault::Text(fault) => fault(ask, text),
            _ => text,
        };
        let age = if Directives::of(ask.query).blocks() { 12 } else { 1 };
        let mut answer = plain(200, text.into_bytes());
        let control = ("cache-control".to_owned(), format!("max-age={age}"));
        answer.headers.push(control);
        if header(&request.headers, "accept-encoding").is_some_and(|v| v.contains("gzip")) {
            answer.body = gzip(&answer.body);
            let encoding = ("content-encoding".to_owned(), "gzip".to_owned());
            answer.headers.push(encoding);
        }
        answer
    }
}

fn plain(status: u16, body: Vec<u8>) -> Answer {
    Answer { status, headers: Headers::new(), body }
}

pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}
