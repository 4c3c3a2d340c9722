//! Runs cases at a door.
//!
//! Owns the order of things: publish, send, compare. Invariant: a case sees nothing of another,
//! because its event is its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::case::{
    AnswerSpec, DocumentSpec, Expander, FIXTURES, FaultSpec, Loaded, OriginSpec, StepSpec,
    envelope, passes_in,
};
use crate::check::{self, Checked};
use crate::doors::{Door, EDGE_SECRET, GEO_HEADER};
use crate::origin::{Answer, Fault, Origin};
use crate::wire::{self, Reply, Request};

/// Longer than any door waits for anything.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(20);
/// For requests that a door makes after it answered.
const SETTLE: Duration = Duration::from_millis(40);
/// Headers that the runner sends with every request and no door may pass on, with values that no
/// case has. The second is by which a viewer could pose as an edge.
pub(crate) const CANARIES: [(&str, &str); 2] =
    [("x-canary", "canary-5c1f0a"), (EDGE_SECRET.0, "forged-by-the-viewer-93b7")];

/// Documents that every case has unless it says otherwise, by name and fixture.
pub(crate) const DOCUMENTS: [(&str, &str); 5] = [
    ("events/{event}", "event"),
    ("keys/{event}", "keys"),
    ("flags/{event}", "flags"),
    ("flags/site", "flags"),
    ("pods/{event}/1/generic", "pods-none"),
];

/// A door that serves, with the origin behind it and the cases' folder.
#[derive(Debug, Clone, Copy)]
pub struct Runner<'a> {
    /// The kind of door.
    pub door: &'static Door,
    /// Where it listens.
    pub addr: std::net::SocketAddr,
    /// What it was given to prove itself to the origin by.
    pub edge_secret: Option<&'a str>,
    /// The origin behind it.
    pub origin: &'a Origin,
    /// The folder of all cases.
    pub cases: &'a Path,
    /// Whether golden files are written rather than compared.
    pub bless: bool,
    /// What the names of all of the run's events begin with, and nothing else has.
    pub events: &'a str,
    /// Passes and signatures that cases have made.
    pub made: &'a Mutex<Vec<String>>,
}

impl Runner<'_> {
    /// Runs one case under an event of its own.
    ///
    /// # Errors
    /// What differed, for people.
    pub fn run(&self, loaded: &Loaded, event: String) -> Result<(), String> {
        let mut expander = Expander::new(event);
        expander.origin = self.origin.addr().to_string();
        let outcome = self.steps(loaded, &mut expander);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.extend(expander.secrets());
        outcome
    }

    /// Looks at what the origin was asked and no case took: what came late, and what tells no
    /// event. Nothing runs meanwhile.
    ///
    /// # Errors
    /// A secret in any of it, a request that no edge can have made, or one for which no case has an
    /// answer.
    pub fn rest(&self) -> Result<(), String> {
        thread::sleep(SETTLE);
        let rest = self.origin.take_seen(|_| true);
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.proper(&rest, &made)?;
        self.no_stray(&rest)
    }

    /// What holds for every request that the origin gets, whoever set it off; `made` are passes and
    /// signatures.
    fn proper(&self, seen: &[Request], made: &[String]) -> Result<(), String> {
        check::of_an_edge(seen, self.edge_secret)?;
        check::no_secrets(seen, made)
    }

    /// Nothing was asked that tells no event and that no case has an answer for, but for documents.
    fn no_stray(&self, seen: &[Request]) -> Result<(), String> {
        let stray = seen.iter().find(|request| {
            let target = request.target.as_str();
            !target.contains(self.events)
                && !target.starts_with("/documents/")
                && !self.origin.is_scripted(target)
        });
        stray.map_or(Ok(()), |request| {
            Err(format!("  upstream: no case accounts for {} {}", request.method, request.target))
        })
    }

    /// What the origin was asked on behalf of a case. Who runs alone answers for what tells no
    /// event as well.
    fn take_seen(&self, loaded: &Loaded, event: &str) -> Vec<Request> {
        let alone = loaded.case.is_alone();
        self.origin
            .take_seen(|target| target.contains(event) || (alone && !target.contains(self.events)))
    }

    fn steps(&self, loaded: &Loaded, expander: &mut Expander) -> Result<(), String> {
        let named = |spec: &DocumentSpec, name: &str| spec.name == name;
        for (name, fixture) in DOCUMENTS {
            if !loaded.case.document.iter().any(|spec| named(spec, name)) {
                self.publish(&DocumentSpec::fixture(name, fixture), loaded, expander)?;
            }
        }
        self.script(&loaded.case.document, &loaded.case.origin, loaded, expander)?;
        for (at, step) in loaded.case.step.iter().enumerate() {
            let variants =
                if step.each.is_empty() { vec![String::new()] } else { step.each.clone() };
            for each in variants {
                expander.each = each;
                let place = format!("step {} {}", at + 1, expander.each);
                self.step(step, loaded, expander)
                    .map_err(|fault| format!("{}\n{fault}", place.trim_end()))?;
            }
        }
        Ok(())
    }

    fn script(
        &self,
        documents: &[DocumentSpec],
        origin: &[OriginSpec],
        loaded: &Loaded,
        expander: &Expander,
    ) -> Result<(), String> {
        for spec in documents {
            self.publish(spec, loaded, expander)?;
        }
        for spec in origin {
            let answers: Result<Vec<Answer>, String> =
                spec.answers.iter().map(|a| answer(a, None, loaded, expander)).collect();
            self.origin.script(expander.expand(&spec.target)?, answers?);
        }
        Ok(())
    }

    fn publish(
        &self,
        spec: &DocumentSpec,
        loaded: &Loaded,
        expander: &Expander,
    ) -> Result<(), String> {
        let name = expander.expand(&spec.name)?;
        let payload = expander.expand(&self.payload(spec)?)?;
        let body = envelope(&name, spec.version, payload.as_bytes(), &spec.kid, spec.flaw);
        let answer = answer(&spec.answer, Some(body), loaded, expander)?;
        self.origin.script(format!("/documents/{name}"), vec![answer]);
        Ok(())
    }

    /// The payload's text: as it is, or a fixture with values put over it.
    fn payload(&self, spec: &DocumentSpec) -> Result<String, String> {
        let text = match (&spec.payload, &spec.fixture) {
            (Some(payload), None) => payload.clone(),
            (None, Some(fixture)) => {
                read(&self.cases.join(FIXTURES).join(format!("{fixture}.json")))?
            }
            (None, None) if spec.answer.status.is_some() || spec.answer.fault.is_some() => {
                String::new()
            }
            _ => return Err(format!("document {}: either `use` or `payload`", spec.name)),
        };
        if spec.set.is_empty() {
            return Ok(text);
        }
        let mut value: Value =
            serde_json::from_str(&text).map_err(|e| format!("document {}: {e}", spec.name))?;
        for (path, new) in &spec.set {
            put(&mut value, path, new)
                .map_err(|e| format!("document {}: set {path}: {e}", spec.name))?;
        }
        Ok(value.to_string())
    }

    fn step(
        &self,
        step: &StepSpec,
        loaded: &Loaded,
        expander: &mut Expander,
    ) -> Result<(), String> {
        self.script(&step.document, &step.origin, loaded, expander)?;
        thread::sleep(Duration::from_millis(step.wait_ms));
        let request = request(step, expander)?;
        if step.origin_refuses {
            self.origin.go_down();
        }
        // What the step before set off may come late: it is not this one's, and is no place for a
        // secret either.
        let late = self.origin.take_seen(|target| target.contains(&expander.event));
        self.proper(&late, &expander.secrets())?;
        let replies = match step.leaves_after_ms {
            Some(ms) => self.leave(&request, Duration::from_millis(ms), step.at_the_same_time)?,
            None => self.send_all(&request, step.at_the_same_time),
        };
        if step.origin_refuses {
            self.origin.come_back().map_err(|e| format!("the origin's port: {e}"))?;
            // Until the door has seen that the connections which it keeps for later are closed.
            thread::sleep(SETTLE);
        }
        if step.upstream.is_some() {
            thread::sleep(SETTLE);
        }
        let seen = self.take_seen(loaded, &expander.event);
        if step.leaves_after_ms.is_some() {
            self.proper(&seen, &expander.secrets())?;
            return self.no_stray(&seen);
        }
        check::spread(step, replies.iter().filter_map(|(reply, _)| reply.as_ref().ok()))?;
        for (reply, took) in replies {
            let checked =
                Checked { step, loaded, expander, door: self.door, seen: &seen, bless: self.bless };
            let reply = reply
                .map_err(|e| format!("{} {}\nno answer: {e}", request.method, request.target))?;
            checked.reply(&reply, took).map_err(|fault| tell(&request, &reply, &fault))?;
            checked.upstream().map_err(|fault| tell(&request, &reply, &fault))?;
            if let Some((pass, _)) = passes_in(&String::from_utf8_lossy(&reply.body)).first() {
                expander.minted = (*pass).to_owned();
            }
        }
        self.proper(&seen, &expander.secrets())?;
        self.no_stray(&seen)
    }

    /// Sends so many of the request and closes each connection before any byte of an answer.
    fn leave<T>(&self, request: &Request, after: Duration, count: usize) -> Result<Vec<T>, String> {
        let send = || wire::send_only(self.addr, request).map_err(|e| format!("not sent: {e}"));
        let open: Vec<_> = (0..count).map(|_| send()).collect::<Result<_, _>>()?;
        thread::sleep(after);
        for stream in open {
            stream.set_nonblocking(true).map_err(|e| e.to_string())?;
            if stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0) {
                return Err("the client was to leave before the first byte, which is here".into());
            }
        }
        Ok(Vec::new())
    }

    fn send_all(&self, request: &Request, count: usize) -> Vec<(std::io::Result<Reply>, Duration)> {
        let addr = self.addr;
        let send = || {
            let began = Instant::now();
            let reply = wire::send(addr, request, CLIENT_TIMEOUT);
            (reply, began.elapsed())
        };
        thread::scope(|scope| {
            let running: Vec<_> = (0..count).map(|_| scope.spawn(send)).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    }
}

impl DocumentSpec {
    fn fixture(name: &str, fixture: &str) -> Self {
        Self {
            name: name.into(),
            fixture: Some(fixture.into()),
            payload: None,
            set: BTreeMap::new(),
            version: 1,
            kid: "d1".into(),
            flaw: None,
            answer: AnswerSpec::default(),
        }
    }
}

fn request(step: &StepSpec, expander: &Expander) -> Result<Request, String> {
    let request = expander.expand(&step.request)?;
    let (method, target) = request.split_once(' ').ok_or("request: expected `METHOD target`")?;
    let mut target = target.to_owned();
    for (find, new) in &step.alter {
        let (find, new) = (expander.expand(find)?, expander.expand(new)?);
        match target.matches(&find).count() {
            1 => target = target.replace(&find, &new),
            n => return Err(format!("alter: {find:?} is {n} times in {target}")),
        }
    }
    let mut headers = CANARIES.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for (name, value) in &step.headers {
        headers.push((name.to_ascii_lowercase(), expander.expand(value)?));
    }
    headers.extend(step.geo.iter().map(|geo| (GEO_HEADER.to_owned(), geo.clone())));
    Ok(Request { method: method.into(), target, headers })
}

fn answer(
    spec: &AnswerSpec,
    envelope: Option<Vec<u8>>,
    loaded: &Loaded,
    expander: &Expander,
) -> Result<Answer, String> {
    let body = match (envelope, &spec.body, &spec.file, spec.bytes, &spec.playlist) {
        (Some(envelope), None, None, None, None) => envelope,
        (_, Some(text), None, None, None) => expander.expand(text)?.into_bytes(),
        (_, None, Some(file), None, None) => {
            expander.expand(&read(&loaded.dir.join(file))?)?.into_bytes()
        }
        (_, None, None, Some(count), None) => counted(0, count),
        (_, None, None, None, Some(playlist)) => playlist.render().into_bytes(),
        (None, None, None, None, None) => Vec::new(),
        _ => return Err("an answer has more than one of body, file, bytes and playlist".into()),
    };
    let fault = match (spec.fault, spec.cut) {
        (Some(FaultSpec::Reset), None) => Some(Fault::Reset),
        (Some(FaultSpec::Hang), None) => Some(Fault::Hang),
        (None, Some(at)) => Some(Fault::Cut(at)),
        (None, None) => None,
        _ => return Err("an answer has both `fault` and `cut`".into()),
    };
    let status = spec.status.unwrap_or(200);
    let body = if status == 404 { Vec::new() } else { body };
    let lines = |(name, value): (&String, &String)| {
        let name = name.to_ascii_lowercase();
        value.split('\n').map(|line| (name.clone(), line.to_owned())).collect::<Vec<_>>()
    };
    let headers = spec.headers.iter().flat_map(lines).collect();
    Ok(Answer {
        status,
        headers,
        body,
        chunked: spec.chunked,
        delay: Duration::from_millis(spec.delay_ms),
        fault,
        ranges: spec.ranges,
    })
}

/// `length` bytes that count up from `offset` and wrap.
pub(crate) fn counted(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length).map(|n| u8::try_from(n % 256).unwrap_or_default()).collect()
}

fn put(value: &mut Value, path: &str, new: &toml::Value) -> Result<(), String> {
    let mut at = value;
    for name in path.split('.') {
        at = match at {
            Value::Array(items) => {
                let index: usize = name.parse().map_err(|_| format!("{name:?} is no index"))?;
                items.get_mut(index).ok_or_else(|| format!("there is no item {index}"))?
            }
            Value::Object(fields) => fields.entry(name).or_insert(Value::Null),
            _ => return Err(format!("{name:?} is below no object")),
        };
    }
    *at = serde_json::to_value(new).map_err(|e| e.to_string())?;
    Ok(())
}

pub(crate) fn read(path: &PathBuf) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn tell(request: &Request, reply: &Reply, fault: &str) -> String {
    let mut text = format!("  request  {} {}\n", request.method, request.target);
    for (name, value) in &request.headers {
        text.push_str(&format!("           {name}: {value}\n"));
    }
    text.push_str(&format!("  got      {}\n", reply.status));
    for (name, value) in &reply.headers {
        text.push_str(&format!("           {name}: {value}\n"));
    }
    text + fault
}
