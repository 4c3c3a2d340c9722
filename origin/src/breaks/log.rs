//! The ledger on disk: one JSON line for each entry, synced before anyone sees it.
//!
//! An entry that [`Log::append`] has accepted is read back after any kill. One that it did not
//! accept was never seen.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, LedgerEntry, RuleError};
use super::paper::Paper;
use crate::disk::sync_folder;

/// Largest log that is read: some thirty thousand breaks of a hundred cohorts, which is months of
/// one every five minutes.
const LOG_BYTES_MAX: u64 = 256 << 20;

/// For a write while the event is opened, when nothing is on the air that could wait.
const OPENING_WAIT: Duration = Duration::from_secs(30);

/// First line: what the file is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    /// Version of the format.
    ledger: u32,
    /// The event.
    event: String,
}

/// An open log, with all entries that it holds.
#[derive(Debug)]
pub struct Log {
    paper: Paper,
    path: PathBuf,
    /// Bytes up to the end of the last accepted line.
    length: u64,
    header: Header,
    entries: Vec<LedgerEntry>,
    /// A write failed, so nobody knows what the file holds; it is written anew before anything is
    /// added.
    broken: bool,
}

/// Why the log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk says no.
    #[error("{path}: {source}: check that the folder is writable and the disk is not full")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line other than a torn last one is not an entry.
    #[error(
        "{path} line {line}: {reason}: the ledger was changed from outside; restore it, or move it \
         away to start the event anew"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It is larger than what is read.
    #[error(
        "{path} has {bytes} bytes, at most {LOG_BYTES_MAX} are read: restore it if it is no \
         ledger, or move it away to start the event anew"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The entry breaks a rule of the ledger.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl Log {
    /// Opens or makes the log at `path`, cuts off a torn last line, and replays it.
    ///
    /// # Errors
    /// [`LogError::Io`], or [`LogError::Corrupt`] for any line that cannot be what was written.
    pub fn open(path: &Path, event: &str) -> Result<(Self, Ledger), LogError> {
        let io = |source| LogError::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let bytes = read_bounded(&mut file, path)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            tracing::warn!(
                path = %path.display(), bytes = bytes.len() - whole,
                "dropped the ledger's last line, which was cut off and never in force"
            );
        }
        let (entries, ledger) = replay(&bytes[..whole], path, event)?;
        let paper = Paper::new(file, path, OPENING_WAIT).map_err(io)?;
        let mut log = Self {
            paper,
            path: path.to_owned(),
            length: whole as u64,
            header: Header { ledger: 1, event: event.to_owned() },
            entries,
            broken: false,
        };
        log.cut_back().map_err(io)?;
        if whole == 0 {
            let header = line(&log.header, path)?;
            log.write(&[header]).map_err(io)?;
            sync_folder(path).map_err(io)?;
        }
        Ok((log, ledger))
    }

    /// From now on a write is waited for so long.
    pub fn wait_at_most(&mut self, wait: Duration) {
        self.paper.wait = wait;
    }

    /// Adds entries, all or none, and returns when they are on disk. `ledger` is moved on with
    /// them.
    ///
    /// # Errors
    /// [`LogError::Rule`] with nothing written; [`LogError::Io`] with nothing in force.
    pub fn append(
        &mut self,
        ledger: &mut Ledger,
        entries: Vec<LedgerEntry>,
    ) -> Result<(), LogError> {
        let mut next = ledger.clone();
        entries.iter().try_for_each(|entry| next.apply(entry))?;
        let lines =
            entries.iter().map(|entry| line(entry, &self.path)).collect::<Result<Vec<_>, _>>()?;
        let written = if self.broken { self.rewrite() } else { Ok(()) };
        if let Err(source) = written.and_then(|()| self.write(&lines)) {
            self.broken = true;
            // Should this process end before the file is written anew, the refused entry is better
            // not there.
            let _ = self.cut_back();
            return Err(LogError::Io { path: self.path.clone(), source });
        }
        self.entries.extend(entries);
        *ledger = next;
        Ok(())
    }

    /// Stands for a write that failed.
    #[cfg(test)]
    pub(super) fn distrust(&mut self) {
        self.broken = true;
    }

    /// All entries; entry `n` made revision `n + 1`.
    #[must_use]
    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    fn write(&mut self, lines: &[Vec<u8>]) -> std::io::Result<()> {
        let bytes = lines.concat();
        let length = self.length + bytes.len() as u64;
        self.paper.put(self.length, bytes)?;
        self.length = length;
        Ok(())
    }

    /// Writes all accepted entries to a new file in the old one's place. After a failed sync the
    /// old one cannot be trusted, because a later sync may succeed without the bytes that were
    /// lost.
    fn rewrite(&mut self) -> std::io::Result<()> {
        let mut bytes = serde_json::to_vec(&self.header)?;
        for entry in &self.entries {
            bytes.push(b'\n');
            serde_json::to_writer(&mut bytes, entry)?;
        }
        bytes.push(b'\n');
        let length = bytes.len() as u64;
        self.paper.put_anew(bytes)?;
        (self.length, self.broken) = (length, false);
        Ok(())
    }

    fn cut_back(&mut self) -> std::io::Result<()> {
        self.paper.put(self.length, Vec::new())
    }
}

fn read_bounded(file: &mut File, path: &Path) -> Result<Vec<u8>, LogError> {
    let io = |source| LogError::Io { path: path.to_owned(), source };
    let length = file.metadata().map_err(io)?.len();
    if length > LOG_BYTES_MAX {
        return Err(LogError::TooLarge { path: path.to_owned(), bytes: length });
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn replay(bytes: &[u8], path: &Path, event: &str) -> Result<(Vec<LedgerEntry>, Ledger), LogError> {
    let corrupt =
        |line: usize, reason: String| LogError::Corrupt { path: path.to_owned(), line, reason };
    let mut lines = bytes.split_inclusive(|&b| b == b'\n').enumerate();
    let (mut entries, mut ledger) = (Vec::new(), Ledger::default());
    if let Some((_, first)) = lines.next() {
        let header: Header = serde_json::from_slice(first)
            .map_err(|e| corrupt(1, format!("not a ledger header ({e})")))?;
        if header.ledger != 1 || header.event != event {
            return Err(corrupt(
                1,
                format!(
                    "a ledger of format {} for event {:?}, expected format 1 for {event:?}",
                    header.ledger, header.event
                ),
            ));
        }
    }
    for (index, text) in lines {
        let entry: LedgerEntry = serde_json::from_slice(text)
            .map_err(|e| corrupt(index + 1, format!("not an entry ({e})")))?;
        ledger.apply(&entry).map_err(|e| corrupt(index + 1, e.to_string()))?;
        entries.push(entry);
    }
    Ok((entries, ledger))
}

fn line(value: &impl Serialize, path: &Path) -> Result<Vec<u8>, LogError> {
    let io = |e: serde_json::Error| LogError::Io { path: path.to_owned(), source: e.into() };
    let mut line = serde_json::to_vec(value).map_err(io)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::breaks::ledger::{Announced, break_id};

    fn announced(number: u32, start: u64) -> LedgerEntry {
        let id = break_id(number);
        LedgerEntry::Announced(Announced {
            id,
            number,
            start,
            length: 5,
            start_ms: start * 2000,
            length_ms: 10_000,
        })
    }

    #[test]
    fn a_torn_last_line_is_dropped_at_every_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut log, mut ledger) = Log::open(&path, "demo").unwrap();
        log.append(&mut ledger, vec![announced(1, 10)]).unwrap();
        let before = std::fs::read(&path).unwrap();
        log.append(&mut ledger, vec![announced(2, 20)]).unwrap();
        let after = std::fs::read(&path).unwrap();
        drop(log);
        for cut in before.len()..after.len() {
            std::fs::write(&path, &after[..cut]).unwrap();
            let (mut log, mut ledger) = Log::open(&path, "demo").unwrap();
            assert_eq!(ledger.revision(), 1, "cut at {cut}");
            log.append(&mut ledger, vec![announced(2, 30)]).unwrap();
            drop(log);
            assert_eq!(Log::open(&path, "demo").unwrap().1.revision(), 2);
        }
    }

    #[test]
    fn any_other_damage_is_an_error_that_names_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut log, mut ledger) = Log::open(&path, "demo").unwrap();
        log.append(&mut ledger, vec![announced(1, 10), announced(2, 20)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let fault = |text: String| {
            std::fs::write(&path, text).unwrap();
            Log::open(&path, "demo").unwrap_err().to_string()
        };
        assert!(fault(text.replace("\"start\":10", "\"start\":x")).contains("line 2"));
        assert!(fault(text.replace("\"start\":20", "\"start\":15")).contains("line 3"));
        assert!(fault(text.replace("demo", "other")).contains("line 1"));
        assert!(fault(text.replace("\"length\":5", "\"length\":0")).contains("line 2"));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_read_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        // Without a block on disk.
        let file = File::create(&path).unwrap();
        file.set_len(LOG_BYTES_MAX + 1).unwrap();
        let error = Log::open(&path, "demo").unwrap_err();
        assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
        assert_eq!(file.metadata().unwrap().len(), LOG_BYTES_MAX + 1);
    }

    #[test]
    fn an_entry_against_the_rules_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut log, mut ledger) = Log::open(&path, "demo").unwrap();
        log.append(&mut ledger, vec![announced(1, 10)]).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(log.append(&mut ledger, vec![announced(2, 15)]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!((ledger.revision(), log.entries().len()), (1, 1));
    }

    #[test]
    fn after_a_failed_write_the_log_is_written_anew_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut log, mut ledger) = Log::open(&path, "demo").unwrap();
        log.append(&mut ledger, vec![announced(1, 10)]).unwrap();
        // A handle that cannot write stands for a disk that fails.
        log.paper = Paper::new(File::open(&path).unwrap(), &path, OPENING_WAIT).unwrap();
        assert!(log.append(&mut ledger, vec![announced(2, 20)]).is_err());
        assert_eq!((ledger.revision(), log.entries().len()), (1, 1));
        log.append(&mut ledger, vec![announced(2, 30)]).unwrap();
        log.append(&mut ledger, vec![announced(3, 40)]).unwrap();
        let (_, read) = Log::open(&path, "demo").unwrap();
        assert_eq!((read.revision(), read.records()[1].plan.start), (3, 30));
    }

    #[test]
    fn a_write_that_hangs_is_not_in_force_whenever_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut log, mut ledger) = Log::open(&path, "demo").unwrap();
        log.append(&mut ledger, vec![announced(1, 10)]).unwrap();
        log.wait_at_most(Duration::from_millis(20));
        let disk = std::sync::Arc::clone(&log.paper.disk);
        let hangs = disk.lock().unwrap();
        for _ in 0..2 {
            let error = log.append(&mut ledger, vec![announced(2, 20)]).unwrap_err();
            assert!(error.to_string().contains("the disk does not answer"), "{error}");
        }
        assert_eq!((ledger.revision(), log.entries().len()), (1, 1));
        drop(hangs);
        log.wait_at_most(OPENING_WAIT);
        // What hung is still to end.
        while log.append(&mut ledger, vec![announced(2, 30)]).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (_, read) = Log::open(&path, "demo").unwrap();
        assert_eq!((read.revision(), read.records()[1].plan.start), (2, 30));
    }
}
