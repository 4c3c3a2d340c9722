//! Creatives: clips conditioned to the event's ladder and grid, so that they can stand in for any
//! of its segments.
//!
//! Segment `i` of phase `p` has exactly the samples of content segment `first + i`, for every
//! `first` with `first % phases == p`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::encode::encoder::Encoder;
use crate::encode::ladder::Plan;
use crate::grid::Grid;

mod condition;
mod cut;
mod filler;
mod memory;
mod note;
mod pieces;
mod rules;
pub mod shelf;

use condition::{condition, identify, pieces, unit};
use cut::{Asked, Sample};
use filler::Slate;
use memory::Memory;
use note::Note;
use pieces::Pieces;
pub use rules::{CreativeRules, Loudness};

/// What a creative is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Clip {
    /// A clip: the first video and the first audio track of a media file.
    File(PathBuf),
    /// A generated clip: a coloured card with a name, a countdown and a tone of its own.
    Card(Card),
}

/// A generated clip.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Card {
    /// Large text.
    pub title: String,
    /// Smaller text below.
    pub subtitle: String,
    /// Background as `RRGGBB`.
    pub color: u32,
    /// Pitch of its tone in hertz. 0 is a slate: silent, without a countdown, and the same in every
    /// segment.
    pub tone_hz: u32,
    /// Length in milliseconds, rounded to whole segments.
    pub length_ms: u32,
}

impl Clip {
    /// What errors call it: the file's path or the card's title.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Card(card) => card.title.clone(),
        }
    }

    /// What people call it: nothing of where the file lies.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::File(path) => {
                path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Self::Card(card) => card.title.clone(),
        }
    }
}

impl Card {
    /// The slate that fills a pod. One of any length costs no more than one segment of work.
    #[must_use]
    pub fn slate(length_ms: u32) -> Self {
        Self {
            title: "Back in a moment".to_owned(),
            subtitle: "The match continues shortly".to_owned(),
            color: 0x0f_2a_24,
            tone_hz: 0,
            length_ms,
        }
    }
}

/// Identifier of a conditioned creative: `c-` and the start of the hash of its source.
pub type CreativeId = String;

/// A conditioned creative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreativeInfo {
    /// Identifier, as in URLs.
    pub id: CreativeId,
    /// Its length in segments of the event.
    pub segments: u64,
}

/// Why a creative cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CreativeError {
    /// The file cannot be read.
    #[error("creative {name}: cannot be read: {reason}")]
    Unreadable {
        /// File name or title.
        name: String,
        /// What the system said.
        reason: String,
    },
    /// The file holds no picture that can be decoded.
    #[error("creative {name}: not a playable clip: {reason}")]
    Corrupt {
        /// File name or title.
        name: String,
        /// What ffmpeg said.
        reason: String,
    },
    /// Longer than a pod may be.
    #[error("creative {name}: lasts {seconds} s, expected at most {most} s (creative-max)")]
    TooLong {
        /// File name or title.
        name: String,
        /// Its length.
        seconds: u64,
        /// The limit.
        most: u64,
    },
    /// The encoder or the disk failed; not the creative's fault.
    #[error("creative {name}: conditioning failed: {reason}")]
    Failed {
        /// File name or title.
        name: String,
        /// What failed.
        reason: String,
    },
}

/// The creatives of an event. Clones are handles of the same library.
#[derive(Clone)]
pub struct Library {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    rules: CreativeRules,
    settled: watch::Sender<Option<Target>>,
    memory: Mutex<Memory<Key, Value>>,
    names: Mutex<BTreeMap<CreativeId, String>>,
    /// What is read from disk now, once for all who ask for it.
    reading: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    /// One is conditioned at a time: the machine's first duty is the live picture.
    turn: tokio::sync::Mutex<()>,
}

/// What clips are conditioned to.
#[derive(Debug, Clone)]
struct Target {
    plan: Plan,
    grid: Grid,
    encoder: Encoder,
}

impl Library {
    pub(crate) fn new(folder: PathBuf, rules: CreativeRules) -> Self {
        let inner = Inner {
            folder,
            rules,
            settled: watch::Sender::new(None),
            memory: Mutex::new(Memory::new(rules.memory_bytes)),
            names: Mutex::default(),
            reading: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The event's ladder and grid are known, for good.
    pub(crate) fn settle(&self, plan: Plan, grid: Grid) {
        // Creatives never take a card from the live picture.
        let target = Target { plan, grid, encoder: Encoder::X264 };
        self.inner.settled.send_replace(Some(target));
    }

    async fn settled(&self) -> Target {
        let mut settled = self.inner.settled.subscribe();
        let known = settled.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        match known {
            Some(known) => known,
            // The sender lives as long as this handle.
            None => std::future::pending().await,
        }
    }

    /// The event's grid, once it is known for good.
    pub(crate) async fn grid(&self) -> Grid {
        self.settled().await.grid
    }

    /// Conditions a creative, or finds it in the cache, and returns its identifier. Waits until the
    /// event's ladder is known. The same source gives the same identifier.
    ///
    /// # Errors
    /// See [`CreativeError`]; each names the creative.
    pub async fn add(&self, source: Clip) -> Result<CreativeId, CreativeError> {
        let target = self.settled().await;
        let rules = &self.inner.rules;
        let _turn = self.inner.turn.lock().await;
        let id = identify(&source, rules.loudness, &target).await?;
        if self.find(&id).await.is_none() {
            let (unit, times) = unit(&source, &target.grid);
            let kept = identify(&unit, rules.loudness, &target).await?;
            let folder = self.inner.folder.join(&kept);
            condition(&unit, rules, &target, &folder).await?;
            let name = source.name();
            let title = Some(source.title());
            let note = Note { name, title, kept, times };
            note.keep(&self.inner.folder, &id)?;
        }
        self.name(&id, source.title());
        Ok(id)
    }

    /// What stands in for missing parts: the first picture of this file or of the built-in slate,
    /// and silence. It is coded as the live picture is, so that players need not tell them apart.
    /// Waits until the event's ladder is known, and for no creative.
    ///
    /// # Errors
    /// See [`CreativeError`].
    pub(crate) async fn slate(
        &self,
        file: Option<&Path>,
        encoder: Encoder,
    ) -> Result<Slate, CreativeError> {
        let target = Target { encoder, ..self.settled().await };
        let segment_ms = u32::try_from(target.grid.duration_ms(1)).unwrap_or(u32::MAX);
        let clip = match file {
            Some(path) => Clip::File(path.to_owned()),
            None => Clip::Card(Card::slate(segment_ms)),
        };
        Slate::new(clip, target, &self.inner.folder).await
    }

    /// A conditioned creative.
    pub async fn get(&self, id: &str) -> Option<CreativeInfo> {
        self.find(id)
            .await
            .map(|creative| CreativeInfo { id: id.to_owned(), segments: creative.segments })
    }

    /// What people call the creatives that were conditioned or played since the start.
    #[must_use]
    pub fn names(&self) -> BTreeMap<CreativeId, String> {
        self.inner.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The creative as it was kept on disk: what a ledger has frozen must play after a restart,
    /// even if its source is gone.
    async fn find(&self, id: &str) -> Option<Arc<Pieces>> {
        let key = Key::Pieces(id.to_owned());
        let library = self.clone();
        let found = self.once(key, move |key| match key {
            Key::Pieces(id) => library.read_back(id).map(|pieces| Value::Pieces(Arc::new(pieces))),
            Key::Segment(..) => None,
        });
        match found.await? {
            Value::Pieces(pieces) => Some(pieces),
            Value::Segment(_) => None,
        }
    }

    /// What is in memory under a key; else it is read once for all who ask, on a thread that may
    /// wait for the disk. Others are not held up.
    async fn once(
        &self,
        key: Key,
        read: impl FnOnce(&Key) -> Option<Value> + Send + 'static,
    ) -> Option<Value> {
        if let Some(value) = self.memory().get(&key) {
            return Some(value);
        }
        let turn = Arc::clone(self.reading().entry(key.clone()).or_default());
        let held = turn.lock().await;
        // Another request may have read it meanwhile.
        let known = self.memory().get(&key);
        let value = match known {
            Some(value) => Some(value),
            None => {
                let asked = key.clone();
                tokio::task::spawn_blocking(move || read(&asked)).await.ok().flatten()
            }
        };
        if let Some(value) = &value {
            self.memory().put(&key, value.clone(), value.bytes());
        }
        drop(held);
        self.reading().remove(&key);
        value
    }

    /// Blocks.
    fn read_back(&self, id: &str) -> Option<Pieces> {
        let target = self.inner.settled.borrow().clone()?;
        let note = Note::read(&self.inner.folder, id)?;
        let folder = self.inner.folder.join(&note.kept);
        let pieces = pieces(&target, &folder, &note);
        let pieces = pieces.inspect_err(|error| {
            tracing::error!(creative = id, %error, "a creative cannot be read");
        });
        if let Some(title) = note.title {
            self.name(id, title);
        }
        pieces.ok()
    }

    fn memory(&self) -> MutexGuard<'_, Memory<Key, Value>> {
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reading(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.inner.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, id: &str, title: String) {
        self.inner
            .names
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned(), title);
    }

    /// The object of `/live/{event}/ads/{creative}/{rendition}/{phase}/{object}`.
    pub(crate) async fn object(
        &self,
        creative: &str,
        rendition: &str,
        phase: &str,
        object: &str,
    ) -> Option<Bytes> {
        let Target { plan, grid, .. } = self.inner.settled.borrow().clone()?;
        let tracks = plan.tracks();
        let position = tracks.iter().position(|(id, _)| id == rendition)?;
        let kind = tracks.get(position)?.1;
        let phase: u64 = phase.parse().ok().filter(|phase| *phase < grid.phases(kind))?;
        let pieces = self.find(creative).await?;
        let track = pieces.track(kind, position);
        if object == "init.mp4" {
            return pieces.init(track);
        }
        let asked = Asked::read(object, &grid, kind, phase, pieces.segments)?;
        let range = asked.samples(&grid);
        let key = Key::Segment(creative.to_owned(), track, range.start, range.end);
        let id = creative.to_owned();
        let read = move |_: &Key| match pieces.read(track, range) {
            Ok(samples) => Some(Value::Segment(samples.into())),
            Err(error) => {
                tracing::error!(creative = id, %error, "a segment of a creative cannot be read");
                None
            }
        };
        match self.once(key, read).await? {
            Value::Segment(samples) => asked.cut(&grid, &samples),
            Value::Pieces(_) => None,
        }
    }
}

/// What is kept in memory: the tables of a creative, or the samples of a track from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Pieces(CreativeId),
    Segment(CreativeId, usize, u64, u64),
}

#[derive(Debug, Clone)]
enum Value {
    Pieces(Arc<Pieces>),
    Segment(Arc<[Sample]>),
}

impl Value {
    fn bytes(&self) -> usize {
        match self {
            Self::Pieces(pieces) => pieces.bytes(),
            Self::Segment(samples) => {
                let data: usize = samples.iter().map(|(_, data)| data.len()).sum();
                data + size_of_val(&samples[..])
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::creative::cut::{CodedTrack, Conditioned};
    use crate::encode::ladder::Rung;

    /// A library with a creative of one segment under each of these identifiers.
    fn library(folder: &Path, ids: &[&str]) -> Library {
        let rung = Rung { width: 284, height: 160, bitrate: 300_000, half_rate: false };
        let plan = Plan { video: vec![rung], audio: vec!["en".to_owned()], ..Plan::default() };
        let track = || CodedTrack {
            init: Bytes::from_static(b"init"),
            samples: vec![(true, Bytes::from_static(b"sample")); 100],
        };
        for id in ids {
            let kept = format!("kept-{id}");
            std::fs::create_dir(folder.join(&kept)).unwrap();
            let creative = Conditioned { segments: 1, tracks: vec![track(), track()] };
            pieces::write(&folder.join(&kept), &creative).unwrap();
            let note = Note { name: (*id).to_owned(), title: None, kept, times: 1 };
            note.keep(folder, id).unwrap();
        }
        let library = Library::new(folder.to_owned(), CreativeRules::default());
        library.settle(plan, Grid::new(0, (25, 1), 2000, 200).unwrap());
        library
    }

    /// A pipe in the place of a file: who reads it waits for a writer, which comes in the end.
    struct Hanging(PathBuf);

    impl Drop for Hanging {
        fn drop(&mut self) {
            let _ = std::fs::File::options().read(true).write(true).open(&self.0);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_creative_that_the_disk_does_not_give_holds_up_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let library = library(folder.path(), &["c-0a", "c-0b"]);
        let path = folder.path().join("c-0a.json");
        let note = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let disk = Hanging(path);
        let ask = |id: &'static str| {
            let library = library.clone();
            tokio::spawn(async move { library.object(id, "v160", "0", "0.m4s").await })
        };
        let hangs = ask("c-0a");
        while library.reading().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..2 {
            let other = timeout(Duration::from_secs(30), ask("c-0b")).await;
            assert!(other.expect("the other is held up").unwrap().is_some());
        }
        assert!(!hangs.is_finished());
        // It gives it after all.
        std::fs::write(&disk.0, &note).unwrap();
        assert!(hangs.await.unwrap().is_some());
    }
}
