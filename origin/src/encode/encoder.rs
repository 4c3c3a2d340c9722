//! What encodes the picture: a card of the machine, or its processor.
//!
//! A card is believed only once it has really encoded: ffmpeg lists encoders whose card is absent.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::card;
use super::ffmpeg::{ffmpeg, last_line};
use super::ladder::{Plan, Rung, Shape};
use super::probe::Picture;
use crate::grid::Grid;

/// Longest that a trial may take.
const TRIAL: Duration = Duration::from_secs(20);

/// A run that lasted less failed at what it was asked to do.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What a trial encodes: the tallest usual picture.
const TRIED: Rung = Rung { width: 1920, height: 1080, bitrate: 6_000_000, half_rate: false };

/// An encoder of H.264.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoder {
    /// A card of NVIDIA's.
    Nvenc,
    /// Intel's Quick Sync.
    Qsv,
    /// Any card with a driver for VA-API.
    Vaapi,
    /// The processor.
    X264,
}

/// How much work x264 puts into a picture: the slower, the better it looks at the same bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The least.
    Ultrafast,
    /// What keeps up on small machines.
    #[default]
    Superfast,
    /// A step above.
    Veryfast,
    /// A step above that.
    Faster,
    /// Another.
    Fast,
    /// x264's own choice.
    Medium,
}

impl Preset {
    /// All, from the fastest on.
    pub const ALL: [Self; 6] =
        [Self::Ultrafast, Self::Superfast, Self::Veryfast, Self::Faster, Self::Fast, Self::Medium];

    /// As x264 and the settings write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
        }
    }
}

/// Cards, in the order in which they are tried.
const CARDS: [Encoder; 3] = [Encoder::Nvenc, Encoder::Qsv, Encoder::Vaapi];

impl Encoder {
    /// As settings and status write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nvenc => "nvenc",
            Self::Qsv => "qsv",
            Self::Vaapi => "vaapi",
            Self::X264 => "x264",
        }
    }

    /// The encoder of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        CARDS.into_iter().chain([Self::X264]).find(|encoder| encoder.name() == name)
    }

    /// Arguments before the first input: the card, where filters need it.
    #[must_use]
    pub fn device(self) -> &'static [&'static str] {
        match self {
            Self::X264 => &[],
            Self::Nvenc => &["-init_hw_device", "cuda=card", "-filter_hw_device", "card"],
            Self::Qsv => &["-init_hw_device", "qsv=card", "-filter_hw_device", "card"],
            Self::Vaapi => &["-init_hw_device", "vaapi=card", "-filter_hw_device", "card"],
        }
    }

    /// The last filters of a rung: its pixels where the encoder reads them.
    #[must_use]
    pub fn upload(self) -> &'static str {
        match self {
            Self::Nvenc | Self::X264 => "format=yuv420p",
            Self::Qsv => "format=nv12,hwupload=extra_hw_frames=64",
            Self::Vaapi => "format=nv12,hwupload",
        }
    }

    /// The encoder and its own options. Keys are where they are asked for and nowhere else, and
    /// each picture comes out before the next goes in. A card has no use for the preset.
    #[must_use]
    pub fn codec(self, rung: &Rung, preset: Preset) -> String {
        match self {
            Self::Nvenc => "-c:v h264_nvenc -preset p3 -tune ll -rc cbr -zerolatency 1 -delay 0 \
                 -forced-idr 1 -no-scenecut 1 -bf 0"
                .to_owned(),
            Self::Qsv => "-c:v h264_qsv -preset veryfast -async_depth 1 -look_ahead 0 \
                 -forced_idr 1 -bf 0"
                .to_owned(),
            Self::Vaapi => "-c:v h264_vaapi -rc_mode CBR -async_depth 1 -bf 0".to_owned(),
            Self::X264 => {
                let threads = if rung.height > 480 { 2 } else { 1 };
                let preset = preset.name();
                format!(
                    "-c:v libx264 -preset {preset} -tune zerolatency -threads {threads} \
                     -sc_threshold 0"
                )
            }
        }
    }

    /// Arguments of a run that encodes some pictures of the tallest usual size to `url`.
    fn trial(self, url: &str) -> Option<Vec<String>> {
        let grid = Grid::new(0, (30, 1), 2000, 200).ok()?;
        let plan = Plan { video: vec![TRIED], ..Plan::default() };
        let Rung { width, height, .. } = TRIED;
        let input = format!("testsrc2=size={width}x{height}:rate=30:duration=0.5");
        let graph = match self {
            Self::Nvenc => card::scaled("[0:v]hwupload,", &plan),
            _ => plan.video_filters("[0:v]", Some(Shape { width, height }), self),
        };
        let head = ["-f", "lavfi", "-i", &input, "-filter_complex", &graph].map(str::to_owned);
        let device = self.device().iter().map(|arg| (*arg).to_owned());
        Some(device.chain(head).chain(plan.outputs(&grid, 0, self, |_| url.to_owned())).collect())
    }

    /// Encodes some pictures.
    ///
    /// # Errors
    /// Why that failed, in ffmpeg's words.
    pub async fn try_out(self) -> Result<(), String> {
        if self == Self::Nvenc {
            card::look().await;
        }
        let arguments = self.trial("/dev/null").ok_or("no grid")?;
        let run = ffmpeg()
            .args(["-v", "error"])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output();
        let output = timeout(TRIAL, run)
            .await
            .map_err(|_| format!("it took more than {} s", TRIAL.as_secs()))?
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(said.lines().next().map_or_else(|| last_line(&said), last_line))
            }
        }
    }
}

/// The niceness at which encoders run unless set: they have the origin's own priority.
pub const NICE: u32 = 0;

/// The encoder in use by all events. Clones are the same choice.
#[derive(Debug, Clone)]
pub struct Chosen {
    encoder: Arc<Mutex<Encoder>>,
    /// Whether a card may decode and scale too.
    scales: Arc<AtomicBool>,
    nice: u32,
}

/// What one run encodes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// The encoder.
    pub encoder: Encoder,
    /// Whether the pictures stay on the card from decoding on.
    pub on_card: bool,
}

impl Chosen {
    /// This one, untried.
    #[must_use]
    pub fn new(encoder: Encoder) -> Self {
        let encoder = Arc::new(Mutex::new(encoder));
        Self { encoder, scales: Arc::new(AtomicBool::new(true)), nice: NICE }
    }

    /// The same at this niceness.
    #[must_use]
    pub fn at(self, nice: u32) -> Self {
        Self { nice, ..self }
    }

    /// The niceness at which it runs.
    #[must_use]
    pub fn nice(&self) -> u32 {
        self.nice
    }

    /// What is set, or the first card that works; the processor if none does.
    pub async fn choose(set: Option<Encoder>) -> Self {
        let cards: Vec<Encoder> = match set {
            Some(encoder) => vec![encoder],
            None => CARDS.to_vec(),
        };
        for card in cards.into_iter().filter(|card| *card != Encoder::X264) {
            let encoder = card.name();
            match (card.try_out().await, set) {
                (Ok(()), _) => {
                    tracing::info!(encoder, "the encoder is chosen: it encoded");
                    return Self::new(card);
                }
                (Err(reason), Some(_)) => {
                    tracing::error!(encoder, reason, "the configured encoder failed: using x264");
                }
                (Err(reason), None) => tracing::debug!(encoder, reason, "no such card"),
            }
        }
        tracing::info!(encoder = "x264", "the encoder is chosen");
        Self::new(Encoder::X264)
    }

    /// What encodes now.
    #[must_use]
    pub fn current(&self) -> Encoder {
        *self.held()
    }

    /// What a run of these pictures encodes with.
    #[must_use]
    pub fn used(&self, picture: Option<&Picture>, plan: &Plan) -> Used {
        let encoder = self.current();
        let may = encoder == Encoder::Nvenc && self.scales.load(Ordering::Relaxed);
        let on_card = may && picture.is_some_and(|picture| card::keeps(picture, plan));
        Used { encoder, on_card }
    }

    /// A run failed after so long. A card that does not encode any more is given up for the life of
    /// the process. One that does, and failed at once, does not decode or scale any more.
    pub async fn failed(&self, used: Used, lasted: Duration) {
        let Used { encoder, on_card } = used;
        if encoder == Encoder::X264 || self.current() != encoder {
            return;
        }
        let encoder = encoder.name();
        match used.encoder.try_out().await {
            Err(reason) => {
                tracing::error!(
                    encoder,
                    reason,
                    "the card does not encode any more: falling back to x264"
                );
                *self.held() = Encoder::X264;
            }
            Ok(()) if on_card && lasted < AT_ONCE => {
                tracing::warn!(encoder, "the processor decodes and scales from now on");
                self.scales.store(false, Ordering::Relaxed);
            }
            Ok(()) => {}
        }
    }

    fn held(&self) -> MutexGuard<'_, Encoder> {
        self.encoder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;

    fn help(of: &str) -> String {
        let output = Command::new("ffmpeg").args(["-hide_banner", "-h", of]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether a line of ffmpeg's help begins with these words.
    fn lists(help: &str, words: &[&str]) -> bool {
        help.lines().any(|line| line.split_whitespace().zip(words).all(|(is, asked)| is == *asked))
    }

    #[test]
    fn ffmpeg_knows_every_option_of_every_encoder_and_each_named_value() {
        let generic = ["-bf", "-threads"];
        for encoder in CARDS.into_iter().chain([Encoder::X264]) {
            let codec = encoder.codec(&TRIED, Preset::default());
            let words: Vec<&str> = codec.split_whitespace().collect();
            let help = help(&format!("encoder={}", words[1]));
            assert!(help.starts_with("Encoder "), "{}: {help}", words[1]);
            for pair in words[2..].chunks(2).filter(|pair| !generic.contains(&pair[0])) {
                let (option, value) = (pair[0], pair[1]);
                assert!(lists(&help, &[option]), "{} has no {option}", words[1]);
                let is_text = help.contains(&format!("{option:<18} <string>"));
                if value.parse::<u32>().is_err() && !is_text {
                    let (_, after) = help.split_once(&format!("  {option} ")).unwrap();
                    assert!(lists(after, &[value]), "{} {option} has no {value}", words[1]);
                }
            }
        }
    }

    /// Without a card, a trial fails at the card, and at nothing that is written in its arguments.
    #[tokio::test]
    async fn a_trial_fails_at_the_card_or_not_at_all() {
        assert_eq!(Encoder::X264.try_out().await, Ok(()));
        for card in CARDS {
            let Err(reason) = card.try_out().await else { continue };
            let at_the_card =
                ["Cannot load", "Device creation failed", "No capable devices", "No device"];
            assert!(at_the_card.iter().any(|word| reason.contains(word)), "{card:?}: {reason}");
        }
    }

    #[tokio::test]
    async fn a_card_that_fails_is_given_up_and_the_processor_is_not() {
        let cards = [Encoder::Nvenc, Encoder::Qsv, Encoder::Vaapi];
        for card in cards {
            let chosen = Chosen::new(card);
            let works = card.try_out().await.is_ok();
            let used = Used { encoder: card, on_card: true };
            chosen.failed(used, AT_ONCE).await;
            assert_eq!(chosen.current() == card, works);
            assert_eq!(Chosen::choose(Some(card)).await.current() == card, works);
        }
        let chosen = Chosen::new(Encoder::X264);
        let used = Used { encoder: Encoder::X264, on_card: false };
        chosen.failed(used, Duration::ZERO).await;
        assert_eq!(chosen.current(), Encoder::X264);
    }
}
