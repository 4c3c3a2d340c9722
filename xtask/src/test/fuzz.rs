//! Fuzzes every target for some seconds, two at a time, starting from the kept seeds.
//!
//! Built with the same compiler as everything else. Coverage needs no nightly compiler, and where
//! no code is unsafe a sanitizer would find little. Building and fuzzing run at the lowest
//! priority, because other steps run at the same time.

use std::cmp::Reverse;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use anyhow::{Context, Result, bail};

use super::Outcome;
use crate::{paths, run};

/// Targets that run at the same time.
const TOGETHER: usize = 2;
/// What reads first whatever anybody sends.
const FIRST_TO_READ: [&str; 3] = ["target", "token", "playlist"];
const LONG_S: u64 = 22;
const SHORT_S: u64 = 10;
const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub(crate) fn run() -> Result<Outcome> {
    let folder = paths::root().join("tests/fuzz");
    let mut targets = targets()?;
    // The long ones first, so that none of them ends alone.
    targets.sort_by_key(|target| Reverse(seconds(target)));
    let host = host()?;
    let built = paths::target().join("fuzz");
    let mut build = run::cargo();
    build
        .current_dir(&folder)
        // Naming the target keeps the flags from build scripts and macros.
        .args(["build", "--release", "--target", &host, "--target-dir"])
        .arg(&built)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    run::built("build fuzz", &mut run::idle(&build))?;
    let programs = built.join(&host).join("release");
    let queue = Mutex::new(targets.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let lane = || -> Result<Vec<String>> {
        std::iter::from_fn(next).map(|target| fuzz(&target, &programs, &folder)).collect()
    };
    let lanes: Vec<_> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..TOGETHER).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().map(ScopedJoinHandle::join).collect()
    });
    let mut words = Vec::new();
    for lane in lanes {
        words.extend(lane.unwrap_or_else(|_| bail!("a fuzzer's thread panicked"))?);
    }
    Ok(Outcome::Passed(words.join(", ")))
}

/// One target, from its seeds; how often it ran, in words.
fn fuzz(target: &str, programs: &Path, folder: &Path) -> Result<String> {
    // What fuzzing finds on its way is not kept: seeds are chosen by people.
    let corpus = tempfile::tempdir()?;
    let found = paths::work("fuzz")?;
    let seconds = seconds(target);
    let mut fuzz = Command::new(programs.join(target));
    fuzz.arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .arg(corpus.path())
        .arg(folder.join("seeds").join(target));
    let log = run::logged(&format!("fuzz {target}"), &mut run::idle(&fuzz))?;
    let runs = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
        .with_context(|| format!("the fuzzer of {target} did not print how often it ran"))?;
    Ok(format!("{target} {} runs in {seconds} s", runs.trim()))
}

fn seconds(target: &str) -> u64 {
    if FIRST_TO_READ.contains(&target) { LONG_S } else { SHORT_S }
}

fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(paths::root().join("tests/fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
    }
    names.sort();
    anyhow::ensure!(!names.is_empty(), "there is no fuzz target");
    Ok(names)
}

/// The compiler's own target.
fn host() -> Result<String> {
    let version = run::output(Command::new("rustc").arg("-vV").current_dir(paths::root()));
    version
        .as_deref()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("host: ")))
        .map(str::to_owned)
        .context("rustc -vV printed no host")
}
