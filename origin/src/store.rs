//! What is published of one event: the timeline, and the objects behind it.
//!
//! The timeline (`track.rs`) has every rendition's segments, parts and cursor in memory, and never
//! waits. The objects (`objects.rs`) hold the bytes, and a write-behind (`behind.rs`) brings them
//! there. There is no index: a segment says by its name and its end what is in it (`sealed.rs`), and
//! an unfinished one is an object of records (`records.rs`).
//!
//! Invariant: nothing that was published changes. As long as the disk keeps up, a part is written
//! before it is visible, and a segment lasts through a power cut before the next one begins. To
//! sync each part instead would cost some milliseconds for each of some forty in a second. While
//! the disk does not keep up, the event goes on from memory: what a kill takes then is a gap
//! afterwards.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::make_folder;
use crate::grid::{Grid, Kind};

mod behind;
mod found;
mod names;
mod objects;
pub mod records;
pub mod sealed;
mod track;

use behind::{Behind, Pending, Work};
pub use behind::{Disk, DiskLimits, DiskStatus};
pub use objects::{Files, Lasts, Objects, Outcome};
pub use track::{Found, Track};

/// Segments whose bytes stay in memory: well past what a low-latency player asks for.
const HOT_SEGMENTS: u64 = 12;

/// The first part that is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cursor {
    /// Its media sequence number.
    pub msn: u64,
    /// Its index in the segment.
    pub part: u64,
}

/// A part of a segment, to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Media sequence number of its segment.
    pub msn: u64,
    /// Index in the segment, from 0.
    pub index: u64,
    /// Whether a decoder can start at its first sample.
    pub independent: bool,
    /// The fragment; `None` for a gap.
    pub data: Option<Bytes>,
}

/// A published part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredPart {
    /// Bytes; 0 for a gap.
    pub length: u32,
    /// Whether a decoder can start here.
    pub independent: bool,
    /// Whether it has no media.
    pub gap: bool,
    pub(crate) data: Option<Bytes>,
}

impl StoredPart {
    fn gap() -> Self {
        Self { gap: true, ..Self::default() }
    }
}

/// A segment of which something is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// Its parts, in order, from 0. None of a segment from an earlier start that is too old for
    /// its parts to be listed.
    pub parts: Vec<StoredPart>,
    /// Whether it is an object of its own, and whole.
    pub(crate) stored: bool,
}

impl Segment {
    /// Whether any of it has no media.
    #[must_use]
    pub fn gap(&self) -> bool {
        self.parts.iter().any(|part| part.gap)
    }

    /// One that is known to be without media.
    fn missing() -> Self {
        Self { parts: vec![StoredPart::gap()], stored: false }
    }

    /// Its parts' bytes, if all are in memory.
    fn in_memory(&self) -> Option<Vec<Bytes>> {
        let parts: Option<Vec<Bytes>> = self.parts.iter().map(|part| part.data.clone()).collect();
        parts.filter(|parts| !parts.is_empty())
    }
}

/// The writer of an event's media; one exists.
#[derive(Debug)]
pub struct Store {
    tracks: Vec<Arc<Track>>,
    behind: Behind,
    /// The last segment of each track, until it lasts.
    sealing: Vec<Option<Pending>>,
    grid: Grid,
    dvr_segments: u64,
}

impl Store {
    /// Opens the event's folder with what it holds. Media older than `dvr_segments` leaves the disk
    /// as new media comes.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn open(
        folder: &Path,
        grid: Grid,
        renditions: &[(String, Kind)],
        dvr_segments: u64,
        limits: DiskLimits,
    ) -> io::Result<Self> {
        let media = folder.join("media");
        for (id, _) in renditions {
            let track = media.join(id);
            make_folder(&track)?;
        }
        let files: Arc<dyn Objects> = Arc::new(Files::new(media));
        Self::over(&files, grid, renditions, dvr_segments, limits)
    }

    /// The same over any objects.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn over(
        objects: &Arc<dyn Objects>,
        grid: Grid,
        renditions: &[(String, Kind)],
        dvr_segments: u64,
        limits: DiskLimits,
    ) -> io::Result<Self> {
        let left = read_apart(Arc::clone(objects), grid, renditions, dvr_segments)?;
        let mut tracks = Vec::new();
        let mut rest = Vec::new();
        for (rendition, left) in renditions.iter().zip(left) {
            let (objects, segments) = (Arc::clone(objects), left.segments);
            let track = Arc::new(Track::new(rendition.clone(), grid, objects, segments));
            tracks.push((track, left.written));
            rest.push((left.useless, left.unsealed));
        }
        let behind = Behind::start(objects, &tracks, limits)?;
        let sealing = tracks.iter().map(|_| None).collect();
        let tracks = tracks.into_iter().map(|(track, _)| track).collect();
        let mut store = Self { tracks, behind, sealing, grid, dvr_segments };
        for (track, (useless, unsealed)) in rest.into_iter().enumerate() {
            store.behind.hand_over(track, Work::Delete(useless));
            unsealed.into_iter().for_each(|msn| store.seal(track, msn));
        }
        Ok(store)
    }

    /// The tracks, in the order of the renditions.
    #[must_use]
    pub fn tracks(&self) -> &[Arc<Track>] {
        &self.tracks
    }

    /// The disk, as it is doing.
    #[must_use]
    pub fn disk(&self) -> Arc<Disk> {
        self.behind.disk()
    }

    /// Writes a part and then shows it; after [`DiskLimits::wait`] it is shown all the same.
    /// Segments before it that have nothing become gaps.
    pub fn publish(&mut self, track: usize, part: &Part) {
        let Some(target) = self.tracks.get(track).cloned() else {
            return;
        };
        if part.index == 0 {
            self.finish(track);
        }
        target.skip_to(part.msn);
        if let Some(data) = &part.data {
            let work = Work::Part(part.msn, part.index, part.independent, data.clone());
            if let Some(pending) = self.behind.hand_over(track, work) {
                self.behind.wait_for(&pending);
            }
        }
        target.show(part);
        if part.index + 1 == self.grid.parts(target.kind, part.msn) {
            self.seal(track, part.msn);
        }
        if part.index == 0 {
            self.forget_before(track, part.msn.saturating_sub(self.dvr_segments));
        }
    }

    /// Waits until the segment before lasts. It had the time of a part for that.
    fn finish(&mut self, track: usize) {
        if let Some(pending) = self.sealing.get_mut(track).and_then(Option::take) {
            self.behind.wait_for(&pending);
        }
    }

    /// Moves a track over whole segments without media.
    pub fn skip_to(&self, track: usize, msn: u64) {
        if let Some(track) = self.tracks.get(track) {
            track.skip_to(msn);
        }
    }

    fn forget_before(&self, track: usize, msn: u64) {
        let Some(target) = self.tracks.get(track) else { return };
        let gone = target.forget_before(msn);
        if gone.is_empty() {
            return;
        }
        // What was listed there is still a gap after a restart.
        if target.one(msn).1.is_some_and(|segment| segment.parts == [StoredPart::gap()]) {
            self.behind.hand_over(track, Work::Gap(msn));
        }
        let all_of = |msn| found::all_of(&target.id, msn);
        let names = gone.into_iter().flat_map(all_of).collect();
        self.behind.hand_over(track, Work::Delete(names));
    }

    /// Makes one object of a segment whose parts are all there.
    fn seal(&mut self, track: usize, msn: u64) {
        let Some(target) = self.tracks.get(track) else { return };
        let Some(parts) = target.one(msn).1.and_then(|segment| in_memory(&segment.parts)) else {
            return;
        };
        let pending = self.behind.hand_over(track, Work::Whole(msn, parts));
        if pending.is_none() {
            target.give_up(msn);
        }
        if let Some(slot) = self.sealing.get_mut(track) {
            *slot = pending;
        }
    }
}

/// Parts with their bytes, if all have them.
fn in_memory(parts: &[StoredPart]) -> Option<Vec<(bool, Bytes)>> {
    let with_bytes = |part: &StoredPart| Some((part.independent, part.data.clone()?));
    parts.iter().map(with_bytes).collect()
}

/// Reads what is there on a thread of its own: whoever opens a store may be in a runtime already.
fn read_apart(
    objects: Arc<dyn Objects>,
    grid: Grid,
    renditions: &[(String, Kind)],
    kept: u64,
) -> io::Result<Vec<found::Left>> {
    let renditions = renditions.to_vec();
    let read = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let mut left = Vec::new();
            for (id, kind) in &renditions {
                left.push(found::read(&*objects, id, *kind, &grid, kept).await?);
            }
            Ok(left)
        })
    };
    let thread = std::thread::Builder::new().name("store".to_owned()).spawn(read)?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the store's reader failed")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
