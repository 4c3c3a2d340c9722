//! `/api/v1`: streams, for platforms.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use sightscreen_core::route::decode;

use super::answer::{DISK, NEVER, Outcome, body_of, failed, ok, parse};
use super::routes::{self, Call};
use super::{Control, forbidden, once};
use crate::config::Fault;
use crate::event::State;
use crate::http::{json as json_reply, problem, problem_with, reply};
use crate::streams::{Actor, DatabaseError, Made, Page, Query, Row, StreamsError};

/// What the API is, for people and tools.
pub(super) const OPENAPI: &str = include_str!("openapi.json");
/// Most entries of one page of a list.
const LIMIT_MAX: u32 = 200;
const LIMIT: u32 = 50;
/// Longest value in a query.
const VALUE_BYTES_MAX: usize = 256;
/// After how long to ask again, in seconds, where the database is gone.
const RETRY_S: &str = "5";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// Seconds for which the old key is good.
    grace_s: Option<u32>,
}

/// A request below `/api/v1`, read.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) query: String,
    pub(super) body: Bytes,
}

impl Control {
    pub(super) async fn v1(&self, actor: &Actor, request: Request<Incoming>) -> Outcome {
        let (head, body) = request.into_parts();
        let (route, id) = routes::find(&head.method, head.uri.path())?;
        if actor.role < route.role {
            return Ok(forbidden(route.role));
        }
        let body = match head.method {
            Method::GET | Method::HEAD | Method::DELETE => Bytes::new(),
            _ => body_of(body).await?,
        };
        let query = head.uri.query().unwrap_or_default().to_owned();
        let key = match head.method {
            Method::POST => once::key(&head.headers)?,
            _ => None,
        };
        let asked = Asked { id: id.to_owned(), query, body };
        let Some(key) = key else { return self.call(route.call, &asked).await };
        let work = Box::pin(self.call(route.call, &asked));
        self.once(actor, &key, (head.uri.path(), &asked.body), work).await
    }

    async fn call(&self, call: Call, asked: &Asked) -> Outcome {
        match call {
            Call::ListStreams => self.list_streams(&asked.query).await,
            Call::MakeStream => self.make_stream(&asked.body).await,
            Call::ShowStream => {
                let row = self.streams.row(&asked.id).await.map_err(refused)?;
                Ok(ok(&self.stream(&row)))
            }
            Call::PatchStream => {
                let patch: Value = parse(&asked.body)?;
                let row = self.streams.patch(&asked.id, &patch).await.map_err(refused)?;
                Ok(ok(&self.stream(&row)))
            }
            Call::DeleteStream => self.delete_stream(asked).await,
            Call::RotateKey => self.rotate_key(asked).await,
            Call::EndStream => {
                self.streams.end(&asked.id).await.map_err(refused)?;
                Ok(json_reply(StatusCode::ACCEPTED, NEVER, &json!({"id": asked.id})))
            }
            Call::ListTokens => self.list_tokens().await,
            Call::MakeToken => self.make_token(&asked.body).await,
            Call::RevokeToken => self.revoke_token(&asked.id).await,
            Call::ListHooks => self.list_hooks().await,
            Call::MakeHook => self.make_hook(&asked.body).await,
            Call::DeleteHook => self.delete_hook(&asked.id).await,
            Call::ListAudit => self.list_audit(&asked.query).await,
            Call::Reload => {
                let done = self.streams.reload().await.map_err(refused)?;
                Ok(ok(&json!(done)))
            }
            Call::Describe => Ok(reply(StatusCode::OK, "application/json", NEVER, OPENAPI.into())),
        }
    }

    async fn list_streams(&self, query: &str) -> Outcome {
        let names = ["status", "category", "q", "cursor", "limit"];
        let [status, category, text, cursor, limit] = parameters(query, names)?;
        let status = status.map(|name| State::named(&name).ok_or_else(|| unfit("status")));
        let query = Query {
            status: status.transpose()?,
            category: category.unwrap_or_default(),
            text: text.unwrap_or_default(),
            after: cursor.map(|cursor| after(&cursor)).transpose()?,
            limit: limit_of(limit)?,
        };
        let rows = self.streams.database().streams(&query).await.map_err(gone)?;
        let next = next(&rows, query.limit, |row| (row.created_ms, &row.id));
        let streams: Vec<Value> = rows.iter().map(|row| self.stream(row)).collect();
        Ok(ok(&json!({"streams": streams, "next": next})))
    }

    async fn make_stream(&self, body: &[u8]) -> Outcome {
        let body: Value = parse(body)?;
        let made = self.streams.make(&body).await.map_err(refused)?;
        let location = format!("/api/v1/streams/{}", made.row.id);
        let mut response = json_reply(StatusCode::CREATED, NEVER, &self.made(&made));
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    async fn rotate_key(&self, asked: &Asked) -> Outcome {
        const GRACE_S_MAX: u32 = 30 * 86_400;
        let rotation = match asked.body.is_empty() {
            true => Rotation::default(),
            false => parse(&asked.body)?,
        };
        if rotation.grace_s.is_some_and(|grace_s| grace_s > GRACE_S_MAX) {
            let remedy = format!("write seconds from 0 to {GRACE_S_MAX}");
            let fault = "is too long".to_owned();
            return Ok(invalid(&[Fault { place: "/grace_s".to_owned(), fault, remedy }]));
        }
        let made = self.streams.rotate(&asked.id, rotation.grace_s).await.map_err(refused)?;
        Ok(ok(&self.made(&made)))
    }

    async fn delete_stream(&self, asked: &Asked) -> Outcome {
        let [force] = parameters(&asked.query, ["force"])?;
        let force = match force.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(unfit("force")),
        };
        self.streams.delete(&asked.id, force).await.map_err(refused)?;
        Ok(none())
    }

    async fn list_audit(&self, query: &str) -> Outcome {
        let [stream, cursor, limit] = parameters(query, ["stream", "cursor", "limit"])?;
        let page = Page {
            target: stream.unwrap_or_default(),
            after: cursor.map(|cursor| after(&cursor)).transpose()?,
            limit: limit_of(limit)?,
        };
        let entries = self.streams.database().audit(&page).await.map_err(gone)?;
        let next = next(&entries, page.limit, |entry| (entry.at_ms, &entry.id));
        Ok(ok(&json!({"entries": entries, "next": next})))
    }

    /// A stream as the API shows it, with its key where it is told.
    fn made(&self, made: &Made) -> Value {
        let mut shown = self.stream(&made.row);
        shown["stream_key"] = json!(made.key);
        shown
    }

    /// A stream as the API shows it.
    fn stream(&self, row: &Row) -> Value {
        let rules = self.streams.rules();
        let mut shown = row.settings.clone();
        shown["id"] = json!(row.id);
        shown["status"] = json!(row.status);
        let running = self.events.get(&row.id);
        shown["cause"] = json!(running.and_then(|event| event.live.status().cause));
        shown["source"] = json!(row.source.name());
        shown["created_ms"] = json!(row.created_ms);
        shown["changed_ms"] = json!(row.changed_ms);
        shown["ended_ms"] = json!((row.ended_ms > 0).then_some(row.ended_ms));
        let old_key_until_ms = (row.old_key_until_ms > 0).then_some(row.old_key_until_ms);
        shown["old_key_until_ms"] = json!(old_key_until_ms);
        let takes = row.settings["input"] == "rtmp";
        let rtmp = takes.then(|| json!({"protocol": "rtmp", "url": rules.rtmp_url}));
        let by_srt = |url: &String| {
            // `#!::r=ID,m=publish`, as a URL has it. An id needs no escape.
            let id = format!("%23%21%3A%3Ar%3D{}%2Cm%3Dpublish", row.id);
            json!({"protocol": "srt", "url": format!("{url}?streamid={id}")})
        };
        let srt = rules.srt_url.as_ref().filter(|_| takes).map(by_srt);
        shown["ingest"] = json!(Vec::from_iter(rtmp.into_iter().chain(srt)));
        let playback = format!("{}/live/{}/main.m3u8", rules.playback_url, row.id);
        shown["playback_url"] = json!(playback);
        shown
    }
}

/// 204.
pub(super) fn none() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The values of a query that has these parameters, each at most once.
fn parameters<const N: usize>(
    query: &str,
    names: [&str; N],
) -> Result<[Option<String>; N], Box<Response<Bytes>>> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let at = names.iter().position(|known| *known == name).ok_or_else(|| unfit("query"))?;
        let spaced = value.replace('+', "%20");
        let value = decode(&spaced).filter(|value| value.len() <= VALUE_BYTES_MAX);
        let value = value.filter(|value| !value.contains('\0')).ok_or_else(|| unfit(name))?;
        match values.get_mut(at) {
            Some(slot @ None) => *slot = Some(value.into_owned()),
            _ => return Err(unfit(name)),
        }
    }
    Ok(values)
}

fn unfit(name: &str) -> Box<Response<Bytes>> {
    let name = if name.len() > 16 { "query" } else { name };
    let title = format!("The {name} in the query is not what is expected");
    Box::new(problem(StatusCode::BAD_REQUEST, "query-invalid", &title))
}

fn limit_of(given: Option<String>) -> Result<u32, Box<Response<Bytes>>> {
    let Some(given) = given else { return Ok(LIMIT) };
    let limit = given.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| unfit("limit"))
}

/// The cursor of the page after this one; `None` where there is none.
fn next<T>(page: &[T], limit: u32, key: impl Fn(&T) -> (i64, &String)) -> Option<String> {
    let full = u32::try_from(page.len()).is_ok_and(|length| length == limit);
    let (at_ms, id) = key(page.last().filter(|_| full)?);
    Some(URL_SAFE_NO_PAD.encode(format!("{at_ms}.{id}")))
}

/// What a cursor says.
fn after(cursor: &str) -> Result<(i64, String), Box<Response<Bytes>>> {
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|text| String::from_utf8(text).ok());
    let parts = text.as_deref().and_then(|text| text.split_once('.'));
    let read = parts.and_then(|(at_ms, id)| Some((at_ms.parse().ok()?, id.to_owned())));
    read.filter(|(_, id): &(i64, String)| !id.contains('\0')).ok_or_else(|| unfit("cursor"))
}

pub(super) fn gone(error: DatabaseError) -> Box<Response<Bytes>> {
    refused(StreamsError::Database(error))
}

/// What the database said is for the log: it may tell of its host. That it is gone is told there
/// once, not with each request.
pub(super) fn database_problem(error: &DatabaseError) -> Response<Bytes> {
    let (code, title) = match error {
        DatabaseError::Gone(_) => {
            tracing::debug!(%error, "a request waits for the database");
            ("database-gone", "The database does not answer: ask again")
        }
        DatabaseError::Taken | DatabaseError::Refused(_) => {
            tracing::error!(event = "database-refused", %error, "a request was refused");
            ("database-refused", "The database refuses: the log says why")
        }
    };
    let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, code, title);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_S));
    response
}

/// Faults with their places.
pub(super) fn invalid(faults: &[Fault]) -> Response<Bytes> {
    let errors: Vec<Value> = faults.iter().map(told).collect();
    let title = "A field is not what is expected";
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    problem_with(status, "settings-invalid", title, &json!({"errors": errors}))
}

fn told(fault: &Fault) -> Value {
    json!({"pointer": fault.place, "detail": fault.fault, "remedy": fault.remedy})
}

fn refused(error: StreamsError) -> Box<Response<Bytes>> {
    let title = error.to_string();
    let conflict = |code: &str| problem(StatusCode::CONFLICT, code, &title);
    Box::new(match error {
        StreamsError::Invalid(faults) => invalid(&faults),
        StreamsError::Exists(_) => conflict("stream-exists"),
        StreamsError::Full(_) => conflict("streams-full"),
        StreamsError::Unknown => problem(StatusCode::NOT_FOUND, "stream-unknown", &title),
        StreamsError::Configured => conflict("stream-configured"),
        StreamsError::Fixed(fields) => {
            let field = |(pointer, why): &(&str, &str)| json!({"pointer": pointer, "detail": why});
            let errors: Vec<Value> = fields.iter().map(field).collect();
            let members = json!({"errors": errors});
            problem_with(StatusCode::CONFLICT, "field-fixed", &title, &members)
        }
        StreamsError::Ended => conflict("stream-ended"),
        StreamsError::Running => conflict("stream-running"),
        StreamsError::NoKey => conflict("stream-without-key"),
        StreamsError::Database(error) => database_problem(&error),
        StreamsError::Runner(error) => failed("stream-not-started", &error),
        StreamsError::End(error) => failed(DISK, &error),
        StreamsError::Publish(error) => failed(DISK, &error),
        error @ StreamsError::Files { .. } => failed(DISK, &error),
        StreamsError::Reload(faults) => {
            let errors: Vec<Value> = faults.iter().map(told).collect();
            let members = json!({"errors": errors});
            problem_with(StatusCode::CONFLICT, "configuration-refused", &title, &members)
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_known_parameters_once() {
        let read = |query: &str| parameters(query, ["q", "limit"]).map_err(|no| no.status());
        let two = [Some("a b ü".to_owned()), Some("5".to_owned())];
        assert_eq!(read("q=a+b%20%C3%BC&limit=5"), Ok(two));
        assert_eq!(read(""), Ok([None, None]));
        let long = format!("q={}", "a".repeat(257));
        for no in ["x=1", "q=1&q=2", "q=%ff", "q=%00", "q=%", &long] {
            assert_eq!(read(no), Err(StatusCode::BAD_REQUEST), "{no}");
        }
    }

    #[test]
    fn a_cursor_leads_on_and_a_made_up_one_is_refused() {
        let rows = [(5, "a".to_owned()), (4, "b.c".to_owned())];
        let cursor = next(&rows, 2, |row| (row.0, &row.1)).unwrap();
        assert_eq!(after(&cursor).unwrap(), rows[1]);
        assert_eq!(next(&rows, 3, |row| (row.0, &row.1)), None);
        for no in ["", "x", "!!", "NQ", "YS5i"] {
            assert_eq!(after(no).unwrap_err().status(), StatusCode::BAD_REQUEST, "{no}");
        }
    }
}
