//! Drives one exchange: from the request of a viewer to the response.
//!
//! No instance waits. When something must be waited for, the exchange is dropped from its instance;
//! when it came, the exchange starts again from its beginning with all answers so far, which is the
//! same because the component is deterministic. So a thread needs one instance, whatever the number
//! of waiting viewers, and a viewer who waits costs no instance's memory. Invariant: an exchange
//! that leads a result hands the lead over when it ends, however it ends.

use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use sightscreen_core::problem::Problem;
use sightscreen_core::{self as core, REQUEST_HEADERS, Step, Want, door};
use tokio::time::Instant;

use crate::bindings::{self, wit};
use crate::body::Body;
use crate::cache::{Entry, Found};
use crate::engine::{Begun, Fault, Instance};
use crate::flights::Joined;
use crate::metrics::{Answered, Lookup};
use crate::node::Worker;
use crate::results::{Lead, Pending};
use crate::stored::{Stored, header_map};
use crate::wants::{Answer, timeout};

/// Most answers that an exchange asks for, and most steps that it takes without waiting; the core's
/// own limit is lower.
const ANSWERS_MAX: usize = 64;

/// A request, kept for as long as its exchange lasts.
pub(crate) struct Viewer {
    pub(crate) method: http::Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) now_ms: u64,
    pub(crate) entropy: u64,
}

/// What an exchange knows so far.
#[derive(Default)]
struct Known {
    answers: Vec<(Want, Answer)>,
    leads: Vec<Lead>,
    /// Until when it waits for a result, from its first wait on.
    result_deadline: Option<Instant>,
}

/// Where an exchange is when it must leave its instance.
enum Stop {
    Respond(core::Response),
    Relay(Box<core::Relay>),
    Result(Arc<Entry>),
    /// Someone else computes the result of this want.
    Follow(Box<Want>, Arc<Pending>),
    Wait(Vec<Want>),
    Fault(Fault),
}

impl Worker {
    /// The response to the viewer's request.
    pub(crate) async fn exchange(self: &Arc<Self>, viewer: &Viewer) -> (Answered, Response<Body>) {
        let mut known = Known::default();
        while known.answers.len() < ANSWERS_MAX {
            let start = std::time::Instant::now();
            let stop = self.compute(viewer, &mut known);
            self.node.metrics.exchange(start.elapsed());
            match stop {
                Stop::Result(entry) => {
                    // What stands in for the result that this exchange leads does so for those who
                    // wait for it.
                    known.leads.drain(..).for_each(|lead| lead.finish(&entry));
                    return (Answered::Result, entry.stored.response());
                }
                Stop::Respond(response) => {
                    return (Answered::Respond, self.respond(response, known.leads));
                }
                Stop::Relay(relay) => match self.relay(&relay, &viewer.headers).await {
                    Ok(response) => return (Answered::Relay, response),
                    Err(answer) => known.answers.push((relay.want, answer)),
                },
                Stop::Follow(want, pending) => {
                    if let Some(entry) = known.follow(*want, &pending).await {
                        return (Answered::Result, entry.stored.response());
                    }
                }
                Stop::Wait(wants) => {
                    let all = wants.iter().map(|want| self.get(want, &viewer.headers));
                    let answers = futures_util::future::join_all(all).await;
                    known.answers.extend(wants.into_iter().zip(answers));
                }
                Stop::Fault(Fault::Trapped) => {
                    return (Answered::Failed, problem(Problem::EdgeFailed));
                }
                Stop::Fault(Fault::Late) => {
                    return (Answered::Failed, problem(Problem::EdgeOverloaded));
                }
            }
        }
        tracing::error!("an exchange that always wants more was ended");
        (Answered::Failed, problem(Problem::EdgeFailed))
    }

    /// Computes as far as what is known and what is cached allows.
    fn compute(self: &Arc<Self>, viewer: &Viewer, known: &mut Known) -> Stop {
        self.with_instance(|instance| {
            let (begun, step) =
                with_request(viewer, &self.node.geo_header, |request| instance.begin(request))?;
            let stop = self.advance(instance, &begun, step, known)?;
            Ok((stop, begun))
        })
        .unwrap_or_else(Stop::Fault)
    }

    fn advance(
        self: &Arc<Self>,
        instance: &mut Instance,
        begun: &Begun,
        mut step: Step,
        known: &mut Known,
    ) -> Result<Stop, Fault> {
        for _ in 0..ANSWERS_MAX {
            let answers = match step {
                Step::Respond(response) => return Ok(Stop::Respond(response)),
                Step::Relay(relay) => match known.answer(&relay.want) {
                    Some(answer) => vec![answer],
                    None => return Ok(Stop::Relay(Box::new(relay))),
                },
                Step::Fetch(wants) => match self.answers(wants, known) {
                    Ok(answers) => answers,
                    Err(stop) => return Ok(stop),
                },
            };
            step = with_got(&answers, |got| instance.advance(begun, got))?;
        }
        tracing::error!("an exchange that goes on without end was ended");
        Err(Fault::Trapped)
    }

    /// Answers to all wants, where they are at hand.
    fn answers(self: &Arc<Self>, wants: Vec<Want>, known: &mut Known) -> Result<Vec<Answer>, Stop> {
        if let [want] = wants.as_slice()
            && want.source == core::Source::Result
        {
            return self.result(want, known).map(|answer| vec![answer]);
        }
        let mut answers = Vec::with_capacity(wants.len());
        let mut missing = false;
        for want in &wants {
            // Even when one is missing the others are looked up: those not at hand are then fetched
            // at the same time.
            let answer = known.answer(want).or_else(|| self.get_now(want));
            missing |= answer.is_none();
            answers.push(answer);
        }
        if !missing {
            return Ok(answers.into_iter().flatten().collect());
        }
        let mut absent = Vec::new();
        for (want, answer) in wants.into_iter().zip(answers) {
            match answer {
                Some(answer) => known.remember(want, answer),
                None => absent.push(want),
            }
        }
        Err(Stop::Wait(absent))
    }

    fn result(self: &Arc<Self>, want: &Want, known: &mut Known) -> Result<Answer, Stop> {
        if let Some(answer) = known.answer(want) {
            return Ok(answer);
        }
        let stale = match self.node.cache.result(want) {
            Found::Fresh(entry) => {
                self.node.metrics.lookup(Lookup::Hit);
                return Err(Stop::Result(entry));
            }
            Found::Stale(entry) => Some(entry),
            Found::IfFailed(_) | Found::Nothing => None,
        };
        if want.collapse {
            match (self.node.results.join(&want.key, Pending::default), stale) {
                (Joined::Lead(pending), _) => {
                    known.leads.push(Lead::new(&self.node, &want.key, pending));
                    // Between the look-up and the lead, another's result may have come.
                    if let Found::Fresh(entry) = self.node.cache.result(want) {
                        return Err(Stop::Result(entry));
                    }
                }
                (Joined::Follow(_), Some(stale)) => {
                    self.node.metrics.lookup(Lookup::Stale);
                    return Err(Stop::Result(stale));
                }
                (Joined::Follow(pending), None) => {
                    self.node.metrics.lookup(Lookup::Collapsed);
                    return Err(Stop::Follow(Box::new(want.clone()), pending));
                }
            }
        }
        self.node.metrics.lookup(Lookup::Miss);
        known.remember(want.clone(), Answer::Missing);
        Ok(Answer::Missing)
    }

    /// Keeps the response for others as it says, gives it to those who wait for it, and makes it a
    /// response of HTTP.
    fn respond(&self, response: core::Response, mut leads: Vec<Lead>) -> Response<Body> {
        let status =
            StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let stored =
            Stored { status, headers: header_map(&response.headers), body: response.body.into() };
        let answer = stored.response();
        for keep in response.store {
            let entry = self.node.keep_result(&keep.key, stored.clone(), keep.fresh_ms);
            // Of a key that another leads, that other's answer is the one to wait for.
            for lead in leads.extract_if(.., |lead| lead.is_of(&keep.key)) {
                lead.finish(&entry);
            }
        }
        answer
    }

    /// Runs `work` in this thread's instance. The instance is kept when the work and the end of its
    /// exchange succeed.
    fn with_instance<R>(
        &self,
        work: impl FnOnce(&mut Instance) -> Result<(R, Begun), Fault>,
    ) -> Result<R, Fault> {
        let mut instance = match self.take_instance() {
            Some(instance) => instance,
            None => self.node.engine.instance()?,
        };
        let (done, begun) = work(&mut instance)?;
        if instance.end(begun) {
            self.put_instance(instance);
        }
        Ok(done)
    }
}

impl Known {
    /// Waits for another's result. `None`: begin again, as the leader perhaps, or with the time
    /// that is over among the answers.
    async fn follow(&mut self, want: Want, pending: &Pending) -> Option<Arc<Entry>> {
        let deadline = *self.result_deadline.get_or_insert_with(|| Instant::now() + timeout(&want));
        match tokio::time::timeout_at(deadline, pending.wait()).await {
            Ok(result) => result,
            Err(_) => {
                self.answers.push((want, Answer::Failed(core::Failure::Timeout)));
                None
            }
        }
    }

    fn answer(&self, want: &Want) -> Option<Answer> {
        self.answers.iter().find(|(known, _)| known == want).map(|(_, answer)| answer.clone())
    }

    fn remember(&mut self, want: Want, answer: Answer) {
        if self.answer(&want).is_none() {
            self.answers.push((want, answer));
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
fn with_got<R>(answers: &[Answer], work: impl FnOnce(&[wit::Got<'_>]) -> R) -> R {
    let headers: Vec<_> = answers.iter().map(Answer::told_headers).collect();
    let got: Vec<_> = answers
        .iter()
        .zip(&headers)
        .map(|(answer, headers)| match answer {
            Answer::Object(entry) => wit::Got::Object(wit::Object {
                status: entry.stored.status.as_u16(),
                headers,
                body: &entry.stored.body,
            }),
            Answer::Missing => wit::Got::Missing,
            Answer::Failed(failure) => wit::Got::Failed(bindings::failure(*failure)),
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
