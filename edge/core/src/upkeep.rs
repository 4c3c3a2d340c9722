//! What a door keeps fresh while all is well, because a dead origin has nothing to give.
//!
//! For each event that viewers are at, the signed list `snapshots/{event}` names the snapshots of
//! the API and of the page. An exchange that no viewer waits for asks for them from time to time, a
//! few at once, so that the door has a copy of each.

use std::collections::BTreeMap;

use crate::context::{Context, Flow, Held, snapshot_want};
use crate::document::SnapshotList;
use crate::exchange::{Response, Want};

/// Milliseconds without a viewer after which an event's snapshots are left alone.
const DESERTED_MS: u64 = 5 * 60 * 1000;
/// Milliseconds until the next look where the list says nothing of it.
const EVERY_MS: u32 = 15_000;
/// Bounds of what the list says.
const EVERY_MIN_MS: u32 = 5000;
const EVERY_MAX_MS: u32 = 3600 * 1000;
/// Documents that are asked for at once: platforms bound the requests of one exchange.
const AT_ONCE: usize = 16;

/// When each event's snapshots are due, and where its list goes on.
#[derive(Debug, Default)]
pub(crate) struct Upkeep(BTreeMap<String, Due>);

#[derive(Debug, Clone, Copy)]
struct Due {
    at_ms: u64,
    /// When this was noted; a clock that steps back makes everything due.
    since_ms: u64,
    /// Documents of the list that were asked for before.
    next: usize,
}

impl Upkeep {
    /// The event whose snapshots are due for longest, which is then due again later.
    pub(crate) fn take_due(
        &mut self,
        events: &[&str],
        now_ms: u64,
        entropy: u64,
    ) -> Option<String> {
        self.0.retain(|event, _| events.contains(&event.as_str()));
        let is_due = |due: &Due| now_ms >= due.at_ms || now_ms < due.since_ms;
        let due = events.iter().filter(|event| self.0.get(**event).is_none_or(is_due));
        let event = due.min_by_key(|event| self.0.get(**event).map(|due| due.at_ms))?;
        let next = self.0.get(*event).map_or(0, |due| due.next);
        self.put(event, EVERY_MS, next, now_ms, entropy);
        Some((*event).to_owned())
    }

    fn put(&mut self, event: &str, every_ms: u32, next: usize, now_ms: u64, entropy: u64) {
        // From three quarters to five quarters of the time, so that instances drift apart.
        let half = u64::from(every_ms / 2).max(1);
        let at_ms = now_ms + u64::from(every_ms) * 3 / 4 + entropy % half;
        self.0.insert(event.to_owned(), Due { at_ms, since_ms: now_ms, next });
    }
}

/// The events that viewers are at.
pub(crate) fn attended(held: &Held, now_ms: u64) -> Vec<&str> {
    held.events_since(now_ms.saturating_sub(DESERTED_MS)).collect()
}

/// Asks for the list, and for some of what it names.
pub(crate) fn run(cx: &mut Context<'_>, event: &str) -> Flow<Response> {
    let nothing = Response { status: 204, ..Response::default() };
    let Some(list) = cx.snapshot_list(event)? else { return Ok(nothing) };
    let every_ms = list.every_s.saturating_mul(1000).clamp(EVERY_MIN_MS, EVERY_MAX_MS);
    let all = wants(&list);
    let next = cx.held.upkeep.0.get(event).map_or(0, |due| due.next);
    let some: Vec<Want> =
        all.iter().cycle().skip(next).take(AT_ONCE.min(all.len())).cloned().collect();
    cx.all(some)?;
    let (now_ms, entropy) = (cx.request.now_ms, cx.request.entropy);
    let next = if all.is_empty() { 0 } else { (next + AT_ONCE) % all.len() };
    // What did not fit comes soon, the next round in its time.
    let every_ms = if all.len() > AT_ONCE { EVERY_MIN_MS.min(every_ms) } else { every_ms };
    cx.held.upkeep.put(event, every_ms, next, now_ms, entropy);
    Ok(nothing)
}

fn wants(list: &SnapshotList) -> Vec<Want> {
    let paths = list.paths.iter().filter(|path| path.starts_with("/api/")).cloned();
    let page = list.page.iter().map(|file| format!("/page/{file}"));
    paths.chain(page).map(|path| snapshot_want(&path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_due_at_once_then_in_its_time_and_when_the_clock_steps_back() {
        let mut upkeep = Upkeep::default();
        let mut due = |now_ms| upkeep.take_due(&["final"], now_ms, 0);
        assert_eq!(due(1_000_000).as_deref(), Some("final"));
        assert_eq!(due(1_000_000), None);
        assert_eq!(due(1_011_000), None);
        assert_eq!(due(1_012_000).as_deref(), Some("final"));
        assert_eq!(due(900_000).as_deref(), Some("final"));
    }

    #[test]
    fn a_deserted_event_is_forgotten() {
        let mut upkeep = Upkeep::default();
        assert!(upkeep.take_due(&["final"], 1_000_000, 0).is_some());
        assert_eq!(upkeep.take_due(&[], 1_001_000, 0), None);
        assert!(upkeep.0.is_empty());
    }
}
