//! `pods/{event}/{epoch}.{revision}/{cohort}`: the frozen ads of one cohort, as of one ledger
//! revision. Immutable.
//!
//! Owns the arithmetic of breaks on the segment grid: which creative plays at a media sequence
//! number, and how many discontinuities came before it. Invariant: both depend on the document and
//! the number alone.

use serde::{Deserialize, Serialize};

/// Payload of `pods/{event}/{epoch}.{revision}/{cohort}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pods {
    /// The event's identifier.
    pub event: String,
    /// The ledger revision, without the epoch.
    pub revision: u64,
    /// The cohort.
    pub cohort: String,
    /// Discontinuities of all breaks so far, through the last one listed.
    pub discontinuities: u64,
    /// Changes of the content's init that earlier breaks hid, those that are no longer listed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub changes_hidden: u64,
    /// The breaks that a playlist of this revision can touch, in order, none overlapping or
    /// adjoining another.
    pub breaks: Vec<Break>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One break as one cohort sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// Identifier, never reused.
    pub id: String,
    /// Media sequence number of its first segment.
    pub start: u64,
    /// Segments until the return.
    pub length: u64,
    /// Discontinuities of all earlier breaks of this cohort, those no longer listed included.
    pub discontinuities_before: u64,
    /// What plays, in order. None: the content goes on, without discontinuities.
    pub slots: Vec<Slot>,
}

/// One creative's place in a break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Segments from the break's start.
    pub offset: u64,
    /// The creative's identifier.
    pub creative: String,
    /// Segments that the creative has.
    pub segments: u64,
}

/// What a cohort sees at a media sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Playing<'a> {
    /// The creative.
    pub creative: &'a str,
    /// Media sequence number at which the creative starts.
    pub start: u64,
    /// Index into the creative's segments.
    pub index: u64,
}

impl Pods {
    /// The creative at media sequence number `sequence`; `None` is content.
    #[must_use]
    pub fn playing(&self, sequence: u64) -> Option<Playing<'_>> {
        let index = self.breaks.partition_point(|b| b.start <= sequence).checked_sub(1)?;
        self.breaks[index].playing(sequence)
    }

    /// Whether a discontinuity precedes the segment `sequence`.
    #[must_use]
    pub fn is_discontinuous(&self, sequence: u64) -> bool {
        let Some(index) = self.breaks.partition_point(|b| b.start <= sequence).checked_sub(1)
        else {
            return false;
        };
        self.breaks[index].discontinuity_positions().any(|at| at == sequence)
    }

    /// `EXT-X-DISCONTINUITY-SEQUENCE` of a playlist whose first segment is `sequence`: the
    /// discontinuities before it, its own not counted (RFC 8216bis 6.2.2: the tag counts those that
    /// have left the playlist).
    #[must_use]
    pub fn discontinuity_sequence(&self, sequence: u64) -> u64 {
        let started = self.breaks.partition_point(|b| b.start < sequence);
        match (started.checked_sub(1), self.breaks.first()) {
            (Some(index), _) => {
                let current = &self.breaks[index];
                let passed = current.discontinuity_positions().filter(|&at| at < sequence).count();
                current.discontinuities_before.saturating_add(passed as u64)
            }
            (None, Some(first)) => first.discontinuities_before,
            (None, None) => self.discontinuities,
        }
    }

    /// Whether a listed break hides that the content's init changes at `sequence`. At either edge
    /// of a break it is one with the break's own discontinuity.
    #[must_use]
    pub fn hides_change(&self, sequence: u64) -> bool {
        let started = self.breaks.partition_point(|b| b.start <= sequence);
        let last = started.checked_sub(1).and_then(|index| self.breaks.get(index));
        last.is_some_and(|b| b.hides_change(sequence))
    }

    /// Whether breaks and slots are in order and within bounds, identifiers plain, and every sum
    /// small enough to compute with.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let ordered = self.breaks.windows(2).all(|pair| pair[0].end() < pair[1].start);
        ordered && self.breaks.iter().all(Break::is_sound)
    }
}

impl Break {
    /// Media sequence number of the first segment after the break.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    fn playing(&self, sequence: u64) -> Option<Playing<'_>> {
        let at = sequence.checked_sub(self.start).filter(|&at| at < self.length)?;
        let index = self.slots.partition_point(|slot| slot.offset <= at).checked_sub(1)?;
        let slot = &self.slots[index];
        Some(Playing {
            creative: &slot.creative,
            start: self.start + slot.offset,
            index: at - slot.offset,
        })
    }

    /// Media sequence numbers that a discontinuity precedes, in order.
    pub fn discontinuity_positions(&self) -> impl Iterator<Item = u64> {
        let starts =
            self.slots.iter().map(|slot| slot.offset).filter(|&offset| offset < self.length);
        let back = (!self.slots.is_empty()).then_some(self.length);
        starts.chain(back).map(|offset| self.start + offset)
    }

    /// Whether it hides that the content's init changes at `sequence`: one that shows content does
    /// not.
    #[must_use]
    pub fn hides_change(&self, sequence: u64) -> bool {
        !self.slots.is_empty() && (self.start..=self.end()).contains(&sequence)
    }

    fn is_sound(&self) -> bool {
        const SEQUENCE_MAX: u64 = 1 << 53;
        let bounded = self.start < SEQUENCE_MAX && (1..SEQUENCE_MAX).contains(&self.length);
        let covered = self.slots.first().is_none_or(|slot| slot.offset == 0);
        let joined = self.slots.windows(2).all(|pair| {
            pair[0].segments > 0
                && pair[0].offset.checked_add(pair[0].segments) == Some(pair[1].offset)
        });
        let reaches = self.slots.last().is_none_or(|slot| {
            slot.offset < SEQUENCE_MAX
                && slot.segments > 0
                && slot.offset.saturating_add(slot.segments) >= self.length
        });
        let named = self.slots.iter().all(|slot| crate::route::is_identifier(&slot.creative));
        bounded && covered && joined && reaches && named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(offset: u64, creative: &str, segments: u64) -> Slot {
        Slot { offset, creative: creative.into(), segments }
    }

    fn pods() -> Pods {
        let one = Break {
            id: "b1".into(),
            start: 100,
            length: 10,
            discontinuities_before: 3,
            slots: vec![slot(0, "a", 4), slot(4, "b", 6)],
        };
        let content = Break {
            id: "b2".into(),
            start: 120,
            length: 5,
            discontinuities_before: 6,
            slots: vec![],
        };
        let early = Break {
            id: "b3".into(),
            start: 140,
            length: 3,
            discontinuities_before: 6,
            slots: vec![slot(0, "c", 3), slot(3, "d", 5)],
        };
        Pods {
            event: "e".into(),
            revision: 9,
            cohort: "x".into(),
            discontinuities: 8,
            changes_hidden: 0,
            breaks: vec![one, content, early],
        }
    }

    #[test]
    fn creatives_stand_on_the_grid() {
        let pods = pods();
        assert!(pods.is_sound());
        let at = |n| pods.playing(n).map(|p| (p.creative, p.start, p.index));
        assert_eq!((at(99), at(100), at(103)), (None, Some(("a", 100, 0)), Some(("a", 100, 3))));
        assert_eq!((at(104), at(109), at(110)), (Some(("b", 104, 0)), Some(("b", 104, 5)), None));
        assert_eq!((at(120), at(142), at(143)), (None, Some(("c", 140, 2)), None));
    }

    #[test]
    fn discontinuities_are_counted_before_the_number_and_agree_with_the_marks() {
        let pods = pods();
        let marks: Vec<u64> = (0..200).filter(|&n| pods.is_discontinuous(n)).collect();
        assert_eq!(marks, [100, 104, 110, 140, 143]);
        for n in 0..200 {
            let passed = marks.iter().filter(|&&at| at < n).count() as u64;
            assert_eq!(pods.discontinuity_sequence(n), 3 + passed, "at {n}");
        }
        let none = Pods { breaks: vec![], ..pods };
        assert_eq!(none.discontinuity_sequence(500), 8);
    }

    #[test]
    fn a_break_hides_changes_from_its_start_to_its_return_unless_it_shows_content() {
        let pods = pods();
        let hidden: Vec<u64> = (0..200).filter(|&n| pods.hides_change(n)).collect();
        let expected: Vec<u64> = (100..=110).chain(140..=143).collect();
        assert_eq!(hidden, expected);
    }

    #[test]
    fn holes_overlaps_and_overflows_are_unsound() {
        let with = |change: fn(&mut Pods)| {
            let mut pods = pods();
            change(&mut pods);
            pods.is_sound()
        };
        assert!(!with(|p| p.breaks[0].slots[1].offset = 5));
        assert!(!with(|p| p.breaks[1].start = 110));
        assert!(!with(|p| p.breaks[2].start = u64::MAX));
        assert!(!with(|p| p.breaks[0].slots[1].segments = 5));
        assert!(!with(|p| p.breaks[0].slots[0].creative = "../x".into()));
    }
}
