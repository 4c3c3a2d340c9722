//! The viewers' page in every state that a viewer may meet, in Chromium.
//!
//! How a state is built is compared with a file of `xtask/node/viewer/states`: what assistive
//! technology is told, and not pixels. To change a state on purpose, remove its file and run: that
//! writes the file and fails. Look at it, and run again.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::Outcome;
use crate::browser::{self, Verdict};
use crate::servers::{Plan, Servers};
use crate::{clip, live, paths, tools, up};

const LIMIT: Duration = Duration::from_secs(420);
/// A stream without a publisher, and one whose publisher comes and goes.
const STREAMS: [&str; 2] = ["waiting", "away"];

pub(super) fn run() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut plan = Plan::fresh(scratch.path(), "test")?;
    plan.scheduled = false;
    plan.origin_flags = ["--cpu-percent", "50"].map(str::to_owned).into();
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    servers.prepared()?;
    let [waiting, away] = STREAMS;
    made(&servers, waiting)?;
    let key = made(&servers, away)?;
    let shots = paths::work("logs")?;
    let plan = json!({
        "packages": tools::packages()?.folder(),
        "chromium": tools::chromium()?,
        "edge": servers.edge_url(),
        "control": servers.control_url(),
        "token": servers.token,
        "signed": query(&servers.signed_entry()?)?,
        "expired": query(&servers.signed_for("1s")?)?,
        "waiting": waiting,
        "away": away,
        "publish": format!("{}/{key}", servers.ingest_url()),
        "clip": footage()?,
        "states": paths::root().join("xtask/node/viewer/states"),
        "players": paths::root().join("docs/players.md"),
        "shots": shots,
    });
    println!("  a viewer in Chromium, in every state ...");
    let report = browser::drive("viewer.mjs", &plan, LIMIT)?;
    servers.tend()?;
    let verdict = judge(&report);
    print!("{verdict}");
    if !verdict.passed() {
        bail!("the page misbehaved; repeat it with: cargo xtask test --only 'viewer in every'");
    }
    Ok(Outcome::Passed(format!("pictures {}/viewer-*.png", shots.display())))
}

/// A stream of that name; its key.
fn made(servers: &Servers, id: &str) -> Result<String> {
    let asked = json!({
        "id": id, "title": format!("The match {id}"), "languages": ["en"],
        "ladder": {"max_height": 160},
    });
    let url = format!("{}/api/v1/streams", servers.control_url());
    let made = live::post_as(&url, &servers.token, &asked)?;
    Ok(made["stream_key"].as_str().context("the stream has no key")?.to_owned())
}

/// What the page takes of an entry URL.
fn query(url: &str) -> Result<String> {
    let (_, query) = url.trim().split_once('?').context("the entry URL has no query")?;
    Ok(query.to_owned())
}

fn judge(report: &Value) -> Verdict {
    let mut verdict = Verdict::default();
    for check in report["checks"].as_array().into_iter().flatten() {
        let what = check["what"].as_str().unwrap_or_default();
        verdict.check(check["passed"] == true, what.to_owned());
    }
    browser::faults(report, &mut verdict);
    verdict
}

fn footage() -> Result<PathBuf> {
    let file = paths::work("footage")?.join("inputs.mp4");
    let coding = ["-preset", "ultrafast", "-b:v", "1M"];
    clip::make(file, "testsrc2=size=284x160:rate=30", "60", &coding)
}
