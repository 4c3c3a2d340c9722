//! `/api/v1/tokens` and `/api/v1/webhooks`: who may do what, and who is told.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::answer::{NEVER, Outcome, ok, parse};
use super::streams::{gone, invalid, none};
use crate::config::Fault;
use crate::http::{json as json_reply, problem};
use crate::outbound::{Target, TargetError};
use crate::streams::Role;

/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    role: Role,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewHook {
    url: String,
}

impl Control {
    pub(super) async fn list_tokens(&self) -> Outcome {
        let tokens = self.streams.database().tokens().await.map_err(gone)?;
        Ok(ok(&json!({"tokens": tokens})))
    }

    pub(super) async fn make_token(&self, body: &[u8]) -> Outcome {
        let asked: NewToken = parse(body)?;
        let name = asked.name.trim();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let remedy = format!("use 1 to {NAME_BYTES_MAX} bytes without control characters");
            return Ok(invalid(&[fault("/name", "is no name", &remedy)]));
        }
        let made = self.streams.database().make_token(name, asked.role).await.map_err(gone)?;
        let mut shown = json!(made.0);
        shown["token"] = json!(made.1);
        Ok(json_reply(StatusCode::CREATED, NEVER, &shown))
    }

    pub(super) async fn revoke_token(&self, id: &str) -> Outcome {
        match self.streams.database().revoke_token(id).await.map_err(gone)? {
            true => Ok(none()),
            false => Ok(unknown("token-unknown", "There is no such token that is good")),
        }
    }

    pub(super) async fn list_hooks(&self) -> Outcome {
        let hooks = self.streams.database().hooks().await.map_err(gone)?;
        Ok(ok(&json!({"webhooks": hooks})))
    }

    pub(super) async fn make_hook(&self, body: &[u8]) -> Outcome {
        let asked: NewHook = parse(body)?;
        let target = match Target::read(&asked.url) {
            Ok(target) => target,
            Err(error) => return Ok(unfit(&error)),
        };
        // A name may have an address later; a private one is refused now and at each call.
        let address = target.address(self.streams.rules().webhook_private).await;
        if let Err(error @ TargetError::Private) = address {
            return Ok(unfit(&error));
        }
        let made = self.streams.database().make_hook(&asked.url).await.map_err(gone)?;
        let Some((hook, secret)) = made else {
            let title = "There are as many webhooks as there may be: delete one first";
            return Ok(problem(StatusCode::CONFLICT, "webhooks-full", title));
        };
        let mut shown: Value = json!(hook);
        shown["secret"] = json!(secret);
        Ok(json_reply(StatusCode::CREATED, NEVER, &shown))
    }

    pub(super) async fn delete_hook(&self, id: &str) -> Outcome {
        match self.streams.database().remove_hook(id).await.map_err(gone)? {
            true => Ok(none()),
            false => Ok(unknown("webhook-unknown", "There is no such webhook")),
        }
    }
}

fn unfit(error: &TargetError) -> http::Response<bytes::Bytes> {
    invalid(&[fault("/url", &error.to_string(), "name another URL")])
}

fn unknown(code: &str, title: &str) -> http::Response<bytes::Bytes> {
    problem(StatusCode::NOT_FOUND, code, title)
}

fn fault(pointer: &str, fault: &str, remedy: &str) -> Fault {
    let (place, fault) = (pointer.to_owned(), fault.to_owned());
    Fault { place, fault, remedy: remedy.to_owned() }
}
