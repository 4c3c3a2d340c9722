//! The init segments of an event's tracks, and the segments at which they change.
//!
//! An encoder that takes another's place may code otherwise, and its pictures need another init
//! segment. It begins at one media sequence number in all tracks: discontinuity sequence numbers
//! must match across renditions (RFC 8216bis 6.2.4). A track whose init stays the same has it again
//! there.
//!
//! Invariant: a change is on disk, in the file `changes.json`, before anything names its segment,
//! and nothing of it is ever taken back once something does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::disk::write_whole;
use crate::mp4::read::{Item, Reader};
use crate::mp4::write::codec;

/// Changes that an event may have. An encoder that is another one with each start must not make its
/// playlists grow without end.
pub const CHANGES_MAX: usize = 64;

/// From a segment on, which init segment holds in each track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Media sequence number of the first segment.
    pub msn: u64,
    /// Number of the init segment, by track.
    pub inits: Vec<usize>,
}

/// What a track's encoder needs in comparison with what holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is the track's first, and is kept now.
    First,
    /// It is what holds.
    Same,
    /// It is another one.
    Other,
}

/// What became of a change that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// There is a new one at this segment.
    New(u64),
    /// Another track's, of which nothing is visible yet, is this one's too.
    Joined(u64),
    /// There were too many.
    Refused,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// By track and number. A file that no player could read is none.
    inits: Vec<Vec<Option<Bytes>>>,
    changes: Vec<Change>,
}

/// The init segments of one event. The packager writes, viewers read.
#[derive(Debug)]
pub struct Inits {
    path: PathBuf,
    /// Each track's folder.
    folders: Vec<PathBuf>,
    state: RwLock<Arc<State>>,
    count: watch::Sender<usize>,
}

/// The file of an init segment. What a full disk left of one was never any use, and is none.
fn read(path: &Path) -> io::Result<Option<Bytes>> {
    let kept = match std::fs::read(path) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let items = Reader::default().push(&kept);
    let whole = items.is_ok_and(|items| matches!(items.as_slice(), [Item::Header(_)]));
    Ok((whole && codec(&kept).is_some()).then_some(kept))
}

/// `init.mp4`, and `init-{number}.mp4` for those after it: the name of a file, and with the epoch
/// before it that of an object.
#[must_use]
pub fn name(number: usize) -> String {
    match number {
        0 => "init.mp4".to_owned(),
        _ => format!("init-{number}.mp4"),
    }
}

/// The number of the init segment of that name.
#[must_use]
pub fn number(of: &str) -> Option<usize> {
    let stem = of.strip_prefix("init")?.strip_suffix(".mp4")?;
    let number = match stem.strip_prefix('-') {
        Some(number) => number.parse().ok()?,
        None => 0,
    };
    (name(number) == of).then_some(number)
}

fn damaged(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn read_changes(path: &Path, tracks: usize) -> io::Result<Vec<Change>> {
    let changes: Vec<Change> = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(damaged)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let in_order = changes.is_sorted_by(|one, next| one.msn < next.msn);
    let fit = |change: &Change| {
        change.inits.len() == tracks && change.inits.iter().all(|number| *number <= CHANGES_MAX)
    };
    match in_order && changes.len() <= CHANGES_MAX && changes.iter().all(fit) {
        true => Ok(changes),
        false => Err(damaged("changes out of order, too many, or of other tracks")),
    }
}

impl Inits {
    /// What an event's folder holds of these tracks.
    ///
    /// # Errors
    /// When a file is there and cannot be read; of the kind `InvalidData` when `changes.json` holds
    /// something else.
    pub fn open<'a>(folder: &Path, tracks: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let path = folder.join("changes.json");
        let folders: Vec<PathBuf> = tracks.map(|id| folder.join("media").join(id)).collect();
        let changes = read_changes(&path, folders.len())?;
        let of_track = |track: usize| {
            let used = changes.iter().filter_map(|change| change.inits.get(track));
            let last = used.max().copied().unwrap_or(0);
            let folder = folders.get(track).cloned().unwrap_or_default();
            (0..=last).map(|number| read(&folder.join(name(number)))).collect()
        };
        let inits = (0..folders.len()).map(of_track).collect::<io::Result<_>>()?;
        let (count, state) = (watch::Sender::new(changes.len()), State { inits, changes });
        Ok(Self { path, folders, state: RwLock::new(Arc::new(state)), count })
    }

    /// An init segment of a track by its number.
    #[must_use]
    pub fn get(&self, track: usize, number: usize) -> Option<Bytes> {
        self.state().get(track, number)
    }

    /// The init segment that holds from the last change on.
    #[must_use]
    pub fn newest(&self, track: usize) -> Option<Bytes> {
        let state = self.state();
        state.get(track, state.newest(track))
    }

    /// All changes, in order.
    #[must_use]
    pub fn changes(&self) -> Vec<Change> {
        self.state().changes.clone()
    }

    /// The changes of one track: the first segment of each, and the number of its init segment.
    #[must_use]
    pub fn of_track(&self, track: usize) -> Vec<(u64, usize)> {
        let state = self.state();
        let number = |change: &Change| change.inits.get(track).copied().unwrap_or(0);
        state.changes.iter().map(|change| (change.msn, number(change))).collect()
    }

    /// The segment from which on the newest init segment of a track holds.
    #[must_use]
    pub fn since(&self, track: usize) -> u64 {
        let (changes, newest) = (self.of_track(track), self.state().newest(track));
        let same = changes.iter().rev().take_while(|(_, number)| *number == newest).count();
        match changes.len().checked_sub(same) {
            // The first one is number 0.
            Some(0) if newest == 0 => 0,
            Some(at) => changes.get(at).map_or(0, |(msn, _)| *msn),
            None => 0,
        }
    }

    /// Follows how many changes there are.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// The RFC 6381 codecs of a track, each once, with commas between: a player must be told of all
    /// that it may meet (RFC 8216bis 6.2.4). `None` before its first init segment.
    #[must_use]
    pub fn codecs(&self, track: usize) -> Option<String> {
        let state = self.state();
        let mut codecs: Vec<String> = Vec::new();
        for init in state.inits.get(track)?.iter().flatten() {
            codecs.extend(codec(init).filter(|codec| !codecs.contains(codec)));
        }
        (!codecs.is_empty()).then(|| codecs.join(","))
    }

    /// Takes what a track's encoder needs. Keeps the first one for good.
    ///
    /// # Errors
    /// When the disk does not take the first.
    pub fn settle(&self, track: usize, bytes: &[u8]) -> io::Result<Settled> {
        let mut state = State::clone(&self.state());
        let number = state.newest(track);
        match state.get(track, number) {
            Some(kept) if kept == bytes => return Ok(Settled::Same),
            Some(_) => return Ok(Settled::Other),
            None => {}
        }
        self.write(track, number, bytes)?;
        state.put(track, number, bytes);
        self.show(state);
        Ok(Settled::First)
    }

    /// Has another init segment hold in a track, from segment `first` on or, where nothing of it is
    /// visible yet, from the last change on. `first` must be past all that is visible.
    ///
    /// # Errors
    /// When the disk does not take it; nothing has changed then.
    pub fn change(&self, track: usize, bytes: &[u8], first: u64) -> io::Result<Changed> {
        let mut state = State::clone(&self.state());
        let joined = state.changes.last().map(|change| change.msn).filter(|msn| *msn >= first);
        let msn = joined.unwrap_or(first);
        if joined.is_none() {
            if state.changes.len() >= CHANGES_MAX {
                return Ok(Changed::Refused);
            }
            let inits = (0..self.folders.len()).map(|track| state.newest(track)).collect();
            state.changes.push(Change { msn, inits });
        }
        let known = state.inits.get(track).map_or(0, Vec::len);
        // An encoder that was there before is told by its bytes, which players may still have.
        let number =
            (0..known).find(|number| state.get(track, *number).is_some_and(|kept| kept == bytes));
        let number = match number {
            Some(number) => number,
            None if known > CHANGES_MAX => return Ok(Changed::Refused),
            None => {
                self.write(track, known, bytes)?;
                state.put(track, known, bytes);
                known
            }
        };
        let last = state.changes.last_mut().and_then(|change| change.inits.get_mut(track));
        last.into_iter().for_each(|slot| *slot = number);
        let changes = serde_json::to_vec(&state.changes)?;
        write_whole(&self.path, &changes)?;
        self.show(state);
        Ok(if joined.is_some() { Changed::Joined(msn) } else { Changed::New(msn) })
    }

    fn write(&self, track: usize, number: usize, bytes: &[u8]) -> io::Result<()> {
        let folder = self.folders.get(track).ok_or(io::ErrorKind::NotFound)?;
        write_whole(&folder.join(name(number)), bytes).map(drop)
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn show(&self, state: State) {
        let count = state.changes.len();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        self.count.send_replace(count);
    }
}

impl State {
    fn get(&self, track: usize, number: usize) -> Option<Bytes> {
        self.inits.get(track)?.get(number)?.clone()
    }

    fn newest(&self, track: usize) -> usize {
        let last = self.changes.last().and_then(|change| change.inits.get(track));
        last.copied().unwrap_or(0)
    }

    fn put(&mut self, track: usize, number: usize, bytes: &[u8]) {
        let Some(inits) = self.inits.get_mut(track) else { return };
        inits.resize(inits.len().max(number + 1), None);
        if let Some(slot) = inits.get_mut(number) {
            *slot = Some(Bytes::copy_from_slice(bytes));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
