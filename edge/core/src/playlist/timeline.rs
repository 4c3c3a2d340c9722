//! Where a player meets a discontinuity: the breaks of the cohort's pods, and the changes of the
//! content's init that no break hides.
//!
//! Both are facts of the event, so a count depends on the sequence number alone, whichever window
//! it is asked for.

use super::lines::number;
use super::stitch::PlaylistError;
use crate::document::{Playing, Pods};

/// The origin's tag that names every segment of the event from which on the content has another
/// init: `#EXT-X-SIGHTSCREEN-MAPS:{sequence}[,{sequence}]...`, in order.
pub(super) const MAPS_TAG: &str = "#EXT-X-SIGHTSCREEN-MAPS:";

/// What is on the timeline of one cohort.
#[derive(Debug)]
pub(super) struct Timeline<'a> {
    pods: Option<&'a Pods>,
    changes: Vec<u64>,
}

impl<'a> Timeline<'a> {
    /// The timeline of an event whose content never changes.
    pub(super) fn new(pods: Option<&'a Pods>) -> Self {
        Self { pods, changes: Vec::new() }
    }

    /// Takes the value of [`MAPS_TAG`].
    pub(super) fn read_changes(&mut self, text: &[u8]) -> Result<(), PlaylistError> {
        let numbers = text.split(|&b| b == b',').map(number);
        let changes: Option<Vec<u64>> = numbers.collect();
        let changes = changes.filter(|all| all.is_sorted_by(|one, next| one < next));
        self.changes = changes.ok_or(PlaylistError::Change)?;
        Ok(())
    }

    /// The creative at `sequence`; `None` is content.
    pub(super) fn playing(&self, sequence: u64) -> Option<Playing<'a>> {
        self.pods.and_then(|pods| pods.playing(sequence))
    }

    /// Whether the content's init changes at `sequence`, hidden or not.
    pub(super) fn is_change(&self, sequence: u64) -> bool {
        self.changes.binary_search(&sequence).is_ok()
    }

    /// Whether a discontinuity precedes the segment `sequence`.
    pub(super) fn is_discontinuous(&self, sequence: u64) -> bool {
        self.pods.is_some_and(|pods| pods.is_discontinuous(sequence))
            || (self.is_change(sequence) && !self.hides(sequence))
    }

    /// `EXT-X-DISCONTINUITY-SEQUENCE` of a playlist whose first segment is `sequence`.
    pub(super) fn discontinuity_sequence(&self, sequence: u64) -> u64 {
        let passed = self.changes.partition_point(|&change| change < sequence);
        let shown = self.changes.iter().take(passed).filter(|&&change| !self.hides(change));
        let of_breaks = self.pods.map_or(0, |pods| pods.discontinuity_sequence(sequence));
        let hidden_before = self.pods.map_or(0, |pods| pods.changes_hidden);
        (shown.count() as u64).saturating_add(of_breaks).saturating_sub(hidden_before)
    }

    fn hides(&self, change: u64) -> bool {
        self.pods.is_some_and(|pods| pods.hides_change(change))
    }
}

#[cfg(test)]
mod tests;
