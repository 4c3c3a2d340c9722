//! Scheduled breaks. One that the desk refuses is skipped, never queued.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::breaks::desk::{BreakRequest, Desk};
use crate::event::Live;
use crate::grid::Grid;

/// When breaks come by themselves, in seconds. 0: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From the first published segment to the first break.
    pub first_s: u32,
    /// From one break's start to the next.
    pub every_s: u32,
    /// Length of each.
    pub length_s: u32,
    /// Most that any break may last, also one that is announced by hand.
    pub longest_s: u32,
    /// From the announcement of any break to its start, at least.
    pub lead_s: u32,
}

impl Schedule {
    /// The lead of breaks in segments, one or more: there is no part of a segment before one.
    #[must_use]
    pub fn lead(&self, grid: &Grid) -> u64 {
        grid.segments_in_ms(u64::from(self.lead_s) * 1000).max(1)
    }
}

/// Announces breaks for as long as it is polled. Starts when the first segments are out.
pub async fn keep(schedule: Schedule, live: Live, desk: Arc<Desk>) {
    let grid = live.grid();
    let lead_segments = schedule.lead(&grid);
    let lead = Duration::from_millis(grid.duration_ms(lead_segments));
    let length = grid.segments_in_ms(u64::from(schedule.length_s) * 1000);
    let asked = BreakRequest { lead: lead_segments, length };
    let begun = Instant::now();
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    let first = if schedule.first_s > 0 { schedule.first_s } else { schedule.every_s };
    if first == 0 {
        return;
    }
    let mut due = begun + seconds(first);
    loop {
        tokio::time::sleep_until(due.checked_sub(lead).unwrap_or(due)).await;
        if live.is_ending() {
            return;
        }
        let (desk, next) = (Arc::clone(&desk), live.position().next_msn);
        let announced =
            tokio::task::spawn_blocking(move || desk.announce(&grid, next, asked)).await;
        if let Ok(Err(error)) = announced {
            tracing::warn!(%error, "a break of the schedule is skipped");
        }
        if schedule.every_s == 0 {
            return;
        }
        due += seconds(schedule.every_s);
    }
}
