//! The native door: the driver of the doors on a small platform in this process.
//!
//! A double for the tests: it shows that a case is right before any real platform has a say.
//! Sockets are read and written by threads; exchanges run as tasks of one thread, as they do at
//! Cloudflare and Spin.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sightscreen_core::{Client, Failure, REQUEST_HEADERS, Request, Want};
use sightscreen_door::{
    self as door, Answer, Arrival, Body, Entry, InstanceLead, Outcome, Platform, Pulse, Stamp,
    Turn, headers,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_blocking, spawn_local};

use crate::wire::{self, Chunked, Headers};

/// Longer than any want waits for the origin.
const ORIGIN_TIMEOUT: Duration = Duration::from_secs(20);

/// A body that is still to be read.
type Stream = Box<dyn Read + Send>;

/// A request, and where its answer goes.
type Asked = (Request, oneshot::Sender<Answer<Stream>>);

/// Starts the door on a free port; it serves until the process ends.
pub(super) fn start(
    origin: SocketAddr,
    keyring: &str,
    secret: Option<&'static str>,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let keyring = keyring.to_owned();
    thread::spawn(move || {
        let native = Native { origin, secret, keyring: keyring.into(), kept: Rc::default() };
        LocalSet::new().block_on(&runtime, native.run(receiver));
    });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            // A client that left is no fault of the door's.
            thread::spawn(move || drop(serve(stream, &sender)));
        }
    });
    Ok(addr)
}

/// The platform.
#[derive(Clone)]
struct Native {
    origin: SocketAddr,
    /// Says to the origin that an edge asks.
    secret: Option<&'static str>,
    keyring: Rc<str>,
    kept: Rc<RefCell<Kept>>,
}

/// What it keeps, for as long as it runs.
#[derive(Default)]
struct Kept {
    cache: HashMap<String, (Stamp, Vec<u8>)>,
    store: HashMap<String, Vec<u8>>,
}

impl Native {
    async fn run(self, mut requests: mpsc::UnboundedReceiver<Asked>) {
        while let Some((request, sender)) = requests.recv().await {
            let native = self.clone();
            // The receiver is gone where the client is.
            spawn_local(async move { drop(sender.send(door::answer(&native, request).await)) });
        }
    }
}

impl Platform for Native {
    type Stream = Stream;
    type Lead = InstanceLead;

    const CACHE_IS_SHARED: bool = true;
    const SAVES_SPREAD_MS: u32 = 0;

    fn now_ms(&self) -> u64 {
        u64::try_from(now().as_millis()).unwrap_or(u64::MAX)
    }

    fn entropy(&self) -> u64 {
        entropy()
    }

    async fn wait(&self, ms: u32) {
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }

    async fn secret(&self) -> Option<Vec<u8>> {
        Some(self.keyring.as_bytes().to_vec())
    }

    async fn ask(
        &self,
        want: &Want,
        forwarded: &[(String, String)],
    ) -> Result<Arrival<Stream>, Failure> {
        let url = door::url_of(&want.source, &format!("http://{}", self.origin));
        let (origin, target) = url.as_deref().and_then(place).ok_or(Failure::Unreachable)?;
        let secret = self.secret.map(|secret| (headers::SECRET.to_owned(), secret.to_owned()));
        let headers = forwarded.iter().cloned().chain(secret).collect();
        let request = wire::Request { method: "GET".into(), target, headers };
        let opened = spawn_blocking(move || wire::open(origin, &request, ORIGIN_TIMEOUT)).await;
        let (body, reply) =
            opened.map_err(|_| Failure::Unreachable)?.map_err(|_| Failure::Unreachable)?;
        let of = |name: &str| {
            let mine = reply.headers.iter().filter(|(known, _)| known == name);
            mine.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let read = headers::read(of);
        let stream: Stream = if wire::is_chunked(&reply.headers) {
            Box::new(Chunked::new(body))
        } else {
            Box::new(body.take(headers::length(&read).unwrap_or(u64::MAX)))
        };
        Ok(Arrival { status: reply.status, headers: read, stream })
    }

    async fn read(&self, stream: Stream, max_bytes: u32) -> Result<Vec<u8>, Failure> {
        let limit = u64::from(max_bytes);
        let read = spawn_blocking(move || {
            let mut body = Vec::new();
            stream.take(limit + 1).read_to_end(&mut body).map(|_| body)
        });
        let body = read.await.map_err(|_| Failure::Unreachable)?;
        let body = body.map_err(|_| Failure::Unreachable)?;
        if body.len() as u64 > limit { Err(Failure::TooLarge) } else { Ok(body) }
    }

    fn bounded(&self, stream: Stream, max_bytes: u32) -> Result<Stream, Stream> {
        Ok(Box::new(Bounded { stream, left: u64::from(max_bytes) }))
    }

    async fn get(&self, key: &str) -> Option<Entry<Stream>> {
        let kept = self.kept.borrow();
        let (stamp, body) = kept.cache.get(key)?;
        Some(Entry { stamp: stamp.clone(), body: Body::Whole(body.clone()) })
    }

    async fn put(&self, key: &str, stamp: &Stamp, body: &[u8], _life_ms: u64, _: Option<&str>) {
        let entry = (stamp.clone(), body.to_vec());
        self.kept.borrow_mut().cache.insert(key.to_owned(), entry);
    }

    async fn turn(&self, key: &str, patience_ms: u32, pulse: &Pulse) -> Turn<Self> {
        door::turn(self, key, patience_ms, pulse).await
    }

    async fn settle(&self, lead: InstanceLead, outcome: Outcome, event: Option<&str>) {
        door::settle(self, lead, outcome, event);
    }

    async fn load(&self, name: &str, _max_bytes: u32) -> Option<Vec<u8>> {
        self.kept.borrow().store.get(name).cloned()
    }

    async fn save(&self, name: &str, value: &[u8]) {
        self.kept.borrow_mut().store.insert(name.to_owned(), value.to_vec());
    }

    fn later(&self, work: impl Future<Output = ()> + 'static) {
        spawn_local(work);
    }

    async fn see_through<T: Clone + 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        work.await
    }
}

/// Address and target of a URL; the double speaks plain HTTP to addresses alone.
fn place(url: &str) -> Option<(SocketAddr, String)> {
    let rest = url.strip_prefix("http://")?;
    let (address, target) = rest.split_at(rest.find('/')?);
    Some((address.parse().ok()?, target.to_owned()))
}

/// A body that breaks where it goes on for too long.
struct Bounded {
    stream: Stream,
    left: u64,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        let left = self.left.checked_sub(read as u64);
        self.left = left.ok_or_else(|| io::Error::other("the origin's answer is too large"))?;
        Ok(read)
    }
}

/// Reads one request, waits for its answer and writes it.
fn serve(stream: TcpStream, sender: &mpsc::UnboundedSender<Asked>) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let Some(received) = wire::read_request(&mut BufReader::new(stream))? else {
        return Ok(());
    };
    let is_head = received.method == "HEAD";
    let (tell, told) = oneshot::channel();
    let gone = |_| io::Error::other("the door's thread ended");
    sender.send((core_request(received), tell)).map_err(|_| gone(()))?;
    let answer = told.blocking_recv().map_err(|_| gone(()))?;
    let mut headers = answer.headers;
    let mut body: Stream = match answer.body {
        Body::Whole(body) => {
            headers.push(("content-length".into(), body.len().to_string()));
            Box::new(io::Cursor::new(body))
        }
        Body::Stream(stream) => stream,
    };
    // The end of the connection tells no body that broke off from one that is whole.
    let in_chunks = headers::length(&headers).is_none();
    if in_chunks {
        headers.push(("transfer-encoding".into(), "chunked".into()));
    }
    writer.write_all(&wire::reply_head(answer.status, &headers))?;
    match (is_head, in_chunks) {
        (true, _) => Ok(()),
        (false, true) => wire::write_chunked(&mut writer, body),
        (false, false) => io::copy(&mut body, &mut writer).map(drop),
    }
}

fn core_request(received: wire::Request) -> Request {
    let (country, region) =
        wire::header(&received.headers, super::GEO_HEADER).map_or((None, None), door::geography);
    let read = |(name, _): &(String, String)| REQUEST_HEADERS.contains(&name.as_str());
    let headers: Headers = received.headers.into_iter().filter(read).collect();
    Request {
        method: received.method,
        target: received.target,
        headers,
        client: Client { country, region, mobile: None },
        now_ms: u64::try_from(now().as_millis()).unwrap_or(u64::MAX),
        entropy: entropy(),
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn entropy() -> u64 {
    u64::from(now().subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
