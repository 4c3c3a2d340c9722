//! A break that lasts longer than was planned. What is frozen stays as it is: what plays in the
//! added segments follows it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::ledger::{CohortPod, Frozen, GENERIC, Ledger, Pod, Record, RuleError, State};
use crate::grid::Grid;

/// A break lasts longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extended {
    /// The break.
    pub id: String,
    /// New length in segments.
    pub length: u64,
    /// New length in milliseconds.
    pub length_ms: u64,
    /// What every cohort sees in all of it, if it was frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Arc<Frozen>>,
}

/// By how much a break is to last longer, in segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension {
    /// That come to what it has.
    pub added: u64,
    /// That a break may have.
    pub longest: u64,
}

/// The break, if it may last longer: nothing that follows it is out, because nothing from `floor`
/// on is.
///
/// # Errors
/// [`RuleError`]: why not.
pub(super) fn may_extend<'a>(
    ledger: &'a Ledger,
    floor: u64,
    id: &str,
    by: Extension,
) -> Result<&'a Record, RuleError> {
    let record = ledger.find(id).ok_or_else(|| RuleError::Unknown(id.to_owned()))?;
    let state = |asked| RuleError::State { id: id.to_owned(), state: record.state, asked };
    match record.state {
        State::Ended | State::Cancelled => return Err(state("extended: it is over")),
        _ if record.returned => return Err(state("extended: it was returned from")),
        State::Announced if record.plan.start < floor => {
            return Err(state("extended: its start is out without it"));
        }
        _ if record.end() < floor => {
            return Err(state("extended: what follows it is out"));
        }
        _ => {}
    }
    let most = by.longest;
    if record.plan.length.saturating_add(by.added) > most {
        return Err(RuleError::Longest { id: id.to_owned(), most });
    }
    Ok(record)
}

/// The entry with which a break lasts longer.
///
/// # Errors
/// [`RuleError::Nothing`]: nothing can play, or what is decided is for another length.
pub(super) fn longer(
    record: &Record,
    grid: &Grid,
    added: u64,
    decision: &Decision,
    ads_on: bool,
) -> Result<Extended, RuleError> {
    let plan = &record.plan;
    let (id, length) = (plan.id.as_str(), plan.length + added);
    let nothing = |cause: &str| RuleError::Nothing { id: id.to_owned(), cause: cause.to_owned() };
    let frozen = match &record.frozen {
        // Another extension came first while this was decided.
        None if !decision.fits(length) => return Err(nothing("it changed meanwhile; try again")),
        None => None,
        Some(_) if !ads_on => {
            return Err(nothing("nothing would play, because the flag ads is off"));
        }
        Some(_) if !record.has_ads() => return Err(nothing("nothing plays in it")),
        Some(frozen) => {
            let all = followed(frozen, plan.length, added, decision);
            Some(Arc::new(all.map_err(|cause| nothing(&cause))?))
        }
    };
    let end_ms = grid.start_ms(plan.start.saturating_add(length));
    let length_ms = end_ms.saturating_sub(plan.start_ms);
    Ok(Extended { id: id.to_owned(), length, length_ms, frozen })
}

/// The frozen pods of a break of `length` segments, each followed by what is decided for `added`
/// more. Where content goes on in the break, it does so to its end.
///
/// # Errors
/// Why nothing can play in the added segments, though something plays before them.
fn followed(
    frozen: &Frozen,
    length: u64,
    added: u64,
    decision: &Decision,
) -> Result<Frozen, String> {
    let mut longer = Frozen { pods: Vec::new(), cohorts: frozen.cohorts.clone(), ..frozen.clone() };
    for (cohort, share) in &frozen.cohorts {
        let before = frozen.pods.get(share.pod).ok_or("a cohort has no pod")?;
        let index = decision.cohorts.get(cohort).or_else(|| decision.cohorts.get(GENERIC));
        let after = index.and_then(|index| decision.pods.get(*index));
        let pod = both(before, after.filter(|pod| pod.covers(added)), length)?;
        let known = longer.pods.iter().position(|known| *known == pod);
        let pod = known.unwrap_or_else(|| {
            longer.pods.push(pod);
            longer.pods.len() - 1
        });
        longer.cohorts.insert(cohort.clone(), CohortPod { pod, ..*share });
    }
    Ok(longer)
}

fn both(before: &Pod, after: Option<&Pod>, length: u64) -> Result<Pod, String> {
    if before.slots.is_empty() {
        return Ok(before.clone());
    }
    // What was decided for another length was decided before the break was frozen.
    let after = after.ok_or("it was frozen meanwhile; try again")?;
    if after.slots.is_empty() {
        return Err(format!("nothing would play: {}", after.causes.join(", ")));
    }
    let mut pod = before.clone();
    pod.level = before.level.max(after.level);
    pod.causes.extend(after.causes.iter().filter(|cause| !before.causes.contains(cause)).cloned());
    pod.slots.extend(after.slots.iter().cloned().map(|mut slot| {
        slot.offset += length;
        slot
    }));
    Ok(pod)
}

/// Whether `after` says of a break's first segments what `before` said, and fills `length`.
pub(super) fn follows(after: &Frozen, before: &Frozen, length: u64) -> bool {
    let pod = |frozen: &Frozen, share: &CohortPod| frozen.pods.get(share.pod).cloned();
    let goes_on = |cohort: &str, share: &CohortPod| {
        let Some(longer) = after.cohorts.get(cohort) else { return false };
        let (Some(first), Some(all)) = (pod(before, share), pod(after, longer)) else {
            return false;
        };
        longer.discontinuities_before == share.discontinuities_before
            && all.slots.starts_with(&first.slots)
            && all.slots.is_empty() == first.slots.is_empty()
            && all.covers(length)
    };
    (&after.id, after.window_start) == (&before.id, before.window_start)
        && after.cohorts.len() == before.cohorts.len()
        && before.cohorts.iter().all(|(cohort, share)| goes_on(cohort, share))
}
