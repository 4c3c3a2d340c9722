//! The steps of a test run, in the order in which a fault is cheapest to find.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{Outcome, Step, deploy, fuzz};
use crate::servers::{Plan, Servers};
use crate::{artifacts, browser, cases, live, paths, run, tools, up};

/// Long enough for the first break of the schedule and the content after it.
const PLAY_S: u64 = 55;

/// What needs no platform tool.
pub(crate) const QUICK: &[Step] = &[
    Step {
        name: "format",
        run: format,
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "unit and property tests",
        run: unit,
    },
    Step {
        name: "cases at the native door",
        run: native,
    },
    Step {
        name: "cases at the host door",
        run: host,
    },
];

/// Everything.
pub(crate) const FULL: &[Step] = &[
    Step {
        name: "format",
        run: format,
    },
    Step {
        name: "set-up",
        run: setup,
    },
    Step {
        name: "clippy",
        run: clippy,
    },
    Step {
        name: "clippy for Wasm",
        run: clippy_wasm,
    },
    Step {
        name: "licences and sources",
        run: deny,
    },
    Step {
        name: "unit and property tests",
        run: unit,
    },
    Step {
        name: "builds",
        run: builds,
    },
    Step {
        name: "cases at the native door",
        run: native,
    },
    Step {
        name: "cases at the host door",
        run: host,
    },
    Step {
        name: "cases at the fastly door",
        run: fastly,
    },
    Step {
        name: "cases at the cloudflare door",
        run: cloudflare,
    },
    Step {
        name: "cases at the spin door",
        run: spin,
    },
    Step {
        name: "fastly compute pack",
        run: deploy::fastly,
    },
    Step {
        name: "wrangler deploy --dry-run",
        run: deploy::cloudflare,
    },
    Step {
        name: "fuzz for a minute",
        run: fuzz::run,
    },
    Step {
        name: "live check of a running event",
        run: || twice(live_check),
    },
    Step {
        name: "Chromium plays through a break",
        run: || twice(chromium),
    },
    Step {
        name: "real footage by RTMP",
        run: || twice(rtmp),
    },
];

pub(super) fn ok() -> Result<Outcome> {
    Ok(Outcome::Passed(String::new()))
}

fn format() -> Result<Outcome> {
    run::logged("format", run::cargo().args(["fmt", "--all", "--check"]))?;
    ok()
}

fn setup() -> Result<Outcome> {
    tools::all()?;
    ok()
}

fn clippy() -> Result<Outcome> {
    run::logged(
        "clippy",
        run::cargo().args(["clippy", "--all-targets", "--", "-D", "warnings"]),
    )?;
    ok()
}

fn clippy_wasm() -> Result<Outcome> {
    let doors = [
        ("sightscreen-component", "wasm32-unknown-unknown"),
        ("sightscreen-fastly", "wasm32-wasip1"),
        ("sightscreen-cloudflare", "wasm32-unknown-unknown"),
        ("sightscreen-spin", "wasm32-wasip2"),
    ];
    for (package, target) in doors {
        run::logged(
            &format!("clippy {package}"),
            run::cargo()
                .args(["clippy", "--package", package, "--target", target])
                .args(["--", "-D", "warnings"]),
        )?;
    }
    ok()
}

fn deny() -> Result<Outcome> {
    if run::output(Command::new("cargo").args(["deny", "--version"])).is_none() {
        return Ok(Outcome::Skipped(
            "cargo-deny is not installed: cargo install --locked cargo-deny".to_owned(),
        ));
    }
    // Advisories need a database from the network: `cargo deny check` has them where there is one.
    run::logged(
        "deny",
        run::cargo().args(["deny", "check", "bans", "licenses", "sources"]),
    )?;
    ok()
}

fn unit() -> Result<Outcome> {
    let log = run::logged("tests", run::cargo().args(["test", "--release"]))?;
    Ok(Outcome::Passed(counted(&log)))
}

fn builds() -> Result<Outcome> {
    artifacts::timed("page", artifacts::page)?;
    artifacts::timed("origin", artifacts::origin)?;
    artifacts::timed("host", artifacts::host)?;
    artifacts::timed("component", artifacts::component)?;
    artifacts::timed("fastly", artifacts::fastly)?;
    artifacts::timed("cloudflare", artifacts::cloudflare)?;
    artifacts::timed("spin", artifacts::spin)?;
    ok()
}

fn native() -> Result<Outcome> {
    door("native")
}

fn host() -> Result<Outcome> {
    door("host")
}

fn fastly() -> Result<Outcome> {
    door("fastly")
}

fn cloudflare() -> Result<Outcome> {
    door("cloudflare")
}

fn spin() -> Result<Outcome> {
    door("spin")
}

fn door(name: &str) -> Result<Outcome> {
    let log = run::logged(&format!("cases {name}"), &mut cases::at(name)?)?;
    Ok(Outcome::Passed(
        log.lines().last().unwrap_or_default().to_owned(),
    ))
}

/// Once more where a check in real time failed, and both are told: a machine that was busy for a moment passes the second time, a fault does not.
fn twice(check: fn() -> Result<Outcome>) -> Result<Outcome> {
    check().or_else(|error| {
        println!("  failed, once more: {error:#}");
        check()
    })
}

fn live_check() -> Result<Outcome> {
    up::build()?;
    let mut check = live::checker()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(Plan::fresh(scratch.path(), "test")?)?;
    servers.ready(|| false)?;
    check.arg(live::entry(&servers.edge_url())?);
    let log = run::logged("live check", &mut check)?;
    Ok(Outcome::Passed(
        log.lines().last().unwrap_or_default().to_owned(),
    ))
}

fn chromium() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(Plan::fresh(scratch.path(), "test")?)?;
    servers.ready(|| false)?;
    played(&mut servers)
}

fn rtmp() -> Result<Outcome> {
    let Some(footage) = footage() else {
        return Ok(Outcome::Skipped(
            "no footage: set SIGHTSCREEN_FOOTAGE to a file with H.264 and AAC".to_owned(),
        ));
    };
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(Plan::fresh(scratch.path(), "rtmp")?)?;
    let publisher = Publisher::start(&footage, &servers)?;
    servers.ready(|| false)?;
    let outcome = played(&mut servers);
    drop(publisher);
    outcome
}

fn played(servers: &mut Servers) -> Result<Outcome> {
    let report = browser::play(servers, PLAY_S, None)?;
    let verdict = browser::judge(servers, &report)?;
    print!("{verdict}");
    if !verdict.passed() {
        bail!(
            "the browser saw what it must not; repeat it with: cargo xtask up --fresh --for {PLAY_S} --headless"
        );
    }
    ok()
}

/// Real footage: what the environment names, else the clip beside the repository.
fn footage() -> Option<PathBuf> {
    let named = std::env::var_os("SIGHTSCREEN_FOOTAGE").map(PathBuf::from);
    let file = named.unwrap_or_else(|| paths::root().join("../shared/media/skyline_360p.mp4"));
    file.is_file().then_some(file)
}

/// ffmpeg as the publisher: what a camera's encoder would send.
struct Publisher(Child);

impl Publisher {
    fn start(footage: &Path, servers: &Servers) -> Result<Self> {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
            .arg(footage)
            .args(["-c", "copy", "-f", "flv"])
            .arg(format!("{}/{}", servers.ingest_url(), servers.stream_key))
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start ffmpeg")?;
        Ok(Self(child))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many tests the runs of a log counted.
fn counted(log: &str) -> String {
    let passed: u32 = log
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split_once(' ')?.0.parse::<u32>().ok())
        .sum();
    format!("{passed} tests")
}
