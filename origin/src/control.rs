//! The control port: what an operator sees and does. Without the token only `/health` and a
//! preflight are answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::breaks::ledger::{Record, RuleError, State};
use crate::breaks::log::LogError;
use crate::demo::gate::Gate;
use crate::documents::in_force::{Change, ChangeError};
use crate::documents::publish::PublishError;
use crate::event::score::{Score, ScoreError};
use crate::event::switches::SwitchError;
use crate::event::{self, Registry, RunningEvent};
use crate::http::{Handler, json as json_reply, not_found, problem};
use crate::package::end::EndError;
use crate::secret::Secret;
use crate::viewers::api::Api;

/// Largest request body.
const BODY_BYTES_MAX: usize = 16 << 10;
/// For a request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Breaks that an operator sees, newest last.
const BREAKS_SHOWN: usize = 20;
/// Longest break that is announced by hand.
const LENGTH_S_MAX: u64 = 600;
/// The code of what the disk refused.
const DISK: &str = "disk-failed";
const NEVER: &str = "no-store";

/// What the control port answers from.
pub struct Control {
    pub(crate) token: Secret,
    pub(crate) events: Registry,
    pub(crate) api: Arc<Api>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBreak {
    length_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiSwitch {
    up: bool,
    /// How it is down: `error`, `hang` or `refuse`.
    mode: Option<Gate>,
}

impl Handler for Control {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Option<Response<Bytes>> {
        let mut response = self.admit(request).await.unwrap_or_else(|refusal| *refusal);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        Some(response)
    }
}

/// An answer, or the answer that ends the request early.
type Outcome = Result<Response<Bytes>, Box<Response<Bytes>>>;

impl Control {
    async fn admit(&self, request: Request<Incoming>) -> Outcome {
        if request.method() == Method::OPTIONS {
            return Ok(preflight());
        }
        if request.uri().path() == "/health" {
            return Ok(self.health());
        }
        if !self.is_operator(&request) {
            let mut response = problem(
                StatusCode::UNAUTHORIZED,
                "token-invalid",
                "The operator's token is missing or wrong",
            );
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Err(Box::new(response));
        }
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (&head.method, parts.as_slice()) {
            (&Method::POST, ["control", "api"]) => self.switch_api(&read(body).await?),
            (method, ["control", "events", event, rest @ ..]) => match self.events.get(event) {
                Some(event) => self.event(&event, method, rest, body).await,
                None => Ok(not_found()),
            },
            _ => Ok(not_found()),
        }
    }

    async fn event(
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
                Ok(ok(&json!({"snapshots": event.snapshots.take_apart().await})))
            }
            _ => Ok(not_found()),
        }
    }

    fn is_operator(&self, request: &Request<Incoming>) -> bool {
        let given = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| given.ct_eq(self.token.0.as_bytes()).into())
    }

    /// Whether viewers can enter every event.
    fn health(&self) -> Response<Bytes> {
        let events = self.events.all();
        let states: BTreeMap<&str, event::State> =
            events.iter().map(|event| (event.name(), event.state())).collect();
        let is = |wanted| move |state: &event::State| *state == wanted;
        let any = |wanted| states.values().any(is(wanted));
        let (status, state) = match states.values().all(is(event::State::Ended)) {
            _ if any(event::State::Ready) => (StatusCode::SERVICE_UNAVAILABLE, event::State::Ready),
            true => (StatusCode::OK, event::State::Ended),
            // Viewers can enter: a balancer must not take the origin away.
            false if any(event::State::Interrupted) => (StatusCode::OK, event::State::Interrupted),
            false => (StatusCode::OK, event::State::Live),
        };
        json_reply(status, NEVER, &json!({"state": state, "events": states}))
    }

    fn switch_api(&self, asked: &ApiSwitch) -> Outcome {
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
            "snapshots": event.snapshots.in_force(),
        })
    }

    fn api_state(&self) -> Value {
        let gate = self.api.gate();
        json!({"up": gate == Gate::Up, "mode": gate})
    }
}

async fn announce(event: &RunningEvent, asked: &NewBreak) -> Outcome {
    if !(1..=LENGTH_S_MAX).contains(&asked.length_s) {
        let title = format!("A break lasts 1 to {LENGTH_S_MAX} s");
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
    let (desk, next) = (Arc::clone(&event.desk), event.live.position().next_msn);
    let plan = apart(move || desk.announce(&grid, next, length))
        .await?
        .map_err(|error| refused(&error))?;
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

async fn change_keys(event: &RunningEvent, change: Change) -> Outcome {
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

/// Does what waits for the disk on a thread that may.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<Response<Bytes>>> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an operator's request was not carried out");
        let title = "The origin failed: its log says why";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Box::new(problem(status, "internal", title))
    })
}

async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Box<Response<Bytes>>> {
    let bad = |title: &str| Box::new(problem(StatusCode::BAD_REQUEST, "body-invalid", title));
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    let whole = whole.await.map_err(|_| bad("The body did not arrive in time"))?;
    let whole = whole.map_err(|_| bad("The body is too large or was cut off"))?;
    serde_json::from_slice(&whole.to_bytes())
        .map_err(|e| bad(&format!("The body is not the JSON that is expected: {e}")))
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

fn failed(code: &str, error: &dyn std::error::Error) -> Response<Bytes> {
    tracing::error!(%error, code, "an operator's request failed");
    problem(StatusCode::SERVICE_UNAVAILABLE, code, &error.to_string())
}

fn not_live() -> Response<Bytes> {
    problem(
        StatusCode::CONFLICT,
        "not-live",
        "The event is not live yet: wait for its first segments",
    )
}

fn ok(value: &Value) -> Response<Bytes> {
    json_reply(StatusCode::OK, NEVER, value)
}

fn preflight() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type"),
    );
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
