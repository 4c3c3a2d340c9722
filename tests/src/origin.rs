//! The scripted origin: one real server that answers what the running case says.
//!
//! Owns the listening socket, the scripts by target and the record of what was asked. Knows nothing
//! of cases. Invariant: what is not scripted is answered 404 and recorded like everything else.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wire::{self, Headers, Request};

/// How long a `hang` holds a connection; longer than any want waits.
const HANG: Duration = Duration::from_secs(30);

/// One scripted answer.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the framing ones.
    pub headers: Headers,
    /// The whole body.
    pub body: Vec<u8>,
    /// Whether the body is sent in chunks, without its length.
    pub chunked: bool,
    /// Wait before anything is sent.
    pub delay: Duration,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// Whether a `range` of one span is answered with 206 or 416.
    pub ranges: bool,
}

/// What goes wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before any byte.
    Reset,
    /// Nothing is ever sent.
    Hang,
    /// The connection is closed after this many bytes of a longer body.
    Cut(usize),
}

/// The body for a target that has no script; `None` is 404.
pub type Otherwise = fn(&str) -> Option<Vec<u8>>;

/// The answers to the same target, in order; the last one repeats.
#[derive(Debug, Default)]
struct Script {
    answers: Vec<Answer>,
    next: usize,
}

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<String, Script>,
    /// Answers what has no script.
    otherwise: Option<Otherwise>,
    seen: Vec<Request>,
    open: HashMap<u64, TcpStream>,
    connections: u64,
}

/// The running server; it stops when dropped.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: Mutex<Option<Accepting>>,
}

#[derive(Debug)]
struct Accepting {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Origin {
    /// Starts on a free port of the loopback address.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let origin = Self { addr, state: Arc::default(), accepting: Mutex::default() };
        origin.accept_on(listener);
        Ok(origin)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the answers to `target` from now on.
    pub fn script(&self, target: String, answers: Vec<Answer>) {
        lock(&self.state).scripts.insert(target, Script { answers, next: 0 });
    }

    /// Sets the body, of status 200, of what has no script; `None` is 404.
    pub fn otherwise(&self, body: Otherwise) {
        lock(&self.state).otherwise = Some(body);
    }

    /// Everything asked with such a target, and not taken before.
    #[must_use]
    pub fn take_seen(&self, wanted: impl Fn(&str) -> bool) -> Vec<Request> {
        lock(&self.state).seen.extract_if(.., |request| wanted(&request.target)).collect()
    }

    /// Whether a case has said what the answer to `target` is.
    #[must_use]
    pub fn is_scripted(&self, target: &str) -> bool {
        lock(&self.state).scripts.contains_key(target)
    }

    /// Closes the port and every connection: the next connection is refused.
    pub fn go_down(&self) {
        let accepting = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Accepting { stop, thread }) = accepting {
            stop.store(true, Ordering::SeqCst);
            // Wakes the accept call, which then sees `stop`.
            drop(TcpStream::connect(self.addr));
            drop(thread.join());
        }
        for (_, stream) in lock(&self.state).open.drain() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Opens the same port again.
    ///
    /// # Errors
    /// When another process took the port in between.
    pub fn come_back(&self) -> io::Result<()> {
        self.accept_on(TcpListener::bind(self.addr)?);
        Ok(())
    }

    fn accept_on(&self, listener: TcpListener) {
        let stop = Arc::new(AtomicBool::new(false));
        let (state, stopped) = (Arc::clone(&self.state), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                // Here, so that none is unknown where the port closes.
                let Ok(id) = register(&stream, &state) else { continue };
                let state = Arc::clone(&state);
                thread::spawn(move || drop(hold(stream, id, &state)));
            }
        });
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Accepting { stop, thread });
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.go_down();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn register(stream: &TcpStream, state: &Mutex<State>) -> io::Result<u64> {
    let stream = stream.try_clone()?;
    let mut state = lock(state);
    state.connections += 1;
    let id = state.connections;
    state.open.insert(id, stream);
    Ok(id)
}

/// Serves one connection and forgets it, so that the last handle to it closes here.
fn hold(stream: TcpStream, id: u64, state: &Mutex<State>) -> io::Result<()> {
    let keeper = stream.try_clone()?;
    let served = serve(stream, state);
    lock(state).open.remove(&id);
    drop(keeper);
    served
}

/// Answers the requests of one connection, kept alive between whole answers.
fn serve(stream: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = wire::read_request(&mut reader)? {
        let answer = next_answer(state, request.clone());
        let answer = if answer.ranges { cut_range(answer, &request) } else { answer };
        thread::sleep(answer.delay);
        if !send(&mut writer, &request, &answer)? {
            return Ok(());
        }
    }
    Ok(())
}

fn next_answer(state: &Mutex<State>, request: Request) -> Answer {
    let mut state = lock(state);
    let answer = match state.scripts.get_mut(&request.target) {
        Some(script) => {
            let at = script.next.min(script.answers.len().saturating_sub(1));
            script.next += 1;
            script.answers.get(at).cloned()
        }
        None => None,
    };
    let otherwise = state.otherwise.and_then(|body| body(&request.target));
    state.seen.push(request);
    let whole = |status, body| Answer { status, body, ..Answer::default() };
    let unknown = || whole(404, b"not scripted\n".to_vec());
    answer.unwrap_or_else(|| otherwise.map_or_else(unknown, |body| whole(200, body)))
}

/// The answer to a request for one span of bytes (RFC 9110, section 14).
fn cut_range(answer: Answer, request: &Request) -> Answer {
    let span = wire::header(&request.headers, "range")
        .and_then(|v| v.strip_prefix("bytes=")?.split_once('-'));
    let Some((Ok(first), last)) = span.map(|(first, last)| (first.parse::<usize>(), last)) else {
        return answer;
    };
    let length = answer.body.len();
    let end = last.parse::<usize>().map_or(length, |last| (last + 1).min(length));
    let (status, body, range) = match answer.body.get(first..end) {
        Some(body) if first < length => {
            (206, body.to_vec(), format!("bytes {first}-{}/{length}", end - 1))
        }
        _ => (416, Vec::new(), format!("bytes */{length}")),
    };
    let mut headers = answer.headers;
    headers.push(("content-range".into(), range));
    Answer { status, headers, body, ..answer }
}

/// Sends the answer; false where the connection is to be closed.
fn send(writer: &mut TcpStream, request: &Request, answer: &Answer) -> io::Result<bool> {
    let mut headers = answer.headers.clone();
    headers.push(if answer.chunked {
        ("transfer-encoding".into(), "chunked".into())
    } else {
        ("content-length".into(), answer.body.len().to_string())
    });
    let mut head = format!("HTTP/1.1 {} -\r\n", answer.status);
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body: &[u8] = if request.method == "HEAD" { &[] } else { &answer.body };
    match answer.fault {
        None if answer.chunked && request.method != "HEAD" => {
            writer.write_all(head.as_bytes())?;
            wire::write_chunked(writer, body)?;
            Ok(true)
        }
        None => {
            writer.write_all(&[head.as_bytes(), body].concat())?;
            Ok(true)
        }
        Some(Fault::Cut(at)) => {
            writer.write_all(&[head.as_bytes(), body.get(..at).unwrap_or(body)].concat())?;
            writer.flush()?;
            Ok(false)
        }
        Some(Fault::Reset) => {
            // A linger of zero turns the close into a reset.
            socket2::SockRef::from(&*writer).set_linger(Some(Duration::ZERO))?;
            Ok(false)
        }
        Some(Fault::Hang) => {
            thread::sleep(HANG);
            Ok(false)
        }
    }
}
