//! What an input is, and what it needs of the event that it feeds.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::encode::EncodeError;
use crate::encode::encoder::Chosen;
use crate::encode::graph::Deinterlace;
use crate::encode::ladder::Plan;
use crate::encode::probe::Picture;
use crate::grid::Grid;
use crate::ingest::{StreamKey, UdpSource};
use crate::package::queue::Sink;

/// Where picture and sound come from.
#[derive(Debug, Clone)]
pub enum Input {
    /// The built-in match: field, ball, score, clocks, and a tone of its own per language.
    TestMatch,
    /// A media file, played in real time and looped.
    File(PathBuf),
    /// A publisher (OBS, ffmpeg) that names this stream key.
    Publisher(StreamKey),
    /// A transport stream in datagrams.
    Udp(UdpSource),
    /// A transport stream that another program writes into this named pipe.
    Pipe(PathBuf),
}

impl Input {
    /// What the event's status calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TestMatch => "test",
            Self::File(_) => "file",
            Self::Publisher(_) => "rtmp",
            Self::Udp(_) => "udp",
            Self::Pipe(_) => "pipe",
        }
    }

    /// Where it comes from, of those that have such a place.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::TestMatch | Self::Publisher(_) => None,
            Self::File(path) | Self::Pipe(path) => Some(path.display().to_string()),
            Self::Udp(source) => Some(source.to_string()),
        }
    }
}

/// What is known of an input while it runs. Shared with who reports it.
#[derive(Debug, Default)]
pub struct InputState {
    clock_offset_us: AtomicI64,
    clock_drift_ppb: AtomicI64,
    connected: AtomicBool,
    bytes: AtomicU64,
    lost: AtomicU64,
    /// Why what comes cannot be encoded.
    fault: Mutex<Option<String>>,
}

impl InputState {
    /// What comes cannot be encoded, for this reason; `None`: it can.
    pub(crate) fn note_fault(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// Why what comes cannot be encoded; `None` where it can, or nothing comes.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A publisher is there, or is not any more.
    pub(crate) fn note_publisher(&self, is_there: bool) {
        self.connected.store(is_there, Ordering::Relaxed);
    }

    /// So many coded bytes came from it.
    pub(crate) fn note_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many of its packets cannot be read, or are missing.
    pub(crate) fn note_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// Whether somebody publishes. Never where the input makes itself.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Coded bytes that publishers sent.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Packets of transport streams that could not be read; a hole counts once, however many are
    /// missing in it.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The publisher's clock has fallen behind by so many milliseconds since it began, and goes on
    /// to by so many millionths.
    pub(crate) fn note_clock(&self, offset_ms: f64, drift_ppm: f64) {
        self.clock_offset_us.store((offset_ms * 1e3) as i64, Ordering::Relaxed);
        self.clock_drift_ppb.store((drift_ppm * 1e3) as i64, Ordering::Relaxed);
    }

    /// How far the publisher's clock has fallen behind, in milliseconds; negative where it gained.
    #[must_use]
    pub fn clock_offset_ms(&self) -> f64 {
        self.clock_offset_us.load(Ordering::Relaxed) as f64 / 1e3
    }

    /// How fast it falls behind, in millionths.
    #[must_use]
    pub fn clock_drift_ppm(&self) -> f64 {
        self.clock_drift_ppb.load(Ordering::Relaxed) as f64 / 1e3
    }
}

/// An event, as an input sees it. Clones are the same event.
pub(crate) trait Intake: Clone + Send + Sync + 'static {
    /// Its identifier, for the log.
    fn name(&self) -> &str;

    /// Where the input tells how it is.
    fn input(&self) -> &InputState;

    /// Its time base. The rate of pictures may change until the tracks are settled.
    fn grid(&self) -> Grid;

    /// What encodes its pictures.
    fn encoder(&self) -> Chosen;

    /// What it makes of interlaced pictures.
    fn deinterlace(&self) -> Deinterlace;

    /// How long its last picture stands while sound goes on, in milliseconds.
    fn picture_hold_ms(&self) -> u64;

    /// Its tracks, once they are settled.
    fn plan(&self) -> Option<Plan>;

    /// How long a publisher may send sound alone before it is on the air without a picture.
    fn picture_wait(&self) -> Duration;

    /// Chooses rate and tracks for a publisher's picture, or for sound alone, and for so many
    /// sounds.
    fn choose(
        &self,
        picture: Option<&Picture>,
        sounds: usize,
    ) -> impl Future<Output = Result<Plan, EncodeError>> + Send;

    /// Settles the tracks, for good. Returns where the encoder's messages go.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn adopt(&self, plan: Plan) -> Result<Sink, String>;
}
