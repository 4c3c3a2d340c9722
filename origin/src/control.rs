//! The control port: what operators and platforms see and do. Without a token only `/health` and the
//! files of the operator's page are answered. Pages of other servers cannot read its answers: there
//! is no CORS.
//!
//! What changes something goes on when the client goes away, and is noted in the audit log.

mod answer;
pub(crate) mod edges;
mod events;
mod metrics;
mod once;
mod page;
mod pods;
mod routes;
mod streams;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::json;

use crate::event::{Registry, State};
use crate::http::{Handler, json as json_reply, not_found, problem};
use crate::secret::Secret;
use crate::streams::{Actor, Role, Streams, same};
use crate::viewers::api::Api;
use crate::viewers::page::Page;
use answer::{NEVER, Note, Outcome, ok, read};
use edges::Edges;

/// For the audit log to be written before an answer is told.
const NOTE: Duration = Duration::from_millis(500);

/// What the control port answers from.
pub struct Control {
    pub(crate) token: Secret,
    pub(crate) events: Registry,
    pub(crate) api: Arc<Api>,
    pub(crate) streams: Arc<Streams>,
    /// The operator's page; none: there is none.
    pub(crate) page: Option<Arc<Page>>,
    pub(crate) edges: Edges,
}

impl Handler for Control {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Option<Response<Bytes>> {
        Some(self.admit(request).await.unwrap_or_else(|refusal| *refusal))
    }
}

impl Control {
    async fn admit(self: &Arc<Self>, request: Request<Incoming>) -> Outcome {
        if request.uri().path() == "/health" {
            return Ok(self.health());
        }
        if let Some(file) = page::file(request.uri().path()) {
            return Ok(page::answer(self.page.as_deref(), request.method(), file).await);
        }
        let actor = self.actor(&request).await?;
        if request.method() == Method::GET || request.method() == Method::HEAD {
            return self.carry_out(&actor, request).await;
        }
        let control = Arc::clone(self);
        let work = tokio::spawn(async move {
            let action = format!("{} {}", request.method(), request.uri().path());
            let outcome = control.carry_out(&actor, request).await;
            let response = outcome.unwrap_or_else(|refusal| *refusal);
            let (status, target) = (response.status().as_u16(), target(&action, &response));
            let action = match response.extensions().get::<Note>() {
                Some(Note(note)) => format!("{action} {note}"),
                None => action,
            };
            let noted = tokio::spawn(async move {
                control.note(&actor, &action, &target, status).await;
            });
            // It is in the log before the answer is told, but no operator waits for a database.
            let _ = tokio::time::timeout(NOTE, noted).await;
            response
        });
        work.await.map_err(|error| {
            tracing::error!(%error, "an operator's request was not carried out");
            let title = "The origin failed: its log says why";
            Box::new(problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", title))
        })
    }

    async fn carry_out(&self, actor: &Actor, request: Request<Incoming>) -> Outcome {
        let path = request.uri().path().to_owned();
        if path == "/api/v1" || path.starts_with("/api/v1/") {
            return self.v1(actor, request).await;
        }
        let (head, body) = request.into_parts();
        let least = if head.method == Method::GET { Role::Viewer } else { Role::Operator };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        if matches!(parts.first(), Some(&"control")) && actor.role < least {
            return Ok(forbidden(least));
        }
        match (&head.method, parts.as_slice()) {
            (&Method::GET, ["metrics"]) => Ok(self.metrics()),
            (&Method::GET, ["control", "token"]) => {
                Ok(ok(&json!({"id": actor.id, "name": actor.name, "role": actor.role})))
            }
            (&Method::GET, ["control", "edges"]) => Ok(ok(&self.edges.told().await)),
            (&Method::POST, ["control", "api"]) => self.switch_api(&read(body).await?),
            (method, ["control", "events", event, rest @ ..]) => match self.events.get(event) {
                Some(event) => self.event(&event, method, rest, body).await,
                None => Ok(not_found()),
            },
            _ => Ok(not_found()),
        }
    }

    /// Who asks. The token of the settings needs no database.
    async fn actor(&self, request: &Request<Incoming>) -> Result<Actor, Box<Response<Bytes>>> {
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let given = given.ok_or_else(unauthorized)?;
        if same(given, &self.token.0) {
            let (id, name) = ("configuration".to_owned(), "operator-token".to_owned());
            return Ok(Actor { id, name, role: Role::Admin });
        }
        let bearer = self.streams.database().bearer(given).await;
        let bearer = bearer.map_err(|error| Box::new(streams::database_problem(&error)))?;
        bearer.ok_or_else(unauthorized)
    }

    /// The database being gone is no reason to refuse what is for the air.
    async fn note(&self, actor: &Actor, action: &str, target: &str, status: u16) {
        let action = clipped(action);
        let noted = self.streams.database().note(actor, action, clipped(target), status).await;
        if let Err(error) = noted {
            tracing::warn!(%error, action, "audit entry not stored: logged only");
        }
    }

    fn metrics(&self) -> Response<Bytes> {
        match metrics::text(&self.events.all()) {
            Ok(text) => {
                let mut response = Response::new(text.into());
                let kind = HeaderValue::from_static(prometheus::TEXT_FORMAT);
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be written");
                let title = "The metrics cannot be written: the log says why";
                problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", title)
            }
        }
    }

    /// Whether viewers can enter every configured event. Streams of the API wait for their
    /// publisher as long as they like.
    fn health(&self) -> Response<Bytes> {
        let events = self.events.all();
        let states: BTreeMap<&str, State> =
            events.iter().map(|event| (event.name(), event.state())).collect();
        let configured = states.iter().filter(|(name, _)| self.streams.is_configured(name));
        let configured: Vec<State> = configured.map(|(_, state)| *state).collect();
        let any = |wanted| configured.contains(&wanted);
        let (status, state) = match configured.iter().all(|state| *state == State::Ended) {
            _ if any(State::Ready) => (StatusCode::SERVICE_UNAVAILABLE, State::Ready),
            true => (StatusCode::OK, State::Ended),
            // Viewers can enter: a balancer must not take the origin away.
            false if any(State::Interrupted) => (StatusCode::OK, State::Interrupted),
            false => (StatusCode::OK, State::Live),
        };
        json_reply(status, NEVER, &json!({"state": state, "events": states}))
    }
}

/// The stream that a request was about. One that was made has its name in the answer.
fn target(action: &str, response: &Response<Bytes>) -> String {
    let location = response.headers().get(header::LOCATION);
    let path = location.and_then(|location| location.to_str().ok()).unwrap_or(action);
    let mut parts = path.split('/').skip_while(|part| !matches!(*part, "events" | "streams"));
    parts.nth(1).unwrap_or_default().to_owned()
}

/// What the audit log keeps of a text that a client made up.
fn clipped(text: &str) -> &str {
    const BYTES_MAX: usize = 200;
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

fn unauthorized() -> Box<Response<Bytes>> {
    let title = "The token is missing, wrong or revoked";
    let mut response = problem(StatusCode::UNAUTHORIZED, "token-invalid", title);
    let headers = response.headers_mut();
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Box::new(response)
}

fn forbidden(least: Role) -> Response<Bytes> {
    let title = format!("The token may not do this: it needs the role {}", least.name());
    problem(StatusCode::FORBIDDEN, "role-insufficient", &title)
}
