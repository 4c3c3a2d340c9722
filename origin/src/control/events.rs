//! What an operator sees and does of one event: breaks, switches, keys, score, snapshots, the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{DISK, NEVER, Outcome, apart, failed, noted, ok, read};
use super::{Control, pods};
use crate::breaks::desk::{BreakRequest, Extension};
use crate::breaks::ledger::{Record, RuleError, State};
use crate::breaks::log::LogError;
use crate::demo::gate::Gate;
use crate::documents::in_force::{ChangeError, KeysChange};
use crate::documents::publish::PublishError;
use crate::event::RunningEvent;
use crate::event::score::{Score, ScoreError};
use crate::event::switches::{Change, SwitchError};
use crate::grid::Grid;
use crate::http::{json as json_reply, not_found, problem};
use crate::package::end::EndError;

/// How far ahead a break may be announced: a slip of the pen is not a break tomorrow week.
const AHEAD_MS_MAX: u64 = 24 * 3_600_000;
/// Breaks that an operator sees, newest last.
const BREAKS_SHOWN: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBreak {
    length_s: u64,
    /// When it begins, in Unix milliseconds; as soon as it can where nobody says.
    at_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Extended {
    /// By how much it lasts longer.
    length_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiSwitch {
    up: bool,
    /// How it is down: `error`, `hang` or `refuse`.
    mode: Option<Gate>,
}

impl Control {
    pub(super) async fn event(
        &self,
        event: &Arc<RunningEvent>,
        method: &Method,
        rest: &[&str],
        body: Incoming,
    ) -> Outcome {
        match (method, rest) {
            (&Method::GET, []) => Ok(ok(&self.shown(event))),
            (&Method::POST, ["breaks"]) => announce(event, &read(body).await?).await,
            (&Method::GET, ["breaks", id]) => pods::one_break(event, id),
            (&Method::GET, ["creatives"]) => pods::creatives(event).await,
            (&Method::POST, ["breaks", id, "extend"]) => {
                extend(event, id, &read(body).await?).await
            }
            (&Method::POST, ["breaks", id, "return"]) => return_early(event, id).await,
            (&Method::POST, ["end"]) => end(event).await,
            (&Method::POST, ["flags"]) => throw(event, read(body).await?).await,
            (&Method::POST, ["keys"]) => change_keys(event, read(body).await?).await,
            (&Method::PUT, ["score"]) => show(event, Some(read(body).await?)).await,
            (&Method::DELETE, ["score"]) => show(event, None).await,
            (&Method::POST, ["snapshots"]) => {
                Ok(ok(&json!({"snapshots": event.snapshots.take_apart(event.name()).await})))
            }
            _ => Ok(not_found()),
        }
    }

    pub(super) fn switch_api(&self, asked: &ApiSwitch) -> Outcome {
        let down = asked.mode.filter(|mode| *mode != Gate::Up).unwrap_or(Gate::Error);
        self.api.set_gate(if asked.up { Gate::Up } else { down });
        Ok(ok(&self.api_state()))
    }

    fn shown(&self, event: &RunningEvent) -> Value {
        let (ledger, live) = (event.desk.ledger(), &event.live);
        let next = live.position().next_msn;
        let breaks: Vec<Value> =
            ledger.records().iter().rev().take(BREAKS_SHOWN).rev().map(shown).collect();
        json!({
            "event": event.name(),
            "epoch": live.epoch(),
            "state": event.state(),
            "started_ms": live.grid().zero_ms,
            "media": live.status(),
            "live_edge": {
                "next_sequence": next,
                "program_date_time_ms": live.grid().start_ms(next),
            },
            "ledger": {"revision": ledger.revision()},
            "breaks": breaks,
            "flags": flags(event),
            "switches": event.switches.thrown(),
            "keys": event.keys.told(),
            "renditions": live.renditions(),
            "api": self.api_state(),
            "snapshots": event.snapshots.in_force(event.name()),
        })
    }

    fn api_state(&self) -> Value {
        let gate = self.api.gate();
        json!({"up": gate == Gate::Up, "mode": gate})
    }
}

async fn announce(event: &RunningEvent, asked: &NewBreak) -> Outcome {
    let longest_s = event.schedule().longest_s;
    if !(1..=u64::from(longest_s)).contains(&asked.length_s) {
        return Ok(unfit_length(longest_s));
    }
    if !event.is_ready() {
        return Ok(not_live());
    }
    if event.live.is_ending() {
        return Ok(ended());
    }
    let (grid, next) = (event.live.grid(), event.live.position().next_msn);
    let lead = event.schedule().lead(&grid);
    let earliest = match asked.at_ms {
        Some(at_ms) => segment_at(&grid, next.saturating_add(lead), at_ms)?,
        None => 0,
    };
    let length = grid.segments_in_ms(asked.length_s * 1000);
    let note = match asked.at_ms {
        Some(at_ms) => format!("for {} s at {at_ms}", asked.length_s),
        None => format!("for {} s", asked.length_s),
    };
    let (desk, asked) = (Arc::clone(&event.desk), BreakRequest { lead, length });
    let announced = move || desk.announce_at(&grid, next, asked, earliest);
    let plan = apart(announced).await?.map_err(|error| refused(&error))?;
    Ok(noted(json_reply(StatusCode::CREATED, NEVER, &json!(plan)), note))
}

/// The segment with which a break at that time begins: the first that starts no earlier.
fn segment_at(grid: &Grid, first: u64, at_ms: u64) -> Result<u64, Box<Response<Bytes>>> {
    let (soonest, latest) = (grid.start_ms(first), grid.start_ms(first) + AHEAD_MS_MAX);
    if !(soonest..=latest).contains(&at_ms) {
        let title = format!(
            "No break can begin at {at_ms}: write Unix milliseconds from {soonest}, which leaves \
             its lead, to {latest}"
        );
        return Err(Box::new(problem(StatusCode::BAD_REQUEST, "time-invalid", &title)));
    }
    Ok(grid.segments_in_ms(at_ms.saturating_sub(grid.zero_ms)))
}

async fn end(event: &RunningEvent) -> Outcome {
    if !event.is_ready() {
        return Ok(not_live());
    }
    Ok(match event.live.end().await {
        Ok(end) => ok(&json!({"event": event.name(), "ends_before": end})),
        Err(EndError::NothingYet) => not_live(),
        Err(error @ EndError::Gone) => failed("packager-ended", &error),
        Err(error @ EndError::Disk { .. }) => failed(DISK, &error),
    })
}

async fn extend(event: &RunningEvent, id: &str, asked: &Extended) -> Outcome {
    let longest_s = event.schedule().longest_s;
    if !(1..=u64::from(longest_s)).contains(&asked.length_s) {
        return Ok(unfit_length(longest_s));
    }
    if event.live.is_ending() {
        return Ok(ended());
    }
    let grid = event.live.grid();
    let by = Extension {
        added: grid.segments_in_ms(asked.length_s * 1000),
        longest: grid.segments_in_ms(u64::from(longest_s) * 1000),
    };
    let (desk, id) = (Arc::clone(&event.desk), id.to_owned());
    let record = apart(move || desk.extend(&grid, &id, by)).await?;
    let record = match record {
        Err(LogError::Rule(RuleError::Longest { id, .. })) => {
            let title =
                format!("{id} may last {longest_s} s in all (break-longest): extend it by less");
            return Ok(problem(StatusCode::BAD_REQUEST, "length-invalid", &title));
        }
        other => other.map_err(|error| refused(&error))?,
    };
    let note = format!("by {} s, to {} s", asked.length_s, record.plan.length_ms / 1000);
    Ok(noted(ok(&shown(&record)), note))
}

async fn return_early(event: &RunningEvent, id: &str) -> Outcome {
    let (desk, id) = (Arc::clone(&event.desk), id.to_owned());
    let record = apart(move || desk.return_early(&id)).await?.map_err(|error| refused(&error))?;
    let note = match record.state {
        State::Cancelled => "called off".to_owned(),
        _ => format!("after {} s", record.plan.length_ms / 1000),
    };
    Ok(noted(ok(&shown(&record)), note))
}

async fn change_keys(event: &RunningEvent, change: KeysChange) -> Outcome {
    let keys = Arc::clone(&event.keys);
    let error = match apart(move || keys.change(change)).await? {
        Ok(told) => return Ok(ok(&json!(told))),
        Err(error) => error,
    };
    let (status, code) = match &error {
        ChangeError::Publish(error) => return Ok(unpublished(error)),
        ChangeError::Unknown { .. } => (StatusCode::BAD_REQUEST, "key-unknown"),
        ChangeError::List(_) | ChangeError::NotAccepted(_) => {
            (StatusCode::BAD_REQUEST, "keys-invalid")
        }
        ChangeError::Mints { .. } => (StatusCode::CONFLICT, "key-mints"),
    };
    Ok(problem(status, code, &error.to_string()))
}

async fn throw(event: &RunningEvent, changes: BTreeMap<String, Change>) -> Outcome {
    let switches = Arc::clone(&event.switches);
    let note = changes.iter().map(|(flag, change)| format!("{flag} {change}"));
    let note = note.collect::<Vec<_>>().join(", ");
    let error = match apart(move || switches.throw(&changes)).await? {
        Ok(()) => {
            let told = json!({"flags": flags(event), "switches": event.switches.thrown()});
            return Ok(noted(ok(&told), note));
        }
        Err(error) => error,
    };
    let code = match &error {
        SwitchError::Unknown(_) => "flag-unknown",
        SwitchError::Until(_) => "time-invalid",
        SwitchError::Reason(_) => "reason-invalid",
        SwitchError::Kept(error) => return Ok(failed(DISK, error)),
        SwitchError::Publish(error) => return Ok(unpublished(error)),
    };
    Ok(problem(StatusCode::BAD_REQUEST, code, &error.to_string()))
}

async fn show(event: &RunningEvent, score: Option<Score>) -> Outcome {
    let board = Arc::clone(&event.board);
    match apart(move || board.show(score)).await? {
        Ok(()) => Ok(ok(&json!({"event": event.name(), "score": event.score()}))),
        Err(error @ ScoreError::Unfit) => {
            Ok(problem(StatusCode::BAD_REQUEST, "score-invalid", &error.to_string()))
        }
        Err(error @ ScoreError::Disk(_)) => Ok(failed(DISK, &error)),
    }
}

fn flags(event: &RunningEvent) -> BTreeMap<&'static str, &'static str> {
    let all = event.switches.all().into_iter();
    all.map(|(flag, on)| (flag, if on { "on" } else { "off" })).collect()
}

/// A break as an operator sees it.
pub(super) fn shown(record: &Record) -> Value {
    let state = match record.state {
        State::Announced => "announced",
        State::Frozen => "running",
        State::Ended => "ended",
        State::Cancelled => "cancelled",
    };
    let mut levels: BTreeMap<String, usize> = BTreeMap::new();
    let mut causes: Vec<&String> = Vec::new();
    if let Some(frozen) = &record.frozen {
        for pod in frozen.cohorts.values().filter_map(|share| frozen.pods.get(share.pod)) {
            *levels.entry(format!("{:?}", pod.level).to_lowercase()).or_default() += 1;
        }
        causes.extend(frozen.pods.iter().flat_map(|pod| &pod.causes));
        causes.sort_unstable();
        causes.dedup();
    }
    let plan = &record.plan;
    json!({
        "id": plan.id,
        "state": state,
        "start": plan.start,
        "length": plan.length,
        "start_ms": plan.start_ms,
        "length_ms": plan.length_ms,
        "planned_ms": record.planned_with_extensions_ms(),
        "returned": record.returned,
        "levels": levels,
        "causes": causes,
    })
}

fn refused(error: &LogError) -> Box<Response<Bytes>> {
    Box::new(match error {
        LogError::Rule(RuleError::Unknown(_)) => {
            problem(StatusCode::NOT_FOUND, "break-unknown", &error.to_string())
        }
        LogError::Rule(_) => problem(StatusCode::CONFLICT, "break-refused", &error.to_string()),
        LogError::Io { .. } => failed(DISK, error),
        LogError::Corrupt { .. } | LogError::TooLarge { .. } => failed("ledger-damaged", error),
    })
}

fn unpublished(error: &PublishError) -> Response<Bytes> {
    let code = match error {
        PublishError::Io { .. } => DISK,
        PublishError::Corrupt { .. } => "document-damaged",
    };
    failed(code, error)
}

fn unfit_length(longest_s: u32) -> Response<Bytes> {
    let title = format!("A break lasts 1 to {longest_s} s (break-longest)");
    problem(StatusCode::BAD_REQUEST, "length-invalid", &title)
}

fn ended() -> Response<Bytes> {
    let title = "The event was ended: it has no more breaks";
    problem(StatusCode::CONFLICT, "event-ended", title)
}

fn not_live() -> Response<Bytes> {
    problem(
        StatusCode::CONFLICT,
        "not-live",
        "The event is not live yet: wait for its first segments",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_break_at_a_time_begins_no_earlier_and_neither_in_the_past_nor_in_a_week() {
        let grid = Grid::new(1_000_000, (30, 1), 2000, 333).unwrap();
        let at = |at_ms| segment_at(&grid, 10, at_ms).map_err(|no| no.status());
        assert_eq!(at(grid.start_ms(10)), Ok(10));
        assert_eq!(at(grid.start_ms(10) + 1), Ok(11));
        assert_eq!(at(grid.start_ms(400)), Ok(400));
        let far = grid.start_ms(10) + AHEAD_MS_MAX + 1;
        for wrong in [0, grid.start_ms(10) - 1, far, u64::MAX] {
            assert_eq!(at(wrong), Err(StatusCode::BAD_REQUEST), "{wrong}");
        }
    }
}
