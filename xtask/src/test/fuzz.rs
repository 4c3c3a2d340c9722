//! A minute of fuzzing, shared by all targets, from the kept seeds.
//!
//! Built with the compiler of everything else: coverage needs nothing of a nightly one, and where no code is unsafe there is little for
//! a sanitizer to find.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::Outcome;
use crate::{paths, run};

const SECONDS: usize = 60;
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
    let targets = targets()?;
    let host = host()?;
    let built = paths::target().join("fuzz");
    run::built(
        "build fuzz",
        run::cargo()
            .current_dir(&folder)
            // Naming the target keeps the flags from build scripts and macros.
            .args(["build", "--release", "--target", &host, "--target-dir"])
            .arg(&built)
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")),
    )?;
    let seconds = (SECONDS / targets.len()).to_string();
    let mut words = Vec::new();
    for target in &targets {
        // What fuzzing finds on its way is not kept: seeds are chosen by people.
        let corpus = tempfile::tempdir()?;
        let found = paths::work("fuzz")?;
        let mut fuzz = Command::new(built.join(&host).join("release").join(target));
        fuzz.arg(format!("-max_total_time={seconds}"))
            .args(["-timeout=5", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/{target}-", found.display()))
            .arg(corpus.path())
            .arg(folder.join("seeds").join(target));
        let log = run::logged(&format!("fuzz {target}"), &mut fuzz)?;
        let runs = log
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .with_context(|| format!("the fuzzer of {target} told no number of runs"))?;
        words.push(format!("{target} {} runs", runs.trim()));
    }
    Ok(Outcome::Passed(words.join(", ")))
}

fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(paths::root().join("tests/fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .and_then(|name| name.to_str())
                .map(str::to_owned),
        );
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
        .context("rustc names no host")
}
