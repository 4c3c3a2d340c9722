//! `cargo xtask test`: every check, one after another, each named and timed.
//!
//! Invariant: a step that did not run is counted as skipped and says why, and one that needed a
//! second try is counted as such; the last line counts all of them.

pub(crate) mod deploy;
mod fuzz;
mod kill;
mod listed;
mod operator;
mod rtmp;
mod steps;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::children;
use crate::servers::{Plan, Servers};

/// Servers that are ready, with the breaks that a step announces and no others. What they keep is
/// in `scratch`.
fn without_schedule(scratch: &Path) -> Result<Servers> {
    let mut plan = Plan::fresh(scratch, "test")?;
    plan.scheduled = false;
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    Ok(servers)
}

/// How a step ended that did not fail.
pub(crate) enum Outcome {
    /// It ran, and this is worth a word.
    Passed(String),
    /// It ran twice: the first time the machine was too slow for a check in real time.
    PassedSecond(String),
    /// It did not run, for this reason.
    Skipped(String),
}

/// One named check.
pub(crate) struct Step {
    name: &'static str,
    run: fn() -> Result<Outcome>,
    /// Whether nothing after it can be right where it fails.
    essential: bool,
}

#[derive(Default)]
struct Tally {
    passed: Vec<&'static str>,
    second: usize,
    failed: Vec<&'static str>,
    skipped: Vec<(&'static str, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only what needs no platform tool but ffmpeg.
    #[arg(long)]
    quick: bool,
    /// Run only the steps with this in their name.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

/// `cargo xtask test ...`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let Options { quick, only } = options;
    let steps = if *quick { steps::QUICK } else { steps::FULL };
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut chosen = steps.iter().filter(|step| step.name.contains(only));
    while let Some(step) = chosen.next() {
        let passed = tally.run(step);
        children::check()?;
        if !passed && step.essential {
            println!("  nothing after this can run");
            tally.skip_all(&mut chosen, step.name);
        }
    }
    if tally.is_empty() {
        bail!("no step's name contains {only:?}");
    }
    tally.print(*quick, started.elapsed().as_secs());
    Ok(if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Step {
    const fn new(name: &'static str, run: fn() -> Result<Outcome>) -> Self {
        Self { name, run, essential: false }
    }

    /// One whose failure ends the run.
    const fn essential(name: &'static str, run: fn() -> Result<Outcome>) -> Self {
        Self { name, run, essential: true }
    }
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Whether it did not fail.
    fn run(&mut self, step: &Step) -> bool {
        println!("• {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        let seconds = started.elapsed().as_secs_f32();
        match outcome {
            Ok(Outcome::Passed(word)) => {
                println!("  ok ({seconds:.1} s) {word}");
                self.passed.push(step.name);
            }
            Ok(Outcome::PassedSecond(word)) => {
                println!("  ok on a second try ({seconds:.1} s) {word}");
                self.passed.push(step.name);
                self.second += 1;
            }
            Ok(Outcome::Skipped(why)) => {
                println!("  skipped: {why}");
                self.skipped.push((step.name, why));
            }
            Err(error) => {
                println!("  FAILED ({seconds:.1} s): {error:#}");
                self.failed.push(step.name);
                return false;
            }
        }
        true
    }

    fn skip_all<'a>(&mut self, steps: impl Iterator<Item = &'a Step>, failed: &str) {
        self.skipped.extend(steps.map(|step| (step.name, format!("{failed} failed"))));
    }

    fn print(&self, quick: bool, seconds: u64) {
        let quick = if quick { " --quick" } else { "" };
        println!();
        for (name, why) in &self.skipped {
            println!("skipped {name}: {why}");
        }
        for name in &self.failed {
            println!("failed  {name}; repeat it with: cargo xtask test{quick} --only '{name}'");
        }
        let second = if self.second > 0 {
            format!(" ({} on a second try)", self.second)
        } else {
            String::new()
        };
        println!(
            "{} passed{second}, {} failed, {} skipped ({seconds} s)",
            self.passed.len(),
            self.failed.len(),
            self.skipped.len(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_run_is_counted_as_skipped() {
        let mut tally = Tally::default();
        let steps = [Step::new("a", steps::ok), Step::new("b", steps::ok)];
        tally.skip_all(steps.iter(), "set-up");
        assert_eq!(tally.skipped.len(), 2);
        assert_eq!(tally.skipped[1], ("b", "set-up failed".to_owned()));
    }
}
