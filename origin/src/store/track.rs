//! One rendition's timeline, as viewers see it. Nothing here waits for a disk but the reading of
//! what is no longer in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{Cursor, HOT_SEGMENTS, Objects, Part, Segment, StoredPart, names, records, sealed};
use crate::grid::{Grid, Kind};

/// One rendition's published media.
pub struct Track {
    /// The rendition's identifier.
    pub id: String,
    /// Picture or sound.
    pub kind: Kind,
    pub(super) grid: Grid,
    objects: Arc<dyn Objects>,
    published: RwLock<Published>,
    /// Told of the cursor once the lock is free again: who waits for it looks at once.
    moved: watch::Sender<Cursor>,
}

#[derive(Debug, Default)]
struct Published {
    segments: BTreeMap<u64, Arc<Segment>>,
    /// The first part that is not.
    cursor: Cursor,
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Track").field("id", &self.id).field("cursor", &self.cursor()).finish()
    }
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

/// Takes what lies before `msn` out, and returns which. After an outage nothing may be left near
/// `msn`: what was listed is still a gap then, and not before the event's first segment.
pub(super) fn forget_before(segments: &mut BTreeMap<u64, Arc<Segment>>, msn: u64) -> Vec<u64> {
    let kept = segments.split_off(&msn);
    let gone = std::mem::replace(segments, kept);
    if !gone.is_empty() {
        segments.entry(msn).or_insert_with(|| Arc::new(Segment::missing()));
    }
    gone.into_keys().collect()
}

impl Track {
    pub(super) fn new(
        (id, kind): (String, Kind),
        grid: Grid,
        objects: Arc<dyn Objects>,
        segments: BTreeMap<u64, Arc<Segment>>,
    ) -> Self {
        let cursor = segments.last_key_value().map_or(Cursor::default(), |(msn, segment)| {
            let part = segment.parts.len() as u64;
            match segment.stored || part >= grid.parts(kind, *msn) {
                true => Cursor { msn: msn + 1, part: 0 },
                false => Cursor { msn: *msn, part },
            }
        });
        let published = RwLock::new(Published { segments, cursor });
        Self { id, kind, grid, objects, published, moved: watch::Sender::new(cursor) }
    }

    /// The first part that is not published.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.read().cursor
    }

    /// Follows the cursor.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Cursor> {
        self.moved.subscribe()
    }

    /// The segments from `first` up to the cursor with the cursor itself, as one consistent
    /// picture. Absent ones are gaps.
    #[must_use]
    pub fn window(&self, first: u64) -> (Cursor, BTreeMap<u64, Arc<Segment>>) {
        let Published { segments, cursor } = &*self.read();
        let window = segments.range(first..).map(|(msn, segment)| (*msn, Arc::clone(segment)));
        (*cursor, window.collect())
    }

    /// The oldest segment that is kept.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        self.read().segments.keys().next().copied()
    }

    /// How many segments are whole and have media throughout.
    #[must_use]
    pub fn whole_segments(&self) -> usize {
        let Published { segments, cursor } = &*self.read();
        let whole = segments.range(..cursor.msn);
        whole.filter(|(_, segment)| !segment.gap()).count()
    }

    /// What these last, in milliseconds.
    #[must_use]
    pub fn whole_ms(&self) -> u64 {
        let Published { segments, cursor } = &*self.read();
        let whole = segments.range(..cursor.msn).filter(|(_, segment)| !segment.gap());
        let samples: u64 = whole.map(|(msn, _)| self.grid.samples(self.kind, *msn)).sum();
        let each = u64::from(self.grid.sample_duration(self.kind));
        samples.saturating_mul(each).saturating_mul(1000)
            / u64::from(self.grid.timescale(self.kind))
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
        let media = match segment.in_memory() {
            Some(parts) => Some(parts.concat().into()),
            None => self.opened(&names::whole(&self.id, msn)).await?.map(|opened| opened.media),
        };
        Ok(media.map_or(Found::Never, Found::Bytes))
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
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(segment) = segment else { return Ok(Found::Never) };
        let part = segment.parts.get(at);
        if let Some(data) = part.and_then(|part| part.data.clone()) {
            return Ok(Found::Bytes(data));
        }
        let data = match segment.stored {
            true => {
                let opened = self.opened(&names::whole(&self.id, msn)).await?;
                opened.and_then(|opened| opened.part(at))
            }
            false if part.is_some_and(|part| !part.gap) => self.recorded(msn, index).await?,
            false => None,
        };
        Ok(data.map_or(Found::Never, Found::Bytes))
    }

    /// A part of a segment that never became one object.
    async fn recorded(&self, msn: u64, index: u64) -> io::Result<Option<Bytes>> {
        let object = self.objects.get(&names::parts(&self.id, msn)).await?;
        Ok(object.and_then(|object| records::find(&object, index)))
    }

    /// An object that is what was written.
    async fn opened(&self, name: &str) -> io::Result<Option<sealed::Opened>> {
        let object = self.objects.get(name).await?;
        let opened = object.as_ref().and_then(sealed::open);
        if object.is_some() && opened.is_none() {
            tracing::error!(name, "an object is not what was written: it is not served");
        }
        Ok(opened)
    }

    pub(super) fn one(&self, msn: u64) -> (Cursor, Option<Arc<Segment>>) {
        let published = self.read();
        (published.cursor, published.segments.get(&msn).cloned())
    }

    fn read(&self) -> RwLockReadGuard<'_, Published> {
        self.published.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Published> {
        self.published.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn show(&self, part: &Part) {
        let stored = StoredPart {
            length: part.data.as_ref().map_or(0, |data| data.len() as u32),
            independent: part.independent,
            gap: part.data.is_none(),
            data: part.data.clone(),
        };
        let last = part.index + 1 == self.grid.parts(self.kind, part.msn);
        let next = match last {
            true => Cursor { msn: part.msn + 1, part: 0 },
            false => Cursor { msn: part.msn, part: part.index + 1 },
        };
        let mut published = self.write();
        let segment = published.segments.entry(part.msn).or_default();
        Arc::make_mut(segment).parts.push(stored);
        if let Some(cold) = part.msn.checked_sub(HOT_SEGMENTS) {
            cool(&mut published.segments, cold, false);
        }
        published.cursor = next;
        drop(published);
        self.tell(next);
    }

    /// Thousands may wait for the cursor. To wake one of them costs a worker of the runtime a
    /// fraction of what it costs another thread, such as the packager's.
    fn tell(&self, next: Cursor) {
        let moved = self.moved.clone();
        let tell = move || {
            moved.send_if_modified(|told| {
                let is_news = next > *told;
                *told = next.max(*told);
                is_news
            })
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { tell() })),
            Err(_) => drop(tell()),
        }
    }

    /// A segment will never be an object: there is no room for it to wait. Memory holds it no
    /// longer than others.
    pub(super) fn give_up(&self, msn: u64) {
        self.stored(msn);
    }

    /// A segment is an object now: memory need not hold it for long.
    pub(super) fn stored(&self, msn: u64) {
        let mut published = self.write();
        if let Some(segment) = published.segments.get_mut(&msn) {
            Arc::make_mut(segment).stored = true;
        }
        if msn + HOT_SEGMENTS <= published.cursor.msn {
            cool(&mut published.segments, msn, true);
        }
    }

    /// Moves the cursor over whole segments without media.
    pub(super) fn skip_to(&self, msn: u64) {
        let next = Cursor { msn, part: 0 };
        let mut published = self.write();
        let is_ahead = msn > published.cursor.msn;
        if is_ahead {
            published.cursor = next;
        }
        drop(published);
        if is_ahead {
            self.tell(next);
        }
    }

    /// Forgets what lies before a segment, and returns which.
    pub(super) fn forget_before(&self, msn: u64) -> Vec<u64> {
        forget_before(&mut self.write().segments, msn)
    }
}

/// Lets go of a segment's bytes once they are an object, or parts of a segment that never becomes
/// one.
fn cool(segments: &mut BTreeMap<u64, Arc<Segment>>, msn: u64, now: bool) {
    let Some(segment) = segments.get_mut(&msn) else { return };
    if now || segment.stored || segment.gap() {
        Arc::make_mut(segment).parts.iter_mut().for_each(|part| part.data = None);
    }
}
