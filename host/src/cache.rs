//! Answers kept in memory, by key, within a budget of bytes.
//!
//! Owns the ages of answers. What age is too old is in each look-up, from the want, for objects,
//! and with the entry for results. Invariant: the weight of all entries stays within the budget;
//! what is larger than a shard is not kept.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quick_cache::sync::{Cache as Lru, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use sightscreen_core::Want;
use sightscreen_core::door::{Lifetime, Use, held};

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
    /// Milliseconds since the cache was made; `None` is older than any.
    at_ms: Option<u64>,
    /// Of a result: how long it may be used.
    fresh_ms: u32,
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
        key.name.len() as u64 + entry.stored.weight()
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

    /// What there is for `want`, by the want's own times.
    pub(crate) fn object(&self, want: &Want) -> Found {
        let Some(entry) = self.get(Kind::Object, &want.key) else {
            return Found::Nothing;
        };
        match Lifetime::of(want, entry.stored.status.as_u16(), None) {
            Some(lifetime) => self.judge(entry, lifetime),
            None => Found::Nothing,
        }
    }

    /// The result that there is for `want`, by the entry's own time and the want's stale time.
    pub(crate) fn result(&self, want: &Want) -> Found {
        let Some(entry) = self.get(Kind::Result, &want.key) else {
            return Found::Nothing;
        };
        let (fresh_ms, stale_ms) = (entry.fresh_ms.into(), want.stale_ms.into());
        self.judge(entry, Lifetime { fresh_ms, stale_ms, stale_error_ms: 0 })
    }

    fn judge(&self, entry: Arc<Entry>, lifetime: Lifetime) -> Found {
        let now = self.now_ms();
        let held_until = entry.held_until_ms.load(Ordering::Relaxed);
        if now < held_until {
            return Found::Fresh(entry);
        }
        let stands_in = held_until > 0;
        match entry.at_ms.map(|at| lifetime.at(now.saturating_sub(at))) {
            Some(Use::Fresh) => Found::Fresh(entry),
            Some(Use::Stale) => Found::Stale(entry),
            // Asking failed the last time: nobody waits for the next try.
            Some(Use::OnFailure) | None if stands_in => Found::Stale(entry),
            Some(Use::OnFailure) => Found::IfFailed(entry),
            Some(Use::Gone) | None => Found::Nothing,
        }
    }

    /// Keeps the origin's answer.
    pub(crate) fn keep_object(&self, key: &str, stored: Stored) -> Arc<Entry> {
        self.insert(Kind::Object, key, Entry::new(stored, Some(self.now_ms()), 0))
    }

    /// Keeps a response for `fresh_ms`.
    pub(crate) fn keep_result(&self, key: &str, stored: Stored, fresh_ms: u32) -> Arc<Entry> {
        self.insert(Kind::Result, key, Entry::new(stored, Some(self.now_ms()), fresh_ms))
    }

    /// Keeps a copy of unknown age, to stand in for an origin that just failed.
    pub(crate) fn keep_copy(&self, want: &Want, stored: Stored) -> Arc<Entry> {
        let entry = self.insert(Kind::Object, &want.key, Entry::new(stored, None, 0));
        self.hold(&entry, want);
        entry
    }

    /// Asking for the want failed just now: what may stand in does, for the next moment without
    /// asking.
    pub(crate) fn failed(&self, want: &Want) -> Option<Arc<Entry>> {
        match self.object(want) {
            Found::IfFailed(entry) | Found::Fresh(entry) | Found::Stale(entry) => {
                self.hold(&entry, want);
                Some(entry)
            }
            Found::Nothing => None,
        }
    }

    /// Uses `entry` without asking for a moment (see [`held`]), and after it while another asks.
    fn hold(&self, entry: &Entry, want: &Want) {
        let until = self.now_ms() + held(want).fresh_ms;
        entry.held_until_ms.store(until, Ordering::Relaxed);
    }

    /// Bytes in use.
    pub(crate) fn weight(&self) -> u64 {
        self.entries.weight()
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
        Self::new(stored, None, 0)
    }

    fn new(stored: Stored, at_ms: Option<u64>, fresh_ms: u32) -> Self {
        Self { stored, at_ms, fresh_ms, held_until_ms: AtomicU64::new(0) }
    }
}
