//! Makes, changes and ends streams: first in the database, then on the air.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::Value;
use sightscreen_core::route::is_identifier;
use tokio::sync::{Mutex, MutexGuard};

use super::rows::clock;
use super::{Database, DatabaseError, MadeBy, Row};
use crate::config::{Config, Fault, StreamsConfig, Template, fixed_differences};
use crate::documents::keys::random_hex;
use crate::documents::publish::PublishError;
use crate::event::State;
use crate::event::{Runner, RunnerError};
use crate::ingest::{Input, StreamKey};
use crate::package::end::EndError;

/// Random bytes of an identifier that is made here, and of a stream key.
const ID_BYTES: usize = 6;
const KEY_BYTES: usize = 16;
/// Tries to remove a folder into which somebody still writes, and the pause between two.
const REMOVALS: u32 = 20;
const REMOVAL_PAUSE: Duration = Duration::from_millis(50);

/// Why something was not done with a stream.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// Settings that cannot be used; the place is a JSON pointer.
    #[error("the stream's settings have {} fault(s)", .0.len())]
    Invalid(Vec<Fault>),
    /// The name is used.
    #[error("there is a stream {0:?}, or its files: choose another id, or delete it")]
    Exists(String),
    /// There are too many.
    #[error("{0} streams have not ended, which streams-max allows: end some, or set it higher")]
    Full(u32),
    /// No such stream.
    #[error("there is no such stream")]
    Unknown,
    /// Flags or file say what it is.
    #[error("the stream is configured: change the configuration and reload it")]
    Configured,
    /// What cannot change while it runs, each with why.
    #[error("a field cannot change while the stream lives")]
    Fixed(Vec<(&'static str, &'static str)>),
    /// It is over.
    #[error("the stream has ended")]
    Ended,
    /// It is not over.
    #[error("the stream has not ended: end it first, or say force=true")]
    Running,
    /// Nobody publishes it.
    #[error("the stream's input has no key")]
    NoKey,
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// It cannot run.
    #[error(transparent)]
    Runner(#[from] RunnerError),
    /// Its end cannot be kept.
    #[error(transparent)]
    End(#[from] EndError),
    /// The edges cannot be told.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Its files cannot be removed.
    #[error("{path}: {source}: remove the folder by hand")]
    Files {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The new configuration cannot be used, or not without a restart.
    #[error("the configuration has {} fault(s); nothing was changed", .0.len())]
    Reload(Vec<Fault>),
}

/// A stream that was made or has a new key.
#[derive(Debug)]
pub struct Made {
    /// As it is kept.
    pub row: Row,
    /// Its key, which is kept nowhere; none where nobody publishes.
    pub key: Option<String>,
}

/// Reads the configuration again.
pub type Load = Box<dyn Fn() -> Result<(Vec<Config>, Template), Vec<Fault>> + Send + Sync>;

/// The streams of this origin.
pub struct Streams {
    pub(super) database: Database,
    pub(super) runner: Arc<Runner>,
    pub(super) load: Load,
    pub(super) template: RwLock<Template>,
    /// As they run, by name.
    pub(super) configured: RwLock<BTreeMap<String, Config>>,
    rules: StreamsConfig,
    data: PathBuf,
    /// Held while something changes: two requests about one stream come one after the other.
    turn: Mutex<()>,
}

impl Streams {
    /// Of these configured events, which run.
    #[must_use]
    pub fn new(
        database: Database,
        runner: Arc<Runner>,
        configured: &[Config],
        template: Template,
        load: Load,
    ) -> Option<Self> {
        let first = configured.first()?;
        let by_name = configured.iter().map(|config| (config.event.clone(), config.clone()));
        Some(Self {
            database,
            runner,
            load,
            template: RwLock::new(template),
            configured: RwLock::new(by_name.collect()),
            rules: first.streams.clone(),
            data: first.data.clone(),
            turn: Mutex::default(),
        })
    }

    /// What the database is asked of beside streams.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The settings of all streams.
    #[must_use]
    pub fn rules(&self) -> &StreamsConfig {
        &self.rules
    }

    /// Makes a stream and puts it on the air. `body` is what was asked for.
    ///
    /// # Errors
    /// See [`StreamsError`]; there is no stream then.
    pub async fn make(&self, body: &Value) -> Result<Made, StreamsError> {
        let id = id_of(body)?;
        let mut config = self.template().new_stream(&id, body).map_err(StreamsError::Invalid)?;
        let key = matches!(config.input, Input::Publisher(_)).then(|| random_hex(KEY_BYTES));
        let digest = key.as_deref().map(StreamKey::of);
        if let Some(digest) = &digest {
            config.input = Input::Publisher(digest.clone());
        }
        let _turn = self.turn().await;
        if self.is_taken(&id) {
            return Err(StreamsError::Exists(id));
        }
        if self.database.running().await? >= u64::from(self.rules.max) {
            return Err(StreamsError::Full(self.rules.max));
        }
        let digest = digest.map(|digest| digest.to_hex()).unwrap_or_default();
        let inserted = self.database.insert(&id, MadeBy::Api, &config.body(), &digest).await;
        let row = inserted.map_err(|error| match error {
            DatabaseError::Taken => StreamsError::Exists(id.clone()),
            error => error.into(),
        })?;
        if let Err(error) = self.runner.start(vec![config.event_settings()]).await {
            // What nobody was told of must not start with the process, nor keep its name.
            self.database.remove(&id).await?;
            self.scrap(&id).await?;
            return Err(error.into());
        }
        Ok(Made { row, key })
    }

    /// Changes settings by a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// See [`StreamsError`]; nothing is changed then.
    pub async fn patch(&self, id: &str, patch: &Value) -> Result<Row, StreamsError> {
        let _turn = self.turn().await;
        let before = self.row(id).await?;
        if before.source == MadeBy::Configuration {
            return Err(StreamsError::Configured);
        }
        let mut body = before.settings.clone();
        merge(&mut body, patch);
        let config = self.template().stream(id, &body).map_err(StreamsError::Invalid)?;
        let after = config.body();
        let wanted = patch.get("id").cloned().unwrap_or_else(|| id.into());
        let fixed = fixed_differences(&named(&before.settings, id.into()), &named(&after, wanted));
        if !fixed.is_empty() {
            return Err(StreamsError::Fixed(fixed));
        }
        self.database.set_settings(id, &after).await?;
        self.apply(&config).await?;
        self.row(id).await
    }

    /// Takes what may change into a running event.
    pub(super) async fn apply(&self, config: &Config) -> Result<(), StreamsError> {
        let Some(event) = self.runner.events().get(&config.event) else { return Ok(()) };
        let settings = config.event_settings();
        let changed = tokio::task::spawn_blocking(move || event.change(settings)).await;
        changed.unwrap_or(Ok(())).map_err(StreamsError::Publish)
    }

    /// Gives a stream a new key. The one before is good for `grace_s` more seconds.
    ///
    /// # Errors
    /// See [`StreamsError`]; the keys are as they were then.
    pub async fn rotate(&self, id: &str, grace_s: Option<u32>) -> Result<Made, StreamsError> {
        let _turn = self.turn().await;
        let before = self.row(id).await?;
        match (before.source, before.status) {
            (MadeBy::Configuration, _) => return Err(StreamsError::Configured),
            (_, State::Ended) => return Err(StreamsError::Ended),
            _ if before.key.is_empty() => return Err(StreamsError::NoKey),
            _ => {}
        }
        let key = random_hex(KEY_BYTES);
        let grace_s = i64::from(grace_s.unwrap_or(self.rules.key_grace_s));
        let (digest, until_ms) = (StreamKey::of(&key), clock() + grace_s * 1000);
        self.database.rotate(id, &digest.to_hex(), until_ms).await?;
        let old_key = before.key.clone();
        let row = Row { key: digest.to_hex(), old_key, old_key_until_ms: until_ms, ..before };
        self.admit(&row);
        tracing::info!(event = id, grace_s, "the stream has a new key");
        Ok(Made { row, key: Some(key) })
    }

    /// Lets in whoever names a stream's keys, and nobody else.
    pub(super) fn admit(&self, row: &Row) {
        let old = (row.old_key_until_ms > clock()).then_some(row.old_key.as_str());
        let keys = [Some(row.key.as_str()), old].into_iter().flatten();
        let keys: Vec<StreamKey> = keys.filter_map(StreamKey::from_hex).collect();
        self.runner.publishers().set(&row.id, &keys);
    }

    /// Ends a stream for good.
    ///
    /// # Errors
    /// See [`StreamsError`]; it goes on then.
    pub async fn end(&self, id: &str) -> Result<(), StreamsError> {
        let _turn = self.turn().await;
        self.end_running(id).await
    }

    pub(super) async fn end_running(&self, id: &str) -> Result<(), StreamsError> {
        let Some(event) = self.runner.events().get(id) else {
            return match self.row(id).await?.status {
                State::Ended => Ok(()),
                _ => self.set_ended(id).await,
            };
        };
        match event.live.end().await {
            Ok(_) => Ok(()),
            // It ends before it began: there is nothing to serve.
            Err(EndError::NothingYet) => {
                self.set_ended(id).await?;
                self.take_off(id).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn set_ended(&self, id: &str) -> Result<(), StreamsError> {
        Ok(self.database.set_status(id, State::Ended, clock()).await?)
    }

    /// Takes a stream off the air, and its documents back.
    pub(super) async fn take_off(&self, id: &str) -> Result<(), StreamsError> {
        self.runner.stop(id).await;
        let (runner, id) = (Arc::clone(&self.runner), id.to_owned());
        let withdrawn = tokio::task::spawn_blocking(move || runner.withdraw(&id)).await;
        withdrawn.unwrap_or(Ok(())).map_err(StreamsError::Publish)
    }

    /// Deletes a stream with its files. `force`: also one that has not ended.
    ///
    /// # Errors
    /// See [`StreamsError`].
    pub async fn delete(&self, id: &str, force: bool) -> Result<(), StreamsError> {
        let _turn = self.turn().await;
        let row = self.row(id).await?;
        if row.source == MadeBy::Configuration {
            return Err(StreamsError::Configured);
        }
        let is_over = self.runner.events().get(id).is_none_or(|event| event.live.is_over());
        if !(force || is_over || row.status == State::Ended) {
            return Err(StreamsError::Running);
        }
        // The row last: where the files cannot be removed, it can be deleted again.
        self.scrap(id).await?;
        self.database.remove(id).await?;
        Ok(())
    }

    /// Takes a stream off the air and removes its files.
    async fn scrap(&self, id: &str) -> Result<(), StreamsError> {
        self.take_off(id).await?;
        let path = self.folder(id);
        let removed = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || remove_folder(&path)).await
        };
        match removed.unwrap_or(Ok(())) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(StreamsError::Files { path, source })
            }
            _ => Ok(()),
        }
    }

    /// The stream of that name.
    ///
    /// # Errors
    /// [`StreamsError::Unknown`], or the database's.
    pub async fn row(&self, id: &str) -> Result<Row, StreamsError> {
        self.database.stream(id).await?.ok_or(StreamsError::Unknown)
    }

    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(super) fn template(&self) -> Template {
        self.template.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.data.join("events").join(id)
    }

    /// Whether an event of that name runs, or left files: those would become the new stream's.
    fn is_taken(&self, id: &str) -> bool {
        self.runner.events().get(id).is_some() || self.folder(id).exists()
    }
}

/// Removes a folder. What was being written as its event stopped may still land there.
fn remove_folder(path: &Path) -> std::io::Result<()> {
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                std::thread::sleep(REMOVAL_PAUSE);
            }
            done => return done,
        }
    }
    std::fs::remove_dir_all(path)
}

/// The identifier that is asked for, or a new one.
fn id_of(body: &Value) -> Result<String, StreamsError> {
    let fault = |fault: &str| {
        StreamsError::Invalid(vec![Fault {
            place: "/id".to_owned(),
            fault: fault.to_owned(),
            remedy: "use a-z, 0-9, . and -, at most 64 of them, or leave it out".to_owned(),
        }])
    };
    match body.get("id") {
        None | Some(Value::Null) => Ok(format!("s-{}", random_hex(ID_BYTES))),
        Some(Value::String(id)) if is_identifier(id) && id != "site" => Ok(id.clone()),
        Some(_) => Err(fault("is no identifier")),
    }
}

/// Settings with an identifier, which is none of them.
fn named(settings: &Value, id: Value) -> Value {
    let mut named = settings.as_object().cloned().unwrap_or_default();
    named.insert("id".to_owned(), id);
    Value::Object(named)
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Instant;

    use super::*;
    use serde_json::json;

    /// The examples of RFC 7396, appendix A.
    #[test]
    fn a_patch_is_merged_as_the_standard_says() {
        for (before, patch, after) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut target = before;
            merge(&mut target, &patch);
            assert_eq!(target, after);
        }
    }

    #[test]
    fn a_folder_into_which_somebody_still_writes_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event");
        std::fs::create_dir(&path).unwrap();
        let writer = {
            let (path, end) = (path.clone(), Instant::now() + REMOVAL_PAUSE * 5);
            std::thread::spawn(move || {
                let mut names = 0..;
                while Instant::now() < end
                    && names.next().is_some_and(|at: u64| {
                        std::fs::write(path.join(at.to_string()), "a").is_ok()
                    })
                {}
            })
        };
        remove_folder(&path).unwrap();
        writer.join().unwrap();
        assert!(!path.exists());
        let again = remove_folder(&path);
        assert_eq!(again.unwrap_err().kind(), std::io::ErrorKind::NotFound);
    }

    #[test]
    fn an_identifier_is_made_or_checked() {
        assert!(id_of(&json!({})).unwrap().starts_with("s-"));
        assert_eq!(id_of(&json!({"id": "final.1"})).unwrap(), "final.1");
        for no in [json!("site"), json!("A"), json!("../x"), json!(""), json!(5), json!(["a"])] {
            assert!(matches!(id_of(&json!({"id": no})), Err(StreamsError::Invalid(_))), "{no}");
        }
    }
}
