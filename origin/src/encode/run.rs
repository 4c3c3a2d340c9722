//! One run of ffmpeg: its process, its sockets, and the samples that come out of them.
//!
//! Owns the process's life. Decides neither when to start it nor what its samples become.
//! Invariant: every socket is always read into memory, so that one slow reader never stalls the
//! other tracks.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::process::{Child, ChildStdin};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use super::encoder::{Chosen, Used};
use super::ffmpeg::{last_line, nice_ffmpeg};
use super::folder::RunFolder;
use super::ladder::Plan;
use super::track::{Place, Progress, STALL, TrackReader};
use crate::clock::now_ms;
use crate::grid::{Grid, Kind};
use crate::package::message::Message;
use crate::package::queue::{RunSink, Sink};
use crate::weighed;

/// What to run.
pub struct Job {
    /// The tracks.
    pub plan: Plan,
    /// The event's time base.
    pub grid: Grid,
    /// Grid frame of the first picture.
    pub first_frame: u64,
    /// What encodes the pictures.
    pub encoder: Chosen,
    /// What it was when the input's arguments were made.
    pub used: Used,
    /// Arguments up to the labels `[v0]`.., `[a0]`.., made for a folder in which texts may be put.
    pub input: Vec<String>,
    /// Folder of this run; removed at its end.
    pub folder: RunFolder,
    /// What is written to standard input.
    pub stdin: Option<weighed::Receiver<Bytes>>,
}

/// Tells the packager that the run is over, also when its future is dropped.
struct Ending(RunSink);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.send(Message::End);
    }
}

/// Runs ffmpeg until it ends, stalls, or the future is dropped. Tells in the log why it ended, and
/// returns how long it lasted.
pub async fn run(job: Job, sink: &Sink) -> Duration {
    let started = Instant::now();
    match Running::start(job, &sink.begin()) {
        Ok(running) => running.follow().await,
        Err(error) => tracing::error!(%error, "the encoder did not start"),
    }
    started.elapsed()
}

/// Why a run does not even start.
#[derive(Debug, thiserror::Error)]
enum NoStart {
    #[error("no socket for the encoder: {0}: make room where temporary files are")]
    Socket(std::io::Error),
    #[error(
        "ffmpeg cannot be started ({0}): install it, for example with `apt-get install ffmpeg`"
    )]
    Ffmpeg(std::io::Error),
}

/// A run that goes on. The readers are gone before its end is told.
struct Running {
    readers: JoinSet<Result<(), String>>,
    progress: Arc<Progress>,
    encoder: (Chosen, Used),
    begun: Instant,
    child: Child,
    complaints: Option<JoinHandle<String>>,
    input: Option<(weighed::Receiver<Bytes>, ChildStdin)>,
    _ending: Ending,
    _folder: RunFolder,
}

/// Why a run is over.
enum Why {
    /// The input ended; it is kept open, because silence made for a source without sound would run
    /// on after its end.
    Input(ChildStdin),
    Failed(String),
}

impl Running {
    fn start(job: Job, sink: &RunSink) -> Result<Self, NoStart> {
        let ending = Ending(sink.clone());
        let progress = Arc::new(Progress::begin());
        let readers = read_tracks(&job, sink, &progress).map_err(NoStart::Socket)?;
        let Job { plan, grid, first_frame, encoder, used, input, folder, stdin } = job;
        let url = |track: usize| format!("unix:{}", socket(&folder, track).display());
        let mut command = nice_ffmpeg(encoder.nice());
        let eager = eager_frames(&grid, first_frame);
        let outputs = plan.outputs_of_run(&grid, first_frame, eager, used.encoder, url);
        command.args(["-v", "warning"]).args(used.encoder.device()).args(input).args(outputs);
        command.stderr(Stdio::piped());
        if stdin.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(NoStart::Ffmpeg)?;
        let _ = sink.send(Message::Start { frame: first_frame });
        let complaints = child.stderr.take();
        Ok(Self {
            readers,
            progress,
            encoder: (encoder, used),
            begun: Instant::now(),
            input: stdin.zip(child.stdin.take()),
            complaints: complaints.map(|pipe| tokio::spawn(keep_tail(pipe))),
            child,
            _ending: ending,
            _folder: folder,
        })
    }

    /// Returns when it is over and all that it wrote is read.
    async fn follow(mut self) {
        let why = tokio::select! {
            status = self.child.wait() => Why::Failed(match status {
                Ok(status) => format!("ffmpeg ended: {status}"),
                Err(error) => format!("ffmpeg was lost: {error}"),
            }),
            () = self.progress.stalls() => {
                Why::Failed(format!("ffmpeg gave nothing for {} s or more", STALL.as_secs()))
            }
            Some(error) = first_error(&mut self.readers) => Why::Failed(error),
            pipe = feed(self.input.take()) => Why::Input(pipe),
        };
        let failed = matches!(why, Why::Failed(_));
        // On its own, so that it is told also when this run is dropped for the next one.
        let _ = tokio::spawn(close(self.child, self.complaints, why)).await;
        // What the process wrote before it ended is still in the sockets.
        let _ = timeout(Duration::from_millis(200), async {
            while self.readers.join_next().await.is_some() {}
        })
        .await;
        if failed {
            let (chosen, used) = self.encoder;
            chosen.failed(used, self.begun.elapsed()).await;
        }
    }
}

/// The first frames of a run in which every part has a key picture. A run that takes another's
/// place begins in the past, with the input's last key picture, and what was published meanwhile is
/// dropped: the first part that is new should be one that a decoder can start with.
fn eager_frames(grid: &Grid, first_frame: u64) -> u64 {
    let now = grid.sample_at(Kind::Video, now_ms());
    match now.saturating_sub(first_frame) {
        age if age < u64::from(grid.part_frames) => 0,
        age => age + u64::from(grid.segment_frames / 2),
    }
}

/// Ends the process, and tells why with its own words.
async fn close(mut child: Child, complaints: Option<JoinHandle<String>>, why: Why) {
    let _ = child.kill().await;
    let tail = match complaints {
        Some(task) => timeout(Duration::from_secs(1), task)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default(),
        None => String::new(),
    };
    let with_tail = |reason: String| match tail.is_empty() {
        true => reason,
        false => format!("{reason}; it said: {}", last_line(&tail)),
    };
    match why {
        Why::Input(pipe) => {
            drop(pipe);
            let reason = with_tail("the input ended".to_owned());
            tracing::info!(reason, "a run of the encoder ended");
        }
        Why::Failed(reason) => {
            let reason = with_tail(reason);
            tracing::error!(reason, "a run of the encoder ended");
        }
    }
}

fn socket(folder: &RunFolder, track: usize) -> PathBuf {
    folder.path().join(track.to_string())
}

/// A reader for each track, on its socket.
fn read_tracks(
    job: &Job,
    sink: &RunSink,
    progress: &Arc<Progress>,
) -> std::io::Result<JoinSet<Result<(), String>>> {
    let mut readers = JoinSet::new();
    for (track, (_, kind)) in job.plan.tracks().into_iter().enumerate() {
        let listener = UnixListener::bind(socket(&job.folder, track))?;
        let place = Place { track, kind, grid: job.grid, first_frame: job.first_frame };
        let reader = TrackReader::new(place, sink.clone(), Arc::clone(progress));
        readers.spawn(reader.read(listener));
    }
    Ok(readers)
}

/// Returns at the first reader that found something wrong; never while all read on or ended well.
async fn first_error(readers: &mut JoinSet<Result<(), String>>) -> Option<String> {
    loop {
        match readers.join_next().await {
            Some(Ok(Err(error))) => return Some(error),
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

/// Writes to the encoder's input until there is no more, and gives it back open. Without an input,
/// never returns.
async fn feed(feeder: Option<(weighed::Receiver<Bytes>, ChildStdin)>) -> ChildStdin {
    let Some((mut bytes, mut pipe)) = feeder else {
        return std::future::pending().await;
    };
    while let Some(piece) = bytes.recv().await {
        if pipe.write_all(&piece).await.is_err() {
            // The process is gone, which its exit status tells better.
            return std::future::pending().await;
        }
    }
    pipe
}

async fn keep_tail(mut pipe: tokio::process::ChildStderr) -> String {
    const KEEP: usize = 4096;
    let mut tail = BytesMut::new();
    while let Ok(1..) = pipe.read_buf(&mut tail).await {
        if tail.len() > 2 * KEEP {
            let _ = tail.split_to(tail.len() - KEEP);
        }
    }
    String::from_utf8_lossy(&tail).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Mutex;

    use tokio::time::sleep;

    use super::*;
    use crate::encode::encoder::Encoder;
    use crate::encode::ladder::Rung;
    use crate::package::queue::queue;

    fn job(input: &str) -> (Job, weighed::Sender<Bytes>) {
        let rung = Rung { width: 284, height: 160, bitrate: 300_000, half_rate: false };
        let (pipe, stdin) = weighed::queue(weighed::Bounds { items: 16, bytes: 1 << 20 });
        let job = Job {
            plan: Plan { video: vec![rung], ..Plan::default() },
            grid: Grid::new(0, (25, 1), 2000, 200).unwrap(),
            first_frame: 0,
            encoder: Chosen::new(Encoder::X264),
            used: Used { encoder: Encoder::X264, on_card: false },
            input: input.split(' ').map(str::to_owned).collect(),
            folder: RunFolder::new().unwrap(),
            stdin: Some(stdin),
        };
        (job, pipe)
    }

    /// What is logged on this thread.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_ffmpeg_said_is_told_also_when_the_next_run_takes_its_place() {
        let logged = Logged::default();
        let writer = logged.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone());
        let _default = tracing::subscriber::set_default(subscriber.finish());
        let (sink, _queue) = queue();
        let (job, pipe) = job("-f nonsense -i pipe:0");
        let task = tokio::spawn(async move { run(job, &sink).await });
        // The pipe closes with the process.
        while pipe.send(Bytes::from_static(&[0; 4096]), 4096).await.is_ok() {}
        task.abort();
        let said = || String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
        let told = async {
            while !said().contains("it said:") {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let told = timeout(Duration::from_secs(60), told).await;
        assert!(told.is_ok(), "{}", said());
        assert!(said().contains("nonsense"), "{}", said());
    }
}
