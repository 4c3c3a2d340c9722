//! An operator at the control API, and two viewers of different cohorts at their pages.
//!
//! The driver clicks and reports what the page showed. What each viewer was due is judged here, by
//! the pods that were frozen.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Outcome, documents};
use crate::browser::{self, Verdict};
use crate::servers::Servers;
use crate::{live, paths, tools, up};

/// The viewers' choices, in the page's address.
const QUERIES: [&str; 2] = [
    "age=18-34&gender=f&metro=metro&device=mobile&language=hi&consent=1",
    "age=35-plus&gender=m&metro=rest",
];
/// The first one's.
const COHORT: &str = "18-34.f.metro.mobile.hi";
const LIMIT: Duration = Duration::from_secs(360);

pub(super) fn run() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = super::without_schedule(scratch.path())?;
    servers.prepared()?;
    let shots = paths::work("logs")?;
    let plan = json!({
        "packages": tools::packages()?.folder(),
        "chromium": tools::chromium()?,
        "page": servers.page_url("demo"),
        "control": servers.control_url(),
        "token": servers.token,
        "queries": QUERIES,
        "shots": shots,
    });
    println!("  an operator and two viewers in Chromium ...");
    let report = browser::drive("operate.mjs", &plan, LIMIT)?;
    servers.tend()?;
    let verdict = judge(&servers, &report)?;
    print!("{verdict}");
    if !verdict.passed() {
        bail!("the page misbehaved; repeat it with: cargo xtask test --only operator");
    }
    tried(&servers)?;
    let picture = shots.join("operator.png");
    Ok(Outcome::Passed(format!("picture {}", picture.display())))
}

/// Sends every request that the document of the control API shows, in its order.
fn tried(servers: &Servers) -> Result<()> {
    let mut last_break = String::new();
    for example in documents::examples()? {
        let url = example
            .url
            .replace("$CONTROL", &servers.control_url())
            .replace("$EDGE", &servers.edge_url())
            .replace("$BREAK", &last_break);
        let token = example.has_token.then_some(servers.token.as_str());
        let body = example.body.as_deref();
        let told = || format!("docs/control-api.md: {}", example.url);
        if url.ends_with("/metrics") {
            let text = live::ask_text(&example.method, &url, token, body).with_context(told)?;
            ensure!(text.starts_with("# HELP "), "{}: no metrics in:\n{text}", told());
            continue;
        }
        let answer = live::ask(&example.method, &url, token, body).with_context(told)?;
        if let Some(id) = answer["id"].as_str() {
            id.clone_into(&mut last_break);
        }
    }
    Ok(())
}

fn judge(servers: &Servers, report: &Value) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for check in report["checks"].as_array().into_iter().flatten() {
        let what = check["what"].as_str().unwrap_or_default();
        verdict.check(check["passed"] == true, what.to_owned());
    }
    let viewers = report["viewers"].as_array().context("no viewers")?;
    for viewer in viewers {
        browser::breaks(&browser::pods(servers, viewer)?, viewer, &mut verdict);
    }
    let [one, other] = viewers.as_slice() else {
        bail!("expected two viewers, the driver reported {}", viewers.len());
    };
    verdict
        .check(one["cohort"] == COHORT, format!("the address leads to cohort {}", one["cohort"]));
    differ(one, other, &mut verdict);
    returned(&servers.state()?, &mut verdict);
    browser::faults(report, &mut verdict);
    let problems = report["problems"].as_array().map_or(0, Vec::len);
    // A browser calls every answer that is no success an error; with the API switched off there are
    // some.
    println!("  the pages reported {problems} problems {}", report["problems"]);
    Ok(verdict)
}

/// The same sequence number, another creative.
fn differ(one: &Value, other: &Value, verdict: &mut Verdict) {
    let ads = browser::ads(other);
    let both: Vec<_> = browser::ads(one)
        .into_iter()
        .filter_map(|(sequence, creative)| Some((creative, ads.get(&sequence)?.clone())))
        .collect();
    verdict.check(
        !both.is_empty() && both.iter().all(|(one, other)| one != other),
        format!("side by side the viewers saw {both:?}"),
    );
}

/// By the ledger: the one break was cut short.
fn returned(state: &Value, verdict: &mut Verdict) {
    let last = state["breaks"].as_array().and_then(|breaks| breaks.last());
    let last = last.unwrap_or(&Value::Null);
    let (length, planned) = (last["length_ms"].as_u64(), last["planned_ms"].as_u64());
    let short = matches!((length, planned), (Some(length), Some(planned)) if length < planned);
    verdict.check(
        short,
        format!(
            "by the ledger the break was of {} ms, {} were planned",
            last["length_ms"], last["planned_ms"]
        ),
    );
}
