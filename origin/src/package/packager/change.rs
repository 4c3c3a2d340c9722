//! Another encoder takes over: which init segment its tracks have, and from which segment on.

use std::sync::Arc;
use std::time::Instant;

use super::{Packager, RETRY, insist};
use crate::mp4::read::Header;
use crate::mp4::write::{InitTrack, init};
use crate::package::inits::{CHANGES_MAX, Changed, Settled};

/// What is known of how a track is coded.
#[derive(Debug, Default)]
pub(super) struct Coding {
    /// Whether an encoder of this process has said how.
    is_known: bool,
    /// An init segment that the disk has not taken yet, and when it was tried.
    waiting: Option<(Arc<[u8]>, Instant)>,
    /// Whether it was told that the filler is of no use.
    is_misfit_told: bool,
}

impl Packager {
    /// Takes how a run codes a track.
    pub(super) fn header(&mut self, track: usize, header: Header) {
        let kind = self.store_kind(track);
        let timescale = self.grid.timescale(kind);
        let Header { stsd, width, height, .. } = header;
        let Some(coding) = self.coding.get_mut(track) else { return };
        (coding.is_known, coding.waiting) = (true, None);
        self.settle_init(track, &init(&InitTrack { kind, timescale, stsd, width, height }));
    }

    /// Keeps the first init segment of a track, and has another one begin at a segment of which
    /// nothing is visible.
    pub(super) fn settle_init(&mut self, track: usize, bytes: &[u8]) {
        let mut settled = Settled::Same;
        insist(
            || self.inits.settle(track, bytes).map(|is| settled = is),
            |error| {
                let event = &self.event;
                tracing::error!(event, %error, "an init segment cannot be written: trying again");
            },
        );
        match settled {
            Settled::First | Settled::Same => self.fit(track, self.inits.since(track)),
            Settled::Other => self.change(track, bytes),
        }
        self.arm(track);
    }

    /// Tries once more what the disk did not take. Until it does, what comes fits nothing.
    pub(super) fn change_again(&mut self, track: usize) {
        let waiting = self.coding.get(track).and_then(|coding| coding.waiting.clone());
        if let Some((bytes, _)) = waiting.filter(|(_, tried)| tried.elapsed() >= RETRY) {
            self.change(track, &bytes);
            self.arm(track);
        }
    }

    /// A slate of this process's encoder for a track of which an earlier start's encoder was the
    /// last. Not against an encoder that has been heard: the next run would change it back.
    pub(super) fn change_to_filler(&mut self, track: usize) {
        let Some(filler) = self.fillers.get(track).cloned() else { return };
        let fits = self.inits.newest(track).is_none_or(|init| init == filler.init());
        let is_known = self.coding.get(track).is_none_or(|coding| coding.is_known);
        match (fits, is_known) {
            (true, _) => self.arm(track),
            (false, false) => self.settle_init(track, filler.init()),
            (false, true) => self.tell_misfit(track),
        }
    }

    fn change(&mut self, track: usize, bytes: &[u8]) {
        let first = self.first_unseen();
        let Some(coding) = self.coding.get_mut(track) else { return };
        coding.waiting = None;
        let (event, rendition) = (&self.event, self.store.tracks().get(track).map(|t| &t.id));
        if self.end.msn().is_some_and(|end| first >= end) {
            return self.fit(track, first);
        }
        match self.inits.change(track, bytes, first) {
            Ok(Changed::New(segment)) => tracing::warn!(
                event,
                rendition,
                segment,
                "the encoder's settings changed: a discontinuity at this segment, in all renditions"
            ),
            Ok(Changed::Joined(segment)) => {
                tracing::info!(event, rendition, segment, "its init segment changes there too");
            }
            Ok(Changed::Refused) => tracing::error!(
                event,
                rendition,
                "the encoder's settings changed more than {CHANGES_MAX} times during the event: \
                 players may fail until it is restarted with a new data folder"
            ),
            Err(error) => {
                tracing::error!(
                    event, rendition, %error,
                    "a change of the encoder's settings cannot be written: trying again"
                );
                coding.waiting = Some((bytes.into(), Instant::now()));
                return self.fit(track, u64::MAX);
            }
        }
        self.fit(track, self.inits.since(track));
    }

    /// The first segment that nothing names, and that the newest run can make as a whole. The hint
    /// names the segment of the cursor, even when nothing of it is out.
    fn first_unseen(&self) -> u64 {
        let cursors = self.store.tracks().iter().map(|track| track.cursor().msn);
        cursors.max().map_or(0, |msn| msn + 1).max(self.run_from)
    }

    fn fit(&mut self, track: usize, msn: u64) {
        if let Some(Some(assembler)) = self.assemblers.get_mut(track) {
            assembler.fit_from(msn);
        }
    }

    fn tell_misfit(&mut self, track: usize) {
        let Some(coding) = self.coding.get_mut(track) else { return };
        if !std::mem::replace(&mut coding.is_misfit_told, true) {
            let rendition = self.store.tracks().get(track).map(|track| &track.id);
            tracing::warn!(
                event = self.event,
                rendition,
                "the slate does not fit what encodes: what is missing is a gap"
            );
        }
    }
}
