//! The ladder: which rungs an event has, by the speed of this machine, and how ffmpeg encodes them.
//! Content and creatives share the encoder's settings. A plan never changes during an event, and
//! never scales up.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::EncodeError;
use super::ffmpeg::{ffmpeg, last_line};
use crate::grid::{Grid, Kind};

/// Added to every timestamp that ffmpeg writes, in seconds: with it, an AAC encoder's priming does
/// not fall below zero.
pub const OFFSET_S: u64 = 10;

/// Bits a second of every audio track.
pub const AUDIO_BITRATE: u32 = 96_000;

/// Lines and bits a second, in the order in which rungs are taken while the machine can bear them.
const RUNGS: [(u32, u32); 5] =
    [(360, 700_000), (720, 3_000_000), (160, 300_000), (1080, 6_000_000), (480, 1_500_000)];

/// What decoding, filtering and generating costs beside encoding, as a share of the tallest rung's
/// encoding.
const OVERHEAD: f64 = 1.0;

/// Seconds of picture that the probe encodes.
const PROBE_S: f64 = 2.0;

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

/// The tracks of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Pictures, the tallest first.
    pub video: Vec<Rung>,
    /// Languages of the sound, the default first.
    pub audio: Vec<String>,
}

/// One size of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits a second.
    pub bitrate: u32,
}

/// The size of a source's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// The identifier of the audio rendition in that language.
#[must_use]
pub(crate) fn audio_id(language: &str) -> String {
    format!("a-{}", language.to_ascii_lowercase())
}

impl Plan {
    /// Identifier and kind of each track, in the order of all that counts tracks.
    #[must_use]
    pub fn tracks(&self) -> Vec<(String, Kind)> {
        let video = self.video.iter().map(|rung| (format!("v{}", rung.height), Kind::Video));
        let audio = self.audio.iter().map(|language| (audio_id(language), Kind::Audio));
        video.chain(audio).collect()
    }

    /// Filters from the picture `[source]` to `[v0]`, `[v1]`, ...: the shape is kept, and bars fill
    /// the rest.
    #[must_use]
    pub fn video_filters(&self, source: &str) -> String {
        let count = self.video.len();
        let mut graph = format!("{source}split={count}");
        (0..count).for_each(|i| graph.push_str(&format!("[s{i}]")));
        for (i, Rung { width, height, .. }) in self.video.iter().enumerate() {
            graph.push_str(&format!(
                ";[s{i}]scale={width}:{height}:flags=bilinear:force_original_aspect_ratio=decrease,\
                 pad={width}:{height}:-1:-1,setsar=1,format=yuv420p[v{i}]"
            ));
        }
        graph
    }

    /// Arguments for every output: the labels `[v0]`.. and `[a0]`.. of a filter graph, encoded on
    /// the grid and written to `url(track)`. The first frame of the graph is frame `first_frame` of
    /// the grid.
    #[must_use]
    pub fn outputs(
        &self,
        grid: &Grid,
        first_frame: u64,
        url: impl Fn(usize) -> String,
    ) -> Vec<String> {
        self.outputs_of_run(grid, first_frame, 0, url)
    }

    /// The same, with a key picture in every part of the first `eager` frames besides.
    #[must_use]
    pub fn outputs_of_run(
        &self,
        grid: &Grid,
        first_frame: u64,
        eager: u64,
        url: impl Fn(usize) -> String,
    ) -> Vec<String> {
        let (num, den) = grid.fps;
        let (segment, part) = (grid.segment_frames, grid.part_frames);
        let shift = first_frame % u64::from(segment);
        let at = format!("round(t*{num}/{den})");
        let mut keys = format!("expr:eq(mod({at}+{shift},{segment}),0)");
        if eager > 0 {
            keys.push_str(&format!("+lt({at},{eager})*eq(mod({at}+{shift},{part}),0)"));
        }
        let mut args = Vec::new();
        let mut add = |text: &str| args.extend(text.split(' ').map(str::to_owned));
        for (i, rung) in self.video.iter().enumerate() {
            let Rung { bitrate, .. } = rung;
            let threads = if rung.height > 480 { 2 } else { 1 };
            add(&format!(
                "-map [v{i}] -c:v libx264 -preset superfast -tune zerolatency -threads {threads}"
            ));
            add(&format!(
                "-b:v {bitrate} -maxrate {bitrate} -bufsize {} -sc_threshold 0",
                bitrate / 2
            ));
            add(&format!("-g {} -force_key_frames {keys} -r {num}/{den}", segment * 2));
            add(&format!("-video_track_timescale {}", grid.timescale(Kind::Video)));
            add(&format!("{} {}", muxer(), url(i)));
        }
        for j in 0..self.audio.len() {
            let url = url(self.video.len() + j);
            add(&format!("-map [a{j}] {} {url}", sound_output(grid.audio_rate)));
        }
        args
    }
}

/// Arguments for an output of sound, but for what goes in and where it goes.
fn sound_output(rate: u32) -> String {
    format!("-c:a aac -b:a {AUDIO_BITRATE} -ar {rate} -ac 2 {}", muxer())
}

/// Every sample comes as a fragment of its own, at once; the packager makes the parts.
fn muxer() -> String {
    format!(
        "-output_ts_offset {OFFSET_S} -f mp4 -movflags \
         +empty_moov+default_base_moof+cmaf+frag_discont+frag_every_frame -flush_packets 1"
    )
}

/// Chooses rungs for a source: none taller than it or the limit, and together within the share of
/// the machine that may be used. The measured speed is kept in `cache`, so that only the first
/// start of an installation measures.
///
/// # Errors
/// When ffmpeg cannot be started or cannot encode H.264.
pub async fn choose(
    source: Shape,
    fps: (u32, u32),
    limits: &LadderLimits,
    cache: &Path,
) -> Result<Vec<Rung>, EncodeError> {
    let cost = pixel_cost(cache).await?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let budget = cores as f64 * limits.cpu_share;
    let rungs = fit(source, fps, limits.max_height, budget / cost);
    tracing::info!(
        rungs = ?rungs.iter().map(|rung| rung.height).collect::<Vec<_>>(),
        cores, budget, cpu_seconds_per_megapixel = cost * 1e6, "the ladder is chosen"
    );
    Ok(rungs)
}

/// Takes rungs in the table's order while their pixels a second stay below `most`; always at least
/// one. The tallest comes first.
fn fit(source: Shape, fps: (u32, u32), max_height: u32, most: f64) -> Vec<Rung> {
    let rate = f64::from(fps.0) / f64::from(fps.1);
    let limit = source.height.min(max_height);
    let pixels = |rung: &Rung| f64::from(rung.width) * f64::from(rung.height) * rate;
    let mut taken: Vec<Rung> = Vec::new();
    for (height, bitrate) in RUNGS.into_iter().filter(|(height, _)| *height <= limit) {
        let rung = rung(source, height, bitrate);
        let rates = || taken.iter().chain([&rung]).map(pixels);
        let needed = rates().sum::<f64>() + OVERHEAD * rates().fold(0.0, f64::max);
        if taken.is_empty() || needed <= most {
            taken.push(rung);
        }
    }
    if taken.is_empty() {
        taken.push(rung(source, limit.max(2), RUNGS[2].1));
    }
    taken.sort_by_key(|rung| std::cmp::Reverse(rung.height));
    taken
}

fn rung(source: Shape, height: u32, bitrate: u32) -> Rung {
    let height = height & !1;
    let width = u64::from(source.width) * u64::from(height) / u64::from(source.height.max(1));
    Rung { width: (width as u32 & !1).max(2), height, bitrate }
}

/// CPU seconds that encoding one pixel takes here.
async fn pixel_cost(cache: &Path) -> Result<f64, EncodeError> {
    let kept = std::fs::read_to_string(cache).ok().and_then(|text| text.trim().parse::<f64>().ok());
    if let Some(cost) = kept.filter(|cost| cost.is_finite() && *cost > 0.0) {
        return Ok(cost);
    }
    let source = format!("testsrc2=size=640x360:rate=25:duration={PROBE_S}");
    let output = ffmpeg()
        .args(["-v", "info", "-benchmark", "-f", "lavfi", "-i", &source])
        .args(["-c:v", "libx264", "-preset", "superfast", "-tune", "zerolatency", "-threads", "1"])
        .args(["-f", "null", "-"])
        .output()
        .await
        .map_err(|error| EncodeError::Ffmpeg { program: "ffmpeg", reason: error.to_string() })?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let seconds = cpu_seconds(&text).ok_or_else(|| EncodeError::Ffmpeg {
        program: "ffmpeg",
        reason: format!("it cannot encode H.264 with libx264: {}", last_line(&text)),
    })?;
    let cost = seconds.max(0.01) / (640.0 * 360.0 * 25.0 * PROBE_S);
    if let Err(error) = std::fs::write(cache, format!("{cost:e}\n")) {
        tracing::warn!(path = %cache.display(), %error, "the measured speed is not kept");
    }
    Ok(cost)
}

/// Reads `bench: utime=0.123s stime=0.010s rtime=...`.
fn cpu_seconds(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("bench: utime="))?;
    let field = |name: &str| {
        let rest = &line[line.find(name)? + name.len()..];
        rest[..rest.find('s')?].parse::<f64>().ok()
    };
    Some(field("utime=")? + field("stime=")?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn heights(source: (u32, u32), most: f64) -> Vec<u32> {
        let shape = Shape { width: source.0, height: source.1 };
        fit(shape, (25, 1), 1080, most).iter().map(|rung| rung.height).collect()
    }

    #[test]
    fn rungs_never_exceed_the_source() {
        assert_eq!(heights((640, 360), f64::MAX), [360, 160]);
        assert_eq!(heights((1920, 1080), f64::MAX), [1080, 720, 480, 360, 160]);
        assert_eq!(heights((160, 120), f64::MAX), [120]);
    }

    #[test]
    fn a_slow_machine_gets_few_rungs_and_at_least_one() {
        assert_eq!(heights((1280, 720), 0.0), [360]);
        assert_eq!(heights((1920, 1080), 60e6), [720, 360, 160]);
    }

    #[test]
    fn widths_are_even_and_keep_the_shape() {
        let rung = rung(Shape { width: 1280, height: 720 }, 160, 1);
        assert_eq!((rung.width, rung.height), (284, 160));
    }

    #[test]
    fn the_benchmark_line_is_read() {
        let text = "x\nbench: utime=0.500s stime=0.250s rtime=0.9s\nbench: maxrss=1kB";
        assert_eq!(cpu_seconds(text), Some(0.75));
        assert_eq!(cpu_seconds("bench: utime=oops"), None);
    }
}
