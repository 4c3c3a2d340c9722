//! `keys`: shows or changes which keys are in force at a running origin, by its control port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use sightscreen_core::route::is_identifier;

/// Longest wait for the origin.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer: an operator's view of an event with hundreds of breaks.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Flags of `keys`.
#[derive(Args)]
pub(crate) struct Rotate {
    /// Event
    #[arg(long, default_value = "demo")]
    event: String,
    /// The origin's control port
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9081")]
    control: String,
    /// Token of the operator; better in the environment
    #[arg(long, value_name = "SECRET", env = "SIGHTSCREEN_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: String,
    /// Pass key that mints from now on
    #[arg(long, value_name = "KID")]
    mint: Option<String>,
    /// Pass keys that are accepted from now on
    #[arg(long, value_name = "KID,KID", value_delimiter = ',')]
    pass: Option<Vec<String>>,
    /// URL keys that are accepted from now on
    #[arg(long, value_name = "KID,KID", value_delimiter = ',')]
    url: Option<Vec<String>>,
}

impl Rotate {
    pub(crate) fn print(&self) -> Result<(), String> {
        if !is_identifier(&self.event) {
            return Err(format!("--event {:?}: use a-z, 0-9, . and -", self.event));
        }
        let path = format!("/control/events/{}", self.event);
        let change = self.change();
        let told = if change.is_empty() {
            self.ask("GET", &path, "")?["keys"].take()
        } else {
            self.ask("POST", &format!("{path}/keys"), &Value::from(change).to_string())?
        };
        println!("{told:#}");
        Ok(())
    }

    /// What the flags ask for.
    fn change(&self) -> Map<String, Value> {
        let fields = [
            ("mint", self.mint.as_ref().map(|kid| json!(kid))),
            ("pass", self.pass.as_ref().map(|kids| json!(kids))),
            ("url", self.url.as_ref().map(|kids| json!(kids))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// One request to the control port; the JSON of an answer that is not a refusal.
    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Value, String> {
        let failed = |error: std::io::Error| format!("--control {}: {error}", self.control);
        let Self { control, operator_token, .. } = self;
        if operator_token.contains(['\r', '\n']) {
            return Err("the operator's token is one line".to_owned());
        }
        let mut stream = TcpStream::connect(control).map_err(failed)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {control}\r\nauthorization: Bearer {operator_token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(failed)?;
        read(&answer)
    }
}

/// The body of an HTTP answer, or why there is none.
fn read(answer: &str) -> Result<Value, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the origin's answer is no HTTP")?;
    let value: Value = serde_json::from_str(body)
        .map_err(|error| format!("the origin's answer is not JSON: {error}"))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(value),
        status => {
            let title = value["title"].as_str().unwrap_or("no reason given");
            Err(format!("the origin refused ({}): {title}", status.unwrap_or("no status")))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        rotate: Rotate,
    }

    #[test]
    fn only_what_was_named_is_changed() {
        let change = |flags: &[&str]| {
            let line = [&["keys", "--operator-token", "token-of-the-test"], flags].concat();
            Value::from(CommandLine::parse_from(line).rotate.change())
        };
        assert_eq!(change(&[]), json!({}));
        assert_eq!(
            change(&["--mint", "r1.2", "--pass", "r1.1,r1.2"]),
            json!({"mint": "r1.2", "pass": ["r1.1", "r1.2"]})
        );
    }

    #[test]
    fn a_refusal_is_told_in_the_origins_words() {
        let ok = read("HTTP/1.1 200 OK\r\na: b\r\n\r\n{\"keys\":1}").unwrap();
        assert_eq!(ok["keys"], 1);
        let refused = read("HTTP/1.1 409 Conflict\r\na: b\r\n\r\n{\"title\":\"k1 mints\"}");
        assert_eq!(refused.unwrap_err(), "the origin refused (409): k1 mints");
        assert!(read("").is_err() && read("HTTP/1.1 200 OK\r\n\r\n<html>").is_err());
    }
}
