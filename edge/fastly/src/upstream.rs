//! Requests to the origin: sent without waiting, driven together, each with its own time limit.
//!
//! Owns the connection to backend `origin`. Owns no cache. Invariant: a flight ends by its
//! deadline, whatever the origin does.

use crate::abi;
use fastly::handle::{
    BodyHandle, CacheOverride, PendingRequestHandle, PollHandleResult, RequestHandle,
    ResponseHandle,
};
use fastly::http::header::{HeaderName, HeaderValue};
use fastly::http::{Method, Url};
use sightscreen_core::door::{self, Answer};
use sightscreen_core::{Failure, Object, Want};
use std::io::Read;
use std::time::{Duration, Instant};

const BACKEND: &str = "origin";
/// Bytes that one read may bring.
const CHUNK: usize = 64 * 1024;
/// More than any header that the doors read.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// Status and headers of the origin's answer, with the body still to come.
pub(crate) struct Head {
    pub(crate) status: u16,
    response: ResponseHandle,
    pub(crate) body: BodyHandle,
}

impl Head {
    /// A header's value by lower case name, where it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = self.response.get_header_value(&name, MAX_HEADER_BYTES).ok()??;
        value.to_str().ok().map(str::to_owned)
    }

    /// `content-length`, where the origin sent a good one.
    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }
}

/// One request to the origin.
pub(crate) struct Flight {
    state: State,
    deadline: Instant,
    max_bytes: usize,
}

enum State {
    Sent(PendingRequestHandle),
    Reading(Head, Vec<u8>),
    Done(Result<Answer, Failure>),
}

impl Flight {
    /// Sends the request for `want`; `headers` are those of the viewer that the want forwards.
    pub(crate) fn send(want: &Want, headers: &[(String, String)], deadline: Instant) -> Self {
        let state = match send(want, headers) {
            Some(pending) => State::Sent(pending),
            None => State::Done(Err(Failure::Unreachable)),
        };
        Self { state, deadline, max_bytes: usize::try_from(want.max_bytes).unwrap_or(usize::MAX) }
    }

    fn waitable(&self) -> Option<abi::Waitable> {
        match &self.state {
            State::Sent(pending) => Some(abi::of_request(pending)),
            State::Reading(head, _) => Some(abi::of_body(&head.body)),
            State::Done(_) => None,
        }
    }

    /// Goes one step, which does not block once the flight was selected.
    fn advance(&mut self) {
        let done = State::Done(Err(Failure::Unreachable));
        self.state = match std::mem::replace(&mut self.state, done) {
            State::Sent(pending) => match arrived(pending) {
                Ok(head) => State::Reading(head, Vec::new()),
                Err(state) => state,
            },
            State::Reading(head, body) => read_on(head, body, self.max_bytes),
            done @ State::Done(_) => done,
        };
    }

    /// Waits for status and headers alone.
    pub(crate) fn head(mut self) -> Result<Head, Failure> {
        loop {
            match self.state {
                State::Reading(head, _) => return Ok(head),
                State::Done(result) => return Err(result.err().unwrap_or(Failure::Unreachable)),
                State::Sent(pending) => {
                    if abi::select(&[abi::of_request(&pending)], left(self.deadline)).is_none() {
                        return Err(Failure::Timeout);
                    }
                    self.state = State::Sent(pending);
                    self.advance();
                }
            }
        }
    }

    /// The whole answer of a flight that [`land_all`] has driven.
    pub(crate) fn result(self) -> Result<Answer, Failure> {
        match self.state {
            State::Done(result) => result,
            State::Sent(_) | State::Reading(..) => Err(Failure::Timeout),
        }
    }
}

/// Drives all flights until each has its whole answer or has failed.
pub(crate) fn land_all(flights: &mut [&mut Flight]) {
    loop {
        let now = Instant::now();
        for flight in flights.iter_mut().filter(|flight| flight.deadline <= now) {
            if flight.waitable().is_some() {
                flight.state = State::Done(Err(Failure::Timeout));
            }
        }
        let waiting: Vec<(usize, abi::Waitable)> = flights
            .iter()
            .enumerate()
            .filter_map(|(index, flight)| Some((index, flight.waitable()?)))
            .collect();
        let Some(deadline) = waiting.iter().map(|(index, _)| flights[*index].deadline).min() else {
            return;
        };
        let items: Vec<abi::Waitable> = waiting.iter().map(|(_, item)| *item).collect();
        if let Some(ready) = abi::select(&items, left(deadline)) {
            flights[waiting[ready].0].advance();
        }
    }
}

/// Reads what of a body is there, waiting for it for `patience` at most. Empty at the end.
pub(crate) fn read_chunk(body: &mut BodyHandle, patience: Duration) -> Result<Vec<u8>, Failure> {
    if abi::select(&[abi::of_body(body)], patience).is_none() {
        return Err(Failure::Timeout);
    }
    let mut chunk = vec![0; CHUNK];
    let count = body.read(&mut chunk).map_err(|_| Failure::Unreachable)?;
    chunk.truncate(count);
    Ok(chunk)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn send(want: &Want, headers: &[(String, String)]) -> Option<PendingRequestHandle> {
    let target = door::origin_target(&want.source)?;
    let mut request = RequestHandle::new();
    request.set_method(&Method::GET);
    // The backend's own address and host take the place of this authority.
    request.set_url(&Url::parse(&format!("http://{BACKEND}{target}")).ok()?);
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        request.append_header(&name, &HeaderValue::from_str(value).ok()?);
    }
    // The platform's read-through cache would keep answers by the origin's headers; the want's
    // times hold instead.
    request.set_cache_override(&CacheOverride::Pass);
    request.send_async(BodyHandle::new(), BACKEND).ok()
}

fn arrived(pending: PendingRequestHandle) -> Result<Head, State> {
    match pending.poll() {
        PollHandleResult::Pending(pending) => Err(State::Sent(pending)),
        PollHandleResult::Done(Ok((response, body))) => {
            Ok(Head { status: response.get_status().as_u16(), response, body })
        }
        PollHandleResult::Done(Err(_)) => Err(State::Done(Err(Failure::Unreachable))),
    }
}

fn read_on(mut head: Head, mut body: Vec<u8>, max_bytes: usize) -> State {
    match read_chunk(&mut head.body, Duration::from_millis(1)) {
        Ok(chunk) if chunk.is_empty() => State::Done(whole(&head, body)),
        Ok(chunk) if body.len() + chunk.len() > max_bytes => State::Done(Err(Failure::TooLarge)),
        Ok(chunk) => {
            body.extend_from_slice(&chunk);
            State::Reading(head, body)
        }
        Err(Failure::Timeout) => State::Reading(head, body),
        Err(failure) => State::Done(Err(failure)),
    }
}

/// Waiting for a body may swallow the error that ended it, so the end of a body is believed only
/// where the length agrees.
fn whole(head: &Head, body: Vec<u8>) -> Result<Answer, Failure> {
    if head.length().is_some_and(|length| u64::try_from(body.len()) != Ok(length)) {
        return Err(Failure::Unreachable);
    }
    let headers = door::object_headers(|name| head.header(name));
    let cache_control = head.header("cache-control");
    Ok(Answer { object: Object { status: head.status, headers, body }, cache_control })
}
