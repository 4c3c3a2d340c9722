//! The node's own copies of signed documents, as files, and the keyring.
//!
//! A copy is the newest document that the origin sent and that a key of the keyring signed. The
//! component checks the signature again, so a file that someone changed is found out there. A file
//! is whole or absent: it is written beside the old one, then renamed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use http::{HeaderMap, StatusCode};

use crate::cache::Entry;
use crate::stored::Stored;
use sightscreen_core::route::decode;
use sightscreen_core::{document, keyring};
use sightscreen_door::store_life;

/// Longer than any write takes: a file that is still new after this was left over.
const WRITING: Duration = Duration::from_secs(60);
const LONGEST_NAME: usize = 200;
/// Shortest time between two looks at the keyring's file.
const KEYRING_LOOK: Duration = Duration::from_secs(1);

/// Copies of documents in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    folder: PathBuf,
    writer: Arc<Mutex<()>>,
}

impl Documents {
    /// Opens the folder, making it where it is absent, and sweeps old copies of pods.
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let documents = Self { folder, writer: Arc::default() };
        documents.sweep(SystemTime::now())?;
        Ok(documents)
    }

    /// Removes what a write left over, and copies of pods that are of no use any more. Blocks.
    pub(crate) fn sweep(&self, now: SystemTime) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let name = file.file_name();
            let name = name.to_string_lossy();
            let kept = match decode(&name) {
                _ if is_left_over(&name) => Some(WRITING),
                Some(name) => store_life(&name),
                None => None,
            };
            let Some(kept) = kept else { continue };
            let written = file.metadata().and_then(|data| data.modified());
            let age = written.ok().and_then(|at| now.duration_since(at).ok());
            if age.is_some_and(|age| age > kept) {
                match fs::remove_file(file.path()) {
                    // Another process may sweep the same folder.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Copies that there are. Blocks.
    pub(crate) fn count(&self) -> usize {
        let files = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        files.filter(|file| !is_left_over(&file.file_name().to_string_lossy())).count()
    }

    /// Removes the copies of all documents of an event, and says how many those were. Blocks.
    pub(crate) fn remove(&self, event: &str) -> io::Result<usize> {
        let mut removed = 0;
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let name = file.file_name();
            let name = name.to_str().and_then(decode);
            if name.is_some_and(|name| document::event_of(&name) == Some(event)) {
                fs::remove_file(file.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The copy, if there is one. Blocks.
    pub(crate) fn load(&self, name: &str) -> Option<Stored> {
        let body = fs::read(self.path(name)?).ok()?;
        Some(Stored { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() })
    }

    /// Replaces the copy, if there is none or `is_newer` says that this one is newer than it.
    /// Blocks.
    pub(crate) fn save(
        &self,
        name: &str,
        body: &[u8],
        is_newer: impl FnOnce(Stored) -> bool,
    ) -> io::Result<()> {
        let Some(path) = self.path(name) else {
            return Ok(());
        };
        // Documents change seldom. So one writer at a time is enough, between look and rename.
        let _writes = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.load(name).is_some_and(|old| !is_newer(old)) {
            return Ok(());
        }
        // The random part keeps apart what another process writes into the same folder.
        let new = path.with_extension(format!("{:016x}.new", fastrand::u64(..)));
        let written = write_synced(&new, body).and_then(|()| fs::rename(&new, &path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// `None` for a name that no document of this project has: too long, or empty.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let mut file = String::with_capacity(name.len() + 8);
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                    file.push(char::from(byte));
                }
                b'.' if !file.is_empty() => file.push('.'),
                other => write!(file, "%{other:02X}").ok()?,
            }
        }
        (!file.is_empty() && file.len() <= LONGEST_NAME).then(|| self.folder.join(file))
    }
}

/// Whether a write left this beside a copy. An event's name may end in `.new` too.
fn is_left_over(file: &str) -> bool {
    let random = file.strip_suffix(".new").and_then(|name| name.rsplit_once('.'));
    random.is_some_and(|(_, hex)| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_data()
}

/// The keyring's file, read again when its last reading is old, so that keys rotate without a
/// restart.
pub(crate) struct KeyringFile {
    path: PathBuf,
    last: Mutex<Last>,
}

/// What the last reading gave: the file's bytes for the component, and the same parsed.
struct Last {
    at: Instant,
    entry: Arc<Entry>,
    parsed: Arc<keyring::Keyring>,
}

impl KeyringFile {
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let last = Mutex::new(read_keyring(&path)?);
        Ok(Self { path, last })
    }

    /// The keyring, read at most `fresh_ms` ago or at least tried to.
    pub(crate) fn get(&self, fresh_ms: u32) -> Arc<Entry> {
        let fresh = Duration::from_millis(fresh_ms.into()).max(KEYRING_LOOK);
        Arc::clone(&self.within(fresh).entry)
    }

    /// The newest keyring, parsed when it was read.
    pub(crate) fn parsed(&self) -> Arc<keyring::Keyring> {
        Arc::clone(&self.within(KEYRING_LOOK).parsed)
    }

    fn within(&self, fresh: Duration) -> MutexGuard<'_, Last> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.elapsed() >= fresh {
            last.at = Instant::now();
            match read_keyring(&self.path) {
                Ok(keyring) => *last = keyring,
                Err(error) => {
                    tracing::error!(
                        path = %self.path.display(), %error, "keyring not read; the last one stays"
                    );
                }
            }
        }
        last
    }
}

/// A keyring that cannot be read leaves the one before it in force.
fn read_keyring(path: &Path) -> io::Result<Last> {
    let body = fs::read(path)?;
    let parsed = Arc::new(keyring::Keyring::parse(&body).map_err(io::Error::other)?);
    let body = body.into();
    let stored = Stored { status: StatusCode::OK, headers: HeaderMap::new(), body };
    Ok(Last { at: Instant::now(), entry: Arc::new(Entry::unkept(stored)), parsed })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_copy_is_replaced_whole_and_names_stay_in_the_folder() {
        let folder = crate::testing::folder("documents");
        let documents = Documents::open(folder.clone()).unwrap();
        for name in ["events/demo", "../../etc/passwd", "pods/demo/17/18-34.f", ".hidden"] {
            documents.save(name, b"one", |_| true).unwrap();
            documents.save(name, b"two", |old| old.body == "one").unwrap();
            documents.save(name, b"zero", |_| false).unwrap();
            assert_eq!(documents.load(name).unwrap().body, "two");
        }
        let files = fs::read_dir(&folder).unwrap().count();
        assert_eq!(
            files, 4,
            "each name is one file directly in the folder, and nothing is left over"
        );
        assert!(documents.load("").is_none() && documents.load(&"a".repeat(300)).is_none());
    }

    #[test]
    fn what_is_removed_is_of_one_event() {
        let documents = Documents::open(crate::testing::folder("removed")).unwrap();
        let of_it = ["events/demo", "pods/demo/17/18-34.f", "snapshots/api/events/demo/score"];
        let others = ["events/demo2", "flags/site", "snapshots/page/demo"];
        for name in of_it.iter().chain(&others) {
            documents.save(name, b"one", |_| true).unwrap();
        }
        assert_eq!(documents.remove("demo").unwrap(), of_it.len());
        assert!(of_it.iter().all(|name| documents.load(name).is_none()));
        assert!(others.iter().all(|name| documents.load(name).is_some()));
    }

    #[test]
    fn a_changed_keyring_is_in_force_and_one_that_is_none_is_not() {
        let keyring = |key: &str| {
            let hex = key.repeat(16);
            format!(
                r#"{{"document":{{"d1":"{hex}"}},"pass":{{"k1":"{hex}"}},"url":{{"u1":"{hex}"}}}}"#
            )
        };
        let path = crate::testing::folder("keyring").join("keyring.json");
        let (one, other) = (keyring("01"), keyring("02"));
        fs::write(&path, &one).unwrap();
        let ring = KeyringFile::open(path.clone()).unwrap();
        assert!(Arc::ptr_eq(&ring.parsed(), &ring.parsed()));
        fs::write(&path, &other).unwrap();
        assert_eq!(ring.within(Duration::MAX).entry.stored.body, one);
        assert_eq!(ring.within(Duration::ZERO).entry.stored.body, other);
        for broken in ["", "{}", "{\"pass\":1}"] {
            fs::write(&path, broken).unwrap();
            assert_eq!(ring.within(Duration::ZERO).entry.stored.body, other, "{broken}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(ring.within(Duration::ZERO).entry.stored.body, other);
        assert!(KeyringFile::open(path).is_err());
    }
}
