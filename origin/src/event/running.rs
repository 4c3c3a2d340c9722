//! An event and all that runs for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use sightscreen_core::document::{self, Dimension, Pods};
use sightscreen_core::flags::ADS;
use sightscreen_core::keyring::Keyring;
use sightscreen_core::route::is_identifier;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::cohorts::cohorts;
use super::describe;
use super::error::{EventError, StartError};
use super::live::{Live, LiveConfig};
use super::schedule::{self, Schedule};
use super::score::{Board, Score};
use super::snapshots::{SnapshotRule, Snapshots};
use super::switches::Switches;
use crate::breaks::decision::{Decision, Stock as _, Table};
use crate::breaks::desk::{Decide, Desk};
use crate::breaks::ledger::{GENERIC, NONE};
use crate::clock::now_ms;
use crate::creative::CreativeId;
use crate::creative::shelf::{Shelf, Stocked};
use crate::demo;
use crate::disk::make_folder;
use crate::documents::in_force::InForce;
use crate::documents::publish::{DocumentPublisher, PublishError};
use crate::encode::budget::Budget;
use crate::encode::encoder::Chosen;
use crate::ingest::{Input, Publishers};

/// A write of the ledger is waited for so many times as long as one of media: without it a whole
/// break is lost.
const LEDGER_WAITS: u32 = 5;
const LEDGER_WAIT: Duration = Duration::from_millis(500);

/// What an event is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its media.
    pub live: LiveConfig,
    /// Payload of `events/{event}`, but for what the media say.
    pub document: document::Event,
    /// When it is to begin, in Unix milliseconds, as far as somebody said.
    pub starts_at_ms: Option<u64>,
    /// The plan of those to whom the API gives a signed URL for the asking.
    pub playback_plan: Option<String>,
    /// Which cohorts see what.
    pub table: Table,
    /// A clip in place of the built-in slate.
    pub slate: Option<String>,
    /// When breaks come by themselves.
    pub schedule: Schedule,
    /// Which API answers are stored.
    pub snapshots: Vec<SnapshotRule>,
    /// Whether the site's switches are this event's.
    pub leads_site: bool,
    /// Whether viewers get parts unless somebody throws the switch.
    pub low_latency: bool,
}

/// What an event has in common with the others of its origin.
#[derive(Clone)]
pub struct Shared {
    /// The keyring's file.
    pub keyring_file: PathBuf,
    /// What it holds.
    pub keyring: Keyring,
    /// Where documents are published.
    pub publisher: Arc<DocumentPublisher>,
    /// Who may publish.
    pub publishers: Publishers,
    /// What is stored of the API and the page.
    pub snapshots: Arc<Snapshots>,
    /// What encoding may use of the machine.
    pub budget: Budget,
    /// What encodes.
    pub encoder: Chosen,
}

/// Where an event is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody can enter yet.
    Ready,
    /// The first segments are out, and more of the match comes.
    Live,
    /// No picture comes: viewers see the slate.
    Interrupted,
    /// Every playlist says that nothing comes any more.
    Ended,
}

impl State {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Live, Self::Interrupted, Self::Ended];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A running event.
pub struct RunningEvent {
    name: String,
    settings: RwLock<Arc<Settings>>,
    /// All cohorts of the schema.
    cohorts: Vec<String>,
    /// Which of them see what from the next break on.
    table: Arc<RwLock<Table>>,
    schedule: watch::Sender<Schedule>,
    pub(crate) live: Live,
    pub(crate) desk: Arc<Desk>,
    pub(crate) switches: Arc<Switches>,
    pub(crate) keys: Arc<InForce>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) board: Arc<Board>,
    shelf: Shelf,
    publisher: Arc<DocumentPublisher>,
    /// Whether the first segments are out.
    ready: watch::Sender<bool>,
    jobs: Mutex<JoinSet<()>>,
    /// What stocks the shelf; another one takes its place when the pods change.
    stocking: Mutex<Option<AbortHandle>>,
}

impl RunningEvent {
    /// Starts an event, or goes on with what its folder holds. Its jobs wait for
    /// [`RunningEvent::go_on`].
    ///
    /// # Errors
    /// See [`EventError`].
    pub async fn start(settings: Settings, shared: Shared) -> Result<Arc<Self>, EventError> {
        let Shared { keyring_file, keyring, publisher, publishers, snapshots, .. } = shared;
        let name = settings.live.event.clone();
        let folder = settings.live.data.clone();
        make_folder(&folder).map_err(|source| StartError::Io { path: folder, source })?;
        let switches = Arc::new(Switches::open(
            &name,
            settings.leads_site,
            settings.low_latency,
            Arc::clone(&publisher),
            settings.live.data.with_file_name("switches.json"),
        )?);
        let keys = InForce::open(&name, keyring_file, keyring, Arc::clone(&publisher))?;
        let cohorts = cohorts(&settings.document.cohorts);
        let shelf = Shelf::default();
        let table = Arc::new(RwLock::new(settings.table.clone()));
        let decide = TableDecision {
            table: Arc::clone(&table),
            cohorts: cohorts.clone(),
            shelf: shelf.clone(),
            switches: Arc::clone(&switches),
        };
        let ledger = settings.live.data.with_file_name("ledger.jsonl");
        let board = Board::open(settings.live.data.with_file_name("score.json"));
        let desk = Desk::open(&ledger, &name, settings.live.dvr_s, Arc::new(decide))?;
        let wait = LEDGER_WAIT.max(settings.live.disk.wait * LEDGER_WAITS);
        let desk = Arc::new(desk.waiting_at_most(wait));
        let breaks = Arc::<Desk>::clone(&desk);
        let live = Live::start(settings.live.clone(), breaks, &publishers).await?;
        desk.resume_at(live.position().next_msn);
        snapshots.follow(&name, settings.snapshots.clone());
        let event = Arc::new(Self {
            name,
            schedule: watch::Sender::new(settings.schedule),
            settings: RwLock::new(Arc::new(settings)),
            cohorts,
            table,
            live,
            desk,
            switches,
            keys: Arc::new(keys),
            snapshots,
            board: Arc::new(board),
            shelf,
            publisher,
            ready: watch::Sender::new(false),
            jobs: Mutex::default(),
            stocking: Mutex::default(),
        });
        if let Err(error) = event.make_known() {
            // Nobody has it, so nobody would end it.
            event.snapshots.forget(event.name());
            event.live.shutdown().await;
            return Err(error.into());
        }
        Ok(event)
    }

    /// Tells the edges of an event that has not begun, so that who comes early is told so, and what
    /// binds its viewers holds before its first picture. A document of an event that has begun
    /// stays.
    fn make_known(&self) -> Result<(), PublishError> {
        let name = format!("events/{}", self.name());
        let published = self.publisher.payload(&name);
        let published =
            published.and_then(|(_, text)| serde_json::from_str::<document::Event>(&text).ok());
        let has_begun = |event: &document::Event| {
            event.epoch.as_deref() == Some(self.live.epoch()) && !event.renditions.is_empty()
        };
        if published.as_ref().is_some_and(has_begun) {
            return Ok(());
        }
        let document = document::Event { renditions: Vec::new(), ..self.document() };
        self.publisher.publish(&name, &document).map(drop)
    }

    /// Begins what goes on beside the requests. It is not part of [`RunningEvent::start`], because
    /// the list of events is stored, and all that start together have to be on it.
    pub fn go_on(self: &Arc<Self>) {
        self.stock();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.spawn(Arc::clone(&self.keys).follow_the_file());
        jobs.spawn(Arc::clone(&self.switches).return_in_time());
        jobs.spawn(Arc::clone(self).go_live());
    }

    /// Has the creatives of the table made ready from now on.
    fn stock(&self) {
        let settings = self.settings();
        let (names, slate) = (settings.table.creatives(), settings.slate.clone());
        let (shelf, library) = (self.shelf.clone(), self.live.creatives());
        let stocked = async move { shelf.keep_stocked(library, names, slate).await };
        let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).spawn(stocked);
        let before = self.stocking.lock().unwrap_or_else(PoisonError::into_inner).replace(job);
        before.iter().for_each(AbortHandle::abort);
    }

    /// The creatives that its pods name, each with its state. Blocks.
    #[must_use]
    pub fn stocked(&self) -> Vec<Stocked> {
        let names = self.settings().table.creatives();
        names.iter().map(|name| self.shelf.stocked(name)).collect()
    }

    /// The creatives that fill what is left of a break, and are nobody's advertisement.
    #[must_use]
    pub fn slates(&self) -> Vec<CreativeId> {
        self.shelf.slates().into_iter().map(|slate| slate.id).collect()
    }

    /// When breaks come, and how long before they are announced.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        *self.schedule.borrow()
    }

    /// Takes what of these settings may change while it runs: the document but for the cohorts, the
    /// time at which it begins, who sees what from the next break on, and the schedule, which
    /// begins anew. Blocks until that is on disk.
    ///
    /// # Errors
    /// [`PublishError`]: the edges are told at the next start.
    pub fn change(self: &Arc<Self>, to: Settings) -> Result<(), PublishError> {
        let before = self.settings();
        let document = document::Event { cohorts: before.document.cohorts.clone(), ..to.document };
        let pods_differ = to.table != before.table;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = to.table.clone();
        let schedule = to.schedule;
        let settings = Settings {
            document,
            starts_at_ms: to.starts_at_ms,
            playback_plan: to.playback_plan,
            table: to.table,
            schedule,
            ..Settings::clone(&before)
        };
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        if pods_differ {
            self.stock();
        }
        if schedule != before.schedule {
            self.schedule.send_replace(schedule);
        }
        if !self.is_ready() {
            return self.make_known();
        }
        let document = self.document();
        self.publisher.publish(&format!("events/{}", self.name), &document).map(drop)
    }

    /// Ends its jobs.
    pub async fn stop(&self) {
        let mut jobs =
            std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        jobs.shutdown().await;
    }

    /// Its identifier.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name for people.
    #[must_use]
    pub fn title(&self) -> String {
        self.settings().document.title.clone()
    }

    /// When it is to begin, in Unix milliseconds, as far as somebody said.
    #[must_use]
    pub fn starts_at_ms(&self) -> Option<u64> {
        self.settings().starts_at_ms
    }

    /// Its cohort schema.
    #[must_use]
    pub fn schema(&self) -> Vec<Dimension> {
        self.settings().document.cohorts.clone()
    }

    /// The plan of those to whom the API gives a signed URL for the asking.
    #[must_use]
    pub fn playback_plan(&self) -> Option<String> {
        self.settings().playback_plan.clone()
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where it is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        match self.live.status().state {
            "ended" => State::Ended,
            _ if !self.is_ready() => State::Ready,
            "live" => State::Live,
            _ => State::Interrupted,
        }
    }

    /// Whether the first segments are out.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// The pods document of a revision by its name `{epoch}.{revision}`; `None` where there is
    /// none.
    #[must_use]
    pub fn pods(&self, revision: &str, cohort: &str) -> Option<Pods> {
        let (epoch, revision) = revision.split_once('.')?;
        let number: u64 = revision.parse().ok()?;
        let known =
            cohort == GENERIC || cohort == NONE || self.cohorts.iter().any(|known| known == cohort);
        if epoch != self.live.epoch()
            || number.to_string() != revision
            || !known
            || !is_identifier(cohort)
        {
            return None;
        }
        self.desk.pods(number, cohort, &self.live.changes())
    }

    /// How the match stands, if anybody says so. The test match knows it.
    #[must_use]
    pub fn score(&self) -> Option<Score> {
        let given = self.board.score();
        if given.is_some() || !matches!(self.settings().live.input, Input::TestMatch) {
            return given;
        }
        let seconds = now_ms().saturating_sub(self.live.grid().zero_ms) / 1000;
        Some(demo::score::score(seconds))
    }

    /// Waits for the first segments, tells everyone, and keeps the schedule from then on.
    async fn go_live(self: Arc<Self>) {
        self.live.ready().await;
        let codecs = self.live.follow_changes();
        self.publish_document().await;
        self.ready.send_replace(true);
        // Those from before say that the event is not live yet.
        self.snapshots.take_apart(self.name()).await;
        let renditions = self.live.renditions().len();
        tracing::info!(event = self.name(), renditions, "the event is live");
        let codecs = async {
            if let Some(changes) = codecs {
                self.follow_codecs(changes).await;
            }
        };
        tokio::join!(self.keep_schedule(), codecs);
    }

    /// Has breaks come by the schedule as it is set.
    async fn keep_schedule(&self) {
        let mut changes = self.schedule.subscribe();
        loop {
            let schedule = *changes.borrow_and_update();
            let kept = async {
                schedule::keep(schedule, self.live.clone(), Arc::clone(&self.desk)).await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = kept => {}
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Tells the edges when another encoder codes otherwise: players are promised all codecs.
    async fn follow_codecs(&self, mut changes: watch::Receiver<usize>) {
        while changes.changed().await.is_ok() {
            self.publish_document().await;
        }
    }

    /// What the edges are told, with the media as they are now.
    fn document(&self) -> document::Event {
        describe::event(self.settings().document.clone(), &self.live)
    }

    async fn publish_document(&self) {
        let document = self.document();
        if let Some(fault) = document.fault() {
            tracing::error!(
                fault,
                "edges would refuse the event's document, so it is not published; they keep the \
                 one before"
            );
            return;
        }
        let (publisher, name) = (Arc::clone(&self.publisher), format!("events/{}", self.name()));
        let publish = move || publisher.publish(&name, &document);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(publish).await {
            tracing::error!(
                %error, "the event's document could not be stored; doors keep the one before"
            );
        }
    }
}

/// The static decision: the table over what is on the shelf.
struct TableDecision {
    table: Arc<RwLock<Table>>,
    cohorts: Vec<String>,
    shelf: Shelf,
    switches: Arc<Switches>,
}

impl Decide for TableDecision {
    fn decide(&self, length: u64) -> Decision {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.decide(&self.cohorts, length, &self.shelf)
    }

    fn ads_on(&self) -> bool {
        self.switches.is_on(ADS)
    }
}
