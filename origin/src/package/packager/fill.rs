//! When a part is given up, and what is published in its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Packager;
use crate::clock::now_ms;
use crate::package::filler::Filler;
use crate::store::Part;

/// How long a part is waited for, in milliseconds after its end on the grid. What comes later is
/// dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// While nobody publishes.
    pub gone_ms: u64,
    /// While a publisher is connected and sends nothing.
    pub silent_ms: u64,
    /// While another track goes on: by its time and not by the clock.
    pub track_ms: u64,
    /// While a publisher's sound goes on and no picture comes: for so long the last one stands, and
    /// is encoded again.
    pub picture_hold_ms: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { gone_ms: 500, silent_ms: 4000, track_ms: 2000, picture_hold_ms: 10_000 }
    }
}

impl Packager {
    /// What every track lacks as far as the clock says. Nothing may wait in the queue.
    pub(super) fn fill_by_clock(&mut self) {
        self.fill_at(now_ms());
    }

    /// The same by a clock that shows this time.
    pub(super) fn fill_at(&mut self, unix_ms: u64) {
        let running = self.counters.running.load(Ordering::Relaxed) == 1;
        let all_silent = self.silent.iter().all(|silent| *silent);
        let delay = match running && !all_silent {
            true => self.patience.silent_ms,
            false => self.patience.gone_ms,
        };
        self.fill_until(unix_ms.saturating_sub(delay));
    }

    /// What the others lack in comparison with a track that goes on: they must not hold up its
    /// players.
    pub(super) fn fill_behind(&mut self, ahead: usize) {
        let Some(Some(assembler)) = self.assemblers.get(ahead) else { return };
        if assembler.is_lacking() {
            return;
        }
        let at = self.grid.sample_ms(self.store_kind(ahead), assembler.next_sample());
        for track in (0..self.assemblers.len()).filter(|track| *track != ahead) {
            let is_silent = self.silent.get(track).is_some_and(|silent| *silent);
            let track_ms = self.patience.track_ms;
            let patience = if is_silent { track_ms.min(self.patience.gone_ms) } else { track_ms };
            self.fill_track(track, at.saturating_sub(patience));
        }
    }

    /// What every track lacks before this time.
    pub(super) fn fill_until(&mut self, unix_ms: u64) {
        (0..self.assemblers.len()).for_each(|track| self.fill_track(track, unix_ms));
    }

    fn fill_track(&mut self, track: usize, unix_ms: u64) {
        let kind = self.store_kind(track);
        let Some(Some(assembler)) = self.assemblers.get(track) else {
            return;
        };
        let index = assembler.part_start(self.grid.sample_at(kind, unix_ms));
        if index <= assembler.next_sample() {
            return;
        }
        self.prepare_to_fill(track);
        let parts = self.advance(track, index);
        if let Some(silent) = self.silent.get_mut(track) {
            *silent = true;
        }
        self.publish(track, &parts);
        self.follow(track);
    }

    fn advance(&mut self, track: usize, index: u64) -> Vec<Part> {
        match self.assemblers.get_mut(track) {
            Some(Some(assembler)) => assembler.advance(index),
            _ => Vec::new(),
        }
    }

    /// A track of which something comes is waited for again, however late it is: its encoder may
    /// be slow, and would never catch up with a filler that is faster.
    pub(super) fn heard(&mut self, track: usize) {
        if let Some(silent) = self.silent.get_mut(track) {
            *silent = false;
        }
    }

    /// Takes what stands in for missing parts.
    pub(super) fn fill_with(&mut self, fillers: Vec<Filler>) {
        self.fillers = fillers.into_iter().map(Arc::new).collect();
        (0..self.fillers.len()).for_each(|track| self.arm(track));
    }

    /// Gives a track its filler, if it fits the init segment that players are told last.
    pub(super) fn arm(&mut self, track: usize) {
        let Some(filler) = self.fillers.get(track) else { return };
        let fits = self.inits.newest(track).is_some_and(|init| init == filler.init());
        if let (true, Some(Some(assembler))) = (fits, self.assemblers.get_mut(track)) {
            assembler.fill_with(Arc::clone(filler));
        }
    }

    /// Sees to it that a track can be filled. Where players were told no init segment yet, it is
    /// the filler's; where it was another encoder's, of an earlier start, it changes.
    fn prepare_to_fill(&mut self, track: usize) {
        if self.inits.newest(track).is_none()
            && let Some(filler) = self.fillers.get(track).cloned()
        {
            self.settle_init(track, filler.init());
        }
        // All that change do so at the same segment, of which nothing may be out.
        for track in 0..self.fillers.len() {
            self.change_to_filler(track);
        }
    }

    /// Tells when a track begins to lack its input, and when that is over.
    pub(super) fn tell_lacking(&self, track: usize) {
        let Some(Some(assembler)) = self.assemblers.get(track) else {
            return;
        };
        let lacking = assembler.is_lacking();
        if !self.counters.set_lacking(track, lacking) {
            return;
        }
        let rendition = self.store.tracks().get(track).map_or("", |track| track.id.as_str());
        let event = &self.event;
        match lacking {
            true => tracing::warn!(event, rendition, "nothing comes: the timeline goes on without"),
            false => tracing::info!(event, rendition, "the input is on the air"),
        }
    }
}
