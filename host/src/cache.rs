//! Answers kept in memory, by key, within a budget of bytes.
//!
//! Owns the ages of answers. What age is too old is in each look-up, from the want, for objects,
//! and with the entry for results. Invariant: the weight of all entries stays within the budget;
//! what is larger than a shard is not kept.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use quick_cache::sync::{Cache as Lru, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use sightscreen_core::{Source, Want};
use sightscreen_door::{Lifetime, Use};

use crate::purge::Purge;
use crate::stored::Stored;

/// Few, so that one shard's budget holds the largest media.
const SHARDS: usize = 8;
/// Guess of an entry's bytes, for the size of the tables.
const TYPICAL_ENTRY: u64 = 16 * 1024;

/// What an entry holds; the same text may name one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// An answer of the origin.
    Object,
    /// A response of the component.
    Result,
}

/// An answer with its age.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) stored: Stored,
    /// The event that it belongs to; `None` belongs to all.
    event: Option<Box<str>>,
    /// Milliseconds since the cache was made; `None` is older than any.
    at_ms: Option<u64>,
    /// Of a result: how long it may be used. Of an object, its want says so.
    lifetime: Lifetime,
    /// Whether it is a document that says that there is none.
    is_absence: bool,
    /// Until when it is used without asking, because asking failed just now; 0: asking did not fail
    /// since it came.
    held_until_ms: AtomicU64,
}

/// What a look-up came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// Use it.
    Fresh(Arc<Entry>),
    /// Use it while one request refreshes it.
    Stale(Arc<Entry>),
    /// Ask; use it only when that fails.
    IfFailed(Arc<Entry>),
    /// Ask.
    Nothing,
}

/// Answers by key.
pub(crate) struct Cache {
    entries: Lru<Key, Arc<Entry>, Bytes>,
    since: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    name: Box<str>,
}

#[derive(Hash)]
struct KeyRef<'a> {
    kind: Kind,
    name: &'a str,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.kind == key.kind && *self.name == *key.name
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Entry>> for Bytes {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        let event = entry.event.as_ref().map_or(0, |event| event.len());
        (key.name.len() + event) as u64 + entry.stored.weight()
    }
}

impl Cache {
    /// A cache of at most `budget` bytes.
    pub(crate) fn new(budget: u64) -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .weight_capacity(budget)
            .estimated_items_capacity(
                usize::try_from(budget / TYPICAL_ENTRY).unwrap_or(usize::MAX).max(64),
            )
            .build()
            .expect("all options that are required are set");
        let entries = Lru::with_options(
            options,
            Bytes,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Self { entries, since: Instant::now() }
    }

    /// What there is for `want`, by the want's own times. A document is used when asking fails,
    /// however old it is.
    pub(crate) fn object(&self, want: &Want) -> Found {
        let Some(entry) = self.get(Kind::Object, &want.key) else {
            return Found::Nothing;
        };
        let lifetime = match Lifetime::of(want, entry.stored.status.as_u16(), None) {
            Some(_) if entry.is_absence => Lifetime::of_absence(want),
            Some(lifetime) => lifetime,
            None => return Found::Nothing,
        };
        let is_document = matches!(want.source, Source::Document(_));
        match self.judge(entry, lifetime) {
            Found::IfFailed(_) if !is_document => Found::Nothing,
            found => found,
        }
    }

    /// The answer under `key`, however old it is.
    pub(crate) fn known(&self, key: &str) -> Option<Arc<Entry>> {
        self.get(Kind::Object, key)
    }

    /// The result under `key`, by its own time.
    pub(crate) fn result(&self, key: &str) -> Found {
        match self.get(Kind::Result, key) {
            Some(entry) => {
                let lifetime = entry.lifetime;
                self.judge(entry, lifetime)
            }
            None => Found::Nothing,
        }
    }

    fn judge(&self, entry: Arc<Entry>, lifetime: Lifetime) -> Found {
        let now = self.now_ms();
        let held_until = entry.held_until_ms.load(Ordering::Relaxed);
        if now < held_until {
            return Found::Fresh(entry);
        }
        let stands_in = held_until > 0;
        match lifetime.at(entry.at_ms.map(|at| now.saturating_sub(at))) {
            Use::Fresh => Found::Fresh(entry),
            Use::Stale => Found::Stale(entry),
            // Asking failed the last time: nobody waits for the next try.
            Use::Gone if stands_in => Found::Stale(entry),
            Use::Gone => Found::IfFailed(entry),
        }
    }

    /// Milliseconds for which a result may still be used.
    pub(crate) fn left_ms(&self, entry: &Entry) -> u64 {
        let end_ms = entry.at_ms.unwrap_or_default() + entry.lifetime.fresh_ms;
        end_ms.saturating_sub(self.now_ms())
    }

    /// Keeps the origin's answer.
    pub(crate) fn keep_object(&self, want: &Want, stored: Stored, is_absence: bool) -> Arc<Entry> {
        let entry = Entry::new(stored, want.event.as_deref(), Some(self.now_ms()));
        self.insert(Kind::Object, &want.key, Entry { is_absence, ..entry })
    }

    /// Keeps a response.
    pub(crate) fn keep_result(
        &self,
        key: &str,
        event: Option<&str>,
        stored: Stored,
        lifetime: Lifetime,
    ) -> Arc<Entry> {
        let entry = Entry::new(stored, event, Some(self.now_ms()));
        self.insert(Kind::Result, key, Entry { lifetime, ..entry })
    }

    /// Keeps a copy of unknown age, to stand in for an origin that just failed.
    pub(crate) fn keep_copy(&self, want: &Want, stored: Stored) -> Arc<Entry> {
        let entry = Entry::new(stored, want.event.as_deref(), None);
        let entry = self.insert(Kind::Object, &want.key, entry);
        self.hold(&entry, want);
        entry
    }

    /// Asking for the want failed just now. A document stands in, for the next moment without
    /// asking; anything else only within its own time.
    pub(crate) fn failed(&self, want: &Want) -> Option<Arc<Entry>> {
        let (Found::IfFailed(entry) | Found::Fresh(entry) | Found::Stale(entry)) =
            self.object(want)
        else {
            return None;
        };
        if matches!(want.source, Source::Document(_)) {
            self.hold(&entry, want);
        }
        Some(entry)
    }

    /// Uses `entry` without asking for a moment, and after it while another asks.
    fn hold(&self, entry: &Entry, want: &Want) {
        let until = self.now_ms() + Lifetime::of_copy(want).fresh_ms;
        entry.held_until_ms.store(until, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
    }

    /// Forgets all that `purge` takes, and says how many entries that were.
    pub(crate) fn forget(&self, purge: &Purge) -> usize {
        let gone = AtomicUsize::new(0);
        self.entries.retain(|key, entry| {
            let stays = !purge.takes(&key.name, entry.event.as_deref());
            gone.fetch_add(usize::from(!stays), Ordering::Relaxed);
            stays
        });
        gone.into_inner()
    }

    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Entry>> {
        self.entries.get(&KeyRef { kind, name })
    }

    fn insert(&self, kind: Kind, name: &str, entry: Entry) -> Arc<Entry> {
        let entry = Arc::new(entry);
        self.entries.insert(Key { kind, name: name.into() }, Arc::clone(&entry));
        entry
    }

    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

impl Entry {
    /// An answer that no cache keeps.
    pub(crate) fn unkept(stored: Stored) -> Self {
        Self::new(stored, None, None)
    }

    fn new(stored: Stored, event: Option<&str>, at_ms: Option<u64>) -> Self {
        Self {
            stored,
            event: event.map(Into::into),
            at_ms,
            lifetime: Lifetime::default(),
            is_absence: false,
            held_until_ms: AtomicU64::new(0),
        }
    }
}
