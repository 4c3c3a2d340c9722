//! One run of ffmpeg: its process, its sockets, and the samples that come out of them.
//!
//! Owns the process's life. Decides neither when to start it nor what its samples become.
//! Invariant: every socket is always read into memory, so that one slow reader never stalls the
//! other tracks.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::process::{Child, ChildStdin};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::encoder::{Chosen, Encoder};
use super::ffmpeg::{ffmpeg, last_line};
use super::folder::RunFolder;
use super::ladder::{OFFSET_S, Plan};
use super::silence::silence;
use crate::grid::{AAC_FRAME, Grid, Kind};
use crate::mp4::read::{Item, Reader};
use crate::package::message::Message;
use crate::package::queue::{Closed, RunSink, Sink};

/// An encoder that gives no sample for this long is ended.
const STALL: Duration = Duration::from_secs(5);

/// More patience with the first sample: on a machine with much to do, ffmpeg starts slowly, and a
/// new one would start no faster.
const START: Duration = Duration::from_secs(10);

/// A sound this far behind the picture, in milliseconds, is taken for silent. Less than what makes
/// the packager give a track up.
const SILENT_MS: u64 = 1000;

/// Most silence that is made up for at once, in milliseconds; what is missing before it is gap.
const SILENCE_MS_MAX: u64 = 10_000;

/// How often a sound that does not come is looked after.
const LOOK: Duration = Duration::from_millis(100);

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
    /// Arguments up to the labels `[v0]`.., `[a0]`.., made for a folder in which texts may be put.
    pub input: Vec<String>,
    /// Folder of this run; removed at its end.
    pub folder: RunFolder,
    /// What is written to standard input.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
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
    encoder: (Chosen, Encoder),
    child: Child,
    complaints: Option<JoinHandle<String>>,
    input: Option<(mpsc::Receiver<Bytes>, ChildStdin)>,
    _ending: Ending,
    _folder: RunFolder,
}

/// How far a run has come.
struct Progress {
    last_sample: Mutex<Instant>,
    /// Where the furthest picture begins, in Unix milliseconds.
    picture_ms: AtomicU64,
}

impl Progress {
    fn begin(job: &Job) -> Self {
        let ms = job.grid.sample_ms(Kind::Video, job.first_frame);
        let last_sample = Mutex::new(Instant::now() + START);
        Self { last_sample, picture_ms: AtomicU64::new(ms) }
    }

    fn came(&self) {
        *self.last_sample.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when there was nothing for too long.
    async fn stalls(&self) {
        loop {
            let last = *self.last_sample.lock().unwrap_or_else(PoisonError::into_inner);
            let quiet = last.elapsed();
            if quiet >= STALL {
                return;
            }
            sleep(STALL - quiet).await;
        }
    }
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
        let progress = Arc::new(Progress::begin(&job));
        let readers = read_tracks(&job, sink, &progress).map_err(NoStart::Socket)?;
        let Job { plan, grid, first_frame, encoder, input, folder, stdin } = job;
        let used = encoder.current();
        let url = |track: usize| format!("unix:{}", socket(&folder, track).display());
        let mut command = ffmpeg();
        command.args(["-v", "warning"]).args(used.device()).args(input);
        command.args(plan.outputs(&grid, first_frame, used, url));
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
            chosen.failed(used).await;
        }
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
        let reader = TrackReader {
            place,
            sink: sink.clone(),
            progress: Arc::clone(progress),
            timescale: 1,
            next: place.first(),
            has_header: false,
            is_silent: false,
        };
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
    /// The first sample of the run.
    fn first(&self) -> u64 {
        self.index(OFFSET_S * u64::from(self.grid.audio_rate), self.grid.audio_rate).unwrap_or(0)
    }

    /// The grid index of a sample that ffmpeg stamped with `time`; `None` before the run's first
    /// frame.
    fn index(&self, time: u64, timescale: u32) -> Option<u64> {
        let scale = i128::from(timescale);
        let time = i128::from(time) - i128::from(OFFSET_S) * scale;
        let (num, den) = (i128::from(self.grid.fps.0), i128::from(self.grid.fps.1));
        let first = i128::from(self.first_frame);
        let index = match self.kind {
            Kind::Video => first + rounded(time * num, scale * den),
            Kind::Audio => {
                // In audio samples since segment 0; the nearest AAC frame is at most 11 ms away.
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

/// Reads one track's socket, and has silence stand in for sound that does not come.
struct TrackReader {
    place: Place,
    sink: RunSink,
    progress: Arc<Progress>,
    timescale: u32,
    /// The sample after the last one that was told.
    next: u64,
    has_header: bool,
    is_silent: bool,
}

impl TrackReader {
    async fn read(mut self, listener: UnixListener) -> Result<(), String> {
        let Place { track, kind, .. } = self.place;
        let (mut stream, _) =
            listener.accept().await.map_err(|error| format!("track {track}: {error}"))?;
        let mut reader = Reader::default();
        let mut buffer = BytesMut::with_capacity(1 << 16);
        loop {
            buffer.clear();
            tokio::select! {
                read = stream.read_buf(&mut buffer) => match read {
                    Ok(0) | Err(_) => return Ok(()),
                    Ok(_) => self.progress.came(),
                },
                () = sleep(LOOK), if kind == Kind::Audio => {}
            }
            let items = reader.push(&buffer).map_err(|error| format!("track {track}: {error}"))?;
            let told = items.into_iter().try_for_each(|item| self.tell(item));
            if told.is_err() || self.stand_in().await.is_err() {
                return Ok(());
            }
        }
    }

    fn tell(&mut self, item: Item) -> Result<(), Closed> {
        let Place { track, kind, grid, .. } = self.place;
        match item {
            Item::Header(header) => {
                self.timescale = header.timescale;
                self.has_header = true;
                self.sink.send(Message::Header { track, header })
            }
            Item::Sample(sample) => {
                let Some(index) = self.place.index(sample.time, self.timescale) else {
                    return Ok(());
                };
                if kind == Kind::Video {
                    let ms = grid.sample_ms(kind, index);
                    self.progress.picture_ms.fetch_max(ms, Ordering::Relaxed);
                }
                self.is_silent &= index < self.next;
                self.next = self.next.max(index + 1);
                self.sink.send(Message::Sample {
                    track,
                    index,
                    sync: sample.sync,
                    data: sample.data,
                })
            }
        }
    }

    /// Makes up for sound that is too far behind the picture. What comes of it later is late.
    async fn stand_in(&mut self) -> Result<(), Closed> {
        let Place { track, kind, grid, .. } = self.place;
        if kind == Kind::Video {
            return Ok(());
        }
        let due = self.progress.picture_ms.load(Ordering::Relaxed).saturating_sub(SILENT_MS);
        let due_index = grid.sample_at(kind, due);
        if self.next >= due_index {
            return Ok(());
        }
        let Some(silence) = silence(grid.audio_rate).await else { return Ok(()) };
        if !std::mem::replace(&mut self.is_silent, true) {
            tracing::warn!(track, "a sound does not come: silence stands in for it");
        }
        if !std::mem::replace(&mut self.has_header, true) {
            self.sink.send(Message::Header { track, header: silence.header.clone() })?;
        }
        let from = grid.sample_at(kind, due.saturating_sub(SILENCE_MS_MAX));
        for index in self.next.max(from)..due_index {
            let data = silence.frame.clone();
            self.sink.send(Message::Sample { track, index, sync: true, data })?;
        }
        self.next = due_index;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::encode::ladder::Rung;
    use crate::package::queue::queue;

    #[test]
    fn samples_find_their_place() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let video = Place { track: 0, kind: Kind::Video, grid, first_frame: 505 };
        assert_eq!(video.index(10 * 25_000 + 1000, 25_000), Some(506));
        let audio = Place { kind: Kind::Audio, ..video };
        // 20.2 s are 946.875 AAC frames; the priming frame before it is frame 946.
        assert_eq!(audio.index(480_000, 48_000), Some(947));
        assert_eq!(audio.index(480_000 - 1024, 48_000), Some(946));
        let first = Place { first_frame: 0, ..audio };
        assert_eq!(first.index(480_000 - 1024, 48_000), None);
    }

    fn job(input: &str) -> (Job, mpsc::Sender<Bytes>) {
        let rung = Rung { width: 284, height: 160, bitrate: 300_000 };
        let (pipe, stdin) = mpsc::channel(16);
        let job = Job {
            plan: Plan { video: vec![rung], audio: Vec::new() },
            grid: Grid::new(0, (25, 1), 2000, 200).unwrap(),
            first_frame: 0,
            encoder: Chosen::new(Encoder::X264),
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
        while pipe.send(Bytes::from_static(&[0; 4096])).await.is_ok() {}
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
