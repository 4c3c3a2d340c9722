//! Helpers for requests and responses of the control port: bodies with limits, common errors.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::http::{json, problem};

/// Largest request body. A stream with a hundred cohorts has some tens of kilobytes.
const BODY_BYTES_MAX: usize = 256 << 10;
/// For a request body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// The code of what the disk refused.
pub(super) const DISK: &str = "disk-failed";
pub(super) const NEVER: &str = "no-store";

/// An answer, or the answer that ends the request early.
pub(super) type Outcome = Result<Response<Bytes>, Box<Response<Bytes>>>;

/// Does what waits for the disk on a thread that may.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Box<Response<Bytes>>> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an operator's request was not carried out");
        let title = "The origin failed: its log says why";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Box::new(problem(status, "internal", title))
    })
}

/// The body as it came.
pub(super) async fn body_of(body: Incoming) -> Result<Bytes, Box<Response<Bytes>>> {
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect());
    let whole = whole.await.map_err(|_| bad("The body did not arrive in time"))?;
    let whole = whole.map_err(|_| bad("The body is too large or was cut off"))?;
    Ok(whole.to_bytes())
}

pub(super) async fn read<T: DeserializeOwned>(body: Incoming) -> Result<T, Box<Response<Bytes>>> {
    parse(&body_of(body).await?)
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Response<Bytes>>> {
    let parsed = serde_json::from_slice(body);
    parsed.map_err(|e| bad(&format!("The body is not the JSON that is expected: {e}")))
}

fn bad(title: &str) -> Box<Response<Bytes>> {
    Box::new(problem(StatusCode::BAD_REQUEST, "body-invalid", title))
}

pub(super) fn failed(code: &str, error: &dyn std::error::Error) -> Response<Bytes> {
    tracing::error!(%error, code, "an operator's request failed");
    problem(StatusCode::SERVICE_UNAVAILABLE, code, &error.to_string())
}

/// What the audit log is to say of a request besides its path.
#[derive(Clone)]
pub(super) struct Note(pub(super) String);

/// The answer, with a note for the audit log.
pub(super) fn noted(mut answer: Response<Bytes>, note: String) -> Response<Bytes> {
    if !note.is_empty() {
        answer.extensions_mut().insert(Note(note));
    }
    answer
}

pub(super) fn ok(value: &Value) -> Response<Bytes> {
    json(StatusCode::OK, NEVER, value)
}
