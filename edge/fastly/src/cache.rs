//! What is kept in the platform's core cache, and whose turn it is to make what is not.
//!
//! An entry is used as its stamp says. The platform's age limit is that or a little more, so that
//! those who waited still find it.

use std::io::Write;
use std::time::Duration;

use fastly::Body;
use fastly::cache::core::{self, CacheKey, Found, Transaction};
use fastly::http::body::StreamingBody;
use sightscreen_core::{Failure, Object};
use sightscreen_door::{Lifetime, Outcome, Stamp, Use, tags};

use crate::abi::Busy;
use crate::viewer::now_ms;

/// The platform drops an entry without age limit before those who wait see it; so long it stays for
/// them, and for those who come meanwhile.
const SHARE: Duration = Duration::from_millis(100);

/// A stored answer.
pub(crate) struct Kept {
    pub(crate) stamp: Stamp,
    found: Found,
}

impl Kept {
    pub(crate) fn of(found: Found) -> Option<Self> {
        let metadata = found.user_metadata();
        let stamp = Stamp::parse(std::str::from_utf8(&metadata).ok()?)?;
        Some(Self { stamp, found })
    }

    /// The body's length; known for all entries that were written with one.
    pub(crate) fn length(&self) -> Option<u64> {
        self.found.known_length()
    }

    /// The body as the platform's own stream, whole or from `first` to `last`.
    pub(crate) fn stream(&self, range: Option<(u64, u64)>) -> Option<Body> {
        match range {
            Some((first, last)) => self.found.to_stream_from_range(Some(first), Some(last)).ok(),
            None => self.found.to_stream().ok(),
        }
    }
}

/// The right to write the entry of a key. Dropped, it is handed to the next who waits.
pub(crate) struct Lead(Option<Transaction>);

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some(transaction) = self.0.take() {
            let _ = transaction.cancel_insert_or_update();
        }
    }
}

/// What a look-up came to.
pub(crate) enum Looked {
    /// Use the entry. With a lead, it is stale, and this exchange refreshes it.
    Kept(Kept, Option<Lead>),
    /// Asking failed just now, for another.
    Failed(Failure),
    /// Nothing usable, and this exchange leads.
    Lead(Lead),
    /// Nothing usable, and nobody waits.
    Alone,
}

/// Looks `key` up, waiting for the one who leads.
pub(crate) async fn look_up(key: &str) -> Looked {
    let Ok(pending) = Transaction::lookup(cache_key(key)).execute_async() else {
        return Looked::Alone;
    };
    match Busy::of(pending).wait().await {
        Some(transaction) => judge(transaction),
        None => Looked::Alone,
    }
}

fn judge(transaction: Transaction) -> Looked {
    let leads = transaction.must_insert_or_update();
    let kept = transaction.found().and_then(Kept::of);
    let lead = leads.then(|| Lead(Some(transaction)));
    match (kept, lead) {
        (Some(kept), lead) if kept.stamp.at(now_ms()) != Use::Gone => Looked::Kept(kept, lead),
        (_, Some(lead)) => Looked::Lead(lead),
        // What was written for those who waited, no longer than a moment ago.
        (Some(kept), None) => match kept.stamp.outcome {
            Ok(_) => Looked::Kept(kept, None),
            Err(failure) => Looked::Failed(failure),
        },
        (None, None) => Looked::Alone,
    }
}

/// Ends a lead as the driver says.
pub(crate) fn settle(lead: Lead, outcome: &Outcome, event: Option<&str>) {
    let failed = |failure| Stamp {
        outcome: Err(failure),
        headers: Vec::new(),
        lifetime: Lifetime::default(),
        stored_ms: now_ms(),
    };
    match outcome {
        Outcome::Object(object, lifetime) => {
            fulfil(lead, &stamp(object, *lifetime), &object.body, event);
        }
        Outcome::Failed(failure) => fulfil(lead, &failed(*failure), &[], event),
        Outcome::Private => drop(lead),
    }
}

/// The stamp of an object that came just now.
pub(crate) fn stamp(object: &Object, lifetime: Lifetime) -> Stamp {
    let (outcome, headers) = (Ok(object.status), object.headers.clone());
    Stamp { outcome, headers, lifetime, stored_ms: now_ms() }
}

fn fulfil(lead: Lead, stamp: &Stamp, body: &[u8], event: Option<&str>) {
    let length = u64::try_from(body.len()).ok();
    if let Some((writer, _)) = begin(lead, stamp, length, event) {
        write_all(writer, body);
    }
}

/// Writes the entry's head: those who wait have it, and its body as it is written.
pub(crate) fn begin(
    mut lead: Lead,
    stamp: &Stamp,
    length: Option<u64>,
    event: Option<&str>,
) -> Option<(StreamingBody, Kept)> {
    let tags: Vec<String> = tags(event).collect();
    let mut insert = lead
        .0
        .take()?
        .insert(Duration::from_millis(stamp.lifetime.fresh_ms).max(SHARE))
        .stale_while_revalidate(Duration::from_millis(stamp.lifetime.stale_ms))
        .surrogate_keys(tags.iter().map(String::as_str))
        .user_metadata(stamp.to_text().into_bytes().into());
    if let Some(length) = length {
        insert = insert.known_length(length);
    }
    let (writer, found) = insert.execute_and_stream_back().ok()?;
    Some((writer, Kept::of(found)?))
}

/// The entry under `key`, whatever its age.
pub(crate) fn get(key: &str) -> Option<Kept> {
    Kept::of(core::lookup(cache_key(key)).execute().ok()??)
}

/// Writes an entry for which nobody leads.
pub(crate) fn put(key: &str, stamp: &Stamp, body: &[u8], life: Duration, event: Option<&str>) {
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if let Some(writer) = insert(key, stamp, length, life, event) {
        write_all(writer, body);
    }
}

/// Writes an entry with a body that the platform moves.
pub(crate) fn put_stream(
    key: &str,
    stamp: &Stamp,
    kept: &Kept,
    life: Duration,
    event: Option<&str>,
) {
    let Some((length, body)) = kept.length().zip(kept.stream(None)) else { return };
    if let Some(mut writer) = insert(key, stamp, length, life, event) {
        writer.append(body);
        let _ = writer.finish();
    }
}

/// Puts nothing in place of an entry whose body broke off after its head was shared.
pub(crate) fn forget(key: &str) {
    let nothing = Stamp {
        outcome: Err(Failure::Unreachable),
        headers: Vec::new(),
        lifetime: Lifetime::default(),
        stored_ms: 0,
    };
    put(key, &nothing, &[], Duration::ZERO, None);
}

fn insert(
    key: &str,
    stamp: &Stamp,
    length: u64,
    life: Duration,
    event: Option<&str>,
) -> Option<StreamingBody> {
    let tags: Vec<String> = tags(event).collect();
    core::insert(cache_key(key), life)
        .surrogate_keys(tags.iter().map(String::as_str))
        .user_metadata(stamp.to_text().into_bytes().into())
        .known_length(length)
        .execute()
        .ok()
}

/// A write that fails leaves no entry: the platform drops what was not finished.
fn write_all(mut writer: StreamingBody, body: &[u8]) {
    if writer.write_all(body).is_ok() {
        let _ = writer.finish();
    }
}

fn cache_key(key: &str) -> CacheKey {
    CacheKey::copy_from_slice(key.as_bytes())
}
