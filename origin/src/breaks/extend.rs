//! A break that lasts longer than was planned. What is frozen stays as it is: what plays in the
//! added segments follows it.

use serde::{Deserialize, Serialize};

use super::decision::Decision;
use super::ledger::{CohortPod, Frozen, GENERIC, Pod};

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
    pub frozen: Option<Frozen>,
}

/// The frozen pods of a break of `length` segments, each followed by what is decided for `added`
/// more. Where content goes on in the break, it does so to its end.
///
/// # Errors
/// Why nothing can play in the added segments, though something plays before them.
pub(super) fn followed(
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
