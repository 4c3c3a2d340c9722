//! Puts one track's samples on the grid and cuts them into parts.
//!
//! Every part of the timeline comes out once and in order: whole, from the filler, or, where there
//! is none, as a gap. Only whole segments without media are stepped over.

use std::sync::Arc;

use bytes::Bytes;

use crate::grid::{Grid, Kind};
use crate::mp4::write;
use crate::package::filler::Filler;
use crate::store::Part;

/// Longest stretch that is filled, in segments. What lies before it is a gap: nobody watched while
/// the machine slept, and an hour of slate would be written at once.
const FILLED_SEGMENTS: u64 = 15;

/// Cuts one track.
#[derive(Debug)]
pub struct Assembler {
    grid: Grid,
    kind: Kind,
    msn: u64,
    part: u64,
    samples: Vec<(bool, Bytes)>,
    /// Once a part is missing, a picture's parts are not used until one begins where a decoder can
    /// start.
    broken: bool,
    /// Whether the last part had nothing of the input's.
    lacking: bool,
    filler: Option<Arc<Filler>>,
    /// Before this segment, neither the input nor the filler fits the init segment that holds.
    from: u64,
    /// The filler that does.
    before: Option<Arc<Filler>>,
}

impl Assembler {
    /// Starts with this part, as the first that is not published.
    #[must_use]
    pub fn new(grid: Grid, kind: Kind, msn: u64, part: u64) -> Self {
        Self {
            grid,
            kind,
            msn,
            part,
            samples: Vec::new(),
            broken: kind.is_picture(),
            lacking: false,
            filler: None,
            from: 0,
            before: None,
        }
    }

    /// What stands in for missing parts from now on.
    pub fn fill_with(&mut self, filler: Arc<Filler>) {
        self.filler = Some(filler);
    }

    /// Another init segment holds from segment `msn` on: what comes from now on fits that one, and
    /// is missing before it.
    pub fn fit_from(&mut self, msn: u64) {
        if msn <= self.msn {
            if self.msn < self.from {
                self.filler = self.before.take();
            }
            self.from = 0;
        } else if msn != self.from {
            match self.msn < self.from {
                true => self.filler = None,
                false => self.before = self.filler.take(),
            }
            self.from = msn;
        }
    }

    /// What fills the part that is due.
    fn due_filler(&self) -> Option<&Arc<Filler>> {
        if self.msn < self.from { self.before.as_ref() } else { self.filler.as_ref() }
    }

    /// Whether the last part was not the input's: the filler's, or a gap.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.lacking
    }

    /// The sample that comes next.
    #[must_use]
    pub fn next_sample(&self) -> u64 {
        self.grid.part(self.kind, self.msn, self.part).0 + self.samples.len() as u64
    }

    /// Takes the sample of this grid index. Late samples are dropped; what was jumped over is
    /// missing.
    pub fn push(&mut self, index: u64, sync: bool, data: Bytes) -> Vec<Part> {
        let mut parts = self.advance(index);
        if index == self.next_sample() && self.msn >= self.from {
            self.samples.push((sync, data));
            let (first, count) = self.grid.part(self.kind, self.msn, self.part);
            if self.samples.len() as u64 == count {
                parts.push(self.whole(first));
            }
        }
        parts
    }

    /// Declares that nothing before sample `index` will come any more.
    pub fn advance(&mut self, index: u64) -> Vec<Part> {
        let mut parts = Vec::new();
        while index > self.next_sample() {
            // Whole segments without media need no parts: the playlist knows them by their absence.
            let until = self.filled_from(self.grid.msn_of(self.kind, index));
            if self.part == 0 && until > self.msn {
                self.msn = until;
                self.lack();
                continue;
            }
            parts.push(self.missing());
        }
        parts
    }

    /// The segment before which whole ones are stepped over on the way to `msn`.
    fn filled_from(&self, msn: u64) -> u64 {
        match (self.due_filler(), &self.filler) {
            (Some(_), _) => msn.saturating_sub(FILLED_SEGMENTS),
            (None, Some(_)) => msn.min(self.from),
            (None, None) => msn,
        }
    }

    /// Another encoder's samples come from now on. Its pictures refer to none of those before, so a
    /// part of the old one is not finished with them.
    pub fn restart(&mut self) {
        self.samples.clear();
        self.broken = self.kind.is_picture();
    }

    /// First sample of the part that holds `index`.
    #[must_use]
    pub fn part_start(&self, index: u64) -> u64 {
        let msn = self.grid.msn_of(self.kind, index);
        let first = self.grid.first_sample(self.kind, msn);
        index - (index - first) % self.grid.part_samples(self.kind)
    }

    fn whole(&mut self, first: u64) -> Part {
        let independent =
            self.kind == Kind::Audio || self.samples.first().is_some_and(|(sync, _)| *sync);
        if self.broken && !independent {
            return self.missing();
        }
        (self.broken, self.lacking) = (false, false);
        let samples = std::mem::take(&mut self.samples);
        let part = self.part_of(first, independent, &samples);
        self.step();
        part
    }

    /// The part that is due, without the input's media.
    fn missing(&mut self) -> Part {
        let (first, count) = self.grid.part(self.kind, self.msn, self.part);
        let part = match self.due_filler() {
            Some(filler) => self.part_of(first, true, &filler.part(self.kind, first, count)),
            None => Part { msn: self.msn, index: self.part, independent: false, data: None },
        };
        self.lack();
        self.step();
        part
    }

    fn lack(&mut self) {
        self.samples.clear();
        (self.broken, self.lacking) = (self.kind.is_picture(), true);
    }

    fn part_of(&self, first: u64, independent: bool, samples: &[(bool, Bytes)]) -> Part {
        let duration = self.grid.sample_duration(self.kind);
        let time = first * u64::from(duration);
        // Unique within the track for all that a player may hold: fragments count by their first
        // sample.
        let sequence = (first as u32).wrapping_add(1);
        let data = write::fragment(sequence, time, duration, self.kind, samples);
        Part { msn: self.msn, index: self.part, independent, data: Some(data) }
    }

    fn step(&mut self) {
        self.part += 1;
        if self.part == self.grid.parts(self.kind, self.msn) {
            self.msn += 1;
            self.part = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn cut(kind: Kind, indices: impl Iterator<Item = u64>) -> Vec<(u64, u64, bool)> {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let mut assembler = Assembler::new(grid, kind, 0, 0);
        indices
            .flat_map(|i| {
                assembler.push(i, i.is_multiple_of(50) || i == 265, Bytes::from_static(b"x"))
            })
            .map(|part| (part.msn, part.index, part.data.is_some()))
            .collect()
    }

    #[test]
    fn video_parts_have_five_frames_and_segments_ten_parts() {
        let parts = cut(Kind::Video, 0..100);
        assert_eq!(parts.len(), 20);
        assert_eq!((parts[9], parts[10]), ((0, 9, true), (1, 0, true)));
    }

    #[test]
    fn pictures_of_two_encoders_are_never_in_one_segment_without_a_key_between() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let mut assembler = Assembler::new(grid, Kind::Video, 0, 0);
        let mut push = |indices: std::ops::Range<u64>, restart: bool| {
            if restart {
                assembler.restart();
            }
            let parts = indices.flat_map(|i| assembler.push(i, i.is_multiple_of(50), Bytes::new()));
            parts.map(|part| (part.index, part.data.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(push(0..8, false), [(0, true)]);
        // The new one begins with an older picture; its first that is needed is no key.
        assert_eq!(push(0..15, true), [(1, false), (2, false)]);
        assert_eq!(push(15..55, false).last(), Some(&(0, true)));
    }

    #[test]
    fn audio_segments_follow_the_grid() {
        let parts = cut(Kind::Audio, 0..375);
        let of = |msn| parts.iter().filter(|part| part.0 == msn).count();
        assert_eq!([of(0), of(1), of(2), of(3)], [11, 11, 11, 11]);
        assert_eq!(parts.last(), Some(&(3, 10, true)));
    }

    #[test]
    fn a_lost_sample_makes_a_gap_until_a_decoder_can_start_again() {
        let parts = cut(Kind::Video, (0..100).filter(|i| *i != 7));
        let gaps: Vec<_> = parts.iter().filter(|part| !part.2).map(|part| part.1).collect();
        // The rest of the picture's segment hangs on what was lost.
        assert_eq!(gaps, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(parts.len(), 20);
        let parts = cut(Kind::Audio, (0..188).filter(|i| *i != 10));
        assert_eq!(parts.iter().filter(|part| !part.2).count(), 1);
    }

    #[test]
    fn a_restart_in_the_middle_goes_on_at_the_next_part() {
        let parts = cut(Kind::Video, (0..13).chain(262..300));
        let tail: Vec<_> = parts.iter().filter(|part| part.0 > 0).copied().collect();
        assert_eq!(parts.iter().filter(|part| part.0 == 0 && !part.2).count(), 8);
        assert_eq!(tail[..3], [(5, 0, false), (5, 1, false), (5, 2, false)]);
        assert_eq!(tail[3], (5, 3, true));
    }

    /// A filler whose every sample is `f`.
    fn filled(kind: Kind) -> Assembler {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let coded: Vec<_> = (0..10).map(|i| (i % 5 == 0, Bytes::from_static(b"f"))).collect();
        let mut assembler = Assembler::new(grid, kind, 0, 0);
        let filler = Filler::new(&grid, Kind::Video, Bytes::new(), &coded).unwrap();
        assembler.fill_with(Arc::new(filler));
        assembler
    }

    fn is_slate(part: &Part) -> bool {
        part.independent && part.data.as_ref().is_some_and(|data| data.ends_with(b"fffff"))
    }

    #[test]
    fn what_is_missing_is_filled_until_the_input_has_a_key_at_a_part() {
        let mut assembler = filled(Kind::Video);
        let mut push = |index: u64, sync| assembler.push(index, sync, Bytes::from_static(b"x"));
        let before: Vec<Part> = (0..8).flat_map(|i| push(i, i == 0)).collect();
        assert_eq!(before.len(), 1);
        // The rest of the second part never comes, and the third begins with no key.
        let lost: Vec<Part> = (12..20).flat_map(|i| push(i, i == 13)).collect();
        assert!(lost.len() == 3 && lost.iter().all(is_slate), "{lost:?}");
        let back: Vec<Part> = (20..30).flat_map(|i| push(i, i == 20)).collect();
        let shown: Vec<_> = back.iter().map(|part| (part.index, part.independent)).collect();
        assert_eq!(shown, [(4, true), (5, false)]);
        assert!(!back.iter().any(is_slate) && !assembler.is_lacking());
    }

    #[test]
    fn a_long_absence_is_filled_at_its_end_alone() {
        let mut assembler = filled(Kind::Video);
        (0..5).for_each(|i| drop(assembler.push(i, i == 0, Bytes::from_static(b"x"))));
        let parts = assembler.advance(50 * 3600);
        // The rest of the segment that was begun, and the last ones.
        assert_eq!(parts.len() as u64, 9 + 10 * FILLED_SEGMENTS);
        assert!(parts.iter().all(is_slate) && assembler.is_lacking());
        assert_eq!(parts[9].msn, 3600 - FILLED_SEGMENTS);
    }

    #[test]
    fn late_samples_are_dropped() {
        assert_eq!(cut(Kind::Video, (0..5).chain(0..5).chain(5..10)).len(), 2);
    }
}
