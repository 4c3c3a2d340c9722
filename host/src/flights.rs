//! What is under way, by key: the first to ask for a key leads, the others join.
//!
//! Owns no answer; those are in the cache. Locks are held for a look-up and never across a wait,
//! and a key's waiters wait on that key alone. Invariant: a key has at most one flight, and
//! [`Flights::end`] removes only the flight that it is given.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use crate::purge::Purge;

const SHARDS: usize = 32;

/// Flights by key.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    shards: [Mutex<Shard<T>>; SHARDS],
    hasher: RandomState,
}

type Shard<T> = HashMap<Box<str>, Flight<T>>;

#[derive(Debug)]
struct Flight<T> {
    /// The event that it belongs to; `None` belongs to all.
    event: Option<Box<str>>,
    flown: Arc<T>,
}

/// Whether one leads or follows.
pub(crate) enum Joined<T> {
    Lead(Arc<T>),
    Follow(Arc<T>),
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl<T> Flights<T> {
    /// Joins the flight of `key`, which belongs to `event`, or starts it with `start`.
    pub(crate) fn join(
        &self,
        key: &str,
        event: Option<&str>,
        start: impl FnOnce() -> T,
    ) -> Joined<T> {
        self.shard(key, |flights| {
            if let Some(flight) = flights.get(key) {
                return Joined::Follow(Arc::clone(&flight.flown));
            }
            let flown = Arc::new(start());
            let flight = Flight { event: event.map(Into::into), flown: Arc::clone(&flown) };
            flights.insert(key.into(), flight);
            Joined::Lead(flown)
        })
    }

    /// Ends `flight`: who asks for `key` from now on leads anew.
    pub(crate) fn end(&self, key: &str, flight: &Arc<T>) {
        self.shard(key, |flights| {
            if flights.get(key).is_some_and(|current| Arc::ptr_eq(&current.flown, flight)) {
                flights.remove(key);
            }
        });
    }

    /// Whether `flight` is still the one of `key`: its answer may be kept.
    pub(crate) fn is_current(&self, key: &str, flight: &Arc<T>) -> bool {
        self.shard(key, |flights| {
            flights.get(key).is_some_and(|current| Arc::ptr_eq(&current.flown, flight))
        })
    }

    /// Ends all flights that `purge` takes.
    pub(crate) fn forget(&self, purge: &Purge) {
        for shard in &self.shards {
            let mut flights = shard.lock().unwrap_or_else(PoisonError::into_inner);
            flights.retain(|key, flight| !purge.takes(key, flight.event.as_deref()));
        }
    }

    /// Keys under way.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    fn shard<R>(&self, key: &str, work: impl FnOnce(&mut Shard<T>) -> R) -> R {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        // A map is whole after every operation, so a panic elsewhere left it whole.
        work(&mut self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner))
    }
}
