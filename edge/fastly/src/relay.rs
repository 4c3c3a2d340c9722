//! Bodies that pass by the core: from the cache as the platform's stream, or from the origin into
//! cache and viewer at once.
//!
//! Owns the copying of a body that this exchange leads; every other body is handed from stream to
//! stream by the platform. Invariant: a body that broke is neither finished in the cache nor to the
//! viewer.

use crate::cache::{self, Entry, Lookup, Outcome};
use crate::fetch::{Exchange, Later, deadline};
use crate::upstream::{Flight, Head, read_chunk};
use crate::viewer;
use fastly::Body;
use fastly::cache::core::Transaction;
use fastly::handle::BodyHandle;
use fastly::http::body::StreamingBody;
use sightscreen_core::door::{self, Cut, Lifetime};
use sightscreen_core::{Failure, Got, Object, Relay, Want};
use std::io::Write;
use std::time::{Duration, Instant};

/// Sends the object to the viewer, or says what came instead.
pub(crate) fn relay(exchange: &mut Exchange<'_>, relay: &Relay) -> Result<(), Got> {
    let want = &relay.want;
    let deadline = deadline(want, Instant::now());
    if !door::uses_cache(want) {
        return pass(exchange, relay, deadline);
    }
    let outcome = match cache::look_up(&want.key, exchange.started_ms) {
        Lookup::Ready(outcome) => outcome,
        Lookup::Pending(pending) if want.collapse => {
            let left = deadline.saturating_duration_since(Instant::now());
            cache::wait(pending, left, exchange.started_ms)
        }
        Lookup::Pending(_) => Outcome::Alone,
    };
    match outcome {
        Outcome::Hit(entry, leads) => {
            exchange.later.extend(leads.map(|leads| Later::Refresh(want.clone(), leads)));
            send_entry(exchange, relay, &entry)
        }
        Outcome::Lead(leads) => lead(exchange, relay, leads, deadline),
        Outcome::Alone => pass(exchange, relay, deadline),
        Outcome::TimedOut => Err(Got::Failed(Failure::Timeout)),
    }
}

/// From the origin straight to the viewer, range and all.
fn pass(exchange: &Exchange<'_>, relay: &Relay, deadline: Instant) -> Result<(), Got> {
    let want = &relay.want;
    let flight = Flight::send(want, &door::forwarded(want, &exchange.headers), deadline);
    let head = flight.head().map_err(Got::Failed)?;
    if !door::is_relayed(head.status, want) {
        return Err(Got::Object(without_body(&head)));
    }
    if is_too_large(&head, want) {
        return Err(Got::Failed(Failure::TooLarge));
    }
    let headers = door::relay_headers(head.status, |name| head.header(name), relay);
    viewer::send(head.status, &headers, head.body.into());
    Ok(())
}

/// From the origin into the cache, and to this viewer and all who wait from there.
fn lead(
    exchange: &Exchange<'_>,
    relay: &Relay,
    leads: Transaction,
    deadline: Instant,
) -> Result<(), Got> {
    let want = &relay.want;
    let event = door::event_of(&want.source);
    // Without the range: what is stored is whole, and ranges are cut from it.
    let head = Flight::send(want, &[], deadline).head();
    let head = match head {
        Ok(head) => head,
        Err(failure) => return Err(share_failure(leads, failure, event)),
    };
    if is_too_large(&head, want) {
        return Err(share_failure(leads, Failure::TooLarge, event));
    }
    let Some(lifetime) = lifetime(want, &head) else {
        let _ = leads.cancel_insert_or_update();
        return send_unstored(relay, head);
    };
    let headers = door::object_headers(|name| head.header(name));
    let stamp = cache::stamp(Ok(head.status), headers, lifetime);
    if head.status != 200 {
        cache::fulfil(leads, &stamp, &[], event);
        return Err(Got::Object(without_body(&head)));
    }
    let length = head.length();
    if length.is_none() {
        // Of a body without a length nobody can say whether it came whole: it is not kept.
        let _ = leads.cancel_insert_or_update();
        return send_unstored(relay, head);
    }
    match cache::begin_insert(leads, &stamp, length, event) {
        Some((writer, entry)) => {
            send_entry(exchange, relay, &entry)?;
            if pump(head.body, writer, want, length).is_none() {
                cache::forget(&want.key);
            }
            Ok(())
        }
        None => send_unstored(relay, head),
    }
}

fn is_too_large(head: &Head, want: &Want) -> bool {
    head.length().is_some_and(|length| length > want.max_bytes.into())
}

fn share_failure(leads: Transaction, failure: Failure, event: Option<&str>) -> Got {
    let stamp = cache::stamp(Err(failure), Vec::new(), Lifetime::default());
    cache::fulfil(leads, &stamp, &[], event);
    Got::Failed(failure)
}

fn lifetime(want: &Want, head: &Head) -> Option<Lifetime> {
    Lifetime::of(want, head.status, head.header("cache-control").as_deref())
}

fn send_unstored(relay: &Relay, head: Head) -> Result<(), Got> {
    if head.status != 200 {
        return Err(Got::Object(without_body(&head)));
    }
    let headers = door::relay_headers(head.status, |name| head.header(name), relay);
    viewer::send(head.status, &headers, head.body.into());
    Ok(())
}

/// Sends a stored whole, or the range of it that the viewer asks for.
fn send_entry(exchange: &Exchange<'_>, relay: &Relay, entry: &Entry) -> Result<(), Got> {
    let status = entry.stamp.outcome.map_err(Got::Failed)?;
    if status != 200 {
        let headers = entry.stamp.headers.clone();
        return Err(Got::Object(Object { status, headers, body: Vec::new() }));
    }
    let forwarded = door::forwarded(&relay.want, &exchange.headers);
    let range = forwarded.iter().find(|(name, _)| name == "range").map(|(_, value)| value.as_str());
    let length = entry.length();
    let cut = length.map_or(Cut::Whole, |length| Cut::of(range, length));
    let body = match cut {
        Cut::Whole => entry.stream(None),
        Cut::Part { first, last } => entry.stream(Some((first, last))),
        Cut::Unsatisfiable => Some(Body::new()),
    };
    let body = body.ok_or(Got::Failed(Failure::Unreachable))?;
    let (status, content_length, content_range) = cut.head(length.unwrap_or_default());
    let headers = door::relay_headers(
        status,
        |name| match name {
            "content-length" => length.map(|_| content_length.to_string()),
            "content-range" => content_range.clone(),
            _ => entry.stamp.headers.iter().find(|(own, _)| own == name).map(|(_, v)| v.clone()),
        },
        relay,
    );
    viewer::send(status, &headers, body);
    Ok(())
}

/// Copies the origin's body into the cache, from where the viewers stream it. `None` when it was
/// not whole: dropping the writer breaks the entry and every stream of it.
fn pump(
    mut body: BodyHandle,
    mut writer: StreamingBody,
    want: &Want,
    length: Option<u64>,
) -> Option<()> {
    let patience = Duration::from_millis(want.timeout_ms.into());
    let mut copied = 0;
    loop {
        let chunk = read_chunk(&mut body, patience).ok()?;
        if chunk.is_empty() {
            break;
        }
        copied += u64::try_from(chunk.len()).ok()?;
        if copied > want.max_bytes.into() {
            return None;
        }
        writer.write_all(&chunk).ok()?;
        // Those who stream along must not wait for the writer's buffer to fill.
        writer.flush().ok()?;
    }
    if length.is_some_and(|length| length != copied) {
        return None;
    }
    writer.finish().ok()
}

fn without_body(head: &Head) -> Object {
    let headers = door::object_headers(|name| head.header(name));
    Object { status: head.status, headers, body: Vec::new() }
}
