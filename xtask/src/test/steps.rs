//! The steps of a test run, in the order in which a fault is cheapest to find.

use std::process::Command;

use anyhow::{Context, Result};

use super::{
    Outcome, Step, api, deploy, documents, fuzz, inputs, kill, operator, operator_page, programs,
    rotation, rtmp, viewer,
};
use crate::browser::TooSlow;
use crate::servers::{Plan, Servers};
use crate::{artifacts, browser, cases, paths, run, tools, up};

/// Long enough for the first break of the schedule and the content after it.
pub(super) const PLAY_S: u64 = 55;
/// Workspaces of their own, which `cargo fmt --all` does not reach.
const APART: [&str; 2] = ["tests/fuzz/Cargo.toml", "host/tests/fixture/Cargo.toml"];

/// What needs no platform tool.
pub(crate) const QUICK: &[Step] = &[
    Step::new("format", format),
    Step::essential("what the tests need", needs),
    Step::new("clippy", clippy),
    Step::new("unit and property tests", programs::units),
    Step::new("documents", documents::check),
    Step::beside("tests of the origin", programs::origins),
    Step::beside("tests of the origin, the others", programs::origins),
    Step::beside("cases at the host door", host),
    Step::beside("cases at the native door", native),
];

/// Everything.
pub(crate) const FULL: &[Step] = &[
    Step::new("format", format),
    Step::essential("set-up", setup),
    Step::new("clippy", clippy_all),
    Step::new("clippy for Wasm", clippy_wasm),
    Step::new("licences and sources", deny),
    Step::new("unit and property tests", programs::units),
    Step::new("builds", builds),
    Step::new("documents", documents::check),
    Step::new("tests of the Spin host", spin_host),
    // The longest first, so that none of them ends alone. All but fuzzing wait most of the time.
    Step::idle("fuzz", fuzz::run),
    Step::beside("tests of the origin", programs::origins),
    Step::beside("tests of the origin, the others", programs::origins),
    Step::beside("cases at the cloudflare door", cloudflare),
    Step::beside("cases at the fastly door", fastly),
    Step::beside("cases at the spin door", spin),
    Step::beside("cases at the host door", host),
    Step::beside("cases at the native door", native),
    // Where the doors leave room.
    Step::beside("tests of the origin, the rest", programs::origins),
    Step::new("fastly compute pack", deploy::fastly),
    Step::new("wrangler deploy --dry-run", deploy::cloudflare),
    Step::new("spin build", deploy::spin),
    Step::new("release", deploy::release),
    // From here on real time counts: an event has a core, and one with a browser the machine.
    Step::pair("live check of the built-in match, and by RTMP, UDP and SRT", inputs::run),
    Step::pair("kill -9 in a break", kill::run),
    Step::pair("keys are rotated while viewers play", rotation::run),
    Step::pair("streams api by its description", api::run),
    Step::pair("operator's page", operator_page::run),
    Step::new("Chromium plays through a break", || twice(chromium)),
    Step::new("operator and two cohorts", operator::run),
    Step::new("a viewer in every state", viewer::run),
    Step::new("footage by RTMP and by SRT", || twice(rtmp::run)),
];

pub(super) fn ok() -> Result<Outcome> {
    Ok(Outcome::Passed(String::new()))
}

fn format() -> Result<Outcome> {
    run::logged("format", run::cargo().args(["fmt", "--all", "--check"]))?;
    for apart in APART {
        run::logged(
            &format!("format {apart}"),
            run::cargo().args(["fmt", "--check", "--manifest-path", apart]),
        )?;
    }
    ok()
}

fn needs() -> Result<Outcome> {
    tools::present(tools::TESTS)?;
    // The host's build makes the component that it embeds.
    tools::targets()?;
    ok()
}

fn setup() -> Result<Outcome> {
    tools::all()?;
    ok()
}

fn clippy() -> Result<Outcome> {
    run::built(
        "clippy",
        run::cargo().args(["clippy", "--release", "--all-targets", "--", "-D", "warnings"]),
    )?;
    ok()
}

/// Also what no quick run builds. One selection of packages, because another one would check
/// wasmtime once more; and the profile of the builds that follow, because macros, build scripts and
/// the embedded component are then built once.
fn clippy_all() -> Result<Outcome> {
    run::built(
        "clippy",
        run::cargo()
            .args(["clippy", "--release", "--all-targets"])
            .args(artifacts::PACKAGES.map(|package| format!("--package={package}")))
            .args(["--package=xtask", "--package=sightscreen-spin-host"])
            .args(["--", "-D", "warnings"]),
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
        run::built(
            &format!("clippy {package}"),
            run::cargo()
                .args(["clippy", "--profile", "edge"])
                .args(["--package", package, "--target", target])
                .args(["--", "-D", "warnings"]),
        )?;
    }
    ok()
}

fn deny() -> Result<Outcome> {
    let mut deny = Command::new(tools::cargo_deny()?);
    // Advisories need a database from the network: `cargo deny check` has them where there is one.
    deny.current_dir(paths::root()).args(["check", "bans", "licenses", "sources"]);
    run::logged("deny", &mut deny)?;
    ok()
}

fn spin_host() -> Result<Outcome> {
    let log =
        run::built("tests of spin-host", artifacts::spin_host_cargo("test").arg("--release"))?;
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
    let step = format!("cases {name}");
    let mut cases = cases::at(name)?;
    let log = run::logged(&step, &mut cases).with_context(|| {
        let log = run::log_file(&step).and_then(|file| Ok(std::fs::read_to_string(file)?));
        repeat(name, &log.unwrap_or_default())
    })?;
    Ok(Outcome::Passed(summary(&log)))
}

/// Which cases failed, and what to type to see one of them again.
fn repeat(door: &str, log: &str) -> String {
    let failed: Vec<&str> = log
        .lines()
        .filter_map(|line| line.strip_prefix("FAIL ")?.strip_prefix(door)?.strip_prefix(": "))
        .filter_map(|rest| rest.split_once(": ").map(|(case, _)| case))
        .collect();
    let command = format!("cargo xtask cases --door {door}");
    match failed.as_slice() {
        [] => format!("repeat it with: {command}"),
        [first, ..] => {
            let list = failed.join(", ");
            format!("failed: {list}; repeat one with: {command} --filter {first}")
        }
    }
}

/// The last line of the cases' runner, with the one before it where that counts what was skipped.
fn summary(log: &str) -> String {
    let mut lines = log.lines().rev();
    let last = lines.next().unwrap_or_default();
    match lines.next() {
        Some(skipped) if skipped.ends_with(" skipped") => format!("{last}, {skipped}"),
        _ => last.to_owned(),
    }
}

/// Tries a check in real time once more if the machine was too slow for it, and reports both tries.
/// A failure that a busy machine does not explain counts at once.
fn twice(check: fn() -> Result<Outcome>) -> Result<Outcome> {
    let error = match check() {
        Err(error) if error.is::<TooSlow>() => error,
        outcome => return outcome,
    };
    println!("  trying once more, because a busy machine would explain it: {error:#}");
    browser::keep_first()?;
    match check()? {
        Outcome::Passed(word) => Ok(Outcome::PassedSecond(word)),
        other => Ok(other),
    }
}

fn chromium() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(Plan::fresh(scratch.path(), "test")?)?;
    servers.ready()?;
    let report = browser::play(&mut servers, PLAY_S, None)?;
    let verdict = browser::judge(&servers, &report)?;
    print!("{verdict}");
    verdict.demand(&format!("cargo xtask up --fresh --for {PLAY_S} --headless"))?;
    ok()
}

/// How many tests the runs of a log counted.
pub(super) fn counted(log: &str) -> String {
    let passed: u32 = log
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|rest| rest.split_once(' ')?.0.parse::<u32>().ok())
        .sum();
    format!("{passed} tests")
}

#[cfg(test)]
mod tests {
    use super::{repeat, summary};

    #[test]
    fn a_door_that_fails_says_which_cases_and_how_to_repeat_one() {
        let log = "ok   host: pass/whole\nFAIL host: pass/tampered: A pass is refused\n  got 200\n\
            FAIL host: range/first: A range\n";
        assert_eq!(
            repeat("host", log),
            "failed: pass/tampered, range/first; \
             repeat one with: cargo xtask cases --door host --filter pass/tampered"
        );
        assert_eq!(repeat("spin", log), "repeat it with: cargo xtask cases --door spin");
    }

    #[test]
    fn what_the_cases_runner_skipped_is_told_with_what_it_counted() {
        let told = summary("ok a\n3 skipped\n90 passed, 0 failed\n");
        assert_eq!(told, "90 passed, 0 failed, 3 skipped");
        assert_eq!(summary("ok a\n90 passed, 0 failed\n"), "90 passed, 0 failed");
    }
}
