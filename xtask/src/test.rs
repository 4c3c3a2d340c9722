//! `cargo xtask test`: every check, one after another, each named and timed.
//!
//! Invariant: a step that did not run is counted as skipped and says why; the last line counts all of them.

pub(crate) mod deploy;
mod fuzz;
mod steps;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use lexopt::prelude::*;

/// How a step ended that did not fail.
pub(crate) enum Outcome {
    /// It ran, and this is worth a word.
    Passed(String),
    /// It did not run, for this reason.
    Skipped(String),
}

/// One named check.
pub(crate) struct Step {
    name: &'static str,
    run: fn() -> Result<Outcome>,
}

#[derive(Default)]
struct Tally {
    passed: Vec<&'static str>,
    failed: Vec<&'static str>,
    skipped: Vec<(&'static str, String)>,
}

/// `cargo xtask test [--quick] [--only TEXT]`.
pub(crate) fn command(mut args: lexopt::Parser) -> Result<ExitCode> {
    let mut quick = false;
    let mut only = String::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long("quick") => quick = true,
            Long("only") => only = args.value()?.string()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let steps = if quick { steps::QUICK } else { steps::FULL };
    let started = Instant::now();
    let mut tally = Tally::default();
    for step in steps.iter().filter(|step| step.name.contains(&only)) {
        tally.run(step);
    }
    if tally.is_empty() {
        bail!("no step's name contains {only:?}");
    }
    println!();
    for (name, why) in &tally.skipped {
        println!("skipped {name}: {why}");
    }
    for name in &tally.failed {
        println!("failed  {name}; repeat it with: cargo xtask test --only '{name}'");
    }
    println!(
        "{} passed, {} failed, {} skipped ({} s)",
        tally.passed.len(),
        tally.failed.len(),
        tally.skipped.len(),
        started.elapsed().as_secs()
    );
    Ok(if tally.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.failed.is_empty() && self.skipped.is_empty()
    }

    fn run(&mut self, step: &Step) {
        println!("• {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        let seconds = started.elapsed().as_secs_f32();
        match outcome {
            Ok(Outcome::Passed(word)) => {
                println!("  ok ({seconds:.1} s) {word}");
                self.passed.push(step.name);
            }
            Ok(Outcome::Skipped(why)) => {
                println!("  skipped: {why}");
                self.skipped.push((step.name, why));
            }
            Err(error) => {
                println!("  FAILED ({seconds:.1} s): {error:#}");
                self.failed.push(step.name);
            }
        }
    }
}
