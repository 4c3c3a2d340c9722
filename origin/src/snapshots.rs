//! The snapshot job: API answers, stored for when the API cannot answer.
//!
//! Owns which paths are taken and when. Invariant: a take that fails leaves the one before it in
//! force.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sightscreen_core::document::Snapshot;
use tokio::time::MissedTickBehavior;

use crate::api::Api;
use crate::config::SnapshotRule;
use crate::package::packager::now_ms;
use crate::publish::Publisher;

/// The job of one origin.
pub struct Snapshots {
    /// Whose answers are taken.
    pub(crate) api: Arc<Api>,
    /// Where they are published.
    pub(crate) publisher: Arc<Publisher>,
    /// Which.
    pub(crate) rules: Vec<SnapshotRule>,
    /// Paths that the last try did not bring.
    pub(crate) missed: Mutex<BTreeSet<String>>,
}

/// How one path was last taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// API path.
    pub path: String,
    /// Version in force; `None` when it was never taken.
    pub version: Option<u64>,
    /// Unix milliseconds of the take in force.
    pub taken_ms: Option<u64>,
    /// Whether the last try brought it; before the first, whether there is one from an earlier
    /// start.
    pub taken: bool,
}

impl Snapshots {
    /// Takes all paths now and every `every` from then on.
    pub async fn keep(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let missed = self.take_apart().await;
            let missed = missed.iter().filter(|taken| !taken.taken).count();
            if missed > 0 {
                tracing::warn!(missed, "snapshots could not be taken; those before stay");
            }
        }
    }

    /// Takes all paths now, on a thread that may wait for the disk.
    pub async fn take_apart(self: &Arc<Self>) -> Vec<Taken> {
        let snapshots = Arc::clone(self);
        tokio::task::spawn_blocking(move || snapshots.take()).await.unwrap_or_default()
    }

    /// Takes all paths now. Blocks until they are on disk.
    pub fn take(&self) -> Vec<Taken> {
        self.rules.iter().map(|rule| self.take_one(rule)).collect()
    }

    /// What is in force.
    #[must_use]
    pub fn in_force(&self) -> Vec<Taken> {
        self.rules.iter().map(|rule| self.known(rule)).collect()
    }

    fn take_one(&self, rule: &SnapshotRule) -> Taken {
        let stored = self.store_one(rule);
        {
            let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
            match stored {
                true => missed.remove(&rule.path),
                false => missed.insert(rule.path.clone()),
            };
        }
        self.known(rule)
    }

    /// Whether the answer was there, and is stored.
    fn store_one(&self, rule: &SnapshotRule) -> bool {
        let Some((content_type, body)) = self.api.take(&rule.path) else {
            return false;
        };
        let snapshot = Snapshot {
            path: rule.path.clone(),
            taken_ms: now_ms(),
            fresh_s: rule.fresh_s,
            stale_s: rule.stale_s,
            content_type,
            countries: Vec::new(),
            body,
        };
        let published = self.publisher.publish(&name(rule), &snapshot);
        if let Err(error) = &published {
            tracing::error!(path = rule.path, %error, "snapshot could not be stored");
        }
        published.is_ok()
    }

    fn known(&self, rule: &SnapshotRule) -> Taken {
        let known = self.publisher.payload(&name(rule));
        let taken_ms = known
            .as_ref()
            .and_then(|(_, payload)| serde_json::from_str::<Snapshot>(payload).ok())
            .map(|s| s.taken_ms);
        let missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        Taken {
            path: rule.path.clone(),
            taken: known.is_some() && !missed.contains(&rule.path),
            version: known.map(|(version, _)| version),
            taken_ms,
        }
    }
}

fn name(rule: &SnapshotRule) -> String {
    format!("snapshots{}", rule.path)
}
