//! The desk: the one place where breaks are announced, frozen, extended, cut short and ended.
//!
//! It never changes anything that lies before `floor`, because players may have been told of it.
//! What a break shows is decided outside of the lock, between its announcement and its freeze.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use sightscreen_core::document::Pods;

use super::decision::Decision;
pub use super::extend::Extension;
use super::extend::{longer, may_extend};
use super::kept::{Decisions, Kept};
use super::ledger::{
    Announced, CohortPod, Frozen, GENERIC, Ledger, LedgerEntry, Pod, Record, RuleError, State,
    break_id,
};
use super::log::{Log, LogError};
use super::on_air::{Breaks, BreaksView, DateRange, FreezeError};
use super::scte35;
use crate::grid::Grid;
use crate::told::Told;

/// Segments kept listed beyond the DVR window, so that a slow reader of an old playlist still finds
/// its breaks.
const WINDOW_MARGIN: u64 = 8;
/// Earlier revisions that stay in memory: playlists of a few seconds ago name them.
const FOLDED_MOST: usize = 8;

/// What is asked for a break, in segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakRequest {
    /// Between the first that can still change and its start: time for every door to fetch the
    /// frozen pods.
    pub lead: u64,
    /// That it lasts.
    pub length: u64,
}

/// What the desk asks when a break is decided.
pub trait Decide: Send + Sync + 'static {
    /// The pods of a break of `length` segments, for every cohort. Asked once more before the break
    /// is frozen if it was not as good as it may be; must not wait long then.
    fn decide(&self, length: u64) -> Decision;
    /// Whether ads are on.
    fn ads_on(&self) -> bool;
}

/// The breaks of a running event.
pub struct Desk {
    event: String,
    /// Milliseconds of media that playlists can list.
    window_ms: u64,
    decide: Arc<dyn Decide>,
    inner: Mutex<Inner>,
    kept: Kept,
    /// Apart from `inner`, so that no request waits for the disk.
    seen: RwLock<Arc<Seen>>,
    /// Earlier revisions that were asked for lately.
    folded: Mutex<VecDeque<Arc<Ledger>>>,
}

/// What is on disk, and may be told.
struct Seen {
    view: BreaksView,
    ledger: Ledger,
    entries: Vec<LedgerEntry>,
}

struct Inner {
    log: Log,
    ledger: Ledger,
    /// Decisions of announced breaks that are not frozen yet.
    decisions: Decisions,
    /// First sequence number of which nothing is published or hinted yet.
    floor: u64,
    /// When a failure to write the ledger was told last.
    told: Told,
}

impl Desk {
    /// Opens the event's ledger. `window_s` is the longest window of its playlists in seconds.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn open(
        path: &Path,
        event: &str,
        window_s: u32,
        decide: Arc<dyn Decide>,
    ) -> Result<Self, LogError> {
        let (log, ledger) = Log::open(path, event)?;
        let seen = RwLock::new(Arc::new(Seen::of(&log, &ledger)));
        let (kept, decisions) = Kept::open(path, &ledger);
        let inner = Mutex::new(Inner { log, ledger, decisions, floor: 0, told: Told::default() });
        Ok(Self {
            event: event.to_owned(),
            window_ms: u64::from(window_s) * 1000,
            decide,
            inner,
            kept,
            seen,
            folded: Mutex::default(),
        })
    }

    /// Lets no write of the ledger take longer than that: the live edge waits for it.
    #[must_use]
    pub fn waiting_at_most(self, wait: Duration) -> Self {
        self.lock().log.wait_at_most(wait);
        self
    }

    /// Tells what was published before this process began: nothing before `next_msn` can change any
    /// more.
    pub fn resume_at(&self, next_msn: u64) {
        let mut inner = self.lock();
        inner.floor = inner.floor.max(next_msn);
    }

    /// Announces a break at the next boundary that leaves the lead. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`RuleError::Overlap`] while another break stands there; [`LogError::Io`] when it is not on
    /// disk.
    pub fn announce(
        &self,
        grid: &Grid,
        next_msn: u64,
        asked: BreakRequest,
    ) -> Result<Announced, LogError> {
        self.announce_at(grid, next_msn, asked, 0)
    }

    /// The same, but not before that segment.
    ///
    /// # Errors
    /// As [`Desk::announce`].
    pub fn announce_at(
        &self,
        grid: &Grid,
        next_msn: u64,
        asked: BreakRequest,
        earliest: u64,
    ) -> Result<Announced, LogError> {
        let mut inner = self.lock();
        let BreakRequest { lead, length } = asked;
        let start = inner.floor.max(next_msn).saturating_add(lead).max(earliest);
        let number = inner.ledger.next_number();
        let (start_ms, end_ms) =
            (grid.start_ms(start), grid.start_ms(start.saturating_add(length)));
        let plan = Announced {
            id: break_id(number),
            number,
            start,
            length,
            start_ms,
            length_ms: end_ms.saturating_sub(start_ms),
        };
        self.append(&mut inner, vec![LedgerEntry::Announced(plan.clone())])?;
        drop(inner);
        let decision = self.decide.decide(length);
        tracing::info!(
            event = self.event, id = plan.id, start, length, levels = %decision.summary(),
            "break announced"
        );
        self.take_decision(&plan.id, decision);
        self.kept.keep(|| self.lock().decisions.clone());
        Ok(plan)
    }

    /// Takes a decision of a break that is still to be frozen, if it is no worse than that before.
    fn take_decision(&self, id: &str, decision: Decision) {
        let mut inner = self.lock();
        let record = inner.ledger.find(id).filter(|record| record.state == State::Announced);
        if !record.is_some_and(|record| decision.fits(record.plan.length)) {
            return;
        }
        let best = match inner.decisions.remove(id) {
            Some(before) => before.or_better(decision),
            None => decision,
        };
        inner.decisions.insert(id.to_owned(), best);
    }

    /// Decides what is frozen at this floor and was not decided, or not well: what was missing then
    /// may be there now.
    fn decide_due(&self, floor: u64) {
        let undecided: Vec<(String, u64)> = {
            let inner = self.lock();
            let is_well = |id| inner.decisions.get(id).is_some_and(|d: &Decision| !d.is_degraded());
            let due =
                inner.ledger.records().iter().filter(|record| {
                    record.state == State::Announced && record.plan.start <= floor
                });
            let due = due.filter(|record| !is_well(&record.plan.id));
            due.map(|record| (record.plan.id.clone(), record.plan.length)).collect()
        };
        for (id, length) in undecided {
            let decision = self.decide.decide(length);
            self.take_decision(&id, decision);
        }
    }

    /// Ends a break at the next boundary of which nothing is published or hinted, or calls it off
    /// when it is not frozen yet. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`RuleError`] when it is over or unknown; [`LogError::Io`] when it is not on disk.
    pub fn return_early(&self, id: &str) -> Result<Record, LogError> {
        let mut inner = self.lock();
        let record = inner.ledger.find(id).ok_or_else(|| RuleError::Unknown(id.to_owned()))?;
        let entry = match record.state {
            State::Announced => LedgerEntry::Cancelled { id: id.to_owned() },
            State::Frozen => cut(record, inner.floor)?,
            state => {
                return Err(
                    RuleError::State { id: id.to_owned(), state, asked: "returned from" }.into()
                );
            }
        };
        self.append(&mut inner, vec![entry])?;
        inner.decisions.remove(id);
        let record =
            inner.ledger.find(id).cloned().ok_or_else(|| RuleError::Unknown(id.to_owned()))?;
        tracing::info!(
            event = self.event, id, state = ?record.state, length = record.plan.length,
            "break returned early"
        );
        Ok(record)
    }

    /// Has a break last longer. Blocks until it is on disk.
    ///
    /// # Errors
    /// [`RuleError`] when it is over, was returned from, is unknown, would be too long or reach the
    /// next, or when nothing can play; [`LogError::Io`] when it is not on disk.
    pub fn extend(&self, grid: &Grid, id: &str, by: Extension) -> Result<Record, LogError> {
        let length = {
            let inner = self.lock();
            let record = may_extend(&inner.ledger, inner.floor, id, by)?;
            // What is not frozen is decided as a whole.
            if record.frozen.is_some() { by.added } else { record.plan.length + by.added }
        };
        let decision = self.decide.decide(length);
        let ads_on = self.decide.ads_on();
        let mut inner = self.lock();
        let record = may_extend(&inner.ledger, inner.floor, id, by)?;
        let entry = longer(record, grid, by.added, &decision, ads_on)?;
        let is_frozen = entry.frozen.is_some();
        self.append(&mut inner, vec![LedgerEntry::Extended(entry)])?;
        if !is_frozen {
            inner.decisions.insert(id.to_owned(), decision);
        }
        let record =
            inner.ledger.find(id).cloned().ok_or_else(|| RuleError::Unknown(id.to_owned()))?;
        drop(inner);
        if !is_frozen {
            self.kept.keep(|| self.lock().decisions.clone());
        }
        tracing::info!(event = self.event, id, length = record.plan.length, "break extended");
        if let Some(frozen) = &record.frozen {
            log_lesser(&self.event, frozen);
        }
        Ok(record)
    }

    /// What is decided so far of a break that is not frozen; `None` where nothing is.
    #[must_use]
    pub fn planned(&self, id: &str) -> Option<Decision> {
        self.lock().decisions.get(id).cloned()
    }

    /// The ledger as it stands.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.seen().ledger.clone()
    }

    /// The pods document of a revision, however old; `None` when there is no such revision yet. See
    /// [`Ledger::pods`] for `changes`.
    #[must_use]
    pub fn pods(&self, revision: u64, cohort: &str, changes: &[u64]) -> Option<Pods> {
        let seen = self.seen();
        // Since then no pods changed.
        if (seen.ledger.pods_revision()..=seen.ledger.revision()).contains(&revision) {
            return Some(Pods { revision, ..seen.ledger.pods(&self.event, cohort, changes) });
        }
        Some(self.folded(&seen.entries, revision)?.pods(&self.event, cohort, changes))
    }

    /// The ledger as it stood at an earlier revision. Doors ask for one for every cohort in a row.
    fn folded(&self, entries: &[LedgerEntry], revision: u64) -> Option<Arc<Ledger>> {
        let known = |all: &VecDeque<Arc<Ledger>>| {
            let mut all = all.iter();
            all.find(|ledger| ledger.revision() == revision).cloned()
        };
        let folded = || self.folded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = known(&folded()) {
            return Some(ledger);
        }
        let entries = entries.get(..usize::try_from(revision).ok()?)?;
        // Every entry passed these rules before it was kept.
        let ledger = Arc::new(Ledger::fold(entries)?);
        let mut folded = folded();
        folded.push_back(Arc::clone(&ledger));
        if folded.len() > FOLDED_MOST {
            folded.pop_front();
        }
        Some(ledger)
    }

    /// The entries that are due before `floor - 1` is published or hinted: breaks that end by then,
    /// and breaks that start no later than the segment after it, so that their last segment of
    /// content announces them.
    fn due(&self, inner: &Inner, floor: u64, ads_on: bool) -> Vec<LedgerEntry> {
        let mut ledger = inner.ledger.clone();
        let mut entries = Vec::new();
        while let Some(entry) = self.next_due(&ledger, inner, floor, ads_on) {
            if let Err(error) = ledger.apply(&entry) {
                tracing::error!(
                    event = self.event, %error,
                    "a due entry breaks the rules of the ledger; left out"
                );
                break;
            }
            entries.push(entry);
        }
        entries
    }

    fn next_due(
        &self,
        ledger: &Ledger,
        inner: &Inner,
        floor: u64,
        ads_on: bool,
    ) -> Option<LedgerEntry> {
        let open = ledger
            .records()
            .iter()
            .find(|r| matches!(r.state, State::Announced | State::Frozen))?;
        match open.state {
            // Its start is out without it, because the disk did not take it in time.
            State::Announced if open.plan.start < inner.floor => {
                Some(LedgerEntry::Cancelled { id: open.plan.id.clone() })
            }
            State::Announced if open.plan.start <= floor => {
                let decision = inner.decisions.get(&open.plan.id).cloned();
                let decision = decision.unwrap_or_else(Decision::nothing);
                let decision =
                    if ads_on { decision } else { decision.suppressed("the flag ads is off") };
                Some(self.freeze(ledger, open, decision, floor))
            }
            State::Frozen if open.end() <= floor => {
                Some(LedgerEntry::Ended { id: open.plan.id.clone() })
            }
            _ => None,
        }
    }

    fn freeze(
        &self,
        ledger: &Ledger,
        record: &Record,
        decision: Decision,
        floor: u64,
    ) -> LedgerEntry {
        let plan = &record.plan;
        let segment_ms = (plan.length_ms / plan.length).max(1);
        let window = self.window_ms / segment_ms + WINDOW_MARGIN;
        let generic = decision.cohorts.get(GENERIC).copied().unwrap_or_default();
        // A cohort that the schema no longer has may still be in passes.
        let earlier = ledger.cohorts().map(|cohort| (cohort.to_owned(), generic));
        let share = |(cohort, pod): (String, usize)| {
            let discontinuities_before = ledger.discontinuities(&cohort);
            (cohort, CohortPod { pod, discontinuities_before })
        };
        let cohorts = earlier.chain(decision.cohorts).map(share).collect();
        let window_start = floor.saturating_sub(window).max(ledger.window_start());
        LedgerEntry::Frozen(Arc::new(Frozen {
            id: plan.id.clone(),
            window_start,
            pods: decision.pods,
            cohorts,
        }))
    }

    /// Tells what was due and is in force.
    fn note(&self, inner: &mut Inner, entry: &LedgerEntry) {
        match entry {
            LedgerEntry::Frozen(frozen) => {
                inner.decisions.remove(&frozen.id);
                log_frozen(&self.event, frozen);
            }
            LedgerEntry::Cancelled { id } => {
                inner.decisions.remove(id);
                let event = &self.event;
                tracing::warn!(event, id, "break called off: it was not on disk before its start");
            }
            _ => {}
        }
    }

    /// Puts entries on disk, and only then before anyone.
    fn append(&self, inner: &mut Inner, entries: Vec<LedgerEntry>) -> Result<(), LogError> {
        let Inner { log, ledger, .. } = inner;
        log.append(ledger, entries)?;
        let seen = Arc::new(Seen::of(log, ledger));
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is made whole by one assignment, so a panic elsewhere leaves nothing half
        // done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn of(log: &Log, ledger: &Ledger) -> Self {
        Self { view: view(ledger), ledger: ledger.clone(), entries: log.entries().to_vec() }
    }
}

impl Breaks for Desk {
    fn before_publish(&self, msn: u64) {
        self.decide_due(msn.saturating_add(1));
        let ads_on = self.decide.ads_on();
        let mut inner = self.lock();
        let floor = inner.floor.max(msn.saturating_add(1));
        let entries = self.due(&inner, floor, ads_on);
        let written = match entries.is_empty() {
            true => Ok(()),
            false => self.append(&mut inner, entries.clone()),
        };
        inner.floor = floor;
        match written {
            Ok(()) => entries.iter().for_each(|entry| self.note(&mut inner, entry)),
            // The live edge waits for no disk: what is due stays due.
            Err(error) if inner.told.due() => tracing::error!(
                event = self.event,
                %error,
                "the ledger cannot be written: the event goes on without the break that is due"
            ),
            Err(_) => {}
        }
    }

    fn close_at(&self, end: u64) -> Result<(), FreezeError> {
        let mut inner = self.lock();
        let entries: Vec<LedgerEntry> =
            inner.ledger.records().iter().filter_map(|record| closing(record, end)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        tracing::info!(event = self.event, end, "the event's end closes its breaks");
        let closed = self.append(&mut inner, entries);
        closed.map_err(|error| FreezeError { msn: end, reason: error.to_string() })
    }

    fn view(&self) -> BreaksView {
        self.seen().view.clone()
    }

    fn version(&self) -> u64 {
        self.seen().view.version
    }
}

/// What ends a break with its event; `None` for one that is over by then.
fn closing(record: &Record, end: u64) -> Option<LedgerEntry> {
    let id = record.plan.id.clone();
    match record.state {
        State::Announced => Some(LedgerEntry::Cancelled { id }),
        State::Frozen if record.end() > end => {
            Some(cut(record, end).unwrap_or(LedgerEntry::Ended { id }))
        }
        State::Frozen | State::Ended | State::Cancelled => None,
    }
}

/// The early return of a frozen break, at or after `floor`.
fn cut(record: &Record, floor: u64) -> Result<LedgerEntry, RuleError> {
    let plan = &record.plan;
    // A frozen break has at least one segment, because the doors may have hinted it.
    let length = floor.saturating_sub(plan.start).max(1);
    if length >= plan.length {
        return Err(RuleError::State {
            id: plan.id.clone(),
            state: record.state,
            asked: "cut short: its last segment is out",
        });
    }
    let length_ms = plan.length_ms * length / plan.length;
    Ok(LedgerEntry::Returned { id: plan.id.clone(), length, length_ms })
}

fn view(ledger: &Ledger) -> BreaksView {
    let window_start = ledger.window_start();
    let listed = ledger.records().iter().filter(|r| r.told_end >= window_start && r.has_ads());
    BreaksView {
        revision: ledger.pods_revision(),
        version: ledger.revision(),
        dateranges: listed.flat_map(date_ranges).collect(),
    }
}

/// A break, and each of its extensions: what a playlist has said of a break's planned length stays.
fn date_ranges(record: &Record) -> impl Iterator<Item = DateRange> {
    let plan = &record.plan;
    let more = record.extensions.iter().enumerate().map(|(at, part)| DateRange {
        id: format!("{}.{}", plan.id, at + 2),
        start_ms: plan.start_ms + part.start,
        told_ms: plan.start_ms,
        length_ms: part.end - part.start,
        planned_duration_ms: Some(part.end - part.start),
        duration_ms: is_over(record)
            .then(|| plan.length_ms.clamp(part.start, part.end) - part.start),
        scte35_out: None,
        scte35_in: None,
    });
    std::iter::once(date_range(record)).chain(more)
}

fn is_over(record: &Record) -> bool {
    record.returned || record.state == State::Ended
}

fn date_range(record: &Record) -> DateRange {
    let plan = &record.plan;
    let over = is_over(record);
    DateRange {
        id: plan.id.clone(),
        start_ms: plan.start_ms,
        told_ms: plan.start_ms,
        length_ms: plan.length_ms,
        planned_duration_ms: Some(record.planned_ms),
        duration_ms: over.then_some(plan.length_ms),
        scte35_out: Some(scte35::out(plan.number, plan.start_ms, record.planned_ms)),
        scte35_in: over.then(|| scte35::back(plan.number, plan.start_ms + plan.length_ms)),
    }
}

fn log_frozen(event: &str, frozen: &Frozen) {
    let id = frozen.id.as_str();
    tracing::info!(
        event,
        id,
        pods = frozen.pods.len(),
        cohorts = frozen.cohorts.len(),
        "break frozen"
    );
    log_lesser(event, frozen);
}

fn log_lesser(event: &str, frozen: &Frozen) {
    let id = frozen.id.as_str();
    let causes = frozen
        .pods
        .iter()
        .flat_map(|pod: &Pod| pod.causes.iter().map(move |cause| (pod.level, cause)));
    for (level, cause) in causes {
        tracing::warn!(event, id, ?level, cause, "a lesser pod was frozen for some cohorts");
    }
}

#[cfg(test)]
mod tests;
