//! The streams API against its own description: requests that fit it, and requests that do not.
//!
//! Schemathesis makes them up from the description, with a fixed seed. Each stream that it makes
//! has its creatives conditioned, so the origin allows a few.

use std::process::Command;

use anyhow::Result;

use super::Outcome;
use crate::servers::{Plan, Servers};
use crate::{paths, run, tools, up};

const EXAMPLES: &str = "8";
const SEED: &str = "7";
const STREAMS_MAX: &str = "8";

pub(super) fn run() -> Result<Outcome> {
    let schemathesis = tools::schemathesis()?;
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut plan = Plan::fresh(scratch.path(), "test")?;
    plan.scheduled = false;
    plan.origin_flags = ["--streams-max", STREAMS_MAX].map(str::to_owned).into();
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    let mut command = Command::new(schemathesis);
    command
        .arg("--config-file")
        .arg(paths::root().join("xtask/schemathesis.toml"))
        .arg("run")
        .arg(paths::root().join("origin/src/control/openapi.json"))
        .args(["--url", &servers.control_url(), "--max-examples", EXAMPLES, "--seed", SEED])
        .env("SCHEMATHESIS_TOKEN", &servers.token)
        .current_dir(scratch.path());
    let told = run::logged("schemathesis", &mut command)?;
    servers.tend()?;
    let cases = told.lines().find(|line| line.contains(" generated, "));
    Ok(Outcome::Passed(cases.unwrap_or_default().trim().to_owned()))
}
