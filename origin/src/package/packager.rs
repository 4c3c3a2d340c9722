//! The packager's thread: takes the encoder's messages, cuts parts, and publishes them.
//!
//! Nothing of a sequence number is visible before the ledger has frozen it. While an input is lost
//! the timeline goes on without it; see [`Patience`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramOpts};
use tokio::runtime::Runtime;
use tokio::time::MissedTickBehavior;

use crate::breaks::on_air::Breaks;
use crate::clock::now_ms;
use crate::disk::Boot;
use crate::grid::{Grid, Kind};
use crate::package::assemble::Assembler;
use crate::package::end::{End, EndError};
use crate::package::filler::Filler;
use crate::package::inits::Inits;
use crate::package::message::{Message, Placed};
use crate::package::queue::Queue;
use crate::store::{Cursor, Part, Store, Track};
use crate::told::Told;

mod change;
mod fill;

use change::Coding;
pub use fill::Patience;

/// How often a failed freeze or write is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Longest wait for slate and silence that are on disk: one that hangs must not hold up the event.
const FILLERS_WAIT: Duration = Duration::from_secs(10);

/// How often the clock is looked at, and how long nothing must have come before that: half of the
/// shortest part.
const TICK: Duration = Duration::from_millis(50);

/// What the packager counts, for an operator.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bit `n`: the last part of track `n` was not the input's.
    lacking: AtomicU64,
    /// Milliseconds from the end of the last published video part on the grid to its publication.
    pub behind_ms: AtomicU64,
    /// Runs of the encoder.
    pub starts: AtomicU64,
    /// Whether a run goes on: 1 or 0.
    pub running: AtomicU64,
    /// Pictures of the first track that the encoder gave, those that came too late among them.
    pub pictures: AtomicU64,
    /// Published parts of the input.
    pub parts: AtomicU64,
    /// Published parts of slate and silence.
    pub fillers: AtomicU64,
    /// Published parts without media.
    pub gaps: AtomicU64,
}

/// From a part's last byte out of the encoder to its publication, of all events.
#[must_use]
pub fn part_seconds() -> &'static Histogram {
    static SECONDS: LazyLock<Histogram> = LazyLock::new(|| {
        let buckets = vec![1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0];
        let help = "From a part's last byte out of the encoder to its publication.";
        let options = HistogramOpts::new("sightscreen_part_seconds", help).buckets(buckets);
        // It has a name and buckets that rise: nothing else is refused.
        Histogram::with_opts(options).unwrap_or_else(|error| unreachable!("{error}"))
    });
    &SECONDS
}

impl Counters {
    /// Whether the last part of this track was not the input's.
    #[must_use]
    pub fn is_lacking(&self, track: usize) -> bool {
        self.lacking.load(Ordering::Relaxed) & bit(track) != 0
    }

    /// Returns whether that is new.
    fn set_lacking(&self, track: usize, lacking: bool) -> bool {
        let before = match lacking {
            true => self.lacking.fetch_or(bit(track), Ordering::Relaxed),
            false => self.lacking.fetch_and(!bit(track), Ordering::Relaxed),
        };
        (before & bit(track) != 0) != lacking
    }
}

fn bit(track: usize) -> u64 {
    u32::try_from(track).ok().and_then(|track| 1_u64.checked_shl(track)).unwrap_or(0)
}

/// What a packager works with.
pub struct Setup {
    /// Identifier of the event, for the log.
    pub event: String,
    /// Its time base.
    pub grid: Grid,
    /// Where parts go.
    pub store: Store,
    /// What is asked before they do.
    pub breaks: Arc<dyn Breaks>,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The init segments.
    pub inits: Arc<Inits>,
    /// Where the event ends.
    pub end: Arc<End>,
    /// How long parts are waited for.
    pub patience: Patience,
    /// Whether what was published last may be lost.
    pub boot: Boot,
}

/// Puts samples on the grid and publishes them.
pub struct Packager {
    event: String,
    grid: Grid,
    store: Store,
    breaks: Arc<dyn Breaks>,
    assemblers: Vec<Option<Assembler>>,
    /// What stands in for missing parts, once it is coded.
    fillers: Vec<Arc<Filler>>,
    /// Tracks of which nothing came since a part was missing.
    silent: Vec<bool>,
    frozen: Option<u64>,
    counters: Arc<Counters>,
    inits: Arc<Inits>,
    coding: Vec<Coding>,
    /// The first whole segment of the newest run.
    run_from: u64,
    end: Arc<End>,
    patience: Patience,
    boot: Boot,
}

/// Tries until it is done, and tells the failure now and then.
fn insist<E>(mut attempt: impl FnMut() -> Result<(), E>, tell: impl Fn(&E)) {
    let mut told = Told::default();
    while let Err(error) = attempt() {
        if told.due() {
            tell(&error);
        }
        std::thread::sleep(RETRY);
    }
}

impl Packager {
    /// A packager that goes on where the store ends.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { event, grid, store, breaks, counters, inits, end, patience, boot } = setup;
        let resume = |at: usize, cursor: Cursor, kind| {
            let mut assembler = Assembler::new(grid, kind, cursor.msn, cursor.part);
            assembler.fit_from(inits.since(at));
            assembler
        };
        let assemblers: Vec<Option<Assembler>> = store
            .tracks()
            .iter()
            .enumerate()
            .map(|(at, track)| track.oldest().map(|_| resume(at, track.cursor(), track.kind)))
            .collect();
        let mut packager = Self {
            event,
            grid,
            store,
            breaks,
            silent: assemblers.iter().map(|_| false).collect(),
            coding: assemblers.iter().map(|_| Coding::default()).collect(),
            assemblers,
            fillers: Vec::new(),
            frozen: None,
            counters,
            inits,
            run_from: 0,
            end,
            patience,
            boot,
        };
        // It was killed on its way to the end.
        if let Some(end) = packager.end.msn() {
            packager.close_breaks(end);
            packager.fill_until(packager.grid.start_ms(end + 1));
        }
        packager
    }

    /// Works until all senders are gone or the event has ended. Blocks: give it a thread, and a
    /// runtime of that thread's own to wait in. The timers of a shared one would first wake one of
    /// its threads, many times a second.
    pub fn work(mut self, mut messages: Queue, waiting: &Runtime) {
        self.catch_up(&mut messages, waiting);
        if self.boot.is_another() {
            self.boot.note();
        }
        // One timer for all: to set it for each message would cost more than a message.
        let mut ticks = {
            let _here = waiting.enter();
            tokio::time::interval(TICK)
        };
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        while !self.is_over() {
            let next = async {
                tokio::select! {
                    biased;
                    message = messages.next() => Some(message),
                    _ = ticks.tick() => None,
                }
            };
            match waiting.block_on(next) {
                Some(Some(message)) => {
                    self.take(message);
                    heard = Instant::now();
                }
                Some(None) => return,
                // Nothing waits: what is late by the clock is late indeed.
                None if heard.elapsed() >= TICK => self.fill_by_clock(),
                None => {}
            }
        }
    }

    /// Fills what was lost with the process before, if there was one. All else waits until what
    /// fills it is read from disk. If it has to be coded anew, what was lost is a gap.
    fn catch_up(&mut self, messages: &mut Queue, waiting: &Runtime) {
        if self.assemblers.iter().all(Option::is_none) || self.is_over() {
            return;
        }
        if self.boot.is_another() {
            // No URI may have other bytes than before. So whatever may have been listed is a gap.
            self.fill_until(now_ms());
        }
        let mut early = Vec::new();
        let fillers = async {
            while let Some(message) = messages.next().await {
                match message {
                    Message::Fillers(fillers) => return Some(fillers),
                    Message::FillersLater => return None,
                    other => early.push(other),
                }
            }
            None
        };
        let came = waiting.block_on(async { tokio::time::timeout(FILLERS_WAIT, fillers).await });
        if let Ok(Some(fillers)) = came {
            self.fill_with(fillers);
        }
        self.fill_by_clock();
        early.into_iter().for_each(|message| self.take(message));
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Start { frame } => {
                self.counters.starts.fetch_add(1, Ordering::Relaxed);
                self.counters.running.store(1, Ordering::Relaxed);
                self.start(frame);
            }
            Message::Header { track, header } => self.header(track, header),
            Message::Samples { track, samples, came } => self.samples(track, samples, came),
            Message::End => self.counters.running.store(0, Ordering::Relaxed),
            Message::Fillers(fillers) => self.fill_with(fillers),
            Message::FillersLater => {}
            Message::Finish { reply } => {
                // Whoever asked may be gone, and would not expect the end any more.
                if !reply.is_closed() {
                    let _ = reply.send(self.finish());
                }
            }
        }
    }

    fn samples(&mut self, track: usize, samples: Vec<Placed>, came: Instant) {
        self.change_again(track);
        if !matches!(self.assemblers.get(track), Some(Some(_))) {
            return;
        }
        if track == 0 {
            self.counters.pictures.fetch_add(samples.len() as u64, Ordering::Relaxed);
        }
        self.heard(track);
        for Placed { index, sync, data } in samples {
            let Some(Some(assembler)) = self.assemblers.get_mut(track) else {
                return;
            };
            let parts = assembler.push(index, sync, data);
            self.publish(track, &parts);
            if !parts.is_empty() {
                part_seconds().observe(came.elapsed().as_secs_f64());
                self.fill_behind(track);
            }
        }
    }

    /// The segments of which something is visible or hinted become the last.
    fn finish(&self) -> Result<u64, EndError> {
        let cursors = self.store.tracks().iter().map(|track| track.cursor());
        let furthest = cursors.max().unwrap_or_default();
        if furthest == Cursor::default() {
            return Err(EndError::NothingYet);
        }
        let end = self.end.settle(furthest.msn + 1)?;
        tracing::info!(event = self.event, end, "the event ends before this segment");
        self.close_breaks(end);
        Ok(end)
    }

    fn close_breaks(&self, end: u64) {
        insist(
            || self.breaks.close_at(end),
            |error| tracing::error!(%error, "breaks are not closed until the ledger is written"),
        );
    }

    fn is_over(&self) -> bool {
        let mut tracks = self.store.tracks().iter();
        tracks.all(|track| self.end.is_reached(track.cursor()))
    }

    /// Gives up what lies before the run's first frame. An event's very first run begins at the
    /// next whole segment.
    fn start(&mut self, frame: u64) {
        let ms = self.grid.sample_ms(Kind::Video, frame);
        self.run_from = frame.div_ceil(u64::from(self.grid.segment_frames));
        // Its encoder has only begun, and is waited for.
        self.silent.iter_mut().for_each(|silent| *silent = false);
        for track in 0..self.assemblers.len() {
            let Some(kind) = self.store.tracks().get(track).map(|track| track.kind) else {
                continue;
            };
            let Some(slot) = self.assemblers.get_mut(track) else {
                continue;
            };
            let parts = match slot {
                Some(assembler) => {
                    assembler.restart();
                    let index = assembler.part_start(self.grid.sample_at(kind, ms));
                    assembler.advance(index)
                }
                None => {
                    let msn = self.run_from;
                    let assembler = slot.insert(Assembler::new(self.grid, kind, msn, 0));
                    assembler.fit_from(self.inits.since(track));
                    self.skip_to(track, msn);
                    Vec::new()
                }
            };
            self.arm(track);
            self.publish(track, &parts);
            self.follow(track);
        }
    }

    /// Shows whole segments that an assembler stepped over.
    fn follow(&mut self, track: usize) {
        let Some(Some(assembler)) = self.assemblers.get(track) else {
            return;
        };
        let msn = self.grid.msn_of(self.store_kind(track), assembler.next_sample());
        self.skip_to(track, msn);
    }

    /// Shows what lies before a segment as gaps; the hint then names the segment.
    fn skip_to(&mut self, track: usize, msn: u64) {
        let msn = self.end.before_end(msn);
        let behind = |track: &Arc<Track>| track.cursor().msn < msn;
        if self.store.tracks().get(track).is_some_and(behind) {
            self.freeze(msn);
            self.store.skip_to(track, msn);
        }
    }

    fn store_kind(&self, track: usize) -> Kind {
        self.store.tracks().get(track).map_or(Kind::Video, |track| track.kind)
    }

    fn publish(&mut self, track: usize, parts: &[Part]) {
        self.tell_lacking(track);
        let end = self.end.msn().unwrap_or(u64::MAX);
        for part in parts.iter().filter(|part| part.msn < end) {
            // With its last part, a segment is whole, and the hint names the next one.
            let last = part.index + 1 == self.grid.parts(self.store_kind(track), part.msn);
            self.freeze(part.msn + u64::from(last));
            self.count(track, part);
            self.store.publish(track, part);
            if track == 0 && part.data.is_some() {
                let kind = self.store_kind(track);
                let (first, count) = self.grid.part(kind, part.msn, part.index);
                let behind = now_ms().saturating_sub(self.grid.sample_ms(kind, first + count));
                self.counters.behind_ms.store(behind, Ordering::Relaxed);
            }
        }
    }

    fn count(&self, track: usize, part: &Part) {
        let counters = &self.counters;
        let count = match part.data {
            None => &counters.gaps,
            Some(_) if counters.is_lacking(track) => &counters.fillers,
            Some(_) => &counters.parts,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn freeze(&mut self, msn: u64) {
        if self.frozen.is_some_and(|frozen| frozen >= msn) {
            return;
        }
        self.breaks.before_publish(msn);
        self.frozen = Some(msn);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
