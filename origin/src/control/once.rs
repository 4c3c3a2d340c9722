//! `Idempotency-Key`: a request that is sent again is carried out once.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use sightscreen_core::keyring::to_hex;

use super::Control;
use super::answer::{NEVER, Outcome};
use super::streams::database_problem;
use crate::http::{problem, reply};
use crate::streams::{Actor, Begun, Kept};

const HEADER: &str = "idempotency-key";
/// Longest key.
const KEY_BYTES_MAX: usize = 128;
/// Fields that are told once.
const SECRETS: [&str; 3] = ["stream_key", "token", "secret"];

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Box<Response<Bytes>>> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let title = "Idempotency-Key has 1 to 128 printable letters";
    let refuse = || Box::new(problem(StatusCode::BAD_REQUEST, "idempotency-key-invalid", title));
    Ok(Some(key.ok_or_else(refuse)?.to_owned()))
}

impl Control {
    /// Carries out `work`, unless it was under this key.
    pub(super) async fn once(
        &self,
        actor: &Actor,
        key: &str,
        what: (&str, &[u8]),
        work: impl Future<Output = Outcome>,
    ) -> Outcome {
        let database = self.streams.database();
        let gone = |error| Box::new(database_problem(&error));
        let begun = database.begin(&actor.id, key, &fingerprint(what)).await.map_err(gone)?;
        match begun {
            Begun::New => {}
            Begun::Done(kept) => return Ok(again(kept)),
            Begun::Running => {
                let title = "The request with this Idempotency-Key is being carried out";
                return Ok(problem(StatusCode::CONFLICT, "idempotency-key-running", title));
            }
            Begun::Another => {
                let title = "Another request had this Idempotency-Key: choose a new one";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                return Ok(problem(status, "idempotency-key-reused", title));
            }
        }
        let response = work.await.unwrap_or_else(|refusal| *refusal);
        let kept = match response.status().is_success() {
            true => database.answer(&actor.id, key, &kept(&response)).await,
            false => database.give_up(&actor.id, key).await,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the answer to an Idempotency-Key is not kept");
        }
        Ok(response)
    }
}

fn fingerprint((route, body): (&str, &[u8])) -> String {
    let mut digest = Sha256::new();
    for part in [route.as_bytes(), body] {
        digest.update(part.len().to_be_bytes());
        digest.update(part);
    }
    to_hex(&digest.finalize())
}

/// The answer without its secrets.
fn kept(response: &Response<Bytes>) -> Kept {
    let location = response.headers().get(header::LOCATION);
    let mut body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    for secret in SECRETS {
        if let Some(value) = body.get_mut(secret) {
            *value = Value::Null;
        }
    }
    Kept {
        status: response.status().as_u16(),
        location: location.and_then(|l| l.to_str().ok()).unwrap_or_default().to_owned(),
        body: body.to_string(),
    }
}

fn again(kept: Kept) -> Response<Bytes> {
    let status = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let mut response = reply(status, "application/json", NEVER, kept.body.into());
    if let (false, Ok(location)) = (kept.location.is_empty(), HeaderValue::from_str(&kept.location))
    {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
