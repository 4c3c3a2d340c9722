//! The publisher: signed documents, by name, with versions that only grow.
//!
//! Owns the payloads and versions on disk, and the signed bytes in memory. Does not know what a
//! payload means. Invariant: a version is on disk before the document is served, and the same
//! version is never another payload.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sightscreen_core::document;
use sightscreen_core::keyring::{Key, Keyring, Purpose};

use crate::disk::write_whole;

/// Documents by name.
pub struct Publisher {
    folder: PathBuf,
    key: Key,
    /// Apart from `documents`, so that no request waits for the disk.
    writer: Mutex<()>,
    documents: RwLock<BTreeMap<String, Document>>,
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
    #[error(
        "{path} is not a stored document ({reason}): restore it, or remove it and expect doors to keep what they have until its version is passed"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Publisher {
    /// Reads what was published before, and signs it with the keyring's first document key.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub fn open(folder: &Path, keyring: &Keyring) -> Result<Self, PublishError> {
        let io = |source| PublishError::Io { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        let key = keyring.first(Purpose::Document).clone();
        let mut documents = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let stored = load(&path)?;
                documents.insert(stored.name.clone(), sign(stored, &key));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            key,
            writer: Mutex::new(()),
            documents: RwLock::new(documents),
        })
    }

    /// Publishes a payload. The same payload again changes nothing. Returns the version. Blocks
    /// until it is on disk.
    ///
    /// # Errors
    /// [`PublishError::Io`]; what was published before stays.
    pub fn publish(&self, name: &str, payload: &impl Serialize) -> Result<u64, PublishError> {
        let path = self.folder.join(format!("{}.json", name.replace('/', "~")));
        let io = |source| PublishError::Io { path: path.clone(), source };
        let payload = serde_json::to_string(payload).map_err(|e| io(e.into()))?;
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.payload(name);
        if let Some((version, _)) = known.as_ref().filter(|(_, known)| *known == payload) {
            return Ok(*version);
        }
        let version = known.map_or(0, |(version, _)| version) + 1;
        let stored = Stored { name: name.to_owned(), version, payload };
        let bytes = serde_json::to_vec(&stored).map_err(|e| io(e.into()))?;
        write_whole(&path, &bytes).map_err(io)?;
        let document = sign(stored, &self.key);
        self.documents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), document);
        Ok(version)
    }

    /// The signed document of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Bytes> {
        self.read().get(name).map(|document| document.body.clone())
    }

    /// Version and payload of the document of that name.
    #[must_use]
    pub fn payload(&self, name: &str) -> Option<(u64, String)> {
        self.read().get(name).map(|document| (document.version, document.payload.clone()))
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Document>> {
        self.documents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A document that is rendered anew each time from what cannot change; its version is always 1.
    ///
    /// # Errors
    /// When the payload is not JSON.
    pub fn immutable(&self, name: &str, payload: &impl Serialize) -> serde_json::Result<Bytes> {
        Ok(document::write(name, 1, &serde_json::to_vec(payload)?, &self.key).into())
    }
}

fn sign(stored: Stored, key: &Key) -> Document {
    let body = document::write(&stored.name, stored.version, stored.payload.as_bytes(), key).into();
    Document { version: stored.version, payload: stored.payload, body }
}

fn load(path: &Path) -> Result<Stored, PublishError> {
    let bytes =
        std::fs::read(path).map_err(|source| PublishError::Io { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| PublishError::Corrupt { path: path.to_owned(), reason: e.to_string() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn keyring() -> Keyring {
        let key = "00112233445566778899aabbccddeeff";
        let text = json!({"document": {"d1": key}, "pass": {"k1": key}, "url": {"u1": key}});
        Keyring::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn versions_grow_over_restarts_and_only_with_the_payload() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Publisher::open(folder.path(), &keyring()).unwrap();
        let name = "snapshots/api/events/demo";
        assert_eq!(open().publish(name, &json!({"a": 1})).unwrap(), 1);
        let publisher = open();
        assert_eq!(publisher.publish(name, &json!({"a": 1})).unwrap(), 1);
        assert_eq!(publisher.publish(name, &json!({"a": 2})).unwrap(), 2);
        let body = open().get(name).unwrap();
        let read = document::read(name, &body, &keyring()).unwrap();
        assert_eq!((read.version, read.payload), (2, br#"{"a":2}"#.as_slice()));
        assert!(
            document::read_json::<Value>("snapshots/api/events/other", &body, &keyring()).is_err()
        );
    }

    #[test]
    fn a_changed_file_is_named_and_a_half_written_one_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        Publisher::open(folder.path(), &keyring())
            .unwrap()
            .publish("keys/demo", &json!({}))
            .unwrap();
        std::fs::write(folder.path().join("keys~demo.json.new"), "{\"na").unwrap();
        assert!(Publisher::open(folder.path(), &keyring()).is_ok());
        std::fs::write(folder.path().join("keys~demo.json"), "{\"na").unwrap();
        let error = Publisher::open(folder.path(), &keyring()).err().unwrap().to_string();
        assert!(error.contains("keys~demo.json"));
    }
}
