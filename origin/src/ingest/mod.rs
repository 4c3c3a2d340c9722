//! Inputs: what feeds the encoder, and when it is started again.
//!
//! The generated inputs (test match and file) are supervised here; a publisher is in [`rtmp`]. An
//! input that fails is started again on the same timeline, for as long as the event lives.

mod chunks;
pub mod flv;
mod publisher;
pub(crate) mod rtmp;
pub mod testmatch;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::sleep;

use crate::encoder::{self, Job, RunFolder};
use crate::event::LiveEvent;
use crate::grid::{Grid, Kind};
use crate::ladder::{Plan, Shape, last_line};
use crate::live::{Input, StartError};
use crate::package::packager::now_ms;
use crate::package::queue::Sink;

/// A run that lasted this long was healthy: the next one starts at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// What is known of a media file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape {
    /// The picture's size.
    pub shape: Shape,
    /// Frames a second, rounded to a rate in use.
    pub fps: (u32, u32),
    /// Tracks of sound.
    pub audio_tracks: usize,
    /// Length in milliseconds, where the file tells it.
    pub duration_ms: Option<u64>,
}

/// Runs the test match or a file, again and again.
pub(crate) async fn generate(event: LiveEvent, sink: Sink) {
    let mut pause = Backoff::default();
    loop {
        let Some(plan) = event.media.borrow().as_ref().map(|media| media.plan.clone()) else {
            return;
        };
        let lasted = match prepare(&event, plan).await {
            Ok(job) => encoder::run(job, &sink).await,
            Err(error) => {
                tracing::error!(%error, "the encoder's input cannot be prepared");
                Duration::ZERO
            }
        };
        let wait = pause.after(lasted);
        tracing::warn!(wait_ms = wait.as_millis() as u64, "starting the encoder again");
        sleep(wait).await;
    }
}

/// Makes the next run ready and waits for the moment of its first frame, so that no picture is
/// dated before it was made.
async fn prepare(event: &LiveEvent, plan: Plan) -> std::io::Result<Job> {
    let grid = event.grid;
    let folder = RunFolder::new()?;
    // Before the date is set: a probe takes as long as it takes, and the run would be late by it
    // for good.
    let file = match event.input() {
        Input::File(path) => probe_file(path).await.ok(),
        Input::TestMatch | Input::Rtmp { .. } => None,
    };
    let first_frame = next_part(&grid, now_ms());
    let input = match event.input() {
        Input::TestMatch => testmatch::arguments(&plan, &grid, first_frame, folder.path())?,
        Input::File(path) => {
            file_arguments(path, &plan, &grid, file.map_or(0, |file| file.audio_tracks))
        }
        Input::Rtmp { .. } => Vec::new(),
    };
    let start = grid.sample_ms(Kind::Video, first_frame);
    sleep(Duration::from_millis(start.saturating_sub(now_ms()))).await;
    Ok(Job { plan, grid, first_frame, input, folder, stdin: None })
}

/// The first frame of the first part that starts at or after a time.
#[must_use]
pub fn next_part(grid: &Grid, unix_ms: u64) -> u64 {
    let frame = grid.sample_at(Kind::Video, unix_ms);
    frame.next_multiple_of(u64::from(grid.part_frames))
}

fn file_arguments(path: &Path, plan: &Plan, grid: &Grid, audio_tracks: usize) -> Vec<String> {
    let mut args: Vec<String> =
        ["-re", "-stream_loop", "-1", "-fflags", "+genpts", "-i"].map(str::to_owned).into();
    args.push(path.display().to_string());
    args.extend(decode_graph(plan, grid, audio_tracks));
    args
}

/// The filter graph from input 0 to the labels of the outputs: a steady frame rate, and sound
/// without holes; silence where there is none.
pub(crate) fn decode_graph(plan: &Plan, grid: &Grid, audio_tracks: usize) -> [String; 2] {
    let (num, den) = grid.fps;
    let mut graph = plan.video_filters(&format!("[0:v:0]fps={num}/{den}:start_time=0,"));
    let rate = grid.audio_rate;
    for j in 0..plan.audio.len() {
        graph.push_str(&match j < audio_tracks {
            true => format!(";[0:a:{j}]aresample={rate}:async=1000:first_pts=0,aformat=channel_layouts=stereo[a{j}]"),
            false => format!(";anullsrc=r={rate}:cl=stereo[a{j}]"),
        });
    }
    ["-filter_complex".to_owned(), graph]
}

/// Pauses that grow while runs are short.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    /// How long to wait after a run of this length.
    pub(crate) fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= HEALTHY {
            self.0 = Duration::ZERO;
            return Duration::ZERO;
        }
        let pause = self.0;
        self.0 = (pause * 2).clamp(Duration::from_millis(250), LONGEST_PAUSE);
        pause
    }
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    streams: Vec<ProbeStream>,
    format: Option<ProbeFormat>,
}

#[derive(Deserialize)]
struct ProbeStream {
    codec_type: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
}

#[derive(Deserialize)]
struct ProbeFormat {
    duration: Option<String>,
}

/// Asks ffprobe about a file.
///
/// # Errors
/// When ffprobe cannot be started, or finds no picture.
pub async fn probe_file(path: &Path) -> Result<FileShape, StartError> {
    let name = path.display().to_string();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_entries"])
        .arg("stream=codec_type,width,height,avg_frame_rate:format=duration")
        .arg("-i")
        .arg(path)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| StartError::Ffmpeg { program: "ffprobe", reason: error.to_string() })?;
    let refuse = |reason: String| StartError::Input { input: name.clone(), reason };
    if !output.status.success() {
        return Err(refuse(last_line(&String::from_utf8_lossy(&output.stderr))));
    }
    let probe: Probe =
        serde_json::from_slice(&output.stdout).map_err(|error| refuse(error.to_string()))?;
    let is = |kind: &'static str| {
        move |stream: &&ProbeStream| stream.codec_type.as_deref() == Some(kind)
    };
    let video = probe
        .streams
        .iter()
        .find(is("video"))
        .ok_or_else(|| refuse("it has no picture".to_owned()))?;
    let (Some(width @ 1..), Some(height @ 1..)) = (video.width, video.height) else {
        return Err(refuse("its picture has no size".to_owned()));
    };
    let seconds =
        probe.format.and_then(|format| format.duration).and_then(|text| text.parse::<f64>().ok());
    Ok(FileShape {
        shape: Shape { width, height },
        fps: usual_rate(video.avg_frame_rate.as_deref().unwrap_or_default()),
        audio_tracks: probe.streams.iter().filter(is("audio")).count(),
        duration_ms: seconds.filter(|s| s.is_finite() && *s > 0.0).map(|s| (s * 1000.0) as u64),
    })
}

/// The nearest of the frame rates in use; files often tell theirs with an error.
fn usual_rate(text: &str) -> (u32, u32) {
    const RATES: [(u32, u32); 8] = [
        (24_000, 1001),
        (24, 1),
        (25, 1),
        (30_000, 1001),
        (30, 1),
        (50, 1),
        (60_000, 1001),
        (60, 1),
    ];
    let told = text
        .split_once('/')
        .and_then(|(num, den)| Some(num.parse::<f64>().ok()? / den.parse::<f64>().ok()?));
    let told = told.filter(|rate| rate.is_finite() && *rate > 0.0).unwrap_or(25.0);
    let far = |rate: &(u32, u32)| (f64::from(rate.0) / f64::from(rate.1) - told).abs();
    RATES.into_iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or((25, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_rates_are_rounded_to_those_in_use() {
        assert_eq!(usual_rate("30013/1000"), (30, 1));
        assert_eq!(usual_rate("30000/1001"), (30_000, 1001));
        assert_eq!(usual_rate("59940/1000"), (60_000, 1001));
        assert_eq!(usual_rate("0/0"), (25, 1));
    }

    #[test]
    fn pauses_grow_and_are_forgotten() {
        let mut pause = Backoff::default();
        let short = Duration::from_secs(1);
        let pauses: Vec<u64> = (0..7).map(|_| pause.after(short).as_millis() as u64).collect();
        assert_eq!(pauses, [0, 250, 500, 1000, 2000, 4000, 4000]);
        assert_eq!(pause.after(HEALTHY), Duration::ZERO);
        assert_eq!(pause.after(short), Duration::ZERO);
    }
}
