//! What an operator sees of a break's pods, and of the creatives that they are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Outcome, apart, ok};
use super::events::shown;
use crate::breaks::ledger::Pod;
use crate::event::RunningEvent;
use crate::http::problem;

/// One break, with what each cohort sees in it: as it was frozen, or as it is decided so far.
pub(super) fn one_break(event: &RunningEvent, id: &str) -> Outcome {
    let ledger = event.desk.ledger();
    let Some(record) = ledger.find(id) else {
        let title = format!("there is no break {id}");
        return Ok(problem(StatusCode::NOT_FOUND, "break-unknown", &title));
    };
    let mut told = shown(record);
    let (decided, pods) = match &record.frozen {
        Some(frozen) => {
            let shares = frozen.cohorts.iter().map(|(cohort, share)| (cohort.as_str(), share.pod));
            ("frozen", pods(event, &frozen.pods, shares))
        }
        None => match event.desk.planned(id) {
            Some(decision) => {
                let shares = decision.cohorts.iter().map(|(cohort, pod)| (cohort.as_str(), *pod));
                ("planned", pods(event, &decision.pods, shares))
            }
            None => ("nothing", Vec::new()),
        },
    };
    told["decided"] = json!(decided);
    told["pods"] = json!(pods);
    Ok(ok(&told))
}

/// Each pod with its cohorts.
fn pods<'a>(
    event: &RunningEvent,
    pods: &[Pod],
    shares: impl Iterator<Item = (&'a str, usize)>,
) -> Vec<Value> {
    let mut cohorts: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (cohort, pod) in shares {
        cohorts.entry(pod).or_default().push(cohort);
    }
    let (grid, names) = (event.live.grid(), event.live.creatives().names());
    let slots = |pod: &Pod| -> Vec<Value> {
        let slots = pod.slots.iter();
        slots
            .map(|slot| {
                json!({
                    "creative": slot.creative,
                    "name": names.get(&slot.creative),
                    "offset": slot.offset,
                    "segments": slot.segments,
                    "length_ms": grid.duration_ms(slot.segments),
                })
            })
            .collect()
    };
    let told = pods.iter().enumerate().map(|(at, pod)| {
        json!({
            "level": pod.level,
            "causes": pod.causes,
            "slots": slots(pod),
            "cohorts": cohorts.get(&at).cloned().unwrap_or_default(),
        })
    });
    told.collect()
}

/// The creatives that the event's pods name, each with its state.
pub(super) async fn creatives(event: &Arc<RunningEvent>) -> Outcome {
    let grid = event.live.grid();
    let event = Arc::clone(event);
    // It looks whether files are there.
    let stocked = apart(move || event.stocked()).await?;
    let told: Vec<Value> = stocked
        .into_iter()
        .map(|one| {
            let length_ms = one.playable.as_ref().map(|it| grid.duration_ms(it.segments));
            json!({
                "source": one.source,
                "name": one.name,
                "state": one.state,
                "reason": one.reason,
                "creative": one.playable.map(|it| it.id),
                "length_ms": length_ms,
            })
        })
        .collect();
    Ok(ok(&json!({"creatives": told})))
}
