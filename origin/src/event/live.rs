//! An event's media: its input, ladder, packager and store. What was published once is never
//! published otherwise, whatever is killed and restarted. Breaks are decided elsewhere: they come
//! from [`Breaks`].

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::StartError;
use super::media::{Media, Rendition, can_play};
use super::open::{LiveEvent, Working};
use crate::breaks::on_air::Breaks;
use crate::creative::{CreativeRules, Library};
use crate::encode::graph::Deinterlace;
use crate::encode::ladder::LadderLimits;
use crate::grid::Grid;
use crate::ingest::{Input, InputState, Publishers, TsLimits};
use crate::package::end::EndError;
use crate::package::packager::Patience;
use crate::store::{Cursor, DiskLimits, DiskStatus, Track};

/// What the origin is told about an event's media.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// Identifier of the event.
    pub event: String,
    /// Folder of this event alone; made when absent.
    pub data: PathBuf,
    /// Where picture and sound come from.
    pub input: Input,
    /// Audio languages (BCP 47, lower case), the default first; at least one.
    pub languages: Vec<String>,
    /// What the ladder may use.
    pub ladder: LadderLimits,
    /// Frames a second of the output; `None`: the source's own, 25 for the test match.
    pub frame_rate: Option<(u32, u32)>,
    /// What interlaced pictures become.
    pub deinterlace: Deinterlace,
    /// Segment duration asked for, in milliseconds.
    pub segment_ms: u32,
    /// Part target asked for, in milliseconds.
    pub part_ms: u32,
    /// Seconds of media that a playlist lists.
    pub window_s: u32,
    /// Seconds of media that stay on disk.
    pub dvr_s: u32,
    /// How long parts are waited for.
    pub patience: Patience,
    /// How long a publisher may send sound alone before it is on the air without a picture.
    pub picture_wait: Duration,
    /// How transport streams are taken.
    pub ts: TsLimits,
    /// A clip whose first picture is published while none comes; `None`: the built-in slate.
    pub slate: Option<PathBuf>,
    /// How the disk is treated.
    pub disk: DiskLimits,
    /// How creatives are made and kept.
    pub creatives: CreativeRules,
}

/// How far publishing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// First sequence number of which nothing is published in any rendition, and which no preload
    /// hint names.
    pub next_msn: u64,
}

/// What an operator sees of an event's media.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `waiting` (no input yet), `live`, `interrupted` (no picture comes: slate is published), or
    /// `ended`.
    pub state: &'static str,
    /// What is wrong with the input, in words; `None` while nothing is.
    pub cause: Option<String>,
    /// Renditions that have slate or silence, or a gap where there is none, in place of the input.
    pub lacking: Vec<String>,
    /// How far publishing has come.
    pub next_msn: u64,
    /// Milliseconds from a part's end on the grid to its publication, of the last part.
    pub behind_ms: u64,
    /// What encodes the pictures: `nvenc`, `qsv`, `vaapi` or `x264`.
    pub encoder: &'static str,
    /// How often the encoder was started.
    pub encoder_starts: u64,
    /// Milliseconds by which the publisher's clock has fallen behind since it was met; negative
    /// where it gained.
    pub clock_offset_ms: i64,
    /// Millionths by which it falls behind now.
    pub clock_drift_ppm: i64,
    /// How the disk is doing; `None` before the first picture.
    pub disk: Option<DiskStatus>,
}

/// Longest wait for the packager at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// A running event. Clones are handles of the same event.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    event: LiveEvent,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// State and cause while an encoder runs: these of all tracks lack their input.
fn of_a_run(lacking: &[&Arc<Track>], all: usize) -> (&'static str, Option<String>) {
    let is_video = |track: &&Arc<Track>| track.kind.is_picture();
    if lacking.is_empty() {
        return ("live", None);
    }
    if lacking.len() == all {
        return ("interrupted", Some("the publisher is connected and sends nothing".to_owned()));
    }
    if lacking.iter().any(is_video) {
        return ("interrupted", Some("no picture comes, while sound does".to_owned()));
    }
    let silent: Vec<&str> = lacking.iter().map(|track| track.id.as_str()).collect();
    ("live", Some(format!("no sound comes for {}", silent.join(", "))))
}

impl Live {
    /// Starts the event, or goes on with what its data folder holds. Needs a Tokio runtime of
    /// several threads.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: LiveConfig,
        breaks: Arc<dyn Breaks>,
        publishers: &Publishers,
    ) -> Result<Self, StartError> {
        let (event, input) = LiveEvent::open(config, breaks, publishers).await?;
        let task = tokio::spawn(input);
        Ok(Self { inner: Arc::new(Inner { event, tasks: Mutex::new(vec![task]) }) })
    }

    #[cfg(test)]
    pub(crate) fn of(event: LiveEvent) -> Self {
        Self { inner: Arc::new(Inner { event, tasks: Mutex::default() }) }
    }

    /// What tells this event's media from that of an earlier event of the same name: made with the
    /// event's data, and part of the names of its objects and pods.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.inner.event.epoch
    }

    /// The event's time base. Its rate of pictures may change until the first of them is there.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.inner.event.grid()
    }

    /// What viewers can choose. Empty until the first picture is encoded; then fixed. Complete once
    /// [`Live::ready`] returned.
    #[must_use]
    pub fn renditions(&self) -> Vec<Rendition> {
        self.media().map(Media::renditions).unwrap_or_default()
    }

    /// The segments with which the content's init segment changes.
    pub(crate) fn changes(&self) -> Vec<u64> {
        let changes = self.media().map(|media| media.inits.changes()).unwrap_or_default();
        changes.into_iter().map(|change| change.msn).collect()
    }

    /// Follows them; `None` before the first picture.
    pub(crate) fn follow_changes(&self) -> Option<watch::Receiver<usize>> {
        self.media().map(|media| media.inits.watch())
    }

    /// How far publishing has come.
    #[must_use]
    pub fn position(&self) -> Position {
        // The hint names the segment of the cursor, even when nothing of it is out.
        let next = |track: &Arc<Track>| match track.cursor() {
            cursor if cursor == Cursor::default() => 0,
            cursor => cursor.msn + 1,
        };
        let next_msn = self.media().and_then(|media| media.tracks.iter().map(next).max());
        Position { next_msn: next_msn.unwrap_or(0) }
    }

    /// Returns when the renditions are known and each has three target durations of media in whole
    /// segments, the least that a live playlist may hold.
    pub async fn ready(&self) {
        let mut media = self.inner.event.media.subscribe();
        let Ok(media) = media.wait_for(Option::is_some).await.map(|media| media.clone()) else {
            return std::future::pending().await;
        };
        for media in media.iter() {
            for (at, track) in media.tracks.iter().enumerate() {
                // Looked at outside of the watch's lock, which the store takes while it holds the
                // segments'.
                let mut cursor = track.watch();
                while !can_play(track, &media.inits, at, &media.grid) {
                    if cursor.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// Published parts by what they are of.
    pub(crate) fn parts(&self) -> [(&'static str, u64); 3] {
        let counters = &self.inner.event.counters;
        [("input", &counters.parts), ("filler", &counters.fillers), ("gap", &counters.gaps)]
            .map(|(of, count)| (of, count.load(Ordering::Relaxed)))
    }

    /// Seconds of picture that the encoder gave.
    pub(crate) fn encoded_s(&self) -> f64 {
        let pictures = self.inner.event.counters.pictures.load(Ordering::Relaxed);
        let (num, den) = self.grid().fps;
        pictures as f64 * f64::from(den) / f64::from(num)
    }

    /// How its input is.
    #[must_use]
    pub fn input(&self) -> &InputState {
        &self.inner.event.input
    }

    /// What an operator sees.
    #[must_use]
    pub fn status(&self) -> Status {
        let counters = &self.inner.event.counters;
        let starts = counters.starts.load(Ordering::Relaxed);
        let media = self.media();
        let tracks = media.iter().flat_map(|media| media.tracks.iter().enumerate());
        let lacking = tracks.filter(|(at, _)| counters.is_lacking(*at)).map(|(_, track)| track);
        let lacking: Vec<&Arc<Track>> = lacking.collect();
        let input = &self.inner.event.input;
        let or = |absence: &str| Some(input.fault().unwrap_or_else(|| absence.to_owned()));
        let (state, cause) = match (counters.running.load(Ordering::Relaxed), starts) {
            _ if self.is_over() => ("ended", None),
            (1, _) => of_a_run(&lacking, media.iter().map(|media| media.tracks.len()).sum()),
            (_, 0) => ("waiting", or("nobody has published yet")),
            _ => ("interrupted", or("nobody publishes")),
        };
        Status {
            state,
            cause,
            lacking: lacking.iter().map(|track| track.id.clone()).collect(),
            next_msn: self.position().next_msn,
            behind_ms: counters.behind_ms.load(Ordering::Relaxed),
            encoder: self.inner.event.encoder_name(),
            encoder_starts: starts,
            clock_offset_ms: input.clock_offset_ms().round() as i64,
            clock_drift_ppm: input.clock_drift_ppm().round() as i64,
            disk: media.map(|media| media.disk.status()),
        }
    }

    /// Ends the event: the segments that are being made are the last, and then the input is let go.
    /// Returns the first sequence number that will never be. Asked again, it says the same.
    ///
    /// # Errors
    /// See [`EndError`]; the event goes on.
    pub async fn end(&self) -> Result<u64, EndError> {
        if let Some(end) = self.media().and_then(|media| media.end.msn()) {
            return Ok(end);
        }
        let sink = self
            .inner
            .event
            .packager
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(|working| working.sink.clone());
        let end = sink.ok_or(EndError::NothingYet)?.finish().await?;
        let live = self.clone();
        tokio::spawn(async move {
            live.over().await;
            live.let_go().await;
        });
        Ok(end)
    }

    /// Whether the event was ended; its last segments may still be in the making.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.media().is_some_and(|media| media.end.msn().is_some())
    }

    /// Whether the event has ended, and every playlist says so.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.media().is_some_and(|media| {
            let mut tracks = media.tracks.iter();
            tracks.all(|track| media.end.is_reached(track.cursor()))
        })
    }

    /// Returns when [`Live::is_over`], once it [`Live::is_ending`].
    async fn over(&self) {
        let Some(media) = self.media() else { return };
        for track in &media.tracks {
            let reached = |cursor: &Cursor| media.end.is_reached(*cursor);
            // An error says that nothing comes any more.
            let _ = track.watch().wait_for(reached).await;
        }
    }

    /// Ends encoder and listener.
    async fn let_go(&self) {
        let tasks =
            std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        self.inner.event.release();
    }

    /// The creatives conditioned for this event.
    #[must_use]
    pub fn creatives(&self) -> Library {
        self.inner.event.library.clone()
    }

    /// Ends encoder and listener, and returns when they are gone.
    pub async fn shutdown(&self) {
        self.let_go().await;
        let packager = &self.inner.event.packager;
        let working = packager.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Working { thread, fillers, .. }) = working {
            // Whoever deletes the event's folder finds it again otherwise.
            fillers.abort();
            let _ = fillers.await;
            // A ledger or disk that fails holds the packager; an ending process need not wait for
            // it, so it is looked at and not joined.
            let gone = async {
                while !thread.is_finished() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            if tokio::time::timeout(SHUTDOWN, gone).await.is_err() {
                tracing::error!("the packager cannot publish what it holds; it is given up");
            }
        }
    }

    /// What it has, once its ladder is known.
    pub(crate) fn media(&self) -> Option<Arc<Media>> {
        self.inner.event.media.borrow().clone()
    }
}
