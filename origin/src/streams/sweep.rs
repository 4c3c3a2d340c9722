//! What goes on beside the requests: streams are started again after a restart, changes of status
//! are kept, old keys and ended streams run out, and old entries are forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::Row as _;
use tokio::time::{Instant, MissedTickBehavior};

use super::deliver;
use super::outage::Outage;
use super::rows::clock;
use super::{Actor, Database, DatabaseError, MadeBy, Role, Row, Streams, StreamsError};
use crate::config::Config;
use crate::event::RunningEvent;
use crate::event::State;
use crate::ingest::{Input, StreamKey};

/// Between two looks at the running events.
const LOOK: Duration = Duration::from_millis(250);
/// Between two looks at what runs out.
const SLOW_LOOK: Duration = Duration::from_secs(1);
/// Between two times of forgetting.
const TRIM: Duration = Duration::from_secs(3600);
/// Changes of one stream that wait for the database. Past it the middle ones are left out.
const PENDING_MAX: usize = 64;
/// The longest that an ended stream is served, in milliseconds: the most that `dvr` can be.
const DVR_MAX_MS: i64 = 86_400_000;

/// What is known of a stream's status.
struct Seen {
    /// Of the event, which may be deleted and made anew under its name.
    epoch: String,
    /// The newest, kept or not.
    last: State,
    /// What the database was not told yet, oldest first.
    pending: VecDeque<(State, i64)>,
}

/// What is known of all streams, by their names.
type Looks = Mutex<BTreeMap<String, Seen>>;

impl Streams {
    /// Opens the database and starts the streams that it has. Those that cannot start are told in
    /// the log.
    ///
    /// # Errors
    /// See [`DatabaseError`]; it can be called again.
    pub async fn open(&self) -> Result<(), DatabaseError> {
        self.database.migrate().await?;
        let _turn = self.turn().await;
        self.register().await?;
        for row in self.database.to_run(clock() - DVR_MAX_MS).await? {
            if self.runner.events().get(&row.id).is_some() {
                if !self.is_configured(&row.id) {
                    continue;
                }
                tracing::error!(event = row.id, "a stream has the name of a configured event");
                continue;
            }
            if let Err(error) = self.resume(&row).await {
                tracing::error!(event = row.id, %error, "a stream does not start");
            }
        }
        Ok(())
    }

    /// Writes down which events are configured. One that is no more has ended.
    pub(super) async fn register(&self) -> Result<(), DatabaseError> {
        let configured = self.configured();
        for config in configured.values() {
            let (id, body) = (&config.event, config.body());
            match self.database.insert(id, MadeBy::Configuration, &body, "").await {
                Err(DatabaseError::Taken) => match self.database.stream(id).await? {
                    Some(row) if row.source == MadeBy::Configuration => {
                        self.database.set_settings(id, &body).await?;
                    }
                    _ => {}
                },
                other => drop(other?),
            }
        }
        for id in self.database.configured().await? {
            let runs = self.runner.events().get(&id).is_some();
            if !configured.contains_key(&id) && !runs {
                self.database.set_status(&id, State::Ended, clock()).await?;
            }
        }
        Ok(())
    }

    pub(super) fn configured(&self) -> BTreeMap<String, Config> {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether flags or file say that there is an event of that name.
    #[must_use]
    pub fn is_configured(&self, id: &str) -> bool {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    /// Starts a stream as it was kept.
    async fn resume(&self, row: &Row) -> Result<(), StreamsError> {
        if is_over(row, clock()) {
            return Ok(());
        }
        let template = self.template();
        let mut config = template.kept(&row.id, &row.settings).map_err(StreamsError::Invalid)?;
        if let Some(key) = StreamKey::from_hex(&row.key) {
            config.input = Input::Publisher(key);
        }
        self.runner.start(vec![config.event_settings()]).await?;
        if !row.key.is_empty() && row.status != State::Ended {
            self.admit(row);
        }
        tracing::info!(event = row.id, "a stream goes on");
        Ok(())
    }

    /// Keeps the database and the running events together, for as long as it is polled. Where it
    /// could not be opened, tries again.
    pub async fn keep(self: Arc<Self>, opened: Result<(), DatabaseError>) {
        let delivered = deliver::keep(self.database.clone(), self.rules().clone());
        let looks = Looks::default();
        tokio::join!(delivered, self.watch(&looks), self.sweep(&looks, opened));
    }

    /// Looks at the running events in time, also while the database lets itself be waited for.
    async fn watch(&self, looks: &Looks) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&mut looks.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    async fn sweep(&self, looks: &Looks, opened: Result<(), DatabaseError>) {
        let mut is_open = opened.is_ok();
        let mut outage = Outage::default();
        outage.tell(opened);
        let (mut slow, mut trim) = (Instant::now(), Instant::now());
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (now, is_on) = (Instant::now(), outage.is_on());
            let done = async {
                if !is_open {
                    self.open().await?;
                    is_open = true;
                }
                self.keep_status(looks).await?;
                self.note_returned().await?;
                // That it is back is known by asking alone.
                if now >= slow || is_on {
                    slow = now + SLOW_LOOK;
                    self.run_out().await?;
                }
                if now >= trim {
                    trim = now + TRIM;
                    self.database.trim_audit(self.rules().audit_days).await?;
                    self.database.trim_answers().await?;
                }
                Ok(())
            };
            outage.tell(done.await);
        }
    }

    /// Looks where the running events are.
    fn look(&self, seen: &mut BTreeMap<String, Seen>) {
        let events = self.runner.events().all();
        let runs = |id: &str| events.iter().any(|event| event.name() == id);
        seen.retain(|id, seen| runs(id) || !seen.pending.is_empty());
        let same = |event: &RunningEvent, seen: &Seen| seen.epoch == event.live.epoch();
        for event in &events {
            let known = seen.get_mut(event.name()).filter(|seen| same(event, seen));
            let Some(known) = known else {
                // What the database has of it is looked up with the first change.
                let first = status(event, State::Ready);
                let pending = VecDeque::from([(first, clock())]);
                let epoch = event.live.epoch().to_owned();
                seen.insert(event.name().to_owned(), Seen { epoch, last: first, pending });
                continue;
            };
            let now = status(event, known.last);
            if now != known.last {
                tracing::info!(
                    event = event.name(),
                    from = known.last.name(),
                    to = now.name(),
                    "status"
                );
                known.last = now;
                known.pending.push_back((now, clock()));
                if known.pending.len() > PENDING_MAX {
                    known.pending.remove(PENDING_MAX / 2);
                }
            }
        }
    }

    /// Tells the database what it was not told yet.
    async fn keep_status(&self, looks: &Looks) -> Result<(), DatabaseError> {
        while let Some((id, change)) = oldest(looks) {
            let (status, at_ms) = change;
            let kept = self.database.stream(&id).await?.map(|row| row.status);
            // A stream that begins anew after a restart is one that was interrupted.
            let anew = status == State::Ready && kept.is_some_and(|kept| kept != status);
            match (anew, kept) {
                (true, Some(State::Ended)) | (_, None) => {}
                (true, _) => self.database.set_status(&id, State::Interrupted, at_ms).await?,
                (false, _) => self.database.set_status(&id, status, at_ms).await?,
            }
            let mut looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
            // Another event may have its name by now.
            if let Some(seen) = looks.get_mut(&id).filter(|s| s.pending.front() == Some(&change)) {
                seen.pending.pop_front();
            }
        }
        Ok(())
    }

    /// Notes in the audit log which switches returned by themselves.
    async fn note_returned(&self) -> Result<(), DatabaseError> {
        let (id, name, role) = ("origin".to_owned(), "origin".to_owned(), Role::Operator);
        let actor = Actor { id, name, role };
        for event in self.runner.events().all() {
            for told in event.switches.returned() {
                let action = format!("POST /control/events/{}/flags {told}, in time", event.name());
                self.database.note(&actor, &action, event.name(), 200).await?;
                event.switches.noted();
            }
        }
        Ok(())
    }

    /// Old keys, and streams that ended and are not served any more.
    async fn run_out(&self) -> Result<(), DatabaseError> {
        let now = clock();
        for row in self.database.with_old_keys(now).await? {
            self.database.forget_old_key(&row.id, now).await?;
            if row.status != State::Ended {
                self.admit(&row);
                tracing::info!(event = row.id, "the old key is over");
            }
        }
        for event in self.runner.events().all().iter().filter(|event| event.live.is_over()) {
            let row = self.database.stream(event.name()).await?;
            if row.is_some_and(|row| is_over(&row, now)) {
                let _turn = self.turn().await;
                tracing::info!(event = event.name(), "an ended stream is not served any more");
                if let Err(error) = self.take_off(event.name()).await {
                    tracing::error!(event = event.name(), %error, "its documents stay");
                }
            }
        }
        Ok(())
    }
}

/// The oldest change of the first stream that has one which the database was not told.
fn oldest(looks: &Looks) -> Option<(String, (State, i64))> {
    let looks = looks.lock().unwrap_or_else(PoisonError::into_inner);
    looks.iter().find_map(|(id, seen)| Some((id.clone(), *seen.pending.front()?)))
}

/// Where an event is, which was `before`. It is ready once.
fn status(event: &RunningEvent, before: State) -> State {
    match event.state() {
        State::Ready if before != State::Ready => before,
        status => status,
    }
}

/// Whether a stream of the API is served no more.
fn is_over(row: &Row, now_ms: i64) -> bool {
    let dvr_s = row.settings["dvr_s"].as_i64().unwrap_or(0);
    row.source == MadeBy::Api
        && row.status == State::Ended
        && row.ended_ms.saturating_add(dvr_s.saturating_mul(1000)) <= now_ms
}

impl Database {
    /// The streams of the API that have not ended, or not before that.
    async fn to_run(&self, ended_after_ms: i64) -> Result<Vec<Row>, DatabaseError> {
        let ids = sqlx::query(
            "SELECT id FROM streams WHERE source = 'api' AND (status <> 'ended' OR ended_ms > $1) \
             ORDER BY created_ms, id",
        );
        self.rows(self.within(ids.bind(ended_after_ms).fetch_all(self.pool())).await?).await
    }

    /// The streams with an old key that is over.
    async fn with_old_keys(&self, now_ms: i64) -> Result<Vec<Row>, DatabaseError> {
        let ids = sqlx::query(
            "SELECT id FROM streams WHERE old_key_until_ms > 0 AND old_key_until_ms <= $1",
        );
        self.rows(self.within(ids.bind(now_ms).fetch_all(self.pool())).await?).await
    }

    /// The names of what was configured and has not ended.
    async fn configured(&self) -> Result<Vec<String>, DatabaseError> {
        let ids = sqlx::query(
            "SELECT id FROM streams WHERE source = 'configuration' AND status <> 'ended'",
        );
        let ids = self.within(ids.fetch_all(self.pool())).await?;
        Ok(ids.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
    }

    async fn rows(&self, ids: Vec<sqlx::any::AnyRow>) -> Result<Vec<Row>, DatabaseError> {
        let mut rows = Vec::new();
        for id in ids {
            let id: String = id.try_get("id")?;
            rows.extend(self.stream(&id).await?);
        }
        Ok(rows)
    }
}
