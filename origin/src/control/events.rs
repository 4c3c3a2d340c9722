//! What an operator sees and does of one event: breaks, switches, keys, score, snapshots, the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::answer::{DISK, NEVER, Outcome, apart, failed, ok, read};
use crate::breaks::desk::BreakRequest;
use crate::breaks::ledger::{Record, RuleError, State};
use crate::breaks::log::LogError;
use crate::demo::gate::Gate;
use crate::documents::in_force::{ChangeError, KeysChange};
use crate::documents::publish::PublishError;
use crate::event::RunningEvent;
use crate::event::score::{Score, ScoreError};
use crate::event::switches::SwitchError;
use crate::http::{json as json_reply, not_found, problem};
use crate::package::end::EndError;

/// Breaks that an operator sees, newest last.
const BREAKS_SHOWN: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBreak {
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
        event: &RunningEvent,
        method: &Method,
        rest: &[&str],
        body: Incoming,
    ) -> Outcome {
        match (method, rest) {
            (&Method::GET, []) => Ok(ok(&self.shown(event))),
            (&Method::POST, ["breaks"]) => announce(event, &read(body).await?).await,
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
            "media": live.status(),
            "live_edge": {
                "next_sequence": next,
                "program_date_time_ms": live.grid().start_ms(next),
            },
            "ledger": {"revision": ledger.revision()},
            "breaks": breaks,
            "flags": flags(event),
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
        let title = format!("A break lasts 1 to {longest_s} s (break-longest)");
        return Ok(problem(StatusCode::BAD_REQUEST, "length-invalid", &title));
    }
    if !event.is_ready() {
        return Ok(not_live());
    }
    if event.live.is_ending() {
        let title = "The event was ended: it has no more breaks";
        return Ok(problem(StatusCode::CONFLICT, "event-ended", title));
    }
    let grid = event.live.grid();
    let length = grid.segments_in_ms(asked.length_s * 1000);
    let asked = BreakRequest { lead: event.schedule().lead(&grid), length };
    let (desk, next) = (Arc::clone(&event.desk), event.live.position().next_msn);
    let plan =
        apart(move || desk.announce(&grid, next, asked)).await?.map_err(|error| refused(&error))?;
    Ok(json_reply(StatusCode::CREATED, NEVER, &json!(plan)))
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

async fn return_early(event: &RunningEvent, id: &str) -> Outcome {
    let (desk, id) = (Arc::clone(&event.desk), id.to_owned());
    let record = apart(move || desk.return_early(&id)).await?.map_err(|error| refused(&error))?;
    Ok(ok(&shown(&record)))
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

async fn throw(event: &RunningEvent, changes: BTreeMap<String, Value>) -> Outcome {
    let switches = Arc::clone(&event.switches);
    match apart(move || switches.throw(&changes)).await? {
        Ok(()) => Ok(ok(&json!({"flags": flags(event)}))),
        Err(error @ SwitchError::Unknown(_)) => {
            Ok(problem(StatusCode::BAD_REQUEST, "flag-unknown", &error.to_string()))
        }
        Err(SwitchError::Publish(error)) => Ok(unpublished(&error)),
    }
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
fn shown(record: &Record) -> Value {
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
        "id": plan.id, "state": state, "start": plan.start, "length": plan.length, "start_ms": plan.start_ms, "length_ms": plan.length_ms,
        "planned_ms": record.planned_ms, "returned": record.returned, "levels": levels, "causes": causes,
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

fn not_live() -> Response<Bytes> {
    problem(
        StatusCode::CONFLICT,
        "not-live",
        "The event is not live yet: wait for its first segments",
    )
}
