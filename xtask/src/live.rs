//! Small requests to a running event, and the live check of its playlists.

mod follower;

use std::ffi::OsString;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::artifacts;
use crate::children::{self, AtSignal, Group};
pub(crate) use follower::Follower;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What `sightscreen-live-check` takes.
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// `cargo xtask live-check ...`: the tests' own program, built and run.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let mut check = checker()?;
    check.args(&options.args);
    let status = Group::spawn(&mut check, AtSignal::Stops)?.wait()?;
    children::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The built live check.
pub(crate) fn checker() -> Result<Command> {
    Ok(Command::new(artifacts::native("sightscreen-live-check")?))
}

/// Status of a GET, if anything answers.
pub(crate) fn status(url: &str) -> Option<u16> {
    let answer = agent().get(url).call().ok()?;
    Some(answer.status().as_u16())
}

/// Status and body of a GET, whatever it answers.
pub(crate) fn answer(url: &str) -> Result<(u16, String)> {
    let mut answer = agent().get(url).call().with_context(|| format!("GET {url}"))?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

/// Body of a GET that must answer 200.
pub(crate) fn get(url: &str) -> Result<String> {
    whole(url, agent().get(url))
}

/// The same by the bearer of a token.
pub(crate) fn get_as(url: &str, token: &str) -> Result<String> {
    let bearer = format!("Bearer {token}");
    whole(url, agent().get(url).header("authorization", bearer))
}

fn whole(url: &str, request: ureq::RequestBuilder<ureq::typestate::WithoutBody>) -> Result<String> {
    let mut answer = request.call().with_context(|| format!("GET {url}"))?;
    let body = answer.body_mut().read_to_string()?;
    if answer.status() != 200 {
        bail!("GET {url} answered {}: {body}", answer.status());
    }
    Ok(body)
}

/// Body of a GET that must answer 200, as it is.
pub(crate) fn get_bytes(url: &str) -> Result<Vec<u8>> {
    let request = agent().get(url);
    let mut answer = request.call().with_context(|| format!("GET {url}"))?;
    if answer.status() != 200 {
        bail!("GET {url} answered {}", answer.status());
    }
    Ok(answer.body_mut().read_to_vec()?)
}

/// A POST of JSON by the bearer of a token; the answer's JSON.
pub(crate) fn post_as(url: &str, token: &str, body: &Value) -> Result<Value> {
    let request = agent()
        .post(url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    let mut answer = request.send(body.to_string()).with_context(|| format!("POST {url}"))?;
    let text = answer.body_mut().read_to_string()?;
    if !answer.status().is_success() {
        bail!("POST {url} answered {}: {text}", answer.status());
    }
    Ok(serde_json::from_str(&text)?)
}

/// Any request that must be answered with a success; the answer's JSON.
pub(crate) fn ask(
    method: &str,
    url: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Result<Value> {
    let text = ask_text(method, url, token, body)?;
    serde_json::from_str(&text).with_context(|| format!("{method} {url} answered no JSON: {text}"))
}

/// The same, and the answer's body as it is.
pub(crate) fn ask_text(
    method: &str,
    url: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Result<String> {
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(body.unwrap_or_default().to_owned())?;
    let mut answer = agent().run(request).with_context(|| format!("{method} {url}"))?;
    let text = answer.body_mut().read_to_string()?;
    if !answer.status().is_success() {
        bail!("{method} {url} answered {}: {text}", answer.status());
    }
    Ok(text)
}

/// The URL of the first media playlist that a new viewer at this edge is given, with its pass.
pub(crate) fn first_playlist(edge: &str) -> Result<String> {
    let entry = entry(edge)?;
    let multivariant = get(&entry)?;
    let line = multivariant
        .lines()
        .find(|line| line.contains("index.m3u8") && !line.starts_with('#'))
        .with_context(|| format!("no media playlist in:\n{multivariant}"))?;
    let base = entry.rsplit_once('/').map_or(entry.as_str(), |(base, _)| base);
    Ok(format!("{base}/{line}"))
}

/// A signed entry URL for a viewer who consented and told nothing more, by the API at the edge.
pub(crate) fn entry(edge: &str) -> Result<String> {
    entry_of(edge, "consent=1")
}

/// The same for a viewer who says this, as a query.
pub(crate) fn entry_of(edge: &str, claims: &str) -> Result<String> {
    let body = get(&format!("{edge}/api/events/demo/playback?{claims}"))?;
    let answer: Value = serde_json::from_str(&body)?;
    let url = answer["url"]
        .as_str()
        .with_context(|| format!("the playback answer has no url: {body}"))?;
    Ok(if url.starts_with('/') { format!("{edge}{url}") } else { url.to_owned() })
}

/// A client that waits a few seconds and takes any status as an answer.
pub(crate) fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    config.build().new_agent()
}
