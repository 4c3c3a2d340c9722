//! One track of a run: its socket, and where its samples stand on the grid.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::UnixListener;
use tokio::time::{Instant, sleep};

use super::ladder::OFFSET_S;
use crate::grid::{AAC_FRAME, Grid, Kind};
use crate::mp4::read::{Item, Reader, Sample};
use crate::package::message::{Message, Placed};
use crate::package::queue::{Closed, RunSink};

/// An encoder that gives no sample for this long is ended: longer than any publisher is waited for.
pub(super) const STALL: Duration = Duration::from_secs(10);

/// More patience with the first sample: on a machine with much to do, ffmpeg starts slowly, and a
/// new one would start no faster.
const START: Duration = Duration::from_secs(5);

/// How far a run has come.
pub(super) struct Progress {
    last_sample: Mutex<Instant>,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Self { last_sample: Mutex::new(Instant::now() + START) }
    }

    fn came(&self) {
        *self.last_sample.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when there was nothing for too long.
    pub(super) async fn stalls(&self) {
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

/// Where a track's samples stand on the grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) track: usize,
    pub(super) kind: Kind,
    pub(super) grid: Grid,
    pub(super) first_frame: u64,
}

impl Place {
    /// The grid index of a sample that ffmpeg stamped with `time`; `None` before the run's first
    /// frame.
    fn index(&self, time: u64, timescale: u32) -> Option<u64> {
        let scale = i128::from(timescale);
        let time = i128::from(time) - i128::from(OFFSET_S) * scale;
        let (num, den) = (i128::from(self.grid.fps.0), i128::from(self.grid.fps.1));
        let first = i128::from(self.first_frame);
        let index = match self.kind {
            Kind::Video => first + rounded(time * num, scale * den),
            // A run begins with a whole part, so with a frame that a half rate has too.
            Kind::HalfVideo => first / 2 + rounded(time * num, scale * den * 2),
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

/// Reads one track's socket.
pub(super) struct TrackReader {
    place: Place,
    sink: RunSink,
    progress: Arc<Progress>,
    timescale: u32,
}

impl TrackReader {
    pub(super) fn new(place: Place, sink: RunSink, progress: Arc<Progress>) -> Self {
        Self { place, sink, progress, timescale: 1 }
    }

    pub(super) async fn read(mut self, listener: UnixListener) -> Result<(), String> {
        let track = self.place.track;
        let (mut stream, _) =
            listener.accept().await.map_err(|error| format!("track {track}: {error}"))?;
        let mut reader = Reader::default();
        let mut buffer = BytesMut::with_capacity(1 << 16);
        loop {
            buffer.clear();
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => self.progress.came(),
            }
            let items = reader.push(&buffer).map_err(|error| format!("track {track}: {error}"))?;
            if self.tell(items).is_err() {
                return Ok(());
            }
        }
    }

    /// What came together is told together: to wake the packager costs more than a sample does.
    fn tell(&mut self, items: Vec<Item>) -> Result<(), Closed> {
        let track = self.place.track;
        let mut samples = Vec::new();
        for item in items {
            match item {
                // It comes once, before all samples.
                Item::Header(header) => {
                    self.timescale = header.timescale;
                    self.sink.send(Message::Header { track, header })?;
                }
                Item::Sample(Sample { time, sync, data }) => {
                    let index = self.place.index(time, self.timescale);
                    samples.extend(index.map(|index| Placed { index, sync, data }));
                }
            }
        }
        if samples.is_empty() {
            return Ok(());
        }
        self.sink.send(Message::Samples { track, samples, came: std::time::Instant::now() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

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
}
