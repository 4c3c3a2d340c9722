//! The publisher: signed documents by name, on disk and in memory.
//!
//! Doors keep the highest version of a name that they saw and take none below it. So what is
//! published must always be the highest: after a restart, after the folder was lost, and after it
//! was restored from a backup. A version is therefore the one before plus one, and at least the
//! time; and at each start every document gets a new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use prometheus::{IntCounterVec, Opts};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sightscreen_core::document;
use sightscreen_core::keyring::{Key, Keyring, Purpose};
use sightscreen_core::route::is_identifier;

use crate::clock::wall_ms;
use crate::disk::{make_folder, write_whole};

/// Longest name of a document. What is asked for under a longer one is not signed.
const NAME_BYTES_MAX: usize = 256;
/// Payload of a document that does not exist, or no longer.
const ABSENT: &str = "null";

/// Documents by name.
pub struct DocumentPublisher {
    folder: PathBuf,
    /// Apart from `documents`, so that no request waits for the disk.
    writer: Mutex<()>,
    signed: RwLock<Signed>,
}

/// What is served.
struct Signed {
    key: Key,
    documents: BTreeMap<String, Document>,
}

/// What is kept of a document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    name: String,
    version: u64,
    payload: String,
}

struct Document {
    version: u64,
    payload: String,
    /// With the envelope around.
    body: Bytes,
}

/// Why a document cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The disk says no.
    #[error("{path}: {source}: check that the folder is writable and the disk is not full")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored document was changed from outside.
    #[error("{path} is not a stored document ({reason}): restore it, or remove it")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl DocumentPublisher {
    /// Reads what was published before and publishes it again under new versions, signed with the
    /// keyring's first document key.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn open(folder: &Path, keyring: &Keyring) -> Result<Self, PublishError> {
        let io = |source| PublishError::Io { path: folder.to_owned(), source };
        make_folder(folder).map_err(io)?;
        let key = keyring.first(Purpose::Document).clone();
        let mut documents = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let stored = load(&path)?;
                let stored = Stored { version: after(stored.version), ..stored };
                write(&path, &stored)?;
                documents.insert(stored.name.clone(), sign(stored, &key));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            writer: Mutex::new(()),
            signed: RwLock::new(Signed { key, documents }),
        })
    }

    /// Publishes a payload. The same payload again changes nothing. Returns the version. Blocks
    /// until it is on disk.
    ///
    /// # Errors
    /// [`PublishError::Io`]; what was published before stays.
    pub fn publish(&self, name: &str, payload: &impl Serialize) -> Result<u64, PublishError> {
        let path = file_of(&self.folder, name);
        let payload = serde_json::to_string(payload)
            .map_err(|error| PublishError::Io { path: path.clone(), source: error.into() })?;
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            self.read().documents.get(name).map(|known| (known.version, known.payload == payload));
        let version = match before {
            Some((version, true)) => return Ok(version),
            Some((version, false)) => after(version),
            None => after(0),
        };
        let stored = Stored { name: name.to_owned(), version, payload };
        write(&path, &stored)?;
        let mut signed = self.signed.write().unwrap_or_else(PoisonError::into_inner);
        let document = sign(stored, &signed.key);
        signed.documents.insert(name.to_owned(), document);
        Ok(version)
    }

    /// Publishes that a document is no more. Blocks until that is on disk.
    ///
    /// # Errors
    /// As [`DocumentPublisher::publish`].
    pub fn withdraw(&self, name: &str) -> Result<(), PublishError> {
        match self.payload(name) {
            Some(_) => self.publish(name, &Value::Null).map(drop),
            None => Ok(()),
        }
    }

    /// The signed document of that name. Where there is none, a signed `null` of version 0: doors
    /// believe no absence that is not signed. `None` for what cannot be a document's name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Bytes> {
        let signed = self.read();
        match signed.documents.get(name) {
            Some(document) => Some(document.body.clone()),
            // Made for whoever asks, so it is kept nowhere.
            None => {
                let absent = || document::write(name, 0, ABSENT.as_bytes(), &signed.key).into();
                is_name(name).then(absent)
            }
        }
    }

    /// Version and payload of the document of that name, if there is one.
    #[must_use]
    pub fn payload(&self, name: &str) -> Option<(u64, String)> {
        let signed = self.read();
        let document = signed.documents.get(name).filter(|known| known.payload != ABSENT);
        document.map(|document| (document.version, document.payload.clone()))
    }

    /// Names of the documents that there are.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let signed = self.read();
        let there = signed.documents.iter().filter(|(_, known)| known.payload != ABSENT);
        there.map(|(name, _)| name.clone()).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Signed> {
        self.signed.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs all documents anew, and those to come, with another key. Versions stay: nothing else
    /// is said.
    pub fn sign_with(&self, key: Key) {
        let mut signed = self.signed.write().unwrap_or_else(PoisonError::into_inner);
        for (name, document) in &mut signed.documents {
            let payload = document.payload.as_bytes();
            document.body = document::write(name, document.version, payload, &key).into();
        }
        signed.key = key;
    }

    /// A document that is rendered anew each time from what cannot change; its version is always 1.
    ///
    /// # Errors
    /// When the payload is not JSON.
    pub fn immutable(&self, name: &str, payload: &impl Serialize) -> serde_json::Result<Bytes> {
        Ok(document::write(name, 1, &serde_json::to_vec(payload)?, &self.read().key).into())
    }
}

/// The version that follows `last`. The time makes up for a `last` that was lost.
fn after(last: u64) -> u64 {
    last.saturating_add(1).max(wall_ms())
}

/// The payload of the document of that name in the folder of a publisher that need not run; `None`
/// where there is none.
///
/// # Errors
/// See [`PublishError`].
pub fn kept(folder: &Path, name: &str) -> Result<Option<String>, PublishError> {
    let path = file_of(folder, name);
    let payload = if path.exists() { Some(load(&path)?.payload) } else { None };
    Ok(payload.filter(|payload| payload != ABSENT))
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.json", name.replace('/', "~")))
}

fn sign(stored: Stored, key: &Key) -> Document {
    let body = document::write(&stored.name, stored.version, stored.payload.as_bytes(), key).into();
    Document { version: stored.version, payload: stored.payload, body }
}

/// Whether a document can have this name. Bounded, because anyone may ask for one.
fn is_name(name: &str) -> bool {
    let Some((folder, rest)) = name.split_once('/').filter(|_| name.len() <= NAME_BYTES_MAX) else {
        return false;
    };
    let mut parts = rest.split('/');
    match folder {
        "events" | "keys" | "flags" => is_identifier(rest),
        "pods" => parts.clone().count() == 3 && parts.all(is_identifier),
        "snapshots" => is_identifier(rest) || (rest.contains('/') && parts.all(is_segment)),
        _ => false,
    }
}

/// Whether it can be a segment of an API path or the name of a file.
fn is_segment(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    !matches!(text, "" | "." | "..") && text.bytes().all(plain)
}

fn load(path: &Path) -> Result<Stored, PublishError> {
    let bytes =
        std::fs::read(path).map_err(|source| PublishError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| PublishError::Corrupt { path: path.to_owned(), reason: e.to_string() })
}

fn write(path: &Path, stored: &Stored) -> Result<(), PublishError> {
    let io = |source| PublishError::Io { path: path.to_owned(), source };
    let bytes = serde_json::to_vec(stored).map_err(|error| io(error.into()))?;
    let outcome = write_whole(path, &bytes).map(drop).map_err(io);
    writes().with_label_values(&[if outcome.is_ok() { "ok" } else { "failed" }]).inc();
    outcome
}

/// How often the disk took a document, and how often it did not, of all publishers.
#[must_use]
pub fn writes() -> &'static IntCounterVec {
    static WRITES: LazyLock<IntCounterVec> = LazyLock::new(|| {
        let help = "Documents that were written, and that could not be.";
        let options = Opts::new("sightscreen_documents_total", help);
        // It has a name and a label: nothing else is refused.
        IntCounterVec::new(options, &["outcome"]).unwrap_or_else(|error| unreachable!("{error}"))
    });
    &WRITES
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::json;

    const NAME: &str = "flags/demo";

    fn keyring() -> Keyring {
        let key = "00112233445566778899aabbccddeeff";
        let text = json!({"document": {"d1": key}, "pass": {"k1": key}, "url": {"u1": key}});
        Keyring::parse(text.to_string().as_bytes()).unwrap()
    }

    fn open(folder: &Path) -> DocumentPublisher {
        DocumentPublisher::open(folder, &keyring()).unwrap()
    }

    /// Version and payload of what is served.
    fn served(publisher: &DocumentPublisher, name: &str) -> (u64, String) {
        let body = publisher.get(name).unwrap();
        let read = document::read(name, &body, &keyring()).unwrap();
        (read.version, String::from_utf8(read.payload.to_vec()).unwrap())
    }

    #[test]
    fn a_version_grows_with_the_payload_and_is_no_less_than_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = open(folder.path());
        let begun = wall_ms();
        let first = publisher.publish(NAME, &json!({"a": 1})).unwrap();
        assert!(first >= begun);
        assert_eq!(publisher.publish(NAME, &json!({"a": 1})).unwrap(), first);
        let second = publisher.publish(NAME, &json!({"a": 2})).unwrap();
        assert!(second > first);
        assert_eq!(served(&publisher, NAME), (second, r#"{"a":2}"#.to_owned()));
        let body = publisher.get(NAME).unwrap();
        assert!(document::read("flags/other", &body, &keyring()).is_err());
    }

    #[test]
    fn what_is_said_after_a_start_is_newer_than_all_that_was_said_before() {
        let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let copy = |from: &Path, to: &Path| {
            std::fs::copy(from.join("flags~demo.json"), to.join("flags~demo.json")).unwrap();
        };
        let first = open(folder.path()).publish(NAME, &json!({"on": true})).unwrap();
        copy(folder.path(), backup.path());
        let second = served(&open(folder.path()), NAME);
        assert!(second.0 > first && second.1 == r#"{"on":true}"#, "{second:?}");
        let last = open(folder.path()).publish(NAME, &json!({"on": false})).unwrap();
        // The disk is lost, and an old backup takes its place. That takes longer than the clock's
        // resolution.
        std::thread::sleep(std::time::Duration::from_millis(20));
        copy(backup.path(), folder.path());
        let restored = served(&open(folder.path()), NAME);
        assert!(restored.0 > last && restored.1 == r#"{"on":true}"#, "{restored:?}");
        // And without a backup.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let empty = tempfile::tempdir().unwrap();
        assert!(open(empty.path()).publish(NAME, &json!({})).unwrap() > restored.0);
    }

    #[test]
    fn a_clock_that_is_behind_takes_no_version_back() {
        let folder = tempfile::tempdir().unwrap();
        let ahead = wall_ms() * 2;
        let stored = Stored { name: NAME.to_owned(), version: ahead, payload: "{}".to_owned() };
        write(&folder.path().join("flags~demo.json"), &stored).unwrap();
        let publisher = open(folder.path());
        assert_eq!(served(&publisher, NAME), (ahead + 1, "{}".to_owned()));
        assert_eq!(publisher.publish(NAME, &json!([])).unwrap(), ahead + 2);
    }

    #[test]
    fn absence_is_signed_and_kept_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = open(folder.path());
        for name in [
            "events/other",
            "keys/demo",
            "flags/site",
            "pods/demo/1a2b.17/18-34.f",
            "snapshots/demo",
            "snapshots/api/events/demo/score",
            "snapshots/page/index.html",
        ] {
            assert_eq!(served(&publisher, name), (0, "null".to_owned()), "{name}");
            assert_eq!(publisher.payload(name), None);
        }
        let long = format!("snapshots/api/{}", "a".repeat(NAME_BYTES_MAX));
        for name in [
            "",
            "events",
            "events/",
            "events/a/b",
            "events/../x",
            "events/Demo",
            "pods/demo/1",
            "pods/demo/1/x/y",
            "snapshots/api/",
            "snapshots/api/../x",
            "snapshots/api/a b",
            "secrets/demo",
            &long,
        ] {
            assert_eq!(publisher.get(name), None, "{name}");
        }
        assert!(publisher.names().is_empty());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_withdrawn_is_absent_under_a_newer_version() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = open(folder.path());
        let name = "snapshots/api/events";
        publisher.withdraw(name).unwrap();
        assert_eq!(served(&publisher, name).0, 0);
        let there = publisher.publish(name, &json!({"a": 1})).unwrap();
        publisher.withdraw(name).unwrap();
        let gone = served(&publisher, name);
        assert!(gone.0 > there && gone.1 == "null", "{gone:?}");
        assert_eq!((publisher.payload(name), publisher.names().len()), (None, 0));
        assert_eq!(served(&open(folder.path()), name).1, "null");
        assert!(publisher.publish(name, &json!({"a": 1})).unwrap() > gone.0);
    }

    #[test]
    fn a_changed_file_is_named_and_a_half_written_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).publish("keys/demo", &json!({})).unwrap();
        std::fs::write(folder.path().join("keys~demo.json.new"), "{\"na").unwrap();
        assert!(DocumentPublisher::open(folder.path(), &keyring()).is_ok());
        std::fs::write(folder.path().join("keys~demo.json"), "{\"na").unwrap();
        let error = DocumentPublisher::open(folder.path(), &keyring()).err().unwrap().to_string();
        assert!(error.contains("keys~demo.json"));
    }
}
