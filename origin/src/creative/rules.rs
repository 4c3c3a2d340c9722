//! What the settings say of creatives.

/// How creatives are made and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreativeRules {
    /// Longest creative, in seconds: all of it is in memory while it is made.
    pub most_s: u64,
    /// Loudness of every creative.
    pub loudness: Loudness,
    /// Bytes on disk past which no more are made.
    pub disk_bytes: u64,
    /// Bytes in memory.
    pub memory_bytes: usize,
}

impl Default for CreativeRules {
    /// The memory is enough for a break of two minutes of a full ladder.
    fn default() -> Self {
        Self {
            most_s: 120,
            loudness: Loudness::Lufs(-24),
            disk_bytes: 16 << 30,
            memory_bytes: 128 << 20,
        }
    }
}

/// How loud a sound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loudness {
    /// As it comes.
    Keep,
    /// This integrated loudness (EBU R 128), so that none startles.
    Lufs(i32),
}

impl Loudness {
    /// What brings a sound to it, to stand after other filters.
    pub(super) fn filter(self) -> String {
        match self {
            Self::Keep => String::new(),
            Self::Lufs(lufs) => format!(",loudnorm=I={lufs}:TP=-2:LRA=11"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::super::{Card, Clip, CreativeError, Library};
    use super::*;
    use crate::encode::encoder::Encoder;
    use crate::encode::ladder::{Plan, Rung};
    use crate::grid::Grid;

    fn library(folder: &Path, rules: CreativeRules) -> Library {
        let library = Library::new(folder.to_owned(), rules);
        let rung = Rung { width: 64, height: 36, bitrate: 100_000, half_rate: false };
        let plan = Plan { video: vec![rung], audio: vec!["en".to_owned()], ..Plan::default() };
        library.settle(plan, Grid::new(0, (25, 1), 2000, 200).unwrap());
        library
    }

    fn card(length_ms: u32) -> Clip {
        Clip::Card(Card { tone_hz: 440, length_ms, ..Card::slate(length_ms) })
    }

    /// Integrated loudness, in LUFS.
    fn loudness_of(file: &Path) -> f64 {
        let output = Command::new("ffmpeg")
            .args(["-hide_banner", "-nostdin", "-i"])
            .arg(file)
            .args(["-map", "0:a", "-af", "ebur128", "-f", "null", "-"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let (_, summary) = text.rsplit_once("Integrated loudness:").unwrap();
        let (_, value) = summary.split_once("I:").unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn creatives_are_as_loud_as_is_set_or_as_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("loud.mov");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=s=64x36:r=25:d=8"])
            .args(["-f", "lavfi", "-i", "sine=frequency=997:sample_rate=48000:duration=8"])
            .args(["-af", "volume=15dB", "-c:v", "libx264", "-c:a", "pcm_s16le"])
            .arg(&source)
            .status();
        assert!(made.unwrap().success());
        let own = loudness_of(&source);
        assert!(own > -10.0, "{own}");
        let cases =
            [(Loudness::Keep, own), (Loudness::Lufs(-23), -23.0), (Loudness::Lufs(-16), -16.0)];
        let mut ids = Vec::new();
        for (loudness, expected) in cases {
            let rules = CreativeRules { loudness, ..CreativeRules::default() };
            let id = library(folder.path(), rules).add(Clip::File(source.clone())).await.unwrap();
            let heard = loudness_of(&folder.path().join(&id).join("1.mp4"));
            assert!((heard - expected).abs() < 1.5, "{loudness:?}: {heard}, not {expected}");
            assert!(!ids.contains(&id), "{ids:?}");
            ids.push(id);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_finds_no_room_names_its_setting_and_slate_finds_room() {
        let folder = tempfile::tempdir().unwrap();
        let of = |rules| library(folder.path(), rules);
        let short = of(CreativeRules { most_s: 4, ..CreativeRules::default() });
        let error = short.add(card(4100)).await.unwrap_err();
        assert!(matches!(error, CreativeError::TooLong { most: 4, .. }), "{error}");
        assert!(error.to_string().contains("creative-max"), "{error}");
        short.add(card(4000)).await.unwrap();

        let full = of(CreativeRules { disk_bytes: 1, ..CreativeRules::default() });
        let error = full.add(card(2000)).await.unwrap_err();
        assert!(matches!(error, CreativeError::Failed { .. }), "{error}");
        assert!(error.to_string().contains("creative-cache-gb"), "{error}");
        // What was made is there still, and missing media has its slate.
        full.add(card(4000)).await.unwrap();
        let slate = full.slate(None, Encoder::X264).await.unwrap();
        assert_eq!(slate.fillers().await.unwrap().len(), 2);
    }
}
