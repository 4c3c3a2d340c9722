//! Starts and stops events, at any time and without the others noticing. There is no other way to
//! do either, whoever asks.

use std::sync::{Arc, PoisonError};

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{EventError, Registry, RunningEvent, Settings, Shared};
use crate::documents::publish::PublishError;
use crate::ingest::{Doors, EntranceError, Entrances, Input, Publishers};

/// Why an event does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// It cannot be opened.
    #[error("event {event}: {source}")]
    Event {
        /// Its identifier.
        event: String,
        /// What is wrong.
        source: EventError,
    },
    /// Its name is on the air.
    #[error("event {0} is running already: end it, or choose another name")]
    Running(String),
    /// A port for publishers is taken.
    #[error(transparent)]
    Entrance(#[from] EntranceError),
}

/// What starts events.
pub struct Runner {
    events: Registry,
    shared: Shared,
    entrances: Entrances,
    /// Held while an event starts or stops: of two of one name, the second is refused.
    turn: Mutex<()>,
    /// Takes publishers, once there is an event that has any.
    door: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Runner {
    /// Of events that share this. Publishers come in by these entrances.
    #[must_use]
    pub fn new(events: Registry, shared: Shared, entrances: Entrances) -> Self {
        let (turn, door) = (Mutex::default(), std::sync::Mutex::default());
        Self { events, shared, entrances, turn, door }
    }

    /// The running events.
    #[must_use]
    pub fn events(&self) -> &Registry {
        &self.events
    }

    /// Who may publish.
    #[must_use]
    pub fn publishers(&self) -> &Publishers {
        &self.shared.publishers
    }

    /// Starts events, or goes on with what their folders hold. Publishers are let in when all have
    /// their keys.
    ///
    /// # Errors
    /// See [`RunnerError`]. Those before the one that failed run.
    pub async fn start(&self, all: Vec<Settings>) -> Result<(), RunnerError> {
        let _turn = self.turn.lock().await;
        let takes = |s: &Settings| matches!(s.live.input, Input::Publisher(_));
        let doors = match all.iter().any(takes) && !self.is_open() {
            true => Some(Doors::open(self.entrances).await?),
            false => None,
        };
        self.shared.budget.announce(all.len());
        let mut started = Vec::new();
        let mut outcome = Ok(());
        for settings in all {
            match self.open(settings).await {
                Ok(event) => started.push(event),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        started.iter().for_each(RunningEvent::go_on);
        if let Some(doors) = doors {
            let job = tokio::spawn(doors.serve(self.shared.publishers.clone()));
            *self.door.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
        }
        outcome
    }

    async fn open(&self, mut settings: Settings) -> Result<Arc<RunningEvent>, RunnerError> {
        let name = settings.live.event.clone();
        if self.events.get(&name).is_some() {
            return Err(RunnerError::Running(name));
        }
        settings.live.ladder.budget = self.shared.budget.clone();
        settings.live.ladder.encoder = self.shared.encoder.clone();
        let started = Box::pin(RunningEvent::start(settings, self.shared.clone())).await;
        let event = started.map_err(|source| RunnerError::Event { event: name, source })?;
        self.events.insert(Arc::clone(&event));
        Ok(event)
    }

    fn is_open(&self) -> bool {
        self.door.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes an event off the air; whether it was there. Its files stay.
    pub async fn stop(&self, name: &str) -> bool {
        let _turn = self.turn.lock().await;
        let Some(event) = self.events.remove(name) else { return false };
        self.shared.snapshots.forget(name);
        event.stop().await;
        event.live.shutdown().await;
        true
    }

    /// Withdraws the documents of an event that is not on the air: edges take it for one that never
    /// was. Blocks until that is on disk.
    ///
    /// # Errors
    /// [`PublishError`]; some may be withdrawn then.
    pub fn withdraw(&self, name: &str) -> Result<(), PublishError> {
        let publisher = &self.shared.publisher;
        let of = |known: &String| sightscreen_core::document::event_of(known) == Some(name);
        publisher.names().iter().filter(|known| of(known)).try_for_each(|n| publisher.withdraw(n))
    }

    /// Ends the jobs of all events, and lets no publisher in any more.
    pub async fn quiet(&self) {
        let job = self.door.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(job) = job {
            job.abort();
            let _ = job.await;
        }
        for event in self.events.all() {
            event.stop().await;
        }
    }

    /// Ends the media of all events.
    pub async fn shutdown(&self) {
        for event in self.events.all() {
            event.live.shutdown().await;
        }
    }
}
