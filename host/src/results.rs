//! Results that an exchange is computing while others wait for them.
//!
//! Invariant: one who waits is always woken: by the result, or by the end of the exchange that led,
//! whether it answered, failed or was dropped because its viewer left.

use std::sync::{Arc, Mutex, PoisonError};

use sightscreen_core::Store;
use sightscreen_door::Lifetime;
use tokio::sync::Notify;

use crate::cache::Entry;
use crate::node::Node;
use crate::stored::Stored;

/// What those who wait get: the result, nothing (`Ok(None)`: take a turn), or that it failed.
type Outcome = Result<Option<Arc<Entry>>, ()>;

/// A result to come.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    outcome: Mutex<Option<Outcome>>,
    changed: Notify,
}

impl Pending {
    /// Waits for the outcome. The caller sets a deadline.
    pub(crate) async fn wait(&self) -> Outcome {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so an end in between is not missed.
            changed.as_mut().enable();
            if let Some(outcome) = &*self.outcome.lock().unwrap_or_else(PoisonError::into_inner) {
                return outcome.clone();
            }
            changed.await;
        }
    }

    fn end(&self, outcome: Outcome) {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(outcome);
        self.changed.notify_waiters();
    }
}

/// The lead of a result; dropped, it is handed over.
pub(crate) struct Lead {
    node: Arc<Node>,
    key: Box<str>,
    pending: Arc<Pending>,
}

impl Lead {
    pub(crate) fn new(node: &Arc<Node>, key: &str, pending: Arc<Pending>) -> Self {
        Self { node: Arc::clone(node), key: key.into(), pending }
    }
}

impl Lead {
    /// What it leads.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Tells those who wait that there is nothing to be had.
    pub(crate) fn fail(self) {
        self.node.results.end(&self.key, &self.pending);
        self.pending.end(Err(()));
    }

    /// Gives those who wait what the leader was answered with.
    pub(crate) fn finish(self, entry: &Arc<Entry>) {
        self.node.results.end(&self.key, &self.pending);
        self.pending.end(Ok(Some(Arc::clone(entry))));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.node.results.end(&self.key, &self.pending);
        self.pending.end(Ok(None));
    }
}

impl Node {
    /// Keeps a result for as long as it may be used, which may be no time at all.
    pub(crate) fn keep_result(&self, keep: &Store, stored: Stored) -> Arc<Entry> {
        let Store { key, event, fresh_ms, .. } = keep;
        if *fresh_ms == 0 {
            Arc::new(Entry::unkept(stored))
        } else {
            let lifetime = Lifetime::fresh(*fresh_ms);
            self.cache.keep_result(key, event.as_deref(), stored, lifetime)
        }
    }
}
