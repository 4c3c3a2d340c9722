//! What an event has once its ladder is known: its tracks, and what viewers can choose of them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::newest::Newest;
use crate::breaks::on_air::Breaks;
use crate::creative::Library;
use crate::encode::ladder::{Plan, audio_id};
use crate::grid::{Grid, Kind};
use crate::package::end::End;
use crate::package::inits::Inits;
use crate::store::{Disk, Track};

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

/// What an event has once its ladder is known.
pub(crate) struct Media {
    pub(crate) epoch: Arc<str>,
    pub(crate) grid: Grid,
    pub(crate) plan: Plan,
    pub(crate) tracks: Vec<Arc<Track>>,
    pub(crate) inits: Arc<Inits>,
    /// The newest playlist of each track.
    pub(crate) playlists: Vec<Newest>,
    pub(crate) window_segments: u64,
    /// No playlist begins before this segment.
    pub(crate) listed_from: u64,
    pub(crate) end: Arc<End>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) breaks: Arc<dyn Breaks>,
    pub(crate) library: Library,
}

/// Bits a second of what is around the sound's frames, with parts of 100 ms. At few bits it is more
/// than any share of them.
const SOUND_CONTAINER: u64 = 9600;

/// Target durations of media without which nobody can join.
const LEAST_TARGETS: u64 = 3;

/// Whether a player could begin with this track. Its init segment is there before its first media.
pub(super) fn can_play(track: &Track, inits: &Inits, at: usize, grid: &Grid) -> bool {
    inits.codecs(at).is_some() && is_long_enough(track, grid)
}

/// Three segments of sound may be some milliseconds short of it.
fn is_long_enough(track: &Track, grid: &Grid) -> bool {
    track.whole_ms() >= LEAST_TARGETS * grid.target_duration_s() * 1000
}

impl Media {
    pub(super) fn renditions(self: Arc<Self>) -> Vec<Rendition> {
        let codecs: Option<Vec<String>> =
            (0..self.tracks.len()).map(|track| self.inits.codecs(track)).collect();
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
            frame_rate: Some(grid.rate(rung.kind())),
            // The encoder's buffer of half a second can add a quarter to a segment of two; the
            // rest is container.
            bandwidth: u64::from(rung.bitrate) * 13 / 10,
            average_bandwidth: u64::from(rung.bitrate) * 105 / 100,
            language: None,
            name: format!("{}p", rung.height),
            channels: None,
            phases: grid.phases(rung.kind()),
            default: i == 0,
        });
        let audio = self.plan.audio.iter().enumerate().map(|(i, language)| Rendition {
            id: audio_id(language),
            kind: Kind::Audio,
            codecs: String::new(),
            width: None,
            height: None,
            frame_rate: None,
            bandwidth: u64::from(self.plan.audio_bitrate) * 12 / 10 + SOUND_CONTAINER,
            average_bandwidth: u64::from(self.plan.audio_bitrate) + SOUND_CONTAINER,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::{DiskLimits, Part, Store};

    #[test]
    fn nobody_joins_before_three_target_durations_of_each_track_are_listed() {
        // Of four segments of sound, one is shorter than the target duration.
        for (kind, begins, least) in [
            (Kind::Video, 1, 3),
            (Kind::Audio, 0, 3),
            (Kind::Audio, 1, 4),
            (Kind::Audio, 2, 4),
            (Kind::Audio, 3, 4),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
            let renditions = [("track".to_owned(), kind)];
            let limits = DiskLimits::default();
            let mut store = Store::open(folder.path(), grid, &renditions, 30, limits).unwrap();
            let track = Arc::clone(&store.tracks()[0]);
            let mut listed = 0;
            while !is_long_enough(&track, &grid) {
                let msn = begins + listed;
                for index in 0..grid.parts(kind, msn) {
                    let data = Some("media".into());
                    store.publish(0, &Part { msn, index, data, independent: true });
                }
                listed += 1;
            }
            assert_eq!(listed, least, "{kind:?} from {begins} on");
        }
    }
}
