//! One running event: its input, ladder, packager and store, and the answers to everything below
//! `/live/{event}/`. What was published once is never published otherwise, whatever is killed and
//! restarted. Breaks are decided elsewhere: they come from [`Breaks`].

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::config::Secret;
use crate::creative::Library;
use crate::event::{LiveEvent, Working};
use crate::grid::{Grid, GridError, Kind};
use crate::ladder::{AUDIO_BITRATE, Plan, audio_id};
use crate::package::end::{End, EndError};
use crate::package::write::codec;
use crate::serve;
use crate::store::{Cursor, Track};

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
    /// Frames a second of the output; `None`: the file's own, 25 for the test match, 30 for a
    /// publisher.
    pub frame_rate: Option<(u32, u32)>,
    /// Segment duration asked for, in milliseconds.
    pub segment_ms: u32,
    /// Part target asked for, in milliseconds.
    pub part_ms: u32,
    /// Seconds of media that a playlist lists.
    pub window_s: u32,
    /// Seconds of media that stay on disk.
    pub dvr_s: u32,
}

/// Where picture and sound come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// The built-in match: field, ball, score, clocks, and a tone of its own per language.
    TestMatch,
    /// A media file, played in real time and looped.
    File(PathBuf),
    /// A publisher (OBS, ffmpeg) that connects to this address with the application `live` and this
    /// stream key.
    Rtmp {
        /// Address to listen on.
        listen: std::net::SocketAddr,
        /// Secret that the publisher must name as stream key.
        stream_key: Secret,
    },
}

/// What the ladder may use.
#[derive(Debug, Clone)]
pub struct LadderLimits {
    /// Tallest rung in lines; the source's own height limits as well.
    pub max_height: u32,
    /// Part of the machine's cores that encoding may use, 0 to 1.
    pub cpu_share: f64,
}

impl Default for LadderLimits {
    fn default() -> Self {
        Self { max_height: 1080, cpu_share: 0.25 }
    }
}

/// One track that viewers can choose; fixed for the event's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Identifier, as in URLs: `v720`, `a-en`.
    pub id: String,
    /// Picture or sound.
    pub kind: Kind,
    /// RFC 6381 codec.
    pub codecs: String,
    /// Pixels; `None` for audio.
    pub width: Option<u32>,
    /// Lines; `None` for audio.
    pub height: Option<u32>,
    /// Frames a second as numerator and denominator; `None` for audio.
    pub frame_rate: Option<(u32, u32)>,
    /// Peak bits a second of a segment.
    pub bandwidth: u64,
    /// Mean bits a second.
    pub average_bandwidth: u64,
    /// BCP 47 language; `None` for video.
    pub language: Option<String>,
    /// Name for a menu.
    pub name: String,
    /// Audio channels; `None` for video.
    pub channels: Option<u8>,
    /// After how many segments the cut repeats, see [`Grid::phases`].
    pub phases: u64,
    /// Whether a player chooses it unasked.
    pub default: bool,
}

/// How far publishing has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Position {
    /// First sequence number of which nothing is published in any rendition, and which no preload
    /// hint names.
    pub next_msn: u64,
}

/// A break as a playlist announces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateRange {
    /// Unique in the event, never used again.
    pub id: String,
    /// Unix milliseconds at which it starts.
    pub start_ms: u64,
    /// Planned length in milliseconds.
    pub planned_duration_ms: Option<u64>,
    /// Length in milliseconds once it is known for good.
    pub duration_ms: Option<u64>,
    /// Splice command (`splice_info_section`) out of the content.
    pub scte35_out: Option<Vec<u8>>,
    /// Splice command back into the content.
    pub scte35_in: Option<Vec<u8>>,
}

/// What a playlist says of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BreaksView {
    /// Ledger revision that the playlist is written under.
    pub revision: u64,
    /// Breaks that may be announced; those outside of the window are left out by the writer.
    pub dateranges: Vec<DateRange>,
}

/// Why the ledger could not freeze a segment; publishing is tried again.
#[derive(Debug, thiserror::Error)]
#[error("the ledger could not be written before segment {msn}: {reason}")]
pub struct FreezeError {
    /// The segment that waits.
    pub msn: u64,
    /// What failed.
    pub reason: String,
}

/// The ledger, as the packager and the playlist writer see it.
pub trait Breaks: Send + Sync + 'static {
    /// Called once for each sequence number that gets media or a gap, in order, before anything
    /// that names `msn` becomes visible in any rendition: its first part, or the preload hint for
    /// it, which is visible as soon as `msn - 1` is whole (RFC 8216bis 4.4.5.3: the hint's URI is
    /// the later part's, so what plays there must be frozen by then). Returns when what is frozen
    /// there is on disk. May block; runs on a thread of its own.
    ///
    /// # Errors
    /// When it is not on disk; nothing of `msn` is published, and the call is made again.
    fn before_publish(&self, msn: u64) -> Result<(), FreezeError>;

    /// What the playlists say now. Cheap: called for every playlist.
    fn view(&self) -> BreaksView;
}

/// Why an event cannot start; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Lengths and frame rate do not fit.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A folder or file cannot be used.
    #[error("{path}: {source}: check that the folder is writable and the disk is not full")]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// ffmpeg or ffprobe cannot be started.
    #[error(
        "{program} cannot be started ({reason}): install it, for example with `apt-get install ffmpeg`"
    )]
    Ffmpeg {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// What the system said.
        reason: String,
    },
    /// The input has no picture that can be read.
    #[error("the input {input} cannot be used: {reason}")]
    Input {
        /// File, or the kind of input.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The RTMP port is taken.
    #[error(
        "--rtmp {address}: cannot listen for a publisher ({source}): stop what uses the port, or choose another"
    )]
    Listen {
        /// Asked address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was kept of the event was damaged from outside.
    #[error(
        "{path} cannot be read ({reason}): restore it, or choose another data folder to start the event anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The data folder belongs to an event made with other settings.
    #[error(
        "the data folder {path} was made with other settings ({reason}): choose another folder, or these settings"
    )]
    Changed {
        /// The event's folder.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}

/// What an operator sees of an event's media.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `waiting` (no input yet), `live`, `interrupted` (input lost, gaps are published), or
    /// `ended`.
    pub state: &'static str,
    /// How far publishing has come.
    pub next_msn: u64,
    /// Milliseconds from a part's end on the grid to its publication, of the last part.
    pub behind_ms: u64,
    /// How often the encoder was started.
    pub encoder_starts: u64,
}

/// Longest wait for the packager at shutdown.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Segments of media without which nobody can join.
const LEAST_SEGMENTS: usize = 3;

/// A running event. Clones are handles of the same event.
#[derive(Clone)]
pub struct Live {
    inner: Arc<Inner>,
}

struct Inner {
    event: LiveEvent,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What an event has once its ladder is known.
pub(crate) struct Media {
    pub(crate) epoch: Arc<str>,
    pub(crate) grid: Grid,
    pub(crate) plan: Plan,
    pub(crate) tracks: Vec<Arc<Track>>,
    pub(crate) inits: Vec<OnceLock<Bytes>>,
    pub(crate) window_segments: u64,
    /// No playlist begins before this segment.
    pub(crate) listed_from: u64,
    pub(crate) end: Arc<End>,
    pub(crate) breaks: Arc<dyn Breaks>,
    pub(crate) library: Library,
}

impl Live {
    /// Starts the event, or goes on with what its data folder holds. Needs a Tokio runtime of
    /// several threads.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: LiveConfig, breaks: Arc<dyn Breaks>) -> Result<Self, StartError> {
        let (event, input) = LiveEvent::open(config, breaks).await?;
        let task = tokio::spawn(input);
        Ok(Self { inner: Arc::new(Inner { event, tasks: Mutex::new(vec![task]) }) })
    }

    /// What tells this event's media from that of an earlier event of the same name: made with the
    /// event's data, and part of the names of its objects and pods.
    #[must_use]
    pub fn epoch(&self) -> &str {
        &self.inner.event.epoch
    }

    /// The event's time base.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.inner.event.grid
    }

    /// What viewers can choose. Empty until the first picture is encoded; then fixed. Complete once
    /// [`Live::ready`] returned.
    #[must_use]
    pub fn renditions(&self) -> Vec<Rendition> {
        self.media().map(Media::renditions).unwrap_or_default()
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

    /// Returns when the renditions are known and each has three whole segments of media, the least
    /// that a live playlist may hold.
    pub async fn ready(&self) {
        let mut media = self.inner.event.media.subscribe();
        let Ok(media) = media.wait_for(Option::is_some).await.map(|media| media.clone()) else {
            return std::future::pending().await;
        };
        for media in media.iter() {
            for (track, init) in media.tracks.iter().zip(&media.inits) {
                // Looked at outside of the watch's lock, which the store takes while it holds the
                // segments'.
                let mut cursor = track.watch();
                while !can_play(track, init) {
                    if cursor.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// What an operator sees.
    #[must_use]
    pub fn status(&self) -> Status {
        let counters = &self.inner.event.counters;
        let starts = counters.starts.load(Ordering::Relaxed);
        let state = match (counters.running.load(Ordering::Relaxed), starts) {
            _ if self.is_over() => "ended",
            (1, _) => "live",
            (_, 0) => "waiting",
            _ => "interrupted",
        };
        let behind_ms = counters.behind_ms.load(Ordering::Relaxed);
        Status { state, next_msn: self.position().next_msn, behind_ms, encoder_starts: starts }
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
    }

    /// The creatives conditioned for this event.
    #[must_use]
    pub fn creatives(&self) -> Library {
        self.inner.event.library.clone()
    }

    /// Answers GET and HEAD of everything below `/live/{event}/`. Holds blocking playlist requests
    /// and hinted parts. The body of an answer to HEAD is for the server to drop.
    pub async fn handle(&self, request: &http::Request<()>) -> http::Response<Bytes> {
        let prefix = ["/live/", &self.inner.event.name, "/"].concat();
        let path = request.uri().path().strip_prefix(&prefix);
        match (self.media(), path) {
            (Some(media), Some(path)) => serve::answer(&media, request, path).await,
            _ => serve::refuse(&serve::not_found(1)),
        }
    }

    /// Ends encoder and listener, and returns when they are gone.
    pub async fn shutdown(&self) {
        self.let_go().await;
        let packager = &self.inner.event.packager;
        let working = packager.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Working { thread, .. }) = working {
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

    fn media(&self) -> Option<Arc<Media>> {
        self.inner.event.media.borrow().clone()
    }
}

/// Whether a player could begin with this track. Its init segment is there before its first media.
fn can_play(track: &Track, init: &OnceLock<Bytes>) -> bool {
    init.get().is_some_and(|init| codec(init).is_some()) && track.whole_segments() >= LEAST_SEGMENTS
}

impl Media {
    fn renditions(self: Arc<Self>) -> Vec<Rendition> {
        let codecs: Option<Vec<String>> =
            self.inits.iter().map(|init| init.get().and_then(|init| codec(init))).collect();
        let Some(codecs) = codecs else {
            return Vec::new();
        };
        let grid = &self.grid;
        let video = self.plan.video.iter().enumerate().map(|(i, rung)| Rendition {
            id: format!("v{}", rung.height),
            kind: Kind::Video,
            codecs: String::new(),
            width: Some(rung.width),
            height: Some(rung.height),
            frame_rate: Some(grid.fps),
            // The encoder's buffer of half a second can add a quarter to a segment of two; the
            // rest is container.
            bandwidth: u64::from(rung.bitrate) * 13 / 10,
            average_bandwidth: u64::from(rung.bitrate) * 105 / 100,
            language: None,
            name: format!("{}p", rung.height),
            channels: None,
            phases: grid.phases(Kind::Video),
            default: i == 0,
        });
        let audio = self.plan.audio.iter().enumerate().map(|(i, language)| Rendition {
            id: audio_id(language),
            kind: Kind::Audio,
            codecs: String::new(),
            width: None,
            height: None,
            frame_rate: None,
            bandwidth: u64::from(AUDIO_BITRATE) * 13 / 10,
            average_bandwidth: u64::from(AUDIO_BITRATE) * 11 / 10,
            language: Some(language.clone()),
            name: language_name(language),
            channels: Some(2),
            phases: grid.phases(Kind::Audio),
            default: i == 0,
        });
        let with_codec = |(rendition, codecs)| Rendition { codecs, ..rendition };
        video.chain(audio).zip(codecs).map(with_codec).collect()
    }
}

/// A language's own name, for a menu; its tag where it is not in this short list.
fn language_name(tag: &str) -> String {
    let name = match tag {
        "en" => "English",
        "hi" => "हिन्दी",
        "bn" => "বাংলা",
        "ta" => "தமிழ்",
        "te" => "తెలుగు",
        "mr" => "मराठी",
        "gu" => "ગુજરાતી",
        "kn" => "ಕನ್ನಡ",
        "ml" => "മലയാളം",
        "pa" => "ਪੰਜਾਬੀ",
        "es" => "Español",
        "fr" => "Français",
        "de" => "Deutsch",
        "pt" => "Português",
        other => other,
    };
    name.to_owned()
}
