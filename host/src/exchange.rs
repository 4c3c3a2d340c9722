//! Drives one exchange: from the request of a viewer to the response.
//!
//! An exchange lives in its thread's instance until it is over, and nothing is computed twice. Only
//! one that waits for another's response does not: it has asked for nothing yet, so it is dropped,
//! and begins again if nothing comes of the other. So what waits in an instance's memory is one
//! exchange for each thing that is made, whatever the number of viewers.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use sightscreen_core::problem::Problem;
use sightscreen_core::{self as core, Failure, Or, REQUEST_HEADERS, Serve, Step};
use sightscreen_door::{self as door, Lifetime};
use tokio::time::{Instant, timeout_at};

use crate::bindings::{self, wit};
use crate::body::Body;
use crate::cache::{Entry, Found};
use crate::engine::{Begun, Fault};
use crate::flights::Joined;
use crate::metrics::{Answered, Lookup};
use crate::node::Worker;
use crate::results::{Lead, Pending};
use crate::stored::{Stored, header_map};
use crate::wants::Fetched;

/// Most steps of an exchange; the core's own limit is lower.
const STEPS_MAX: usize = 64;
/// Most times that an exchange begins again: because its instance was thrown away, or the exchange
/// that it waited for came to nothing.
const BEGINNINGS_MAX: usize = 16;

/// A request, kept for as long as its exchange lasts.
pub(crate) struct Viewer {
    pub(crate) method: http::Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) now_ms: u64,
    pub(crate) entropy: u64,
}

/// An exchange in its thread's instance; dropped, it leaves the instance.
struct InProgress {
    worker: Arc<Worker>,
    begun: Option<Begun>,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.worker.instance().end(&begun);
        }
    }
}

/// What an exchange keeps while it runs, beginnings included.
#[derive(Default)]
struct Notes {
    /// The results that it makes while others wait.
    leads: Vec<Lead>,
    /// The result for which it waited in vain.
    failed: Option<(String, Failure)>,
    /// Until when it waits for a result, from its first wait on.
    deadline: Option<Instant>,
}

/// How one run from the beginning ended.
enum End {
    Answered(Answered, Response<Body>),
    /// Once more.
    Again,
    Failed(Fault),
}

/// What there is for a [`Serve`].
enum Served {
    Kept(Arc<Entry>),
    /// Another exchange makes it.
    Follow(Arc<Pending>),
    /// Go on with this.
    No(Fetched),
}

impl Worker {
    /// The response to the viewer's request.
    pub(crate) async fn exchange(self: &Arc<Self>, viewer: &Viewer) -> (Answered, Response<Body>) {
        let mut memory = Notes::default();
        for _ in 0..BEGINNINGS_MAX {
            match self.run(viewer, &mut memory).await {
                End::Answered(how, response) => return (how, response),
                End::Again | End::Failed(Fault::Gone) => {}
                End::Failed(Fault::Trapped) => {
                    return (Answered::Failed, problem(Problem::EdgeFailed));
                }
                End::Failed(Fault::Late) => {
                    return (Answered::Failed, problem(Problem::EdgeOverloaded));
                }
            }
        }
        tracing::error!("an exchange that begins again and again was ended");
        (Answered::Failed, problem(Problem::EdgeOverloaded))
    }

    async fn run(self: &Arc<Self>, viewer: &Viewer, memory: &mut Notes) -> End {
        // What it led before it began again is another's turn.
        memory.leads.clear();
        let (running, mut step) = match self.begin(viewer) {
            Ok(begun) => begun,
            Err(fault) => return End::Failed(fault),
        };
        for _ in 0..STEPS_MAX {
            let answers = match step {
                Step::Respond(response) => {
                    let response = self.respond(response, std::mem::take(&mut memory.leads));
                    return End::Answered(Answered::Respond, response);
                }
                Step::Relay(relay) => match self.relay(&relay, &viewer.headers).await {
                    Ok(response) => return End::Answered(Answered::Relay, response),
                    Err(answer) => vec![answer],
                },
                Step::Serve(serve) => match self.serve(&serve, memory) {
                    Served::Kept(entry) => {
                        return End::Answered(Answered::Result, entry.stored.response());
                    }
                    Served::No(answer) => vec![answer],
                    Served::Follow(pending) => {
                        drop(running);
                        return follow(serve, &pending, memory).await;
                    }
                },
                Step::Fetch(wants) => {
                    let all = wants.iter().map(|want| self.get(want, &viewer.headers));
                    futures_util::future::join_all(all).await
                }
            };
            step = match self.resume(&running, &answers) {
                Ok(step) => step,
                Err(fault) => return End::Failed(fault),
            };
        }
        tracing::error!("an exchange that always wants more was ended");
        End::Failed(Fault::Trapped)
    }

    /// Does what is due beside the viewers' exchanges.
    pub(crate) async fn keep_up(self: &Arc<Self>, now_ms: u64, entropy: u64) {
        let due = self.instance().upkeep(now_ms, entropy);
        let Ok(Some((begun, mut step))) = due else { return };
        let running = InProgress { worker: Arc::clone(self), begun: Some(begun) };
        while let Step::Fetch(wants) = &step {
            let nobody = HeaderMap::new();
            let all = wants.iter().map(|want| self.get(want, &nobody));
            let answers = futures_util::future::join_all(all).await;
            step = match self.resume(&running, &answers) {
                Ok(step) => step,
                Err(_) => return,
            };
        }
    }

    fn begin(self: &Arc<Self>, viewer: &Viewer) -> Result<(InProgress, Step), Fault> {
        let start = std::time::Instant::now();
        let mut instance = self.instance();
        let begun = with_request(viewer, &self.node.geo_header, |request| {
            instance.begin(&self.node.engine, request)
        });
        drop(instance);
        self.node.metrics.exchange(start.elapsed());
        let (begun, step) = begun?;
        Ok((InProgress { worker: Arc::clone(self), begun: Some(begun) }, step))
    }

    fn resume(&self, running: &InProgress, answers: &[Fetched]) -> Result<Step, Fault> {
        let Some(begun) = &running.begun else { return Err(Fault::Gone) };
        with_got(answers, |got| self.instance().advance(begun, got))
    }

    fn serve(self: &Arc<Self>, serve: &Serve, memory: &mut Notes) -> Served {
        match serve.or {
            Or::StandIn { hold_ms } => self.stand_in(serve, hold_ms, memory),
            Or::Lead { .. } => match &memory.failed {
                Some((key, failure)) if *key == serve.key => Served::No(Fetched::Failed(*failure)),
                _ => self.in_turn(serve, memory),
            },
        }
    }

    fn in_turn(self: &Arc<Self>, serve: &Serve, memory: &mut Notes) -> Served {
        let stale = match self.node.cache.result(&serve.key) {
            Found::Fresh(entry) => {
                self.node.metrics.lookup(Lookup::Hit);
                return Served::Kept(entry);
            }
            Found::Stale(entry) => Some(entry),
            Found::IfFailed(_) | Found::Nothing => None,
        };
        let event = serve.event.as_deref();
        match (self.node.results.join(&serve.key, event, Pending::default), stale) {
            (Joined::Lead(pending), _) => {
                memory.leads.push(Lead::new(&self.node, &serve.key, pending));
                // Between the look-up and the lead, another's result may have come.
                if let Found::Fresh(entry) = self.node.cache.result(&serve.key) {
                    return Served::Kept(entry);
                }
                self.node.metrics.lookup(Lookup::Miss);
                Served::No(Fetched::Missing)
            }
            // What stood in for a failed origin: the one who leads tries again.
            (Joined::Follow(_), Some(stale)) => {
                self.node.metrics.lookup(Lookup::Stale);
                Served::Kept(stale)
            }
            (Joined::Follow(pending), None) => {
                self.node.metrics.lookup(Lookup::Collapsed);
                Served::Follow(pending)
            }
        }
    }

    /// The last good response in place of those that this exchange leads.
    fn stand_in(&self, serve: &Serve, hold_ms: u32, memory: &mut Notes) -> Served {
        let Found::Fresh(entry) = self.node.cache.result(&serve.key) else {
            return Served::No(Fetched::Missing);
        };
        self.node.metrics.lookup(Lookup::StaleOnError);
        let left_ms = self.node.cache.left_ms(&entry);
        let lifetime = Lifetime::of_stand_in(hold_ms, left_ms);
        for lead in memory.leads.drain(..) {
            // An exchange is of one event.
            let event = serve.event.as_deref();
            self.node.cache.keep_result(lead.key(), event, entry.stored.clone(), lifetime);
            lead.finish(&entry);
        }
        Served::Kept(entry)
    }

    /// Keeps the response for others as it says, tells those who wait, and makes it a response of
    /// HTTP.
    fn respond(&self, response: core::Response, mut leads: Vec<Lead>) -> Response<Body> {
        let status =
            StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        self.node.metrics.unknown_claims(response.unknown_claims);
        let body = self.node.memory.count(response.body);
        let stored = Stored { status, headers: header_map(&response.headers), body };
        let answer = stored.response();
        for keep in response.store {
            let entry = self.node.keep_result(&keep, stored.clone());
            // Of a key that another leads, that other's answer is the one to wait for.
            for lead in leads.extract_if(.., |lead| lead.key() == keep.key) {
                lead.finish(&entry);
            }
        }
        for lead in leads.extract_if(.., |lead| response.failed.iter().any(|k| k == lead.key())) {
            lead.fail();
        }
        answer
    }
}

/// Waits for another's result.
async fn follow(serve: Serve, pending: &Pending, memory: &mut Notes) -> End {
    let Or::Lead { timeout_ms } = serve.or else { return End::Again };
    let wait = std::time::Duration::from_millis(timeout_ms.into());
    let deadline = *memory.deadline.get_or_insert_with(|| Instant::now() + wait);
    match timeout_at(deadline, pending.wait()).await {
        Ok(Ok(Some(entry))) => End::Answered(Answered::Result, entry.stored.response()),
        Ok(Ok(None)) => End::Again,
        Ok(Err(())) => {
            memory.failed = Some((serve.key, Failure::Unreachable));
            End::Again
        }
        Err(_) => {
            memory.failed = Some((serve.key, Failure::Timeout));
            End::Again
        }
    }
}

/// Lends the request to `work` in the component's shape, with the headers that the core reads.
fn with_request<R>(
    viewer: &Viewer,
    geo_header: &Option<http::HeaderName>,
    work: impl FnOnce(wit::Request<'_>) -> R,
) -> R {
    let mut headers: Vec<(&str, &str)> = Vec::with_capacity(REQUEST_HEADERS.len());
    for (name, value) in &viewer.headers {
        // A value that is no text cannot cross, and no header that the core reads has one.
        if REQUEST_HEADERS.contains(&name.as_str())
            && let Ok(value) = std::str::from_utf8(value.as_bytes())
        {
            headers.push((name.as_str(), value));
        }
    }
    let geography = geo_header
        .as_ref()
        .and_then(|name| door::only(viewer.headers.get_all(name))?.to_str().ok());
    let (country, region) = geography.map(door::geography).unwrap_or_default();
    work(wit::Request {
        method: viewer.method.as_str(),
        target: &viewer.target,
        headers: &headers,
        client: wit::Client {
            country: country.as_deref(),
            region: region.as_deref(),
            mobile: None,
        },
        now_ms: viewer.now_ms,
        entropy: viewer.entropy,
    })
}

/// Lends the answers to `work` in the component's shape.
fn with_got<R>(answers: &[Fetched], work: impl FnOnce(&[wit::Got<'_>]) -> R) -> R {
    let headers: Vec<_> = answers.iter().map(Fetched::told_headers).collect();
    let got: Vec<_> = answers
        .iter()
        .zip(&headers)
        .map(|(answer, headers)| match answer {
            Fetched::Object(entry) => wit::Got::Object(wit::Object {
                status: entry.stored.status.as_u16(),
                headers,
                body: &entry.stored.body,
            }),
            Fetched::Missing => wit::Got::Missing,
            Fetched::Failed(failure) => wit::Got::Failed(bindings::failure(*failure)),
        })
        .collect();
    work(&got)
}

/// The node's own errors, as the core writes them.
pub(crate) fn problem(problem: Problem) -> Response<Body> {
    let response = problem.response();
    let mut answer = Response::new(Body::full(response.body));
    *answer.status_mut() =
        StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *answer.headers_mut() = header_map(&response.headers);
    answer
}
