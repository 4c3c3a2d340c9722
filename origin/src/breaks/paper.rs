//! The ledger's file, on a thread of its own: a disk that hangs is not waited for longer than is
//! worth it.
//!
//! A write that was given up may still end. What it wrote is cut off again then, because nobody was
//! told of it.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::Duration;

use crate::disk::write_whole;

/// A file to which lines are added.
#[derive(Debug)]
pub(super) struct Paper {
    jobs: Sender<Job>,
    /// The end of a write that was given up.
    hanging: Option<Receiver<Result<()>>>,
    /// How long a write is waited for.
    pub(super) wait: Duration,
    /// While a test holds it, the disk hangs.
    #[cfg(test)]
    pub(super) disk: Arc<std::sync::Mutex<()>>,
}

struct Job {
    work: Work,
    done: SyncSender<Result<()>>,
    /// Set by whoever comes first: the thread with its outcome, or the one who gives up.
    settled: Arc<AtomicBool>,
}

/// What is done to the file, and then on disk.
enum Work {
    /// Bytes in the place of all that stands from there on.
    Put(u64, Vec<u8>),
    /// Another file in its place.
    Anew(Vec<u8>),
}

impl Paper {
    /// Of an open file at `path`.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(super) fn new(file: File, path: &Path, wait: Duration) -> Result<Self> {
        let (jobs, todo) = channel();
        let mut sheet = Sheet {
            file,
            path: path.to_owned(),
            #[cfg(test)]
            disk: Arc::default(),
        };
        #[cfg(test)]
        let disk = Arc::clone(&sheet.disk);
        let work = move || todo.into_iter().for_each(|job| sheet.carry_out(job));
        std::thread::Builder::new().name("ledger".to_owned()).spawn(work)?;
        Ok(Self {
            jobs,
            hanging: None,
            wait,
            #[cfg(test)]
            disk,
        })
    }

    /// Puts bytes in the place of all that stands from `from` on.
    ///
    /// # Errors
    /// What the system says, or that it takes too long; nobody knows then what the file holds.
    pub(super) fn put(&mut self, from: u64, bytes: Vec<u8>) -> Result<()> {
        self.ask(Work::Put(from, bytes))
    }

    /// Puts a new file with these bytes in its place.
    ///
    /// # Errors
    /// As [`Paper::put`].
    pub(super) fn put_anew(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.ask(Work::Anew(bytes))
    }

    fn ask(&mut self, work: Work) -> Result<()> {
        if let Some(hanging) = &self.hanging {
            if matches!(hanging.try_recv(), Err(TryRecvError::Empty)) {
                return Err(late());
            }
            self.hanging = None;
        }
        let (done, is_done) = sync_channel(1);
        let settled = Arc::new(AtomicBool::new(false));
        let job = Job { work, done, settled: Arc::clone(&settled) };
        let gone = |_| Error::from(ErrorKind::BrokenPipe);
        self.jobs.send(job).map_err(|_| gone(()))?;
        match is_done.recv_timeout(self.wait) {
            Ok(outcome) => outcome,
            // It ended in that moment.
            Err(_) if settled.swap(true, Ordering::AcqRel) => {
                is_done.recv().map_err(|_| gone(()))?
            }
            Err(_) => {
                self.hanging = Some(is_done);
                Err(late())
            }
        }
    }
}

fn late() -> Error {
    Error::new(ErrorKind::TimedOut, "the disk does not answer")
}

/// The file in its thread's hands.
struct Sheet {
    file: File,
    path: PathBuf,
    #[cfg(test)]
    disk: Arc<std::sync::Mutex<()>>,
}

impl Sheet {
    fn carry_out(&mut self, job: Job) {
        #[cfg(test)]
        drop(self.disk.lock());
        let Job { work, done, settled } = job;
        let (from, outcome) = match work {
            Work::Put(from, bytes) => (Some(from), self.put(from, &bytes)),
            Work::Anew(bytes) => (None, self.put_anew(&bytes)),
        };
        let was_given_up = settled.swap(true, Ordering::AcqRel);
        if let (true, Some(from)) = (was_given_up, from) {
            // Where this fails too, the file is written anew before anything is added.
            let _ = self.put(from, &[]);
        }
        let _ = done.send(outcome);
    }

    fn put(&mut self, from: u64, bytes: &[u8]) -> Result<()> {
        self.file.set_len(from)?;
        self.file.seek(SeekFrom::Start(from))?;
        self.file.write_all(bytes)?;
        self.file.sync_data()
    }

    fn put_anew(&mut self, bytes: &[u8]) -> Result<()> {
        self.file = write_whole(&self.path, bytes)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_a_write_that_was_given_up_leaves_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let file = File::create(&path).unwrap();
        let mut paper = Paper::new(file, &path, Duration::from_secs(30)).unwrap();
        paper.put(0, b"kept".to_vec()).unwrap();
        let disk = Arc::clone(&paper.disk);
        let hangs = disk.lock().unwrap();
        paper.wait = Duration::from_millis(10);
        assert_eq!(paper.put(4, b" and more".to_vec()).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(paper.put_anew(b"new".to_vec()).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(hangs);
        // It succeeds after all.
        paper.hanging.take().unwrap().recv().unwrap().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"kept");
        paper.wait = Duration::from_secs(30);
        paper.put(2, b"pt".to_vec()).unwrap();
        paper.put_anew(b"new".to_vec()).unwrap();
        paper.put(3, b"er".to_vec()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
    }
}
