//! Bodies that pass by the core: from the cache as the platform's stream, or from the origin into
//! cache and viewer at once.
//!
//! An entry is written for a moment while its body arrives, and for long once the body is whole. So
//! whatever ends an instance in between (its viewer left, a trap, its time) leaves nothing that
//! lasts. What is met before it is whole is looked at: a body that is broken is forgotten, and
//! asked for again.

use std::io::Write;
use std::time::Duration;

use fastly::Body;
use fastly::handle::BodyHandle;
use fastly::http::body::StreamingBody;
use sightscreen_core::{Failure, Got, Object, Relay, Want};
use sightscreen_door::{
    Answer, Body as Whose, Cut, Lifetime, Outcome, Platform, Stamp, headers, relay as pass,
};

use crate::cache::{self, Kept, Lead, Looked};
use crate::platform::Fastly;
use crate::task::{self, within};
use crate::upstream::chunk;

/// In a stamp: the body is whole.
const WHOLE: &str = "sightscreen-whole";
/// How long an entry lives whose body arrives. A body that takes longer is asked for again.
const ARRIVING_MS: u64 = 20_000;
/// Most times that a broken entry is met before the viewer is told.
const TRIES: usize = 3;

/// A body on its way to a viewer.
pub(crate) enum Stream {
    /// The platform moves it.
    Native(Body),
    /// This instance moves it, and looks whether it is whole.
    Watched(Watched),
}

/// A body that may break off.
pub(crate) struct Watched {
    body: BodyHandle,
    /// Bytes that were read already.
    first: Vec<u8>,
    /// Bytes that are still to come, first ones included; past them the body is too large.
    left: u64,
    /// Whether fewer bytes than that are a broken body, and the entry that has it.
    entry: Option<String>,
}

impl Stream {
    /// The body, for one who reads it.
    pub(crate) fn into_handle(self) -> BodyHandle {
        match self {
            Self::Native(body) => body.into_handle(),
            Self::Watched(watched) => watched.body,
        }
    }

    /// The same body, which breaks where it goes on past `max_bytes`.
    pub(crate) fn bounded(self, max_bytes: u32) -> Self {
        let (body, first) = (self.into_handle(), Vec::new());
        Self::Watched(Watched { body, first, left: max_bytes.into(), entry: None })
    }
}

impl Watched {
    /// Writes all of it. One that breaks is not finished, so that no viewer takes it for whole.
    pub(crate) async fn write_to(mut self, mut viewer: StreamingBody) {
        let outcome = self.copy(&mut viewer).await;
        match (outcome, &self.entry) {
            (Ok(()), _) => drop(viewer.finish()),
            (Err(Broken::Body), Some(key)) => cache::forget(key),
            (Err(_), _) => {}
        }
    }

    async fn copy(&mut self, viewer: &mut StreamingBody) -> Result<(), Broken> {
        let mut bytes = std::mem::take(&mut self.first);
        loop {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.left = self.left.checked_sub(length).ok_or(Broken::Body)?;
            viewer.write_all(&bytes).map_err(|_| Broken::Viewer)?;
            if self.entry.is_some() && self.left == 0 {
                return Ok(());
            }
            bytes = chunk(&mut self.body).await.map_err(|_| Broken::Body)?;
            if bytes.is_empty() {
                return if self.entry.is_none() { Ok(()) } else { Err(Broken::Body) };
            }
        }
    }
}

enum Broken {
    Body,
    Viewer,
}

/// The object for the viewer, or what came instead.
pub(crate) async fn relay(
    platform: &Fastly,
    relay: &Relay,
    viewer: &[(String, String)],
) -> Result<Answer<Stream>, Got> {
    let want = &relay.want;
    for _ in 0..TRIES {
        match within(patience(want), cache::look_up(&want.key)).await {
            None => return Err(Got::Failed(Failure::Timeout)),
            Some(Looked::Failed(failure)) => return Err(Got::Failed(failure)),
            Some(Looked::Alone) => return pass::pass(platform, relay, viewer).await,
            Some(Looked::Lead(lead)) => return self::lead(platform, relay, viewer, lead).await,
            Some(Looked::Kept(kept, stale)) => {
                if let Some(lead) = stale {
                    refresh(platform, want, lead);
                }
                match from_kept(relay, viewer, &kept).await {
                    Some(answer) => return answer,
                    None => cache::forget(&want.key),
                }
            }
        }
    }
    Err(Got::Failed(Failure::Unreachable))
}

fn patience(want: &Want) -> Duration {
    Duration::from_millis(want.timeout_ms.into())
}

/// From the origin into the cache, and to this viewer and all who wait from there.
async fn lead(
    platform: &Fastly,
    relay: &Relay,
    viewer: &[(String, String)],
    lead: Lead,
) -> Result<Answer<Stream>, Got> {
    let arriving = match arrive(platform, &relay.want, lead).await? {
        Ok(arriving) => arriving,
        Err(head) => return pass::answer(platform, relay, head).await,
    };
    let answer = cut(relay, viewer, &arriving.kept, Stream::Native);
    task::later(arriving.copy(relay.want.clone()));
    answer.ok_or(Got::Failed(Failure::Unreachable))?
}

/// Asks again for what is stale, after the viewer has it.
fn refresh(platform: &Fastly, want: &Want, lead: Lead) {
    let (platform, want) = (platform.clone(), want.clone());
    task::later(async move {
        if let Ok(Ok(arriving)) = arrive(&platform, &want, lead).await {
            arriving.copy(want).await;
        }
    });
}

/// An object on its way into the cache.
struct Arriving {
    body: BodyHandle,
    writer: StreamingBody,
    kept: Kept,
    lifetime: Lifetime,
    length: u64,
}

/// Asks for the whole, whatever range the viewer wants: ranges are cut from what is stored. What
/// may not be stored comes back as the origin's answer.
async fn arrive(
    platform: &Fastly,
    want: &Want,
    lead: Lead,
) -> Result<Result<Arriving, sightscreen_door::Arrival<Stream>>, Got> {
    let event = want.event.as_deref();
    let asked = within(patience(want), platform.ask(want, &[])).await;
    let head = match asked.unwrap_or(Err(Failure::Timeout)) {
        Ok(head) => head,
        Err(failure) => return Err(fail(lead, failure, event)),
    };
    let length = headers::length(&head.headers);
    if length.is_some_and(|length| length > want.max_bytes.into()) {
        return Err(fail(lead, Failure::TooLarge, event));
    }
    let control = headers::value(&head.headers, "cache-control");
    let Some(lifetime) = Lifetime::of(want, head.status, control) else {
        return Ok(Err(head));
    };
    if head.status != 200 {
        let object = pass::without_body(head.status, &head.headers);
        let outcome = Outcome::Object(object.clone().into(), lifetime);
        cache::settle(lead, &outcome, event);
        return Err(Got::Object(object));
    }
    // Of a body without a length nobody can say whether it came whole: it is not kept.
    let Some(length) = length else { return Ok(Err(head)) };
    let object = pass::without_body(head.status, &head.headers);
    let moment = Lifetime { fresh_ms: lifetime.fresh_ms.min(ARRIVING_MS), stale_ms: 0 };
    let stamp = cache::stamp(&object, moment);
    match cache::begin(lead, &stamp, Some(length), event) {
        Some((writer, kept)) => {
            Ok(Ok(Arriving { body: head.stream.into_handle(), writer, kept, lifetime, length }))
        }
        None => Ok(Err(head)),
    }
}

fn fail(lead: Lead, failure: Failure, event: Option<&str>) -> Got {
    cache::settle(lead, &Outcome::Failed(failure), event);
    Got::Failed(failure)
}

impl Arriving {
    /// Copies the origin's body into the cache, from where viewers stream it, and then makes the
    /// entry last. Dropping the writer before its end breaks the entry and every stream of it.
    async fn copy(mut self, want: Want) {
        let mut copied = 0;
        while copied < self.length {
            let next = within(patience(&want), chunk(&mut self.body));
            let bytes = match next.await {
                Some(Ok(bytes)) if !bytes.is_empty() => bytes,
                _ => return self.forget(&want),
            };
            copied += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            // Those who stream along must not wait for the writer's buffer to fill.
            let written = self.writer.write_all(&bytes).and_then(|()| self.writer.flush());
            if copied > self.length || written.is_err() {
                return self.forget(&want);
            }
        }
        if self.writer.finish().is_ok() {
            last(&want, &self.kept.stamp, self.lifetime);
        }
    }

    /// Forgets the entry whose body broke, unless another has taken its place.
    fn forget(&self, want: &Want) {
        if cache::get(&want.key).is_none_or(|kept| kept.stamp == self.kept.stamp) {
            cache::forget(&want.key);
        }
    }
}

/// Writes the entry of that stamp anew, with its own life. Where another has taken its place, which
/// may not be whole yet, that one is left alone.
fn last(want: &Want, written: &Stamp, lifetime: Lifetime) {
    let Some(kept) = cache::get(&want.key).filter(|kept| kept.stamp == *written) else { return };
    let mut stamp = kept.stamp.clone();
    stamp.headers.push((WHOLE.to_owned(), "1".to_owned()));
    stamp.lifetime = lifetime;
    let life = Duration::from_millis(lifetime.end_ms());
    cache::put_stream(&want.key, &stamp, &kept, life, want.event.as_deref());
}

/// A stored object, or the range of it that the viewer asks for; `None` where its body is broken.
async fn from_kept(
    relay: &Relay,
    viewer: &[(String, String)],
    kept: &Kept,
) -> Option<Result<Answer<Stream>, Got>> {
    let status = match kept.stamp.outcome {
        Ok(status) => status,
        Err(failure) => return Some(Err(Got::Failed(failure))),
    };
    if status != 200 {
        let headers = kept.stamp.headers.clone();
        return Some(Err(Got::Object(Object { status, headers, body: Vec::new() })));
    }
    if headers::value(&kept.stamp.headers, WHOLE).is_some() {
        return cut(relay, viewer, kept, Stream::Native);
    }
    let watch = |body: Body| {
        Stream::Watched(Watched {
            body: body.into_handle(),
            first: Vec::new(),
            left: 0,
            entry: Some(relay.want.key.clone()),
        })
    };
    let mut answer = match cut(relay, viewer, kept, watch)? {
        Ok(answer) => answer,
        no => return Some(no),
    };
    let length = headers::length(&answer.headers).unwrap_or_default();
    if let Whose::Stream(Stream::Watched(watched)) = &mut answer.body {
        watched.left = length;
        if length > 0 {
            let first = within(patience(&relay.want), chunk(&mut watched.body)).await;
            watched.first = first?.ok()?;
            if watched.first.is_empty() {
                return None;
            }
        }
    }
    Some(Ok(answer))
}

/// The whole or a range of an entry.
fn cut(
    relay: &Relay,
    viewer: &[(String, String)],
    kept: &Kept,
    stream: impl FnOnce(Body) -> Stream,
) -> Option<Result<Answer<Stream>, Got>> {
    let length = kept.length()?;
    let range = Cut::of(headers::value(viewer, "range"), length);
    let body = match range {
        Cut::Whole => stream(kept.stream(None)?),
        Cut::Part { first, last } => stream(kept.stream(Some((first, last)))?),
        Cut::Unsatisfiable => Stream::Native(Body::new()),
    };
    let (status, bytes, content_range) = range.head(length);
    let mut origin = kept.stamp.headers.clone();
    origin.push(("content-length".to_owned(), bytes.to_string()));
    origin.extend(content_range.map(|range| ("content-range".to_owned(), range)));
    let headers = headers::relayed(status, &origin, relay);
    Some(Ok(Answer { status, headers, body: Whose::Stream(body) }))
}
