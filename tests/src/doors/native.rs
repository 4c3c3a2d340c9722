//! The native door: the core in this process behind a plain threaded server.
//!
//! Owns the simplest driver that carries out every want: blocking calls, a cache, collapse, and a
//! store of documents. It shows that a case is right before any platform has a say. Invariant: it
//! decides nothing.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sightscreen_core::{
    Client, Core, Exchange, Failure, Got, Object, REQUEST_HEADERS, Relay, Request, Response,
    Source, Step, Want, door,
};

use super::cache::{Cache, Lead};
use crate::wire::{self, Headers};

/// Everything a running door holds.
pub(super) struct Native {
    origin: SocketAddr,
    keyring: String,
    cache: Cache,
}

/// Threads, each with a core of its own; more than any case sends at the same time.
const THREADS: usize = 48;

/// Starts the door on a free port; it serves until the process ends.
pub(super) fn start(origin: SocketAddr, keyring: &str) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let door = Arc::new(Native { origin, keyring: keyring.to_owned(), cache: Cache::default() });
    let (sender, receiver) = mpsc::channel::<TcpStream>();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..THREADS {
        let (door, receiver) = (Arc::clone(&door), Arc::clone(&receiver));
        thread::spawn(move || work(&door, &receiver));
    }
    thread::spawn(move || listener.incoming().flatten().try_for_each(|stream| sender.send(stream)));
    Ok(addr)
}

fn work(door: &Arc<Native>, receiver: &Mutex<mpsc::Receiver<TcpStream>>) {
    let mut core = Core::new();
    loop {
        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(stream) = next else { return };
        // A client that left is no fault of the door's.
        drop(door.serve(&mut core, stream));
    }
}

/// What a door sends for a request, and where the leads that it took end.
struct Answering<'a> {
    door: &'a Arc<Native>,
    request: Request,
    leads: Vec<Lead>,
}

impl Native {
    fn serve(self: &Arc<Self>, core: &mut Core, stream: TcpStream) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let Some(received) = wire::read_request(&mut BufReader::new(stream))? else {
            return Ok(());
        };
        let request = core_request(received);
        let (exchange, step) = core.begin(request.clone());
        Answering { door: self, request, leads: Vec::new() }.drive(
            core,
            exchange,
            step,
            &mut writer,
        )
    }

    /// Gets one want that is not a result.
    fn get(self: &Arc<Self>, want: &Want, headers: &Headers) -> Got {
        match &want.source {
            Source::Keyring => Got::Object(Object::whole(self.keyring.clone().into_bytes())),
            Source::Document(name) => self.document(want, name),
            Source::Origin(target)
                if want.forward.is_empty() || door::forwarded(want, headers).is_empty() =>
            {
                self.cached(want, target)
            }
            Source::Origin(target) => {
                fetch(self.origin, want, target, door::forwarded(want, headers))
            }
            Source::Result => Got::Missing,
        }
    }

    fn document(self: &Arc<Self>, want: &Want, name: &str) -> Got {
        let got = self.cached(want, &format!("/documents/{name}"));
        match &got {
            Got::Object(object) if object.status == 200 => self.cache.keep_document(name, object),
            Got::Object(object) if object.status < 500 => {}
            _ => {
                return match self.cache.kept_document(name) {
                    Some(copy) => self.cache.hold(want, copy),
                    None => got,
                };
            }
        }
        got
    }

    fn cached(self: &Arc<Self>, want: &Want, target: &str) -> Got {
        let node = Arc::clone(self);
        let (want, target) = (want.clone(), target.to_owned());
        self.cache.get(
            &want.clone(),
            Arc::new(move || match fetch(node.origin, &want, &target, vec![]) {
                Got::Object(object) => {
                    let ring = node.keyring.as_bytes();
                    door::genuine(&want.source, object.status, &object.body, ring)
                        .map_or_else(Got::Failed, |()| Got::Object(object))
                }
                other => other,
            }),
        )
    }
}

impl Answering<'_> {
    fn drive(
        mut self,
        core: &mut Core,
        mut exchange: Exchange,
        mut step: Step,
        writer: &mut TcpStream,
    ) -> io::Result<()> {
        loop {
            step = match step {
                Step::Respond(response) => return self.respond(&response, writer),
                Step::Relay(relay) => match self.relay(&relay, writer)? {
                    Some(got) => exchange.resume(core, vec![got]),
                    None => return Ok(()),
                },
                Step::Fetch(wants) => match self.fetch(&wants) {
                    Ok(got) => exchange.resume(core, got),
                    Err(response) => {
                        // What stands in for the result that this exchange leads does so for those
                        // who wait for it.
                        for lead in self.leads.drain(..) {
                            lead.finish(&response);
                        }
                        return send(&self.request, &response, writer);
                    }
                },
            }
        }
    }

    /// The answers to `wants`, or the stored response that ends the exchange.
    fn fetch(&mut self, wants: &[Want]) -> Result<Vec<Got>, Arc<Response>> {
        if let [want @ Want { source: Source::Result, .. }] = wants {
            return match self.door.cache.result(want) {
                Ok(response) => Err(response),
                Err(lead) => {
                    self.leads.extend(lead);
                    Ok(vec![Got::Missing])
                }
            };
        }
        Ok(thread::scope(|scope| {
            let (door, headers) = (self.door, &self.request.headers);
            let get = |want| scope.spawn(move || door.get(want, headers));
            let running: Vec<_> = wants.iter().map(get).collect();
            let failed = |_| Got::Failed(Failure::Unreachable);
            running.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
        }))
    }

    fn respond(mut self, response: &Response, writer: &mut TcpStream) -> io::Result<()> {
        self.door.cache.keep_result(response);
        self.leads.clear();
        send(&self.request, response, writer)
    }

    /// Streams the object; what came instead where it cannot.
    fn relay(&self, relay: &Relay, writer: &mut TcpStream) -> io::Result<Option<Got>> {
        let Source::Origin(target) = &relay.want.source else {
            return Ok(Some(Got::Failed(Failure::Unreachable)));
        };
        let asked = origin_request(target, door::forwarded(&relay.want, &self.request.headers));
        let timeout = Duration::from_millis(relay.want.timeout_ms.into());
        let (mut body, reply) = match wire::open(self.door.origin, &asked, timeout) {
            Ok(opened) => opened,
            Err(e) => return Ok(Some(Got::Failed(failure(&e)))),
        };
        if !matches!(reply.status, 200 | 206 | 304 | 416) {
            return Ok(Some(Got::Object(Object {
                status: reply.status,
                headers: passed(&reply.headers),
                body: vec![],
            })));
        }
        const COPIED: [&str; 4] = ["content-type", "content-length", "content-range", "etag"];
        let set = |name: &str| relay.headers.iter().any(|(n, _)| n == name);
        let copied =
            reply.headers.into_iter().filter(|(n, _)| COPIED.contains(&n.as_str()) && !set(n));
        let headers: Headers = copied.chain(relay.headers.iter().cloned()).collect();
        let length = wire::header(&headers, "content-length")
            .and_then(|v| v.parse().ok())
            .unwrap_or(u64::MAX);
        writer.write_all(&wire::reply_head(reply.status, &headers))?;
        if self.request.method != "HEAD" {
            io::copy(&mut body.by_ref().take(length), writer)?;
        }
        Ok(None)
    }
}

fn core_request(received: wire::Request) -> Request {
    let (country, region) =
        wire::header(&received.headers, super::GEO_HEADER).map_or((None, None), door::geography);
    let client = Client { country, region, mobile: None };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Request {
        method: received.method,
        target: received.target,
        headers: received
            .headers
            .into_iter()
            .filter(|(n, _)| REQUEST_HEADERS.contains(&n.as_str()))
            .collect(),
        client,
        now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        entropy: u64::from(now.subsec_nanos()).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

fn origin_request(target: &str, headers: Headers) -> wire::Request {
    wire::Request { method: "GET".into(), target: target.into(), headers }
}

fn fetch(origin: SocketAddr, want: &Want, target: &str, headers: Headers) -> Got {
    let timeout = Duration::from_millis(want.timeout_ms.into());
    match wire::send(origin, &origin_request(target, headers), timeout) {
        Err(e) => Got::Failed(failure(&e)),
        Ok(reply) if reply.cut => Got::Failed(Failure::Unreachable),
        Ok(reply) if reply.body.len() > want.max_bytes as usize => Got::Failed(Failure::TooLarge),
        Ok(reply) => {
            let private = wire::header(&reply.headers, "cache-control")
                .is_some_and(|v| v.contains("no-store") || v.contains("private"));
            let mut headers = passed(&reply.headers);
            if private {
                headers.push((super::cache::UNSHARED.into(), String::new()));
            }
            Got::Object(Object { status: reply.status, headers, body: reply.body })
        }
    }
}

fn passed(headers: &Headers) -> Headers {
    door::object_headers(|name| wire::header(headers, name).map(str::to_owned))
}

fn failure(e: &io::Error) -> Failure {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::Timeout,
        _ => Failure::Unreachable,
    }
}

fn send(request: &Request, response: &Response, writer: &mut TcpStream) -> io::Result<()> {
    let mut headers = response.headers.clone();
    headers.push(("content-length".into(), response.body.len().to_string()));
    let body: &[u8] = if request.method == "HEAD" { &[] } else { &response.body };
    wire::write_reply(writer, response.status, &headers, body)
}
