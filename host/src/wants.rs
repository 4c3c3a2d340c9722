//! Carries out wants: cache, one request upstream for each key, copies for when the origin fails.
//!
//! Times and limits are the want's. The node adds three of its own: the most bytes of a shared
//! answer, how long a relayed object may take, and how long one is fetched that nobody waits for.
//! A fetch for a shared key runs as a task of its own, so the viewer for whom it began may leave.
//! Everyone who waits has an own deadline. An answer marked `no-store` or `private` reaches only
//! the one that asked.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::{Instant, timeout_at};

use crate::cache::{Entry, Found};
use crate::flights::Joined;
use crate::metrics::Lookup;
use crate::node::Worker;
use crate::stored::{Stored, header_map};
use crate::transfer::{Head, Transfer};
use crate::upstream::TransferLimits;
use sightscreen_core::document::key as key_of_document;
use sightscreen_core::keyring::Keyring;
use sightscreen_core::{Failure, Object, Sharing, Source, Want};
use sightscreen_door::{Came, Document, Lifetime, headers};

/// The most that an answer may hold, whatever the want allows: it is in memory while it arrives.
const SHARED_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// How long an object stands in line though nobody waits for it.
const IN_LINE: Duration = Duration::from_millis(250);

/// How a want came out.
#[derive(Debug, Clone)]
pub(crate) enum Fetched {
    Object(Arc<Entry>),
    Missing,
    Failed(Failure),
}

/// What a fetch is for, which says how long it may take as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchMode {
    Whole,
    Relay,
}

impl FetchMode {
    /// `object` is the longest that a relayed object may take after its head's time.
    fn limits(self, want: &Want, object: Duration) -> TransferLimits {
        let head = timeout(want);
        TransferLimits {
            head,
            whole: match self {
                Self::Whole => head,
                Self::Relay => head + object,
            },
            bytes: u64::from(want.max_bytes).min(SHARED_MAX_BYTES),
        }
    }
}

/// A transfer that one has joined.
pub(crate) struct Shared {
    pub(crate) transfer: Arc<Transfer>,
    pub(crate) leads: bool,
}

impl Worker {
    /// The answer, where there is one without waiting.
    pub(crate) fn get_now(self: &Arc<Self>, want: &Want) -> Option<Fetched> {
        if want.source == Source::Keyring {
            return Some(Fetched::Object(self.node.keyring.get(want.fresh_ms)));
        }
        if want.sharing == Sharing::OneViewer {
            return None;
        }
        match self.node.cache.object(want) {
            Found::Fresh(entry) => {
                self.node.metrics.lookup(Lookup::Hit);
                Some(Fetched::Object(entry))
            }
            Found::Stale(entry) => {
                self.node.metrics.lookup(Lookup::Stale);
                self.join(want, FetchMode::Whole);
                Some(Fetched::Object(entry))
            }
            Found::IfFailed(_) | Found::Nothing => None,
        }
    }

    /// The answer, with waiting. `viewer` is the viewer's headers.
    pub(crate) async fn get(self: &Arc<Self>, want: &Want, viewer: &HeaderMap) -> Fetched {
        let deadline = Instant::now() + timeout(want);
        if want.sharing == Sharing::OneViewer {
            return self.get_alone(want, viewer, deadline).await;
        }
        loop {
            if let Some(answer) = self.get_now(want) {
                return answer;
            }
            let shared = self.join(want, FetchMode::Whole);
            match self.await_shared(&shared, want, viewer, deadline).await {
                // The time of the one that led was over, this one's is not.
                Fetched::Failed(Failure::Timeout) if !shared.leads && Instant::now() < deadline => {
                }
                answer => return self.or_copy(want, answer).await,
            }
        }
    }

    async fn await_shared(
        self: &Arc<Self>,
        shared: &Shared,
        want: &Want,
        viewer: &HeaderMap,
        deadline: Instant,
    ) -> Fetched {
        let whole = async {
            if !shared.leads && shared.transfer.head().await?.private {
                return Ok(None);
            }
            shared.transfer.whole().await.map(Some)
        };
        match timeout_at(deadline, whole).await {
            Ok(Ok(Some(entry))) => Fetched::Object(entry),
            Ok(Ok(None)) => self.get_alone(want, viewer, deadline).await,
            Ok(Err(failure)) => Fetched::Failed(failure),
            Err(_) => Fetched::Failed(Failure::Timeout),
        }
    }

    /// Fetches for this one alone: neither stored nor shared.
    async fn get_alone(&self, want: &Want, viewer: &HeaderMap, deadline: Instant) -> Fetched {
        self.node.metrics.lookup(Lookup::Miss);
        let left = deadline.saturating_duration_since(Instant::now());
        let limits = TransferLimits { head: left, whole: left, bytes: want.max_bytes.into() };
        let transfer = Transfer::default();
        match self.upstream.fill(want, forwarded(want, viewer), limits, &transfer, |_| ()).await {
            Ok(()) => transfer
                .so_far(&self.node.memory)
                .map_or(Fetched::Failed(Failure::Unreachable), |stored| {
                    Fetched::Object(Arc::new(Entry::unkept(stored)))
                }),
            Err(failure) => Fetched::Failed(failure),
        }
    }

    /// Fetches for this one alone, as it arrives. A range is cut here.
    pub(crate) fn fetch_alone(self: &Arc<Self>, want: &Want, viewer: &HeaderMap) -> Arc<Transfer> {
        self.node.metrics.lookup(Lookup::Miss);
        let transfer = Arc::new(Transfer::default());
        let headers = forwarded(want, viewer);
        let landing = Landing {
            worker: Arc::clone(self),
            key: want.key.clone(),
            transfer: Arc::clone(&transfer),
        };
        let want = want.clone();
        tokio::spawn(async move {
            let Landing { worker, key, transfer } = &landing;
            let limits = FetchMode::Relay.limits(&want, worker.node.limits.object);
            let fill = worker.upstream.fill(&want, headers, limits, transfer, |_| ());
            let filled = tokio::select! {
                filled = fill => filled,
                () = worker.abandoned(key, transfer) => Err(Failure::Unreachable),
            };
            match filled.map(|()| transfer.so_far(&worker.node.memory)) {
                Ok(Some(stored)) => transfer.finish(Arc::new(Entry::unkept(stored))),
                Ok(None) => {}
                Err(failure) => transfer.fail(failure),
            }
        });
        transfer
    }

    /// In place of a failure: what the cache may still show, else the door's own copy of a
    /// document.
    pub(crate) async fn or_copy(&self, want: &Want, answer: Fetched) -> Fetched {
        if !answer.is_failure(want) {
            return answer;
        }
        if let Some(old) = self.node.cache.failed(want) {
            self.node.metrics.lookup(Lookup::StaleOnError);
            return Fetched::Object(old);
        }
        let Source::Document(name) = &want.source else {
            return answer;
        };
        let (documents, name) = (self.node.documents.clone(), name.clone());
        let copy = tokio::task::spawn_blocking(move || documents.load(&name)).await.ok().flatten();
        let Some(copy) = copy else { return answer };
        self.node.metrics.lookup(Lookup::Copy);
        Fetched::Object(self.node.cache.keep_copy(want, copy))
    }

    /// Joins the transfer of the want's key, starting it where there is none.
    pub(crate) fn join(self: &Arc<Self>, want: &Want, mode: FetchMode) -> Shared {
        match self.node.transfers.join(&want.key, want.event.as_deref(), Transfer::default) {
            Joined::Follow(transfer) => {
                self.node.metrics.lookup(Lookup::Collapsed);
                Shared { transfer, leads: false }
            }
            Joined::Lead(transfer) => {
                self.lead(want, mode, Arc::clone(&transfer));
                Shared { transfer, leads: true }
            }
        }
    }

    fn lead(self: &Arc<Self>, want: &Want, mode: FetchMode, transfer: Arc<Transfer>) {
        // Between this one's look-up and its lead, another may have come to an end.
        if let Found::Fresh(entry) = self.node.cache.object(want) {
            self.node.transfers.end(&want.key, &transfer);
            transfer.set_head(Head::of(&entry.stored));
            transfer.push(entry.stored.body.clone());
            transfer.finish(entry);
            return;
        }
        self.node.metrics.lookup(Lookup::Miss);
        let landing = Landing { worker: Arc::clone(self), key: want.key.clone(), transfer };
        tokio::spawn(fetch_shared(landing, want.clone(), mode));
    }
}

async fn fetch_shared(landing: Landing, want: Want, mode: FetchMode) {
    let Landing { worker, key, transfer } = &landing;
    let limits = mode.limits(&want, worker.node.limits.object);
    let mut private = false;
    let at_head = |head: &Head| {
        private = head.private;
        if private {
            worker.node.transfers.end(key, transfer);
        }
    };
    let fill = worker.upstream.fill(&want, HeaderMap::new(), limits, transfer, at_head);
    let filled = tokio::select! {
        filled = fill => filled,
        () = worker.abandoned(key, transfer), if mode == FetchMode::Relay => {
            Err(Failure::Unreachable)
        }
    };
    match filled {
        Ok(()) => {
            let Some(stored) = transfer.so_far(&worker.node.memory) else {
                return;
            };
            // What was purged while it arrived is not kept; a document proves its own age.
            let is_document = matches!(want.source, Source::Document(_));
            let purged = !is_document && !worker.node.transfers.is_current(key, transfer);
            match worker.land(&want, stored, private || purged).await {
                Ok(entry) => {
                    worker.node.transfers.end(key, transfer);
                    transfer.finish(entry);
                }
                Err(failure) => landing.fail(&want, failure),
            }
        }
        Err(failure) => landing.fail(&want, failure),
    }
}

/// Ends a transfer however its task ends, a panic or the end of its thread included.
struct Landing {
    worker: Arc<Worker>,
    key: String,
    transfer: Arc<Transfer>,
}

impl Landing {
    fn fail(&self, want: &Want, failure: Failure) {
        self.worker.node.cache.failed(want);
        self.worker.node.transfers.end(&self.key, &self.transfer);
        self.transfer.fail(failure);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.worker.node.transfers.end(&self.key, &self.transfer);
        self.transfer.fail_unless_ended(Failure::Unreachable);
    }
}

impl Worker {
    /// Waits until nobody has waited for `transfer` for the settings' time, or for a moment where
    /// it stands in line: others, who are waited for, are behind it.
    async fn abandoned(&self, key: &str, transfer: &Arc<Transfer>) {
        let limit = self.node.limits.abandoned;
        let is_brief = || transfer.is_in_line() && !transfer.is_refresh();
        let limit_now = || if is_brief() { IN_LINE.min(limit) } else { limit };
        let mut since = Instant::now();
        while since.elapsed() < limit_now() {
            tokio::time::sleep(IN_LINE.min(limit / 8)).await;
            // The one that fills it holds it, and so may the table of flights.
            let own = 1 + usize::from(self.node.transfers.is_current(key, transfer));
            if Arc::strong_count(transfer) > own {
                since = Instant::now();
            }
        }
        self.node.metrics.abandoned.inc();
        transfer.abandon();
    }

    /// Keeps an answer as far as the want and the origin allow.
    async fn land(
        self: &Arc<Self>,
        want: &Want,
        stored: Stored,
        private: bool,
    ) -> Result<Arc<Entry>, Failure> {
        if private {
            return Ok(Arc::new(Entry::unkept(stored)));
        }
        if let Source::Document(name) = &want.source {
            return self.land_document(want, name, stored).await;
        }
        match Lifetime::of(want, stored.status.as_u16(), None) {
            Some(lifetime) if lifetime.end_ms() > 0 => {
                Ok(self.node.cache.keep_object(want, stored, false))
            }
            _ => Ok(Arc::new(Entry::unkept(stored))),
        }
    }

    /// Keeps a document that is signed and not older than the copy; whatever else came is none.
    async fn land_document(
        self: &Arc<Self>,
        want: &Want,
        name: &str,
        stored: Stored,
    ) -> Result<Arc<Entry>, Failure> {
        let keyring = self.node.keyring.parsed();
        let copy = self.copy(want, name, &keyring).await;
        match Came::of(want, Ok(object(&stored)), Some(&keyring), copy.clone()) {
            Came::Document(document) => {
                if document.is_news(copy.as_ref()) {
                    self.save(want.clone(), name.to_owned(), document.clone());
                }
                Ok(self.node.cache.keep_object(want, stored, document.is_absence))
            }
            _ if want.class.is_failure(stored.status.as_u16()) => Err(Failure::Unreachable),
            _ => {
                tracing::error!(
                    document = name,
                    "the origin's answer is no document that a key of the keyring signed under \
                     this name, or one that is older than the copy; are origin and edge given the \
                     same keys?"
                );
                Err(Failure::Unreachable)
            }
        }
    }

    /// The newest document of that name that this node has: in memory, else on disk. In memory
    /// there may be two, for a want that looks for a newer document has a key of its own.
    async fn copy(&self, want: &Want, name: &str, keyring: &Keyring) -> Option<Document> {
        let document_key = key_of_document(name);
        let known = [want.key.as_str(), &document_key].map(|key| {
            let entry = self.node.cache.known(key)?;
            Document::genuine(want, object(&entry.stored), keyring)
        });
        let newest = known.into_iter().flatten().max_by_key(|document| document.version);
        if newest.is_some() {
            return newest;
        }
        let (documents, name) = (self.node.documents.clone(), name.to_owned());
        let stored = tokio::task::spawn_blocking(move || documents.load(&name)).await.ok()??;
        Document::genuine(want, object(&stored), keyring)
    }

    /// Writes the copy while those who wait have the answer: no viewer waits for a disk. A copy
    /// there of the same version or a later one stays.
    fn save(&self, want: Want, name: String, document: Document) {
        let documents = self.node.documents.clone();
        let keyring = self.node.keyring.parsed();
        tokio::task::spawn_blocking(move || {
            let is_newer = |old: Stored| {
                Document::genuine(&want, object(&old), &keyring)
                    .is_none_or(|old| old.version < document.version)
            };
            if let Err(error) = documents.save(&name, &document.object.body, is_newer) {
                tracing::error!(
                    document = name, %error,
                    "copy of a document not written; is the data folder full or read-only?"
                );
            }
        });
    }
}

impl Fetched {
    /// Whether asking failed: no answer, or one that is none.
    fn is_failure(&self, want: &Want) -> bool {
        match self {
            Self::Object(entry) => want.class.is_failure(entry.stored.status.as_u16()),
            Self::Failed(_) => true,
            Self::Missing => false,
        }
    }

    /// Headers that the component is told of.
    pub(crate) fn told_headers(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Object(entry) => entry.stored.told_headers(),
            Self::Missing | Self::Failed(_) => Vec::new(),
        }
    }
}

/// How long the want may take.
pub(crate) fn timeout(want: &Want) -> Duration {
    Duration::from_millis(want.timeout_ms.into())
}

/// The answer as the doors' types have it.
fn object(stored: &Stored) -> Object {
    Object { status: stored.status.as_u16(), headers: Vec::new(), body: stored.body.to_vec() }
}

/// Those of the viewer's headers that go along.
fn forwarded(want: &Want, viewer: &HeaderMap) -> HeaderMap {
    let authorization = viewer.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let all = authorization.map(|value| ("authorization".to_owned(), value.to_owned()));
    header_map(&headers::forwarded(want, all.as_slice()))
}
