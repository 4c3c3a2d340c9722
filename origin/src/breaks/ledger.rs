//! The ledger: what was announced, frozen, extended, cut short and ended, and the rules for each
//! entry.
//!
//! The state of all breaks of an event is the fold of its entries, without IO and without a clock.
//! An entry that [`Ledger::apply`] accepts changes nothing that an earlier revision said about a
//! segment that may have been published.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sightscreen_core::document::{Break, Pods, Slot};

pub use super::extend::Extended;
use super::extend::follows;

/// No media sequence number is larger: it is exact in every language.
const SEQUENCE_MAX: u64 = 1 << 53;
/// Extensions of one break: each repeats the break's pods in the log.
const EXTENSIONS_MAX: usize = 32;
/// The cohort that exists in every schema.
pub const GENERIC: &str = "generic";
/// The cohort that sees no ads.
pub const NONE: &str = "none";

/// One line of the log. Every entry makes the next revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "lowercase", deny_unknown_fields)]
pub enum LedgerEntry {
    /// A break will start.
    Announced(Announced),
    /// What every cohort sees in a break is fixed; its first segment may be published from now on.
    Frozen(Arc<Frozen>),
    /// The break lasts longer.
    Extended(Extended),
    /// The break ends early.
    Returned {
        /// The break.
        id: String,
        /// New length in segments.
        length: u64,
        /// New length in milliseconds.
        length_ms: u64,
    },
    /// The break was called off before it was frozen.
    Cancelled {
        /// The break.
        id: String,
    },
    /// The first segment after the break may be published from now on.
    Ended {
        /// The break.
        id: String,
    },
}

/// A break that will start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announced {
    /// `b` and the number.
    pub id: String,
    /// Counts announcements from 1; also the SCTE-35 splice event id.
    pub number: u32,
    /// Media sequence number of the first segment.
    pub start: u64,
    /// Planned segments.
    pub length: u64,
    /// Unix milliseconds at which the first segment starts.
    pub start_ms: u64,
    /// Planned milliseconds.
    pub length_ms: u64,
}

/// What every cohort sees in one break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// The break.
    pub id: String,
    /// Lowest media sequence number that a playlist of this revision or a later one may list.
    pub window_start: u64,
    /// The distinct pods of this break.
    pub pods: Vec<Pod>,
    /// Which pod each cohort sees. `generic` is always here, and speaks for cohorts that were never
    /// named. A cohort named once is named in every later break, so that its discontinuities are
    /// counted on.
    pub cohorts: BTreeMap<String, CohortPod>,
}

/// A decided pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// How good the decision was.
    pub level: Level,
    /// Why it was no better; empty when nothing went wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What plays. Empty: the content goes on.
    pub slots: Vec<Slot>,
}

/// A cohort's share of a frozen break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CohortPod {
    /// Index into [`Frozen::pods`].
    pub pod: usize,
    /// Discontinuities of all earlier breaks of this cohort.
    pub discontinuities_before: u64,
}

/// How good a decision was, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The cohort's own pod.
    Cohort,
    /// The generic pod.
    Generic,
    /// The fallback pod.
    Fallback,
    /// Slate alone.
    Slate,
    /// No ads: the content goes on.
    Suppressed,
}

/// Where a break stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Will start.
    Announced,
    /// Decided for good; starting or on the air.
    Frozen,
    /// Over.
    Ended,
    /// Called off before it was frozen.
    Cancelled,
}

/// One break, as the entries so far tell it.
#[derive(Debug, Clone)]
pub struct Record {
    /// As announced; `length` and `length_ms` are those in force.
    pub plan: Announced,
    /// As it was planned when it was frozen, in milliseconds; extensions since then not counted.
    pub planned_ms: u64,
    /// Where it stands.
    pub state: State,
    /// The parts by which it was extended after it was frozen, oldest first, in milliseconds from
    /// its start.
    pub extensions: Vec<Range<u64>>,
    /// The furthest end that it was ever told to have, as a media sequence number.
    pub told_end: u64,
    /// Whether an early return cut it.
    pub returned: bool,
    /// What every cohort sees, once frozen.
    pub frozen: Option<Arc<Frozen>>,
}

/// The fold of a log.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    records: Vec<Record>,
    revision: u64,
    pods_revision: u64,
}

/// Why an entry cannot follow those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Ids count up and are never used again.
    #[error("break {found} came where {expected} was due: ids count up without gaps")]
    Id {
        /// The id that comes next.
        expected: String,
        /// The id in the entry.
        found: String,
    },
    /// A break has no segments, or does not fit 53 bits.
    #[error("break {0} has no segments, or numbers that are too large")]
    Length(String),
    /// No content between two breaks.
    #[error(
        "a break at segment {start} touches {earlier}, which returns at segment {end}: start at \
         segment {} or later", .end + 1
    )]
    Overlap {
        /// Asked start.
        start: u64,
        /// The earlier break.
        earlier: String,
        /// Its return.
        end: u64,
    },
    /// An extension would reach the next break.
    #[error(
        "break {id} cannot last until segment {end}: {next} starts at segment {start}, and content \
         must lie between two breaks"
    )]
    Next {
        /// The break.
        id: String,
        /// Its return, if it were extended.
        end: u64,
        /// The break after it.
        next: String,
        /// Where that starts.
        start: u64,
    },
    /// It would be longer than a break may be.
    #[error("break {id} may not last longer than {most} segments (break-longest)")]
    Longest {
        /// The break.
        id: String,
        /// The longest, in segments.
        most: u64,
    },
    /// It was extended as often as may be.
    #[error("break {0} was extended {max} times, which is the most", max = EXTENSIONS_MAX)]
    Often(String),
    /// Nothing can play in the added part, or the break changed meanwhile.
    #[error("break {id} cannot be extended: {cause}")]
    Nothing {
        /// The break.
        id: String,
        /// Why.
        cause: String,
    },
    /// No break of that id.
    #[error("there is no break {0}")]
    Unknown(String),
    /// The break is past that, or not there yet.
    #[error("break {id} is {state:?} and cannot be {asked}")]
    State {
        /// The break.
        id: String,
        /// Where it stands.
        state: State,
        /// What was asked.
        asked: &'static str,
    },
    /// The frozen pods do not fit the break.
    #[error("the pods frozen for break {0} do not fit it")]
    Pods(String),
}

impl Ledger {
    /// The ledger that these entries make; `None` when they break its rules.
    #[must_use]
    pub fn fold(entries: &[LedgerEntry]) -> Option<Self> {
        let mut ledger = Self::default();
        entries.iter().try_for_each(|entry| ledger.apply(entry)).ok()?;
        Some(ledger)
    }

    /// Entries so far.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The last revision that changed what anybody sees: the pods of every later one are the same.
    #[must_use]
    pub fn pods_revision(&self) -> u64 {
        self.pods_revision
    }

    /// All breaks in order.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The number of the next break.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        u32::try_from(self.records.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The break of that id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.plan.id == id)
    }

    /// The cohorts of the last frozen break, which every later one names too.
    pub fn cohorts(&self) -> impl Iterator<Item = &str> {
        let last = self.records.iter().rev().find_map(|record| record.frozen.as_ref());
        last.into_iter().flat_map(|frozen| frozen.cohorts.keys().map(String::as_str))
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`RuleError`]; the ledger is then as before.
    pub fn apply(&mut self, entry: &LedgerEntry) -> Result<(), RuleError> {
        match entry {
            LedgerEntry::Announced(plan) => self.announce(plan)?,
            LedgerEntry::Frozen(frozen) => self.freeze(frozen)?,
            LedgerEntry::Extended(extended) => self.extend(extended)?,
            LedgerEntry::Returned { id, length, length_ms } => self.cut(id, *length, *length_ms)?,
            LedgerEntry::Cancelled { id } => {
                self.step(id, State::Announced, State::Cancelled, "cancelled")?;
            }
            LedgerEntry::Ended { id } => self.step(id, State::Frozen, State::Ended, "ended")?,
        }
        self.revision += 1;
        let changes_pods = match entry {
            LedgerEntry::Frozen(_) | LedgerEntry::Returned { .. } => true,
            LedgerEntry::Extended(extended) => extended.frozen.is_some(),
            _ => false,
        };
        if changes_pods {
            self.pods_revision = self.revision;
        }
        Ok(())
    }

    /// Discontinuities of this cohort in all frozen breaks.
    #[must_use]
    pub fn discontinuities(&self, cohort: &str) -> u64 {
        let last = self.records.iter().rev().find_map(|record| record.for_cohort(cohort));
        last.map_or(0, |b| b.discontinuities_before + b.discontinuity_positions().count() as u64)
    }

    /// The pods document of `cohort` at this revision: every frozen break that a playlist may still
    /// touch. `changes` are the segments with which the content's init changes. What a break that
    /// is not listed hides is out for good, so that later changes make no difference.
    #[must_use]
    pub fn pods(&self, event: &str, cohort: &str, changes: &[u64]) -> Pods {
        let (mut breaks, mut discontinuities, mut changes_hidden) = (Vec::new(), 0, 0);
        if cohort != NONE {
            let window_start = self.window_start();
            let of_cohort = |record: &Record| record.for_cohort(cohort);
            let (gone, listed): (Vec<_>, Vec<_>) =
                self.records.iter().partition(|record| record.end() < window_start);
            breaks.extend(listed.into_iter().filter_map(of_cohort));
            discontinuities = self.discontinuities(cohort);
            // Few breaks have a change in them, so few are looked at closely.
            let holds = |record: &&&Record| {
                let range = record.plan.start..=record.end();
                changes.iter().any(|change| range.contains(change))
            };
            for one in gone.iter().filter(holds).filter_map(|record| of_cohort(record)) {
                let hidden = changes.iter().filter(|change| one.hides_change(**change));
                changes_hidden += hidden.count() as u64;
            }
        }
        Pods {
            event: event.to_owned(),
            revision: self.revision,
            cohort: cohort.to_owned(),
            discontinuities,
            changes_hidden,
            breaks,
        }
    }

    /// Lowest media sequence number that a playlist of this revision may list.
    #[must_use]
    pub fn window_start(&self) -> u64 {
        self.records
            .iter()
            .filter_map(|record| record.frozen.as_ref())
            .map(|frozen| frozen.window_start)
            .max()
            .unwrap_or(0)
    }

    fn announce(&mut self, plan: &Announced) -> Result<(), RuleError> {
        let number = self.next_number();
        let expected = break_id(number);
        if plan.id != expected || plan.number != number {
            return Err(RuleError::Id { expected, found: plan.id.clone() });
        }
        if plan.length == 0 || plan.start >= SEQUENCE_MAX || plan.length >= SEQUENCE_MAX {
            return Err(RuleError::Length(plan.id.clone()));
        }
        if let Some(earlier) = self.last_standing().filter(|earlier| plan.start <= earlier.end()) {
            let (earlier, end) = (earlier.plan.id.clone(), earlier.end());
            return Err(RuleError::Overlap { start: plan.start, earlier, end });
        }
        let (planned_ms, state) = (plan.length_ms, State::Announced);
        self.records.push(Record {
            plan: plan.clone(),
            planned_ms,
            state,
            extensions: Vec::new(),
            told_end: plan.start + plan.length,
            returned: false,
            frozen: None,
        });
        Ok(())
    }

    fn freeze(&mut self, frozen: &Arc<Frozen>) -> Result<(), RuleError> {
        let index = self.in_state(&frozen.id, State::Announced, "frozen")?;
        let earlier_open = self.records[..index]
            .iter()
            .find(|r| matches!(r.state, State::Announced | State::Frozen));
        if let Some(open) = earlier_open {
            return Err(RuleError::State {
                id: open.plan.id.clone(),
                state: open.state,
                asked: "followed by a frozen break",
            });
        }
        let length = self.records[index].plan.length;
        let fits = frozen.cohorts.contains_key(GENERIC)
            && self.cohorts().all(|cohort| frozen.cohorts.contains_key(cohort))
            && frozen.pods.iter().all(|pod| pod.covers(length))
            && frozen.cohorts.iter().all(|(cohort, share)| {
                share.pod < frozen.pods.len()
                    && share.discontinuities_before == self.discontinuities(cohort)
            });
        if !fits {
            return Err(RuleError::Pods(frozen.id.clone()));
        }
        self.records[index].frozen = Some(Arc::clone(frozen));
        self.records[index].state = State::Frozen;
        Ok(())
    }

    fn extend(&mut self, extended: &Extended) -> Result<(), RuleError> {
        let Extended { id, length, length_ms, frozen } = extended;
        let index = self.records.iter().position(|record| record.plan.id == *id);
        let index = index.ok_or_else(|| RuleError::Unknown(id.clone()))?;
        let record = &self.records[index];
        let is_open = matches!(record.state, State::Announced | State::Frozen);
        if !is_open || record.returned {
            return Err(RuleError::State {
                id: id.clone(),
                state: record.state,
                asked: "extended",
            });
        }
        let is_longer = *length > record.plan.length && *length_ms > record.plan.length_ms;
        if !is_longer || *length >= SEQUENCE_MAX {
            return Err(RuleError::Length(id.clone()));
        }
        if record.extensions.len() >= EXTENSIONS_MAX {
            return Err(RuleError::Often(id.clone()));
        }
        let end = record.plan.start + length;
        let next = self.records[index + 1..].iter().find(|next| next.state != State::Cancelled);
        if let Some(next) = next.filter(|next| next.plan.start <= end) {
            let (next, start) = (next.plan.id.clone(), next.plan.start);
            return Err(RuleError::Next { id: id.clone(), end, next, start });
        }
        let fits = match (frozen, &record.frozen) {
            (Some(after), Some(before)) => follows(after, before, *length),
            (None, None) => true,
            _ => false,
        };
        if !fits {
            return Err(RuleError::Pods(id.clone()));
        }
        let record = &mut self.records[index];
        match frozen {
            Some(_) => record.extensions.push(record.plan.length_ms..*length_ms),
            None => record.planned_ms = *length_ms,
        }
        record.frozen.clone_from(frozen);
        (record.plan.length, record.plan.length_ms) = (*length, *length_ms);
        record.told_end = end;
        Ok(())
    }

    fn cut(&mut self, id: &str, length: u64, length_ms: u64) -> Result<(), RuleError> {
        let index = self.in_state(id, State::Frozen, "cut short")?;
        let record = &mut self.records[index];
        if length == 0 || length >= record.plan.length {
            return Err(RuleError::Length(id.to_owned()));
        }
        (record.plan.length, record.plan.length_ms, record.returned) = (length, length_ms, true);
        Ok(())
    }

    fn step(
        &mut self,
        id: &str,
        from: State,
        to: State,
        asked: &'static str,
    ) -> Result<(), RuleError> {
        let index = self.in_state(id, from, asked)?;
        self.records[index].state = to;
        Ok(())
    }

    fn in_state(&self, id: &str, state: State, asked: &'static str) -> Result<usize, RuleError> {
        let index = self.records.iter().position(|record| record.plan.id == id);
        let index = index.ok_or_else(|| RuleError::Unknown(id.to_owned()))?;
        let found = self.records[index].state;
        if found == state {
            Ok(index)
        } else {
            Err(RuleError::State { id: id.to_owned(), state: found, asked })
        }
    }

    fn last_standing(&self) -> Option<&Record> {
        self.records.iter().rev().find(|record| record.state != State::Cancelled)
    }
}

impl Record {
    /// Planned length in milliseconds, extensions counted.
    #[must_use]
    pub fn planned_with_extensions_ms(&self) -> u64 {
        self.extensions.last().map_or(self.planned_ms, |part| part.end)
    }

    /// Media sequence number of the first segment after the break.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.plan.start + self.plan.length
    }

    /// The break as `cohort` sees it, once frozen.
    #[must_use]
    pub fn for_cohort(&self, cohort: &str) -> Option<Break> {
        let (pod, discontinuities_before) = self.pod(cohort)?;
        let (id, start, length) = (self.plan.id.clone(), self.plan.start, self.plan.length);
        Some(Break { id, start, length, discontinuities_before, slots: pod.slots.clone() })
    }

    /// The decided pod of `cohort`, and the discontinuities before it.
    fn pod(&self, cohort: &str) -> Option<(&Pod, u64)> {
        let frozen = self.frozen.as_ref()?;
        let share = frozen.cohorts.get(cohort).or_else(|| frozen.cohorts.get(GENERIC))?;
        Some((frozen.pods.get(share.pod)?, share.discontinuities_before))
    }

    /// Whether ads play in it.
    #[must_use]
    pub fn has_ads(&self) -> bool {
        self.frozen
            .as_ref()
            .is_some_and(|frozen| frozen.pods.iter().any(|pod| !pod.slots.is_empty()))
    }
}

impl Pod {
    /// Whether the slots fill `length` segments exactly, or there are none.
    pub(super) fn covers(&self, length: u64) -> bool {
        let end = self.slots.iter().try_fold(0_u64, |at, slot| {
            (slot.offset == at && slot.segments > 0)
                .then(|| at.checked_add(slot.segments))
                .flatten()
        });
        self.slots.is_empty() || end == Some(length)
    }
}

/// The identifier of the break with that number.
#[must_use]
pub fn break_id(number: u32) -> String {
    format!("b{number}")
}
