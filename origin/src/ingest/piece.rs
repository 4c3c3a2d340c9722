//! What publishers send, whatever brought it: pictures and sounds in a container that the encoder
//! reads, and what it must know before them.

use bytes::Bytes;
use sightscreen_wire::flv::{self, Tag};
use sightscreen_wire::ts::{self, Mux};

/// Ticks of a transport stream in a millisecond.
const TICKS_PER_MS: i64 = ts::TICKS / 1000;

/// Which of a publisher's tracks something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// The picture.
    Picture,
    /// One of its sounds, in their order.
    Sound(usize),
}

/// A picture or some sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) track: Track,
    /// When it is decoded, in milliseconds of the publisher's clock.
    pub(crate) time: u32,
    /// Ticks from then to when it is shown, where the container does not say it in the data.
    pub(crate) shown_after: i64,
    /// Whether decoding the picture can start with it.
    pub(crate) is_key: bool,
    /// Coded, as the container has it.
    pub(crate) data: Bytes,
}

/// In what the encoder is given pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Container {
    /// Tags.
    Flv,
    /// A transport stream of these: the picture, if there is one, and then the sounds.
    Ts(Vec<ts::Stream>),
}

/// What comes before pieces. Where it changes, a new run of the encoder begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) container: Container,
    /// What the picture's decoder is set up by, once it is known.
    pub(crate) picture: Option<Bytes>,
    /// The same of each sound.
    pub(crate) sounds: Vec<Bytes>,
}

/// How one setup follows another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetupChange {
    Nothing,
    /// Something came that there was not: pieces so far are good.
    More,
    /// The sound is coded otherwise: pictures so far are good.
    Sound,
    /// Pieces so far cannot be decoded any more.
    Other,
}

impl Piece {
    pub(crate) fn is_picture(&self) -> bool {
        self.track == Track::Picture
    }
}

impl Setup {
    /// How it follows an older one.
    pub(crate) fn after(&self, older: &Self) -> SetupChange {
        let is_kept = |old: &Option<Bytes>| old.is_none() || *old == self.picture;
        match self {
            _ if self == older => SetupChange::Nothing,
            _ if self.container == older.container
                && is_kept(&older.picture)
                && self.sounds.starts_with(&older.sounds) =>
            {
                SetupChange::More
            }
            _ if self.container == older.container && self.picture == older.picture => {
                SetupChange::Sound
            }
            _ => SetupChange::Other,
        }
    }

    /// The same without its sounds, or without its picture.
    pub(crate) fn only(&self, picture: bool) -> Self {
        let container = match &self.container {
            Container::Flv => Container::Flv,
            Container::Ts(streams) => {
                let is_its = |stream: &&ts::Stream| stream.codec.is_picture() == picture;
                Container::Ts(streams.iter().filter(is_its).cloned().collect())
            }
        };
        match picture {
            true => Self { container, picture: self.picture.clone(), sounds: Vec::new() },
            false => Self { container, picture: None, sounds: self.sounds.clone() },
        }
    }
}

/// Writes one run's pieces in their container.
#[derive(Debug)]
pub(crate) enum Writer {
    Flv,
    Ts {
        mux: Mux,
        /// Streams before the first sound.
        pictures: usize,
    },
}

impl Writer {
    /// The writer, and what comes before the first piece.
    pub(crate) fn new(setup: &Setup) -> (Self, Vec<Bytes>) {
        match &setup.container {
            Container::Flv => {
                let tag = |video, data: &Bytes| Tag { video, time: 0, data: data.clone() };
                let picture = setup.picture.iter().map(|data| tag(true, data));
                let sound = setup.sounds.iter().take(1).map(|data| tag(false, data));
                let heads = picture.chain(sound).filter_map(|head| flv::tag(&head, 0));
                let header = flv::header(setup.picture.is_some(), !setup.sounds.is_empty());
                (Self::Flv, [header].into_iter().chain(heads).collect())
            }
            Container::Ts(streams) => {
                let pictures = streams.iter().filter(|stream| stream.codec.is_picture()).count();
                let mut mux = Mux::new(streams.clone());
                let head = mux.head();
                (Self::Ts { mux, pictures }, vec![head])
            }
        }
    }

    /// A piece with another time, in milliseconds. `None` where the container has no room for it.
    pub(crate) fn piece(&mut self, piece: &Piece, ms: u64) -> Option<Bytes> {
        match self {
            Self::Flv => {
                let tag = Tag { video: piece.is_picture(), time: 0, data: piece.data.clone() };
                flv::tag(&tag, u32::try_from(ms).unwrap_or(u32::MAX))
            }
            Self::Ts { mux, pictures } => {
                let at = match piece.track {
                    Track::Picture => (*pictures > 0).then_some(0)?,
                    Track::Sound(sound) => *pictures + sound,
                };
                let dts = i64::try_from(ms).ok()?.checked_mul(TICKS_PER_MS)?;
                mux.unit(at, dts.saturating_add(piece.shown_after), dts, &piece.data)
            }
        }
    }

    /// Arguments with which ffmpeg reads it from standard input.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = String> {
        let format = match self {
            Self::Flv => "flv",
            Self::Ts { .. } => "mpegts",
        };
        ["-f", format, "-probesize", "32768", "-analyzeduration", "0", "-i", "pipe:0"]
            .into_iter()
            .map(str::to_owned)
    }
}
