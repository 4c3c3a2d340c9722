//! What is kept in the platform's core cache, and who asks for it.
//!
//! Owns the entries' metadata and the outcome of a look-up. Owns no request to the origin.
//! Invariant: an entry is used only as its own [`Lifetime`] says; the platform's age limit is that
//! or a little more, so that those who waited still find it.

use fastly::Body;
use fastly::cache::core::{self, CacheKey, Found, PendingTransaction, Transaction};
use fastly::http::body::StreamingBody;
use sightscreen_core::door::{self, Lifetime, Stamp, Use};
use sightscreen_core::{Failure, Object};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The platform drops an entry without age limit before waiters see it; so long it stays for them
/// alone.
const SHARE: Duration = Duration::from_millis(100);
/// How long a document's last good copy may lie in the cache of a point of presence.
const DOCUMENT_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A stored answer.
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    found: Found,
}

impl Entry {
    fn of(found: Found) -> Option<Self> {
        let metadata = found.user_metadata();
        Some(Self { stamp: Stamp::parse(std::str::from_utf8(&metadata).ok()?)?, found })
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.found.age().as_millis()).unwrap_or(u64::MAX)
    }

    /// What the entry is good for now.
    pub(crate) fn good_for(&self) -> Use {
        self.stamp.lifetime.at(self.age_ms())
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

    /// The whole entry as the core takes it.
    pub(crate) fn object(&self, max_bytes: u32) -> Result<Object, Failure> {
        let status = self.stamp.outcome?;
        if self.length().is_some_and(|length| length > max_bytes.into()) {
            return Err(Failure::TooLarge);
        }
        let mut body = Vec::new();
        let stream = self.stream(None).ok_or(Failure::Unreachable)?;
        std::io::Read::read_to_end(&mut std::io::Read::take(stream, max_bytes.into()), &mut body)
            .map_err(|_| Failure::Unreachable)?;
        Ok(Object { status, headers: self.stamp.headers.clone(), body })
    }
}

/// A look-up that may have to wait for another's answer.
pub(crate) enum Lookup {
    /// Another leads; ask again with [`wait`].
    Pending(PendingTransaction),
    /// The outcome.
    Ready(Outcome),
}

/// What a look-up came to.
pub(crate) enum Outcome {
    /// Use the entry. With a transaction, it is this exchange's turn to refresh it, after its
    /// viewer is answered.
    Hit(Entry, Option<Transaction>),
    /// Nothing usable, and this exchange leads.
    Lead(Transaction),
    /// Nothing usable, and nobody waits: ask without storing.
    Alone,
    /// Another leads, and did not answer in time.
    TimedOut,
}

/// Starts a look-up of `key` that waits for nobody.
pub(crate) fn look_up(key: &str, started_ms: u64) -> Lookup {
    let Ok(pending) = Transaction::lookup(cache_key(key)).execute_async() else {
        return Lookup::Ready(Outcome::Alone);
    };
    match pending.pending() {
        Ok(true) => Lookup::Pending(pending),
        Ok(false) => Lookup::Ready(wait(pending, Duration::from_secs(1), started_ms)),
        Err(_) => Lookup::Ready(Outcome::Alone),
    }
}

/// Waits for the one who leads, for `patience` at most.
pub(crate) fn wait(pending: PendingTransaction, patience: Duration, started_ms: u64) -> Outcome {
    match pending.wait_for(patience) {
        Ok(transaction) => outcome(transaction, started_ms),
        Err(core::CacheError::Timeout) => Outcome::TimedOut,
        Err(_) => Outcome::Alone,
    }
}

fn outcome(transaction: Transaction, started_ms: u64) -> Outcome {
    let leads = transaction.must_insert_or_update();
    let entry = transaction.found().and_then(Entry::of);
    match entry {
        Some(entry) if matches!(entry.good_for(), Use::Fresh | Use::Stale) => {
            Outcome::Hit(entry, leads.then_some(transaction))
        }
        // It was written while this exchange waited: kept for no time, and still the answer to this
        // one.
        Some(entry) if !leads && entry.stamp.stored_ms >= started_ms => Outcome::Hit(entry, None),
        // A failure that the platform still has is a tenth of a second old: a herd does not try
        // again one by one.
        Some(entry) if !leads && door::is_failure(entry.stamp.outcome.ok()) => {
            Outcome::Hit(entry, None)
        }
        _ if leads => Outcome::Lead(transaction),
        _ => Outcome::Alone,
    }
}

/// The stamp of an answer that came just now.
pub(crate) fn stamp(
    outcome: Result<u16, Failure>,
    headers: Vec<(String, String)>,
    lifetime: Lifetime,
) -> Stamp {
    Stamp { outcome, headers, lifetime, stored_ms: now_ms() }
}

/// Fulfils the transaction with a body of known length that is still to be written.
pub(crate) fn begin_insert(
    transaction: Transaction,
    stamp: &Stamp,
    length: Option<u64>,
    event: Option<&str>,
) -> Option<(StreamingBody, Entry)> {
    let mut insert = transaction
        .insert(Duration::from_millis(stamp.lifetime.fresh_ms).max(SHARE))
        .stale_while_revalidate(Duration::from_millis(stamp.lifetime.stale_ms))
        .surrogate_keys(surrogate_keys(event).iter().map(String::as_str))
        .user_metadata(stamp.to_text().into_bytes().into());
    if let Some(length) = length {
        insert = insert.known_length(length);
    }
    let (writer, found) = insert.execute_and_stream_back().ok()?;
    Some((writer, Entry::of(found)?))
}

/// Fulfils the transaction, so that all who wait for it have this answer.
pub(crate) fn fulfil(transaction: Transaction, stamp: &Stamp, body: &[u8], event: Option<&str>) {
    let length = u64::try_from(body.len()).ok();
    if let Some((writer, _)) = begin_insert(transaction, stamp, length, event) {
        write_all(writer, body);
    }
}

/// Writes an entry for which nobody leads.
pub(crate) fn put(key: &str, stamp: &Stamp, body: &[u8], event: Option<&str>) {
    write_for(key, Duration::from_millis(stamp.lifetime.fresh_ms), stamp, body, event);
}

/// Puts nothing in place of an entry whose body broke off after its head was shared.
pub(crate) fn forget(key: &str) {
    let nothing = stamp(Err(Failure::Unreachable), Vec::new(), Lifetime::default());
    write_for(key, Duration::ZERO, &nothing, &[], None);
}

/// Writes the copy that answers when the origin fails. `durable` for documents, which answer
/// however old.
pub(crate) fn put_last_good(
    key: &str,
    durable: bool,
    stamp: &Stamp,
    body: &[u8],
    event: Option<&str>,
) {
    let life = if durable { DOCUMENT_LIFE } else { Duration::from_millis(stamp.lifetime.end_ms()) };
    write_for(&last_good_key(key), life, stamp, body, event);
}

/// The copy that answers when the origin fails, if it is not too old. `durable` as in
/// [`put_last_good`].
pub(crate) fn last_good(key: &str, durable: bool) -> Option<Entry> {
    let found = core::lookup(cache_key(&last_good_key(key))).execute().ok()??;
    Entry::of(found).filter(|entry| durable || entry.good_for() != Use::Gone)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn write_for(key: &str, life: Duration, stamp: &Stamp, body: &[u8], event: Option<&str>) {
    let writer = core::insert(cache_key(key), life)
        .surrogate_keys(surrogate_keys(event).iter().map(String::as_str))
        .user_metadata(stamp.to_text().into_bytes().into())
        .known_length(u64::try_from(body.len()).unwrap_or(u64::MAX))
        .execute();
    if let Ok(writer) = writer {
        write_all(writer, body);
    }
}

/// A write that fails leaves no entry: the platform drops what was not finished.
fn write_all(mut writer: StreamingBody, body: &[u8]) {
    if writer.write_all(body).is_ok() {
        let _ = writer.finish();
    }
}

/// Everything of an event is purged by `event-{event}`, everything of Sightscreen by `sightscreen`.
fn surrogate_keys(event: Option<&str>) -> Vec<String> {
    let event = event.map(|event| format!("event-{event}"));
    std::iter::once("sightscreen".to_owned()).chain(event).collect()
}

fn cache_key(key: &str) -> CacheKey {
    CacheKey::copy_from_slice(key.as_bytes())
}

fn last_good_key(key: &str) -> String {
    format!("last-good {key}")
}
