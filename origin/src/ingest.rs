//! Inputs: what feeds the encoder, and when it is started again.
//!
//! The generated inputs (test match and file) are supervised here. Publishers come in by a protocol
//! each, and all of them feed the encoder through [`publisher`]. An input that fails is started
//! again on the same timeline, for as long as the event lives.

mod admitted;
mod contest;
mod file;
mod group;
mod piece;
mod port;
pub(crate) mod publisher;
mod publishers;
mod receive;
mod rtmp;
mod source_clock;
mod srt;
mod strangers;
mod ts;

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use prometheus::{IntCounterVec, Opts};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::sleep;

use crate::clock::now_ms;
use crate::demo::testmatch;
use crate::encode::folder::RunFolder;
use crate::encode::ladder::Plan;
use crate::encode::probe::probe_whole;
use crate::encode::run::{self, Job};
use crate::grid::{Grid, Kind};
use crate::package::queue::Sink;
use file::Played;
pub(crate) use port::Intake;
pub use port::{Input, InputState};
pub(crate) use publishers::Steps;
pub use publishers::{KeyTaken, Publishers, Slot, StreamKey};
pub(crate) use receive::Receiver;
pub use receive::{TsLimits, UdpSource};
pub use rtmp::Limits;
pub use srt::SrtLimits;

/// Publishers that were refused, by protocol, of all events: a wrong key names none.
#[must_use]
pub fn refusals() -> &'static IntCounterVec {
    static REFUSALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
        let help = "Publishers that were refused.";
        let options = Opts::new("sightscreen_publishers_refused_total", help);
        // It has a name and a label: nothing else is refused.
        let made = IntCounterVec::new(options, &["protocol"]);
        made.unwrap_or_else(|error| unreachable!("{error}"))
    });
    &REFUSALS
}

/// A run that lasted this long was healthy: the next one starts at once.
const HEALTHY: Duration = Duration::from_secs(10);

/// Longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How far a generated input may be from the grid, in milliseconds. Nobody sees half a second.
const SLEWED_MAX_MS: u64 = 500;

/// Where publishers come in.
#[derive(Debug, Clone, Copy)]
pub struct Entrances {
    /// By RTMP.
    pub rtmp: SocketAddr,
    /// By SRT; `None`: not at all.
    pub srt: Option<SocketAddr>,
    /// What they may take.
    pub limits: Limits,
    /// And what they may by SRT.
    pub srt_limits: SrtLimits,
}

/// Open entrances.
pub(crate) struct Doors {
    rtmp: TcpListener,
    srt: Option<UdpSocket>,
    entrances: Entrances,
}

/// A port is taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "--{protocol} {address}: cannot listen for publishers ({source}): stop what uses the port, or \
     choose another"
)]
pub struct EntranceError {
    /// The setting.
    protocol: &'static str,
    /// Asked address.
    address: SocketAddr,
    /// What the system said.
    source: std::io::Error,
}

impl Doors {
    /// Opens them.
    ///
    /// # Errors
    /// [`EntranceError`].
    pub(crate) async fn open(entrances: Entrances) -> Result<Self, EntranceError> {
        let of = |protocol, address| move |source| EntranceError { protocol, address, source };
        let Entrances { rtmp: address, srt, srt_limits, .. } = entrances;
        let rtmp = TcpListener::bind(address).await.map_err(of("rtmp", address))?;
        let open = |address| srt::bind(address, &srt_limits).map_err(of("srt", address));
        Ok(Self { rtmp, srt: srt.map(open).transpose()?, entrances })
    }

    /// Lets publishers in for as long as it is polled.
    pub(crate) async fn serve(self, publishers: Publishers) {
        let Entrances { limits, srt_limits, .. } = self.entrances;
        let by_srt = async {
            if let Some(socket) = self.srt {
                srt::serve(socket, publishers.clone(), srt_limits).await;
            }
        };
        tokio::join!(rtmp::serve(self.rtmp, publishers.clone(), limits), by_srt);
    }
}

/// Takes one transport stream after the other for as long as it is polled.
pub(crate) async fn receive<E: Intake>(
    event: E,
    receiver: Receiver,
    limits: TsLimits,
    sink: Option<Sink>,
) {
    let (sender, steps) = publishers::unkeyed(event.name());
    let received = receiver.run(sender, event.name().to_owned(), limits);
    tokio::join!(received, publisher::follow(event, steps, sink));
}

/// Runs the test match or a file, again and again.
pub(crate) async fn generate<E: Intake>(event: E, input: Input, sink: Sink) {
    let mut pause = Backoff::default();
    loop {
        let Some(plan) = event.plan() else {
            return;
        };
        let lasted = match prepare(&input, &event, plan).await {
            Ok(job) => tokio::select! {
                lasted = run::run(job, &sink) => lasted,
                lasted = left_behind() => lasted,
            },
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

/// Returns, with what has passed, once the origin's clock has been slewed by so much that a run
/// which ffmpeg paces is no longer where the grid is.
async fn left_behind() -> Duration {
    let (begun, begun_ms) = (tokio::time::Instant::now(), now_ms());
    loop {
        sleep(Duration::from_secs(1)).await;
        let passed = begun.elapsed();
        let steady_ms = begun_ms.saturating_add(passed.as_millis() as u64);
        if steady_ms.abs_diff(now_ms()) > SLEWED_MAX_MS {
            tracing::warn!("the clock was slewed: the generated input begins again");
            return passed;
        }
    }
}

/// Makes the next run ready and waits for the moment of its first frame, so that no picture is
/// dated before it was made.
async fn prepare<E: Intake>(input: &Input, event: &E, plan: Plan) -> std::io::Result<Job> {
    let (folder, grid, encoder) = (RunFolder::new()?, event.grid(), event.encoder());
    let used = encoder.used(None, &plan);
    // Before the date is set: a probe takes as long as it takes, and the run would be late by it
    // for good.
    let file = match input {
        Input::File(path) => {
            let source = probe_whole(path).await.map_err(std::io::Error::other)?;
            let deinterlace = event.deinterlace();
            let played = Played {
                path,
                source: &source,
                plan: &plan,
                encoder: used.encoder,
                grid: &grid,
                deinterlace,
            };
            played.arguments(folder.path())?
        }
        Input::TestMatch | Input::Publisher(_) | Input::Udp(_) | Input::Pipe(_) => Vec::new(),
    };
    let first_frame = next_part(&grid, now_ms());
    let input = match input {
        Input::TestMatch => {
            testmatch::arguments(&plan, used.encoder, &grid, first_frame, folder.path())?
        }
        Input::File(_) | Input::Publisher(_) | Input::Udp(_) | Input::Pipe(_) => file,
    };
    let start = grid.sample_ms(Kind::Video, first_frame);
    sleep(Duration::from_millis(start.saturating_sub(now_ms()))).await;
    Ok(Job { plan, grid, first_frame, encoder, used, input, folder, stdin: None })
}

/// The first frame of the first part that starts at or after a time.
#[must_use]
pub fn next_part(grid: &Grid, unix_ms: u64) -> u64 {
    let frame = grid.sample_at(Kind::Video, unix_ms);
    frame.next_multiple_of(u64::from(grid.part_frames))
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
