//! One run of the encoder, fed by a publisher's pieces.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::encode::folder::RunFolder;
use crate::encode::graph;
use crate::encode::probe::{Picture, probe_file};
use crate::encode::run::{self, Job};
use crate::grid::Kind;
use crate::ingest::Intake;
use crate::ingest::group::HELD;
use crate::ingest::piece::{Piece, Setup, Writer};
use crate::ingest::source_clock::SourceClock;
use crate::package::queue::Sink;
use crate::weighed::{self, Bounds};

/// What may wait for the encoder's pipe before a run is given up: all that is held, and what comes
/// while it starts.
const PIPE: Bounds = Bounds { items: HELD.items + 1024, bytes: HELD.bytes + (16 << 20) };

pub(super) struct Run {
    writer: Writer,
    pipe: weighed::Sender<Bytes>,
    task: AbortHandle,
    /// When its first picture is on the air, in Unix milliseconds.
    start_ms: u64,
    begun: Instant,
}

impl Run {
    /// Starts the encoder for pieces from `first_ms` on, in the place of all that run. Without a
    /// picture, the slate is encoded in its place.
    pub(super) fn start<E: Intake>(
        event: &E,
        setup: &Setup,
        picture: Option<&Picture>,
        first_ms: u64,
        sink: Sink,
        encoders: &mut JoinSet<()>,
    ) -> Result<Self, String> {
        let plan = event.plan().ok_or("no ladder")?;
        let grid = event.grid();
        let frame = grid.sample_at(Kind::Video, first_ms);
        let first_frame = frame - frame % u64::from(grid.part_frames);
        let (pipe, stdin) = weighed::queue(PIPE);
        let setup = if picture.is_some() { setup } else { &setup.only(false) };
        let (writer, head) = Writer::new(setup);
        if !head.into_iter().all(|bytes| put(&pipe, bytes)) {
            return Err("the encoder's pipe is full".to_owned());
        }
        let (sounds, deinterlace) = (setup.sounds.len(), event.deinterlace());
        let encoder = event.encoder();
        let used = encoder.used(picture, &plan);
        let graphs = graph::of_stream(picture, sounds, &plan, used, &grid, deinterlace);
        let decoding = graph::decoding(used).iter().map(|arg| (*arg).to_owned());
        let input = decoding.chain(writer.arguments()).chain(graphs).collect();
        let folder = RunFolder::new().map_err(|error| error.to_string())?;
        let job = Job { plan, grid, first_frame, encoder, used, input, folder, stdin: Some(stdin) };
        encoders.abort_all();
        while encoders.try_join_next().is_some() {}
        let task = encoders.spawn(async move {
            run::run(job, &sink).await;
        });
        let start_ms = grid.sample_ms(Kind::Video, first_frame).min(first_ms);
        Ok(Self { writer, pipe, task, start_ms, begun: Instant::now() })
    }

    /// Whether the encoder still takes pieces. What lies before its first picture is left out.
    pub(super) fn send(&mut self, piece: &Piece, clock: &SourceClock) -> bool {
        let Some(time) = clock.at(piece.time).checked_sub(self.start_ms) else {
            return true;
        };
        let bytes = self.writer.piece(piece, time);
        bytes.is_none_or(|bytes| put(&self.pipe, bytes))
    }

    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    pub(super) fn lasted(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Whether the encoder's pipe took it.
fn put(pipe: &weighed::Sender<Bytes>, bytes: Bytes) -> bool {
    let length = bytes.len();
    pipe.try_send(bytes, length)
}

/// Asks ffprobe about a publisher's picture, of which these pieces are known.
pub(super) async fn probe_picture(setup: &Setup, group: &[Piece]) -> Result<Picture, String> {
    let folder = RunFolder::new().map_err(|error| error.to_string())?;
    let path = folder.path().join("pictures");
    let base = group.first().map_or(0, |piece| piece.time);
    let (mut writer, head) = Writer::new(&setup.only(true));
    let pictures = group.iter().filter(|piece| piece.is_picture());
    let pictures =
        pictures.filter_map(|piece| writer.piece(piece, piece.time.wrapping_sub(base).into()));
    let bytes: Vec<u8> = head.into_iter().chain(pictures).flatten().collect();
    std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
    let source = probe_file(&path).await.map_err(|error| error.to_string())?;
    source.picture.ok_or_else(|| "the publisher's picture cannot be read".to_owned())
}
