//! The keys in force: what the keyring's file holds, and which of its keys the edges may use.
//!
//! The file is looked at once a second, so that a new key needs no restart. Which keys are accepted
//! and which one mints is the operator's to say: the file only takes away what it no longer holds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sightscreen_core::document::Keys;
use sightscreen_core::keyring::{Key, Keyring, Purpose};
use tokio::time::MissedTickBehavior;

use crate::disk::{Mark, mark};
use crate::documents::keys::{self, KeyringFileError};
use crate::documents::publish::{DocumentPublisher, PublishError};

/// Between two looks at the keyring's file.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds in which an edge may still mint with the key before: what it knows of the keys is at
/// most four seconds old.
const NEWS_S: u64 = 5;
/// Most kids of one purpose that are accepted at a time.
const KIDS_MAX: usize = 8;

/// See the module.
pub struct InForce {
    event: String,
    file: PathBuf,
    publisher: Arc<DocumentPublisher>,
    keyring: RwLock<Arc<Keyring>>,
    /// Held from reading the document to publishing it: of two changes at once, both count.
    turn: Mutex<()>,
}

/// What an operator asks for. What is left out stays as it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysChange {
    /// The pass key that mints.
    pub mint: Option<String>,
    /// Pass keys that are accepted.
    pub pass: Option<Vec<String>>,
    /// URL keys that are accepted.
    pub url: Option<Vec<String>>,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// The document's payload.
    pub keys: Keys,
    /// Seconds for which passes may still live that an accepted key minted before another did, or
    /// mints until all edges have heard of it; the key can be dropped after them without a viewer
    /// noticing.
    pub passes_live_s: BTreeMap<String, u64>,
}

/// Why the keys stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing can be checked with this key.
    #[error(
        "there is no {purpose:?} key {kid:?} in the keyring: add it there first, at all edges too"
    )]
    Unknown {
        /// What it would be for.
        purpose: Purpose,
        /// Its name.
        kid: String,
    },
    /// Not a list that can be in force.
    #[error("{0} names no key, one twice, or more than {KIDS_MAX}")]
    List(&'static str),
    /// What mints must be accepted.
    #[error("{0:?} mints, so it must be one of pass")]
    NotAccepted(String),
    /// Edges still mint with it while the news is on the way.
    #[error(
        "{kid:?} still mints: let another key mint, and drop this one in {live_s} s, when its \
         passes have ended"
    )]
    Mints {
        /// The key.
        kid: String,
        /// Seconds for which its passes live.
        live_s: u64,
    },
    /// It cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl InForce {
    /// Reads the keyring's file and publishes which keys are in force: those that were before, or,
    /// at the first start, all that the file lists.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn open(
        event: &str,
        file: PathBuf,
        keyring: Keyring,
        publisher: Arc<DocumentPublisher>,
    ) -> Result<Self, PublishError> {
        let in_force = Self {
            event: event.to_owned(),
            file,
            publisher,
            keyring: RwLock::new(Arc::new(keyring)),
            turn: Mutex::new(()),
        };
        in_force.hold_to_the_keyring()?;
        Ok(in_force)
    }

    /// The keyring as last read.
    #[must_use]
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key that signs playback URLs: the last of those accepted, which is the newest.
    #[must_use]
    pub fn url_key(&self) -> Key {
        let keyring = self.keyring();
        let newest = self.published().and_then(|keys| keys.url.last().cloned());
        match newest.as_ref().and_then(|kid| keyring.find(Purpose::Url, kid)) {
            Some(key) => Key::clone(&key),
            None => keyring.first(Purpose::Url).clone(),
        }
    }

    /// What is in force now.
    #[must_use]
    pub fn told(&self) -> Option<Told> {
        self.published().map(|keys| self.tell(keys))
    }

    /// Changes which keys are accepted and which one mints. Blocks until that is on disk.
    ///
    /// # Errors
    /// See [`ChangeError`]; the keys stay as they are.
    pub fn change(&self, change: KeysChange) -> Result<Told, ChangeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let keyring = self.keyring();
        let before = self.published().unwrap_or_else(|| self.all(&keyring));
        let keys = Keys {
            mint: change.mint.unwrap_or_else(|| before.mint.clone()),
            pass: change.pass.unwrap_or_else(|| before.pass.clone()),
            url: change.url.unwrap_or_else(|| before.url.clone()),
        };
        check("pass", Purpose::Pass, &keys.pass, &keyring)?;
        check("url", Purpose::Url, &keys.url, &keyring)?;
        if !keys.pass.contains(&keys.mint) {
            return Err(ChangeError::NotAccepted(keys.mint));
        }
        if !keys.pass.contains(&before.mint) {
            return Err(ChangeError::Mints { kid: before.mint, live_s: self.pass_life_s() });
        }
        self.publish(&keys)?;
        tracing::info!(event = self.event, ?keys, "keys in force");
        Ok(self.tell(keys))
    }

    /// Reads the file again whenever it changes, for as long as it is polled.
    pub async fn follow_the_file(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = mark(&self.file);
        loop {
            ticks.tick().await;
            let in_force = Arc::clone(&self);
            let look = tokio::task::spawn_blocking(move || in_force.look(seen));
            seen = look.await.unwrap_or(seen);
        }
    }

    /// Reads the file if its mark is another than `seen`. Returns the mark. Blocks.
    fn look(&self, seen: Option<Mark>) -> Option<Mark> {
        let now = mark(&self.file);
        // A file that is gone for a moment is being replaced.
        if now.is_none() || now == seen {
            return seen;
        }
        match self.read_again() {
            Ok(()) => tracing::info!("the keyring was read again"),
            Err(error) => tracing::error!(%error, "the keyring before stays in use"),
        }
        now
    }

    /// Takes the file as it is now: signs all documents with its newest key. Blocks.
    ///
    /// # Errors
    /// Why the keyring before stays in use, or, where only publishing failed, why an edge may still
    /// be told of keys that are gone.
    pub fn read_again(&self) -> Result<(), ReadError> {
        let keyring = keys::read(&self.file)?;
        self.publisher.sign_with(keyring.first(Purpose::Document).clone());
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
        Ok(self.hold_to_the_keyring()?)
    }

    /// Takes out of force what the keyring does not hold.
    fn hold_to_the_keyring(&self) -> Result<(), PublishError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let keyring = self.keyring();
        let all = || self.all(&keyring);
        let Some(before) = self.published() else {
            return self.publish(&all());
        };
        let held = |purpose, kids: &[String], otherwise: Vec<String>| {
            let held = kids.iter().filter(|kid| keyring.find(purpose, kid).is_some());
            let held: Vec<String> = held.cloned().collect();
            if held.is_empty() { otherwise } else { held }
        };
        let pass = held(Purpose::Pass, &before.pass, all().pass);
        let url = held(Purpose::Url, &before.url, all().url);
        let mint = if pass.contains(&before.mint) {
            Some(before.mint.clone())
        } else {
            pass.last().cloned()
        };
        let keys = Keys { mint: mint.unwrap_or_else(|| all().mint), pass, url };
        if keys != before {
            tracing::warn!(event = self.event, ?before, ?keys, "keys left the keyring");
        }
        self.publish(&keys)
    }

    /// All keys that the file lists; the first one mints.
    fn all(&self, keyring: &Keyring) -> Keys {
        let names = keys::names(&self.file).ok();
        let first = |purpose| keyring.first(purpose).kid().to_owned();
        let with = |listed: Option<Vec<String>>, first: String| {
            let mut kids = listed.unwrap_or_default();
            if !kids.contains(&first) {
                kids.push(first);
            }
            kids
        };
        let mint = first(Purpose::Pass);
        Keys {
            pass: with(names.as_ref().map(|names| names.pass.clone()), mint.clone()),
            url: with(names.map(|names| names.url), first(Purpose::Url)),
            mint,
        }
    }

    fn tell(&self, keys: Keys) -> Told {
        let life_s = self.pass_life_s();
        let old = keys.pass.iter().filter(|kid| **kid != keys.mint);
        Told { passes_live_s: old.map(|kid| (kid.clone(), life_s)).collect(), keys }
    }

    /// Seconds until the last pass has ended that edges mint before they hear of a change, by the
    /// event's document; 0 before there is one. A life of 0 is to the session's end.
    fn pass_life_s(&self) -> u64 {
        let event = self.publisher.payload(&format!("events/{}", self.event));
        let event: Value =
            event.and_then(|(_, text)| serde_json::from_str(&text).ok()).unwrap_or_default();
        let seconds = |field: &str| event["pass"][field].as_u64().unwrap_or(0);
        match (seconds("ttl_s"), seconds("session_s")) {
            (_, 0) => 0,
            (0, session_s) => session_s + NEWS_S,
            (ttl_s, session_s) => ttl_s.min(session_s) + NEWS_S,
        }
    }

    fn published(&self) -> Option<Keys> {
        let (_, payload) = self.publisher.payload(&self.name())?;
        serde_json::from_str(&payload).ok()
    }

    fn publish(&self, keys: &Keys) -> Result<(), PublishError> {
        self.publisher.publish(&self.name(), keys).map(drop)
    }

    fn name(&self) -> String {
        format!("keys/{}", self.event)
    }
}

/// Why the file was not taken as it is.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no keyring.
    #[error(transparent)]
    File(#[from] KeyringFileError),
    /// What it changes cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

fn check(
    name: &'static str,
    purpose: Purpose,
    kids: &[String],
    keyring: &Keyring,
) -> Result<(), ChangeError> {
    let once = kids.iter().enumerate().all(|(at, kid)| !kids[..at].contains(kid));
    if kids.is_empty() || kids.len() > KIDS_MAX || !once {
        return Err(ChangeError::List(name));
    }
    match kids.iter().find(|kid| keyring.find(purpose, kid).is_none()) {
        Some(kid) => Err(ChangeError::Unknown { purpose, kid: kid.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;
    use sightscreen_core::document;

    /// A keyring's file with these document, pass and URL keys, and an origin's keys by it.
    struct Stage {
        folder: tempfile::TempDir,
        publisher: Arc<DocumentPublisher>,
        in_force: InForce,
    }

    fn text(document: &[&str], pass: &[&str], url: &[&str]) -> String {
        // In the order given: the first is the one that signs.
        let of = |kids: &[&str]| {
            let key = |kid: &&str| {
                format!("{kid:?}:\"{:032x}\"", kid.len() as u64 + u64::from(kid.as_bytes()[1]))
            };
            kids.iter().map(key).collect::<Vec<_>>().join(",")
        };
        let (document, pass, url) = (of(document), of(pass), of(url));
        format!("{{\"document\":{{{document}}},\"pass\":{{{pass}}},\"url\":{{{url}}}}}")
    }

    impl Stage {
        fn new(pass: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("keyring.json");
            std::fs::write(&file, text(&["d1"], pass, &["u1"])).unwrap();
            let keyring = keys::read(&file).unwrap();
            let documents = folder.path().join("documents");
            let publisher = Arc::new(DocumentPublisher::open(&documents, &keyring).unwrap());
            let in_force = InForce::open("demo", file, keyring, Arc::clone(&publisher)).unwrap();
            Self { folder, publisher, in_force }
        }

        fn replace(&self, text: &str) -> Result<(), ReadError> {
            std::fs::write(self.folder.path().join("keyring.json"), text).unwrap();
            self.in_force.read_again()
        }

        /// What edges are told, as they read it.
        fn told(&self) -> String {
            let body = self.publisher.get("keys/demo").unwrap();
            let keyring = self.in_force.keyring();
            let keys: Keys = document::read_json("keys/demo", &body, &keyring).unwrap();
            format!("{} of {}; {}", keys.mint, keys.pass.join(" "), keys.url.join(" "))
        }

        fn change(&self, change: Value) -> Result<Told, String> {
            let change = serde_json::from_value(change).unwrap();
            self.in_force.change(change).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn a_rotation_goes_by_steps_in_which_every_pass_is_known() {
        let stage = Stage::new(&["k1", "k2"]);
        stage
            .publisher
            .publish("events/demo", &json!({"pass": {"ttl_s": 14_400, "session_s": 43_200}}))
            .unwrap();
        assert_eq!(stage.told(), "k1 of k1 k2; u1");
        let told = stage.change(json!({"mint": "k2"})).unwrap();
        assert_eq!(told.passes_live_s, BTreeMap::from([("k1".to_owned(), 14_405)]));
        assert_eq!(stage.told(), "k2 of k1 k2; u1");
        let told = stage.change(json!({"pass": ["k2"]})).unwrap();
        assert!(told.passes_live_s.is_empty());
        assert_eq!(stage.told(), "k2 of k2; u1");
        // A life of 0 is to the session's end.
        stage.publisher.publish("events/demo", &json!({"pass": {"session_s": 43_200}})).unwrap();
        let told = stage.change(json!({"pass": ["k2", "k1"]})).unwrap();
        assert_eq!(told.passes_live_s["k1"], 43_205);
    }

    #[test]
    fn what_would_refuse_a_viewer_is_refused() {
        let stage = Stage::new(&["k1", "k2"]);
        for (change, part) in [
            (json!({"pass": ["k1", "k3"]}), "no Pass key \"k3\""),
            (json!({"url": ["u1", "k1"]}), "no Url key \"k1\""),
            (json!({"pass": []}), "pass names no key"),
            (json!({"url": ["u1", "u1"]}), "url names no key, one twice"),
            (json!({"mint": "k3"}), "\"k3\" mints, so it must be one of pass"),
            // In one step, edges that know the old document would mint what others refuse.
            (json!({"mint": "k2", "pass": ["k2"]}), "\"k1\" still mints"),
        ] {
            let error = stage.change(change.clone()).unwrap_err();
            assert!(error.contains(part), "{change}: {error}");
        }
        assert_eq!(stage.told(), "k1 of k1 k2; u1");
    }

    #[test]
    fn the_file_is_read_again_and_all_documents_are_signed_anew() {
        let stage = Stage::new(&["k1"]);
        stage.publisher.publish("flags/demo", &json!({})).unwrap();
        let signed_by = |name: &str| {
            let body = stage.publisher.get(name).unwrap();
            let text = String::from_utf8(body.to_vec()).unwrap();
            text.split("kid=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
        };
        assert_eq!(signed_by("flags/demo"), "d1");
        stage.replace(&text(&["d2", "d1"], &["k2", "k1"], &["u1"])).unwrap();
        for name in ["flags/demo", "keys/demo", "events/absent"] {
            assert_eq!(signed_by(name), "d2", "{name}");
        }
        // A new key is known, and in force once the operator says so.
        assert_eq!(stage.told(), "k1 of k1; u1");
        stage.change(json!({"pass": ["k1", "k2"], "mint": "k2"})).unwrap();
        // What is no keyring changes nothing.
        assert!(stage.replace("{").is_err());
        assert_eq!(
            (signed_by("flags/demo"), stage.told()),
            ("d2".into(), "k2 of k1 k2; u1".into())
        );
        // A key that is gone is in force no more.
        stage.replace(&text(&["d2"], &["k1"], &["u1", "u2"])).unwrap();
        assert_eq!(stage.told(), "k1 of k1; u1");
    }

    #[test]
    fn a_restart_keeps_what_the_operator_said() {
        let stage = Stage::new(&["k1", "k2"]);
        stage.change(json!({"mint": "k2"})).unwrap();
        let Stage { folder, publisher, in_force } = stage;
        drop((publisher, in_force));
        let file = folder.path().join("keyring.json");
        let keyring = keys::read(&file).unwrap();
        let publisher =
            DocumentPublisher::open(&folder.path().join("documents"), &keyring).unwrap();
        let publisher = Arc::new(publisher);
        let in_force = InForce::open("demo", file, keyring, Arc::clone(&publisher)).unwrap();
        let stage = Stage { folder, publisher, in_force };
        assert_eq!(stage.told(), "k2 of k1 k2; u1");
    }
}
