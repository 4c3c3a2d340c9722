//! One run of ffmpeg: its process, its sockets, and the samples that come out of them.
//!
//! Owns the process's life. Decides neither when to start it nor what its samples become. Invariant: every socket is always read
//! into memory, so that one slow reader never stalls the other tracks.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::process::ChildStdin;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::grid::{AAC_FRAME, Grid, Kind};
use crate::ladder::{self, OFFSET_S, Plan, last_line};
use crate::package::queue::{RunSink, Sink};
use crate::package::read::{Header, Item, Reader};

/// An encoder that gives no sample for this long is ended.
const STALL: Duration = Duration::from_secs(5);

/// What the packager is told, by a run of the encoder but for the last.
#[derive(Debug)]
pub enum Message {
    /// A run begins: nothing before this frame of the grid will come any more.
    Start {
        /// Frame of the grid.
        frame: u64,
    },
    /// How a track is decoded.
    Header {
        /// Position in [`Plan::tracks`].
        track: usize,
        /// Sample entry and size.
        header: Header,
    },
    /// One sample.
    Sample {
        /// Position in [`Plan::tracks`].
        track: usize,
        /// Index on the grid.
        index: u64,
        /// Whether decoding can start here.
        sync: bool,
        /// Coded bytes.
        data: Bytes,
    },
    /// The run is over.
    End,
    /// The event is over: the segments that are being made are the last.
    Finish {
        /// Where the answer goes: the first segment that will never be, or why the event goes on.
        reply: oneshot::Sender<std::io::Result<u64>>,
    },
}

/// What to run.
pub struct Job {
    /// The tracks.
    pub plan: Plan,
    /// The event's time base.
    pub grid: Grid,
    /// Grid frame of the first picture.
    pub first_frame: u64,
    /// Arguments up to the labels `[v0]`.., `[a0]`.., made for a folder in which texts may be put.
    pub input: Vec<String>,
    /// Folder of this run; removed at its end.
    pub folder: RunFolder,
    /// What is written to standard input.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
}

/// A short-lived folder whose path is short enough for a socket.
#[derive(Debug)]
pub struct RunFolder(PathBuf);

static RUNS: AtomicU64 = AtomicU64::new(0);

impl RunFolder {
    /// Makes a folder of its own.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written.
    pub fn new() -> std::io::Result<Self> {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sightscreen-{}-{run}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Removes what killed processes left.
    pub fn sweep() {
        let entries = std::fs::read_dir(std::env::temp_dir())
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries {
            let name = entry.file_name();
            let run = name
                .to_str()
                .and_then(|name| name.strip_prefix("sightscreen-"));
            let Some((pid, number)) = run.and_then(|run| run.split_once('-')) else {
                continue;
            };
            let ours = pid.parse::<u32>().is_ok() && number.parse::<u64>().is_ok();
            let processes = std::path::Path::new("/proc");
            if ours && processes.join("self").exists() && !processes.join(pid).exists() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Why, in words.
    pub reason: String,
    /// How long it lasted.
    pub lasted: Duration,
    /// Whether ffmpeg could not even be started.
    pub missing: bool,
}

/// Tells the packager that the run is over, also when its future is dropped.
struct Ending(RunSink);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.send(Message::End);
    }
}

/// Runs ffmpeg until it ends, stalls, or the future is dropped.
pub async fn run(job: Job, sink: &Sink) -> Ended {
    let started = Instant::now();
    let ended = |reason: String, missing: bool| Ended {
        reason,
        lasted: started.elapsed(),
        missing,
    };
    let Job {
        plan,
        grid,
        first_frame,
        input,
        folder,
        stdin,
    } = job;
    let sink = sink.begin();
    // Before the readers, so that they are gone when it is dropped.
    let ending = Ending(sink.clone());
    let mut readers = JoinSet::new();
    let last_sample = Arc::new(std::sync::Mutex::new(Instant::now()));
    for (track, (_, kind)) in plan.tracks().into_iter().enumerate() {
        let listener = match UnixListener::bind(folder.path().join(track.to_string())) {
            Ok(listener) => listener,
            Err(error) => return ended(format!("no socket for the encoder: {error}"), false),
        };
        let place = Place {
            track,
            kind,
            grid,
            first_frame,
        };
        readers.spawn(read_track(
            listener,
            place,
            sink.clone(),
            Arc::clone(&last_sample),
        ));
    }
    let url = |track: usize| format!("unix:{}", folder.path().join(track.to_string()).display());
    let mut command = ladder::ffmpeg();
    command
        .args(["-v", "warning"])
        .args(input)
        .args(plan.outputs(&grid, first_frame, url));
    command.stderr(Stdio::piped());
    if stdin.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return ended(error.to_string(), true),
    };
    let _ = sink.send(Message::Start { frame: first_frame });
    let feeder = stdin.zip(child.stdin.take());
    let complaints = child
        .stderr
        .take()
        .map(|pipe| tokio::spawn(keep_tail(pipe)));
    let reason = tokio::select! {
        status = child.wait() => match status {
            Ok(status) => format!("ffmpeg ended: {status}"),
            Err(error) => format!("ffmpeg was lost: {error}"),
        },
        () = stalled(&last_sample) => format!("ffmpeg gave nothing for {} s", STALL.as_secs()),
        Some(error) = first_error(&mut readers) => error,
        // Killed with its input still open: silence made for a source without sound would run on after its end.
        _pipe = feed(feeder) => "the input ended".to_owned(),
    };
    let _ = child.kill().await;
    let tail = match complaints {
        Some(task) => timeout(Duration::from_secs(1), task)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default(),
        None => String::new(),
    };
    // What the process wrote before it ended is still in the sockets.
    let _ = timeout(Duration::from_millis(200), async {
        while readers.join_next().await.is_some() {}
    })
    .await;
    readers.abort_all();
    drop(ending);
    match tail.is_empty() {
        true => ended(reason, false),
        false => ended(format!("{reason}; it said: {}", last_line(&tail)), false),
    }
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

async fn stalled(last_sample: &std::sync::Mutex<Instant>) {
    loop {
        let last = *last_sample
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let quiet = last.elapsed();
        if quiet >= STALL {
            return;
        }
        sleep(STALL - quiet).await;
    }
}

/// Writes to the encoder's input until there is no more, and gives it back open. Without an input, never returns.
async fn feed(feeder: Option<(mpsc::Receiver<Bytes>, ChildStdin)>) -> ChildStdin {
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

/// Where a track's samples stand on the grid.
#[derive(Debug, Clone, Copy)]
struct Place {
    track: usize,
    kind: Kind,
    grid: Grid,
    first_frame: u64,
}

impl Place {
    /// The grid index of a sample that ffmpeg stamped with `time`; `None` before the run's first frame.
    fn index(&self, time: u64, timescale: u32) -> Option<u64> {
        let scale = i128::from(timescale);
        let time = i128::from(time) - i128::from(OFFSET_S) * scale;
        let (num, den) = (i128::from(self.grid.fps.0), i128::from(self.grid.fps.1));
        let first = i128::from(self.first_frame);
        let index = match self.kind {
            Kind::Video => first + rounded(time * num, scale * den),
            Kind::Audio => {
                // In audio samples since the epoch; the nearest AAC frame is at most 11 ms away.
                let rate = i128::from(self.grid.audio_rate);
                let start = rounded(first * den * rate, num);
                rounded(start + rounded(time * rate, scale), i128::from(AAC_FRAME))
            }
        };
        u64::try_from(index).ok()
    }
}

fn rounded(num: i128, den: i128) -> i128 {
    (2 * num + den).div_euclid(2 * den)
}

async fn read_track(
    listener: UnixListener,
    place: Place,
    sink: RunSink,
    last_sample: Arc<std::sync::Mutex<Instant>>,
) -> Result<(), String> {
    let track = place.track;
    let (mut stream, _) = listener
        .accept()
        .await
        .map_err(|error| format!("track {track}: {error}"))?;
    let mut reader = Reader::default();
    let mut timescale = 1;
    let mut buffer = BytesMut::with_capacity(1 << 16);
    loop {
        buffer.clear();
        match stream.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        for item in reader
            .push(&buffer)
            .map_err(|error| format!("track {track}: {error}"))?
        {
            let message = match item {
                Item::Header(header) => {
                    timescale = header.timescale;
                    Message::Header { track, header }
                }
                Item::Sample(sample) => {
                    let Some(index) = place.index(sample.time, timescale) else {
                        continue;
                    };
                    Message::Sample {
                        track,
                        index,
                        sync: sample.sync,
                        data: sample.data,
                    }
                }
            };
            if sink.send(message).is_err() {
                return Ok(());
            }
        }
        *last_sample
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn samples_find_their_place() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let video = Place {
            track: 0,
            kind: Kind::Video,
            grid,
            first_frame: 505,
        };
        assert_eq!(video.index(10 * 25_000 + 1000, 25_000), Some(506));
        let audio = Place {
            kind: Kind::Audio,
            ..video
        };
        // 20.2 s are 946.875 AAC frames; the priming frame before it is frame 946.
        assert_eq!(audio.index(480_000, 48_000), Some(947));
        assert_eq!(audio.index(480_000 - 1024, 48_000), Some(946));
        let first = Place {
            first_frame: 0,
            ..audio
        };
        assert_eq!(first.index(480_000 - 1024, 48_000), None);
    }
}
