//! The write-behind: what brings objects to where they are kept, one after the other for each
//! track, however long that takes.
//!
//! Whoever publishes waits for a write, but not for long: a disk that fails or hangs does not hold
//! up the live edge. Viewers are served from memory then, and what was not written is written when
//! the disk is back.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::objects::{Lasts, Objects};
use super::{Track, names, records, sealed};
use crate::told::Told;

/// Between two attempts at what failed.
const RETRY: Duration = Duration::from_millis(200);

/// Longest wait for what is not written when the store is dropped.
const FAREWELL: Duration = Duration::from_secs(2);

/// How a store treats its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskLimits {
    /// Longest that a part waits to be written before it is shown.
    pub wait: Duration,
    /// Bytes that may wait for a disk that fails.
    pub backlog_bytes: usize,
}

impl Default for DiskLimits {
    fn default() -> Self {
        Self { wait: Duration::from_millis(100), backlog_bytes: 256 << 20 }
    }
}

/// What an operator is told of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskStatus {
    /// Whether viewers are served from memory alone, because the disk is late or fails.
    pub late: bool,
    /// Bytes that are not written yet.
    pub backlog_bytes: usize,
    /// Segments that were never written, because too much waited.
    pub lost_segments: u64,
}

/// The disk, as it is doing.
#[derive(Debug, Default)]
pub struct Disk {
    /// Whose media it keeps, for the log.
    event: OnceLock<String>,
    late: AtomicBool,
    bytes: AtomicUsize,
    lost: AtomicU64,
}

/// What is to be done for a track.
#[derive(Debug)]
pub(super) enum Work {
    /// A part of a segment that is not whole.
    Part(u64, u64, bool, Bytes),
    /// A segment, in place of the object of its parts, which is removed after it is done.
    Whole(u64, Vec<(bool, Bytes)>),
    /// A segment is known to be a gap.
    Gap(u64),
    /// Objects are no use any more.
    Delete(Vec<String>),
}

struct Job {
    work: Work,
    done: SyncSender<()>,
}

/// Work that was handed over.
#[derive(Debug)]
pub(super) struct Pending(Receiver<()>);

/// The writers of a store, on a thread of their own.
#[derive(Debug)]
pub(super) struct Behind {
    tracks: Vec<mpsc::UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
    disk: Arc<Disk>,
    limits: DiskLimits,
}

impl Disk {
    /// Says once whose media it keeps, for the log.
    pub fn belongs_to(&self, event: &str) {
        let _ = self.event.set(event.to_owned());
    }

    /// What an operator is told of it.
    #[must_use]
    pub fn status(&self) -> DiskStatus {
        DiskStatus {
            late: self.late.load(Ordering::Relaxed),
            backlog_bytes: self.bytes.load(Ordering::Relaxed),
            lost_segments: self.lost.load(Ordering::Relaxed),
        }
    }

    fn is_late(&self, cause: &str) {
        if !self.late.swap(true, Ordering::Relaxed) {
            tracing::error!(
                event = self.event.get(),
                cause,
                "the disk is late: the event goes on from memory (is it full, or failing?)"
            );
        }
    }

    fn written(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if before == bytes && self.late.swap(false, Ordering::Relaxed) {
            let event = self.event.get();
            tracing::info!(event, "the disk is back: all that is kept in memory is written");
        }
    }
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Self::Part(.., data) => data.len(),
            Self::Whole(_, parts) => parts.iter().map(|(_, data)| data.len()).sum(),
            Self::Gap(_) | Self::Delete(_) => 0,
        }
    }

    /// The object that it writes.
    fn name(&self, track: &str) -> Option<String> {
        match self {
            Self::Part(msn, ..) => Some(names::parts(track, *msn)),
            Self::Whole(msn, _) => Some(names::whole(track, *msn)),
            Self::Gap(msn) => Some(names::gap(track, *msn)),
            Self::Delete(_) => None,
        }
    }
}

impl Behind {
    /// Writers for these tracks. Each goes on where it stopped in one segment.
    ///
    /// # Errors
    /// When there is no thread for them.
    pub(super) fn start(
        objects: &Arc<dyn Objects>,
        tracks: &[(Arc<Track>, Written)],
        limits: DiskLimits,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let disk = Arc::<Disk>::default();
        let (mut senders, mut writers) = (Vec::new(), Vec::new());
        for (track, written) in tracks {
            let (sender, jobs) = mpsc::unbounded_channel();
            senders.push(sender);
            let (objects, track, disk) =
                (Arc::clone(objects), Arc::clone(track), Arc::clone(&disk));
            writers.push(Writer { objects, track, disk, written: *written }.work(jobs));
        }
        let write = move || {
            runtime
                .block_on(async { writers.into_iter().collect::<JoinSet<_>>().join_all().await });
            // A write that hangs must not hold up the end of the process.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(write)?;
        Ok(Self { tracks: senders, thread: Some(thread), disk, limits })
    }

    /// The disk, as it is doing.
    pub(super) fn disk(&self) -> Arc<Disk> {
        Arc::clone(&self.disk)
    }

    /// Hands work over. Returns what becomes of it; `None` when there was no room for it.
    pub(super) fn hand_over(&self, track: usize, work: Work) -> Option<Pending> {
        let (done, is_done) = sync_channel(1);
        self.send(track, work, done).then_some(Pending(is_done))
    }

    /// Waits for work to be done, unless the disk is late.
    pub(super) fn wait_for(&self, pending: &Pending) {
        let late = self.disk.late.load(Ordering::Relaxed);
        if !late && pending.0.recv_timeout(self.limits.wait).is_err() {
            self.disk.is_late("a write takes too long");
        }
    }

    fn send(&self, track: usize, work: Work, done: SyncSender<()>) -> bool {
        let bytes = work.bytes();
        let waiting = self.disk.bytes.fetch_add(bytes, Ordering::Relaxed);
        if bytes > 0 && waiting.saturating_add(bytes) > self.limits.backlog_bytes {
            self.disk.bytes.fetch_sub(bytes, Ordering::Relaxed);
            if matches!(work, Work::Whole(..)) {
                self.disk.lost.fetch_add(1, Ordering::Relaxed);
            }
            return false;
        }
        self.tracks.get(track).is_some_and(|track| track.send(Job { work, done }).is_ok())
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.tracks.clear();
        let begun = Instant::now();
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            if begun.elapsed() > FAREWELL {
                let bytes = self.disk.status().backlog_bytes;
                tracing::error!(
                    event = self.disk.event.get(),
                    bytes,
                    "the disk does not take what is not written yet: it is lost"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// How far the object of a segment's parts is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) msn: u64,
    pub(super) bytes: u64,
}

/// Writes for one track.
struct Writer {
    objects: Arc<dyn Objects>,
    track: Arc<Track>,
    disk: Arc<Disk>,
    written: Written,
}

impl Writer {
    async fn work(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let (mut told, mut waiting) = (Told::default(), VecDeque::new());
        loop {
            let next = match waiting.pop_front() {
                Some(job) => Some(job),
                None => jobs.recv().await,
            };
            let Some(Job { work, done }) = next else { return };
            while let Err(error) = self.attempt(&work).await {
                if told.due() {
                    let (event, rendition) = (self.disk.event.get(), &self.track.id);
                    tracing::error!(
                        event, rendition, %error, "an object cannot be written: trying again"
                    );
                }
                if work.bytes() > 0 {
                    self.disk.is_late("a write failed");
                }
                waiting.extend(std::iter::from_fn(|| jobs.try_recv().ok()));
                self.make_room(&work, &mut waiting).await;
                tokio::time::sleep(RETRY).await;
            }
            if let Work::Whole(msn, _) = &work {
                self.track.stored(*msn);
            }
            self.disk.written(work.bytes());
            // Who waited may have given up.
            let _ = done.send(());
            if let Work::Whole(msn, _) = &work {
                self.delete(&names::parts(&self.track.id, *msn)).await;
            }
        }
    }

    /// Deletes what may be deleted before the rest is written: it may be what fills the disk.
    async fn make_room(&mut self, now: &Work, waiting: &mut VecDeque<Job>) {
        let is_delete = |work: &Work| matches!(work, Work::Delete(_));
        if !waiting.iter().any(|job| is_delete(&job.work)) {
            return;
        }
        let works = waiting.iter().map(|job| &job.work).chain([now]);
        let written: HashSet<String> = works.filter_map(|work| work.name(&self.track.id)).collect();
        for job in std::mem::take(waiting) {
            match &job.work {
                Work::Delete(names) if !names.iter().any(|name| written.contains(name)) => {
                    // Each that fails is told, and the rest is tried.
                    let _ = self.attempt(&job.work).await;
                }
                _ => waiting.push_back(job),
            }
        }
    }

    async fn attempt(&mut self, work: &Work) -> io::Result<()> {
        let (id, objects) = (&self.track.id, &self.objects);
        match work {
            Work::Part(msn, index, independent, data) => {
                let at = if self.written.msn == *msn { self.written.bytes } else { 0 };
                let record = records::record(*index, *independent, data);
                let bytes = objects.append(&names::parts(id, *msn), at, record).await?;
                self.written = Written { msn: *msn, bytes };
                Ok(())
            }
            Work::Whole(msn, parts) => {
                let object = sealed::seal(parts);
                objects.put(&names::whole(id, *msn), object, Lasts::Now).await
            }
            Work::Gap(msn) => objects.put(&names::gap(id, *msn), Bytes::new(), Lasts::Soon).await,
            Work::Delete(names) => {
                for name in names {
                    self.delete(name).await;
                }
                Ok(())
            }
        }
    }

    /// What cannot be deleted is only of no use, and is looked for at the next start.
    async fn delete(&self, name: &str) {
        if let Err(error) = self.objects.delete(name).await {
            tracing::warn!(name, %error, "an old object cannot be deleted");
        }
    }
}
