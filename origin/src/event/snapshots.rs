//! The snapshot job: API answers and the page's files, stored for when the origin cannot answer,
//! and the list of them. A take that fails leaves the one before it in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sightscreen_core::document::{Snapshot, SnapshotList, event_of};
use tokio::time::MissedTickBehavior;

use crate::clock::wall_ms;
use crate::documents::publish::{DocumentPublisher, PublishError};

/// Largest file of the page that is stored: edges take no document of more than 1 MiB.
const FILE_BYTES_MAX: usize = 900 << 10;
/// What the documents of the page's files begin with.
const PAGE: &str = "snapshots/page/";

/// One API answer that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRule {
    /// API path.
    pub path: String,
    /// Seconds for which it is as good as the origin's.
    pub fresh_s: u32,
    /// Seconds after those for which it is stale but fine.
    pub stale_s: u32,
    /// Countries that may see the answer, whoever gives it; empty: all.
    pub countries: Vec<String>,
}

/// A file of the page: its name, its media type and its text.
pub type PageFile = (String, &'static str, String);

/// What viewers are shown, of which snapshots are taken.
pub trait Shown: Send + Sync + 'static {
    /// Media type and body of the API's answer; `None` while there is none.
    fn answer(&self, path: &str) -> Option<(String, String)>;

    /// The page's files; none where there is no page.
    ///
    /// # Errors
    /// When they cannot be read.
    fn files(&self) -> std::io::Result<Vec<PageFile>>;
}

/// The job of the process, for all events.
pub struct Snapshots {
    shown: Arc<dyn Shown>,
    publisher: Arc<DocumentPublisher>,
    /// Seconds between two takes.
    every_s: u32,
    /// Which answers, by the event under whose name they are listed.
    rules: Mutex<BTreeMap<String, Vec<SnapshotRule>>>,
    /// Paths that the last try did not bring.
    missed: Mutex<BTreeSet<String>>,
    /// Held while they are taken: of two takes at once, the later is stored last.
    turn: Mutex<()>,
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
    /// Of what is shown there, taken each `every_s` seconds.
    #[must_use]
    pub fn new(shown: Arc<dyn Shown>, publisher: Arc<DocumentPublisher>, every_s: u32) -> Self {
        Self {
            shown,
            publisher,
            every_s,
            rules: Mutex::default(),
            missed: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    /// Takes these answers for an event from now on, in place of those before.
    pub fn follow(&self, event: &str, rules: Vec<SnapshotRule>) {
        self.rules().insert(event.to_owned(), rules);
    }

    /// Takes none for an event any more. What it had is withdrawn with its documents.
    pub fn forget(&self, event: &str) {
        self.rules().remove(event);
    }

    /// Takes all paths now and from then on.
    pub async fn keep(self: Arc<Self>) {
        let every_s = u64::from(self.every_s);
        let mut ticks = tokio::time::interval(Duration::from_secs(every_s));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let snapshots = Arc::clone(&self);
            let taken = tokio::task::spawn_blocking(move || snapshots.take_all()).await;
            let missed = taken.unwrap_or_default().iter().filter(|taken| !taken.taken).count();
            if missed > 0 {
                tracing::warn!(missed, "snapshots could not be taken; those before stay");
            }
        }
    }

    /// Takes an event's paths and the page now, on a thread that may wait for the disk.
    pub async fn take_apart(self: &Arc<Self>, event: &str) -> Vec<Taken> {
        let (snapshots, event) = (Arc::clone(self), event.to_owned());
        let rules = self.rules_of(&event);
        let take = move || snapshots.take(&rules, &[event]);
        tokio::task::spawn_blocking(take).await.unwrap_or_default()
    }

    /// What is in force of an event.
    #[must_use]
    pub fn in_force(&self, event: &str) -> Vec<Taken> {
        self.rules_of(event).iter().map(|rule| self.known(rule)).collect()
    }

    /// Takes every path of every event once.
    fn take_all(&self) -> Vec<Taken> {
        let all = self.rules().clone();
        let mut paths = BTreeSet::new();
        let each = all.values().flatten();
        let rules: Vec<SnapshotRule> =
            each.filter(|rule| paths.insert(rule.path.as_str())).cloned().collect();
        let events: Vec<String> = all.keys().cloned().collect();
        self.take(&rules, &events)
    }

    /// Takes these paths and the page, and lists what there is of these events. Blocks until all is
    /// on disk.
    fn take(&self, rules: &[SnapshotRule], events: &[String]) -> Vec<Taken> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = rules.iter().map(|rule| self.take_one(rule)).collect();
        let mut lists = events.iter();
        if let Err(error) = self.take_page().and_then(|()| lists.try_for_each(|e| self.list(e))) {
            tracing::error!(%error, "the page or the list of snapshots could not be stored");
        }
        taken
    }

    fn rules(&self) -> MutexGuard<'_, BTreeMap<String, Vec<SnapshotRule>>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules_of(&self, event: &str) -> Vec<SnapshotRule> {
        self.rules().get(event).cloned().unwrap_or_default()
    }

    /// Stores the files that changed. They carry no time of their own: a file that stays the same
    /// is the same document.
    fn take_page(&self) -> Result<(), PublishError> {
        let files = match self.shown.files() {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(%error, "the page cannot be read; its snapshots stay");
                return Ok(());
            }
        };
        let fits = |text: &str| text.len() <= FILE_BYTES_MAX;
        let gone = |name: &String| {
            let file = name.strip_prefix(PAGE);
            file.is_some_and(|file| {
                !files.iter().any(|(known, _, text)| known == file && fits(text))
            })
        };
        for name in self.publisher.names().iter().filter(|name| gone(name)) {
            self.publisher.withdraw(name)?;
        }
        for (file, content_type, text) in files.into_iter().filter(|(_, _, text)| fits(text)) {
            let name = format!("{PAGE}{file}");
            let known = self.stored(&name);
            if known.is_some_and(|known| known.body == text && known.content_type == content_type) {
                continue;
            }
            let snapshot = Snapshot {
                path: format!("/page/{file}"),
                taken_ms: wall_ms(),
                fresh_s: u32::MAX,
                stale_s: 0,
                content_type: content_type.to_owned(),
                countries: Vec::new(),
                body: text,
            };
            self.publisher.publish(&name, &snapshot)?;
        }
        Ok(())
    }

    /// Publishes which there are of an event, and withdraws those of paths that no setting names
    /// any more. An event that is forgotten has no list.
    fn list(&self, event: &str) -> Result<(), PublishError> {
        let Some(rules) = self.rules().get(event).cloned() else { return Ok(()) };
        let (names, own) = (self.publisher.names(), format!("snapshots/{event}"));
        let is_named = |path: &str| rules.iter().any(|rule| rule.path == path);
        let (mut paths, mut page) = (Vec::new(), Vec::new());
        for name in &names {
            match (name.strip_prefix(PAGE), name.strip_prefix("snapshots")) {
                (Some(file), _) => page.push(file.to_owned()),
                (None, Some(path)) if is_named(path) => paths.push(path.to_owned()),
                // Of this event, and of a path that no setting names any more.
                (None, Some(_)) if event_of(name) == Some(event) && name != &own => {
                    self.publisher.withdraw(name)?;
                }
                _ => {}
            }
        }
        let list = SnapshotList { paths, page, every_s: self.every_s };
        self.publisher.publish(&own, &list).map(drop)
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
        let Some((content_type, body)) = self.shown.answer(&rule.path) else {
            return false;
        };
        let snapshot = Snapshot {
            path: rule.path.clone(),
            taken_ms: wall_ms(),
            fresh_s: rule.fresh_s,
            stale_s: rule.stale_s,
            content_type,
            countries: rule.countries.clone(),
            body,
        };
        let published = self.publisher.publish(&name(rule), &snapshot);
        if let Err(error) = &published {
            tracing::error!(path = rule.path, %error, "snapshot could not be stored");
        }
        published.is_ok()
    }

    fn stored(&self, name: &str) -> Option<Snapshot> {
        let (_, payload) = self.publisher.payload(name)?;
        serde_json::from_str(&payload).ok()
    }

    fn known(&self, rule: &SnapshotRule) -> Taken {
        let known = self.publisher.payload(&name(rule));
        let taken_ms = self.stored(&name(rule)).map(|snapshot| snapshot.taken_ms);
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
