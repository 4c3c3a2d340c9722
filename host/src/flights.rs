//! What is under way, by key: the first to ask for a key leads, the others join.
//!
//! Owns no answer; those are in the cache. Locks are held for a look-up and never across a wait,
//! and a key's waiters wait on that key alone. Invariant: a key has at most one flight, and
//! [`Flights::end`] removes only the flight that it is given.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

const SHARDS: usize = 32;

/// Flights by key.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    shards: [Mutex<HashMap<Box<str>, Arc<T>>>; SHARDS],
    hasher: RandomState,
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
    /// Joins the flight of `key`, or starts it with `start`.
    pub(crate) fn join(&self, key: &str, start: impl FnOnce() -> T) -> Joined<T> {
        self.shard(key, |flights| {
            if let Some(flight) = flights.get(key) {
                return Joined::Follow(Arc::clone(flight));
            }
            let flight = Arc::new(start());
            flights.insert(key.into(), Arc::clone(&flight));
            Joined::Lead(flight)
        })
    }

    /// Ends `flight`: who asks for `key` from now on leads anew.
    pub(crate) fn end(&self, key: &str, flight: &Arc<T>) {
        self.shard(key, |flights| {
            if flights.get(key).is_some_and(|current| Arc::ptr_eq(current, flight)) {
                flights.remove(key);
            }
        });
    }

    /// Whether `flight` is still the one of `key`: its answer may be kept.
    pub(crate) fn is_current(&self, key: &str, flight: &Arc<T>) -> bool {
        self.shard(key, |flights| {
            flights.get(key).is_some_and(|current| Arc::ptr_eq(current, flight))
        })
    }

    /// Ends the flights of all keys that `takes` takes.
    pub(crate) fn forget(&self, takes: impl Fn(&str) -> bool) {
        for shard in &self.shards {
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !takes(key));
        }
    }

    /// Keys under way.
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    fn shard<R>(&self, key: &str, work: impl FnOnce(&mut HashMap<Box<str>, Arc<T>>) -> R) -> R {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        // A map is whole after every operation, so a panic elsewhere left it whole.
        work(&mut self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner))
    }
}
