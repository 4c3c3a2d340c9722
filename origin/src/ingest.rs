//! Inputs: what feeds the encoder, and when it is started again.
//!
//! The generated inputs (test match and file) are supervised here; a publisher is in [`rtmp`]. An
//! input that fails is started again on the same timeline, for as long as the event lives.

mod contest;
pub mod flv;
mod port;
pub(crate) mod publisher;
mod publishers;
pub mod rtmp;
pub mod ts;

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::clock::now_ms;
use crate::demo::testmatch;
use crate::encode::folder::RunFolder;
use crate::encode::ladder::Plan;
use crate::encode::probe::probe_file;
use crate::encode::run::{self, Job};
use crate::grid::{Grid, Kind};
use crate::package::queue::Sink;
pub use port::Input;
pub(crate) use port::Intake;
pub use publishers::{KeyTaken, Publishers, Slot};
pub use rtmp::Limits;

/// A run that lasted this long was healthy: the next one starts at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Takes publishers by RTMP for as long as it is polled.
pub async fn listen(listener: tokio::net::TcpListener, publishers: Publishers, limits: Limits) {
    rtmp::serve(listener, publishers, limits).await;
}

/// Runs the test match or a file, again and again.
pub(crate) async fn generate<E: Intake>(event: E, input: Input, sink: Sink) {
    let mut pause = Backoff::default();
    loop {
        let Some(plan) = event.plan() else {
            return;
        };
        let lasted = match prepare(&input, event.grid(), plan).await {
            Ok(job) => run::run(job, &sink).await,
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
async fn prepare(input: &Input, grid: Grid, plan: Plan) -> std::io::Result<Job> {
    let folder = RunFolder::new()?;
    // Before the date is set: a probe takes as long as it takes, and the run would be late by it
    // for good.
    let file = match input {
        Input::File(path) => probe_file(path).await.ok(),
        Input::TestMatch | Input::Publisher(_) => None,
    };
    let first_frame = next_part(&grid, now_ms());
    let input = match input {
        Input::TestMatch => testmatch::arguments(&plan, &grid, first_frame, folder.path())?,
        Input::File(path) => {
            file_arguments(path, &plan, &grid, file.map_or(0, |file| file.audio_tracks))
        }
        Input::Publisher(_) => Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

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
