//! What is published of one event, in memory and on disk.
//!
//! Owns the segment files, their index, and the position of every track. Invariant: an object and
//! its index line are on disk before it is visible, and neither changes afterwards; so a killed
//! origin comes back with the same objects, byte for byte.
//!
//! A segment file is its parts one after the other. The index is a text file that only grows (until
//! it is compacted), a line for each part: `rendition msn part offset length flag`, the flag `i`
//! (independent), `d` (dependent) or `g` (gap).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::watch;

use crate::grid::{Grid, Kind};

mod index;

use index::{Index, read_index, write_index};

/// Segments whose bytes stay in memory: well past what a low-latency player asks for.
const HOT_SEGMENTS: u64 = 12;

/// Index lines after which the index is written anew without what has left the disk.
const COMPACT_AFTER: usize = 100_000;

/// Index lines after a failed compaction until the next.
const COMPACT_RETRY: usize = 10_000;

/// The first part that is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
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
    /// Where it starts in its segment's file.
    pub offset: u64,
    /// Bytes; 0 for a gap.
    pub length: u32,
    /// Whether a decoder can start here.
    pub independent: bool,
    /// Whether it has no media.
    pub gap: bool,
    pub(crate) data: Option<Bytes>,
}

/// A segment of which something is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// Its parts, in order, from 0.
    pub parts: Vec<StoredPart>,
}

impl Segment {
    /// Whether any of it has no media.
    #[must_use]
    pub fn gap(&self) -> bool {
        self.parts.iter().any(|part| part.gap)
    }

    /// One that is known to be without media.
    fn missing() -> Self {
        let gap = StoredPart { gap: true, ..StoredPart::default() };
        Self { parts: vec![gap] }
    }

    fn end(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.offset + u64::from(part.length))
    }
}

/// Takes what lies before `msn` out, and returns which. After an outage nothing may be left near
/// `msn`: what was listed is still a gap then, and not before the event's first segment.
fn forget_before(segments: &mut BTreeMap<u64, Arc<Segment>>, msn: u64) -> Vec<u64> {
    let kept = segments.split_off(&msn);
    let gone = std::mem::replace(segments, kept);
    if !gone.is_empty() {
        segments.entry(msn).or_insert_with(|| Arc::new(Segment::missing()));
    }
    gone.into_keys().collect()
}

/// One rendition's published media.
#[derive(Debug)]
pub struct Track {
    /// The rendition's identifier.
    pub id: String,
    /// Picture or sound.
    pub kind: Kind,
    grid: Grid,
    folder: PathBuf,
    segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    cursor: watch::Sender<Cursor>,
}

/// An object that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Its bytes.
    Bytes(Bytes),
    /// Not published yet.
    Later,
    /// A gap, too old, or never to be.
    Never,
}

impl Track {
    /// The first part that is not published.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        *self.cursor.borrow()
    }

    /// Follows the cursor.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Cursor> {
        self.cursor.subscribe()
    }

    /// The segments from `first` up to the cursor with the cursor itself, as one consistent
    /// picture. Absent ones are gaps.
    #[must_use]
    pub fn window(&self, first: u64) -> (Cursor, BTreeMap<u64, Arc<Segment>>) {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let window =
            segments.range(first..).map(|(msn, segment)| (*msn, Arc::clone(segment))).collect();
        (*self.cursor.borrow(), window)
    }

    /// The oldest segment that is kept.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }

    /// How many segments are whole and have media throughout.
    #[must_use]
    pub fn whole_segments(&self) -> usize {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let cursor = self.cursor();
        let whole = segments.range(..cursor.msn);
        whole.filter(|(_, segment)| !segment.gap()).count()
    }

    /// A whole segment.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn segment(&self, msn: u64) -> io::Result<Found> {
        let (cursor, segment) = self.one(msn);
        if msn >= cursor.msn {
            return Ok(Found::Later);
        }
        let Some(segment) = segment.filter(|segment| !segment.gap()) else {
            return Ok(Found::Never);
        };
        let hot: Option<Vec<&Bytes>> =
            segment.parts.iter().map(|part| part.data.as_ref()).collect();
        if let Some(parts) = hot {
            let mut whole = Vec::with_capacity(segment.end() as usize);
            parts.iter().for_each(|part| whole.extend_from_slice(part));
            return Ok(Found::Bytes(whole.into()));
        }
        let mut whole = tokio::fs::read(self.file(msn)).await?;
        whole.truncate(segment.end() as usize);
        Ok(Found::Bytes(whole.into()))
    }

    /// One part.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub async fn part(&self, msn: u64, index: u64) -> io::Result<Found> {
        let (cursor, segment) = self.one(msn);
        if index >= self.grid.parts(self.kind, msn) {
            return Ok(Found::Never);
        }
        if (Cursor { msn, part: index }) >= cursor {
            return Ok(Found::Later);
        }
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(part) = segment.as_ref().and_then(|s| s.parts.get(index)).filter(|part| !part.gap)
        else {
            return Ok(Found::Never);
        };
        if let Some(data) = &part.data {
            return Ok(Found::Bytes(data.clone()));
        }
        let whole = Bytes::from(tokio::fs::read(self.file(msn)).await?);
        let range = part.offset as usize..(part.offset + u64::from(part.length)) as usize;
        if range.end > whole.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Found::Bytes(whole.slice(range)))
    }

    fn one(&self, msn: u64) -> (Cursor, Option<Arc<Segment>>) {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        (*self.cursor.borrow(), segments.get(&msn).cloned())
    }

    fn file(&self, msn: u64) -> PathBuf {
        self.folder.join(format!("{msn}.m4s"))
    }

    fn show(&self, part: &Part, stored: StoredPart) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(segments.entry(part.msn).or_default()).parts.push(stored);
        if let Some(segment) =
            part.msn.checked_sub(HOT_SEGMENTS).and_then(|msn| segments.get_mut(&msn))
        {
            let segment = Arc::make_mut(segment);
            segment.parts.iter_mut().for_each(|part| part.data = None);
        }
        let last = part.index + 1 == self.grid.parts(self.kind, part.msn);
        let next = match last {
            true => Cursor { msn: part.msn + 1, part: 0 },
            false => Cursor { msn: part.msn, part: part.index + 1 },
        };
        self.cursor.send_replace(next);
    }

    /// Moves the cursor over whole segments without media.
    fn skip_to(&self, msn: u64) {
        self.cursor.send_if_modified(|cursor| {
            let ahead = msn > cursor.msn;
            if ahead {
                *cursor = Cursor { msn, part: 0 };
            }
            ahead
        });
    }

    fn drop_before(&self, msn: u64) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let gone = forget_before(&mut segments, msn);
        drop(segments);
        for msn in gone {
            if let Err(error) = fs::remove_file(self.file(msn))
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(rendition = self.id, msn, %error, "an old segment cannot be deleted");
            }
        }
    }
}

/// The writer of an event's media; one exists.
#[derive(Debug)]
pub struct Store {
    tracks: Vec<Arc<Track>>,
    open: Vec<Option<(u64, File)>>,
    index: Index,
    path: PathBuf,
    lines: usize,
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
    ) -> io::Result<Self> {
        let path = folder.join("index");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut tracks = Vec::new();
        for (id, kind) in renditions {
            let folder = folder.join("media").join(id);
            fs::create_dir_all(&folder)?;
            let segments = read_index(&text, id, &folder, dvr_segments);
            let cursor = segments.last_key_value().map_or(Cursor::default(), |(msn, segment)| {
                let part = segment.parts.len() as u64;
                match part >= grid.parts(*kind, *msn) {
                    true => Cursor { msn: msn + 1, part: 0 },
                    false => Cursor { msn: *msn, part },
                }
            });
            tracks.push(Arc::new(Track {
                id: id.clone(),
                kind: *kind,
                grid,
                folder,
                segments: RwLock::new(segments),
                cursor: watch::Sender::new(cursor),
            }));
        }
        let open = tracks.iter().map(|_| None).collect();
        let index = write_index(&path, &tracks)?;
        Ok(Self { tracks, open, index, path, lines: 0, dvr_segments })
    }

    /// The tracks, in the order of the renditions.
    #[must_use]
    pub fn tracks(&self) -> &[Arc<Track>] {
        &self.tracks
    }

    /// Writes a part to disk and then shows it. Segments before it that have nothing become gaps.
    ///
    /// # Errors
    /// When the disk cannot be written: nothing is shown.
    pub fn publish(&mut self, track: usize, part: &Part) -> io::Result<()> {
        let Some(target) = self.tracks.get(track).cloned() else {
            return Ok(());
        };
        target.skip_to(part.msn);
        let offset = target.one(part.msn).1.map_or(0, |segment| segment.end());
        let (length, flag) = match &part.data {
            Some(data) => {
                self.append(track, &target, part.msn, offset, data)?;
                (data.len() as u32, if part.independent { 'i' } else { 'd' })
            }
            None => (0, 'g'),
        };
        let line = format!("{} {} {} {offset} {length} {flag}\n", target.id, part.msn, part.index);
        self.index.append(line.as_bytes())?;
        let stored = StoredPart {
            offset,
            length,
            independent: part.independent,
            gap: part.data.is_none(),
            data: part.data.clone(),
        };
        target.show(part, stored);
        self.lines += 1;
        if part.index == 0 {
            target.drop_before(part.msn.saturating_sub(self.dvr_segments));
        }
        if self.lines >= COMPACT_AFTER {
            self.compact();
        }
        Ok(())
    }

    /// Writes the index anew. The part is published already, so a failure must not make it be
    /// published again: the long index goes on.
    fn compact(&mut self) {
        match write_index(&self.path, &self.tracks) {
            Ok(index) => (self.index, self.lines) = (index, 0),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the index is not compacted: trying again later");
                self.lines -= COMPACT_RETRY;
                // It may have taken the place of the open one before it failed.
                if let Ok(index) = Index::reopen(&self.path) {
                    self.index = index;
                }
            }
        }
    }

    /// Moves a track over whole segments without media.
    pub fn skip_to(&self, track: usize, msn: u64) {
        if let Some(track) = self.tracks.get(track) {
            track.skip_to(msn);
        }
    }

    fn append(
        &mut self,
        track: usize,
        target: &Track,
        msn: u64,
        offset: u64,
        data: &[u8],
    ) -> io::Result<()> {
        let Some(slot) = self.open.get_mut(track) else {
            return Ok(());
        };
        if slot.as_ref().is_none_or(|(open, _)| *open != msn) {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(target.file(msn))?;
            *slot = Some((msn, file));
        }
        if let Some((_, file)) = slot {
            // What a killed writer left past the index is not published, and is written over.
            file.set_len(offset)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(data)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
