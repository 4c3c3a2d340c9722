//! The operator's page, in a browser: what it shows, what its buttons do, that it can be used
//! without a mouse and on a phone, and that a token is taken only where nobody reads it.
//!
//! The driver clicks and types, and reports what came of it. That the origin did what the page says
//! is asked of the control API.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Outcome;
use crate::browser::{self, Verdict};
use crate::servers::Servers;
use crate::{live, paths, tools, up};

const LIMIT: Duration = Duration::from_secs(300);
/// Told where it fails.
const REPEAT: &str = "cargo xtask test --only \"operator's page\"";

pub(super) fn run() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = super::without_schedule(scratch.path())?;
    servers.prepared()?;
    let shots = paths::work("logs")?;
    let plan = json!({
        "packages": tools::packages()?.folder(),
        "chromium": tools::chromium()?,
        "control": servers.control_url(),
        "edge": servers.edge_url(),
        "token": servers.token,
        "viewer": token_of(&servers, "viewer")?,
        "shots": shots,
    });
    println!("  an operator's page in Chromium ...");
    let report = browser::drive("operator.mjs", &plan, LIMIT)?;
    servers.tend()?;
    let verdict = judge(&servers.state()?, &report)?;
    print!("{verdict}");
    if !verdict.passed() {
        bail!("the operator's page misbehaved; repeat it with: {REPEAT}");
    }
    let picture = shots.join("operator-page-1440.png");
    Ok(Outcome::Passed(format!("pictures beside {}", picture.display())))
}

/// A token of that role, made by the API.
fn token_of(servers: &Servers, role: &str) -> Result<String> {
    let url = format!("{}/api/v1/tokens", servers.control_url());
    let made = live::post_as(&url, &servers.token, &json!({"name": "umpire", "role": role}))?;
    made["token"].as_str().map(str::to_owned).context("the API made no token")
}

fn judge(state: &Value, report: &Value) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let checks = report["checks"].as_array().context("the driver reported no checks")?;
    for check in checks {
        let what = check["what"].as_str().unwrap_or_default();
        verdict.check(check["passed"] == true, what.to_owned());
    }
    verdict.check(report["finished"] == true, "the driver came to its end".to_owned());
    let breaks: Vec<&Value> = state["breaks"].as_array().into_iter().flatten().collect();
    let returned = breaks.iter().any(|one| one["returned"] == true);
    let cancelled = breaks.iter().any(|one| one["state"] == "cancelled");
    let told = format!("by the ledger one break was returned from ({returned})");
    verdict.check(returned, told);
    let told = format!("by the ledger one break at a time was cancelled ({cancelled})");
    verdict.check(cancelled, told);
    browser::faults(report, &mut verdict);
    Ok(verdict)
}
