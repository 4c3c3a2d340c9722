//! `cargo xtask test`: every check, named and timed.
//!
//! Steps run one after another. Neighbours that are marked [`Step::beside`] run at the same time,
//! as many as the machine has room for; they mostly wait, and none of them measures time finely. A
//! step that did not run is counted as skipped and says why.

mod api;
mod crowd;
pub(crate) mod deploy;
mod documents;
mod fuzz;
mod inputs;
mod kill;
mod listed;
mod operator;
mod operator_page;
mod programs;
mod rotation;
mod rtmp;
mod steps;
mod viewer;

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;
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
    pace: Pace,
}

/// What may run at the same time as a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Nothing.
    Alone,
    /// Its neighbours that are not alone, as many as the machine has room for.
    Beside,
    /// The same, and it takes nobody's room: it computes at the lowest priority.
    Idle,
    /// One of its neighbours that say the same: an event and its viewers leave room for another.
    Pair,
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
    let chosen: Vec<&Step> = steps.iter().filter(|step| step.name.contains(only)).collect();
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut rest = chosen.as_slice();
    while let Some((now, later)) = next(rest) {
        rest = later;
        tally.run(now);
        children::check()?;
        if let Some(step) = now.iter().find(|step| step.essential && tally.has_failed(step)) {
            println!("  nothing after this can run");
            tally.skip_all(rest, step.name);
            break;
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
        Self { name, run, essential: false, pace: Pace::Alone }
    }

    /// One whose failure ends the run.
    const fn essential(name: &'static str, run: fn() -> Result<Outcome>) -> Self {
        Self { essential: true, ..Self::new(name, run) }
    }

    /// One that may run at the same time as its neighbours.
    const fn beside(name: &'static str, run: fn() -> Result<Outcome>) -> Self {
        Self { pace: Pace::Beside, ..Self::new(name, run) }
    }

    /// One that may run at the same time too, and leaves the processor to all others.
    const fn idle(name: &'static str, run: fn() -> Result<Outcome>) -> Self {
        Self { pace: Pace::Idle, ..Self::new(name, run) }
    }

    /// One that may run at the same time as one neighbour.
    const fn pair(name: &'static str, run: fn() -> Result<Outcome>) -> Self {
        Self { pace: Pace::Pair, ..Self::new(name, run) }
    }

    /// Whether both may be at work at the same time.
    fn goes_with(&self, other: &Self) -> bool {
        match (self.pace, other.pace) {
            (Pace::Alone, _) | (_, Pace::Alone) => false,
            (Pace::Pair, other) => other == Pace::Pair,
            (_, other) => other != Pace::Pair,
        }
    }
}

/// The steps that run next, at the same time where they are several, and those after them.
fn next<'a, 'b>(steps: &'a [&'b Step]) -> Option<(&'a [&'b Step], &'a [&'b Step])> {
    let first = steps.first()?;
    let count = steps.iter().take_while(|step| step.goes_with(first)).count().max(1);
    Some(steps.split_at(count))
}

/// How many of these run at the same time. A door's cases keep less than half a core busy, and so
/// do tests of the origin: most of what they take is at a low priority (creatives).
fn lanes(steps: &[&Step]) -> usize {
    let pairs = steps.iter().all(|step| step.pace == Pace::Pair);
    match thread::available_parallelism().map_or(1, usize::from) {
        1 => 1,
        _ if pairs => 2,
        2..8 => 4,
        _ => 6,
    }
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.failed.is_empty() && self.skipped.is_empty()
    }

    fn has_failed(&self, step: &Step) -> bool {
        self.failed.contains(&step.name)
    }

    /// Runs steps that may run at the same time. Each says how it ended on a line of its own, once
    /// it has ended.
    fn run(&mut self, steps: &[&Step]) {
        if let [step] = steps {
            println!("• {}", step.name);
            let (outcome, seconds) = timed(step);
            return self.tell("", step, outcome, seconds);
        }
        let lanes = lanes(steps);
        println!("• {} steps, {lanes} at a time", steps.len());
        let (idle, others): (Vec<&Step>, Vec<&Step>) =
            steps.iter().partition(|step| step.pace == Pace::Idle);
        let queue = Mutex::new(others.into_iter());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let tally = Mutex::new(self);
        let one = |step: &Step| {
            let (outcome, seconds) = timed(step);
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.tell(&format!("{}: ", step.name), step, outcome, seconds);
        };
        let lane = || {
            while let Some(step) = next() {
                if children::stopped() {
                    return;
                }
                one(step);
            }
        };
        thread::scope(|scope| {
            for step in idle {
                scope.spawn(|| one(step));
            }
            for _ in 0..lanes {
                scope.spawn(lane);
            }
        });
    }

    /// Counts how a step ended, and prints it in one piece.
    fn tell(&mut self, name: &str, step: &Step, outcome: Result<Outcome>, seconds: f32) {
        match outcome {
            Ok(Outcome::Passed(word)) => {
                println!("  {name}ok ({seconds:.1} s) {word}");
                self.passed.push(step.name);
            }
            Ok(Outcome::PassedSecond(word)) => {
                println!("  {name}ok on a second try ({seconds:.1} s) {word}");
                self.passed.push(step.name);
                self.second += 1;
            }
            Ok(Outcome::Skipped(why)) => {
                println!("  {name}skipped: {why}");
                self.skipped.push((step.name, why));
            }
            Err(error) => {
                println!("  {name}FAILED ({seconds:.1} s): {error:#}");
                self.failed.push(step.name);
            }
        }
    }

    fn skip_all(&mut self, steps: &[&Step], failed: &str) {
        self.skipped.extend(steps.iter().map(|step| (step.name, format!("{failed} failed"))));
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

fn timed(step: &Step) -> (Result<Outcome>, f32) {
    let started = Instant::now();
    let outcome = (step.run)();
    (outcome, started.elapsed().as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails() -> Result<Outcome> {
        bail!("on purpose")
    }

    fn names<'a>(steps: &[&'a Step]) -> Vec<&'a str> {
        steps.iter().map(|step| step.name).collect()
    }

    #[test]
    fn what_cannot_run_is_counted_as_skipped() {
        let mut tally = Tally::default();
        let steps = [Step::new("a", steps::ok), Step::new("b", steps::ok)];
        tally.skip_all(&steps.each_ref(), "set-up");
        assert_eq!(tally.skipped.len(), 2);
        assert_eq!(tally.skipped[1], ("b", "set-up failed".to_owned()));
    }

    #[test]
    fn neighbours_run_together_only_where_they_all_say_so() {
        let steps = [
            Step::new("alone", steps::ok),
            Step::beside("one", steps::ok),
            Step::beside("two", fails),
            Step::idle("three", steps::ok),
            Step::pair("four", steps::ok),
            Step::pair("five", steps::ok),
            Step::new("last", steps::ok),
        ];
        let all = steps.each_ref();
        let (now, rest) = next(&all).expect("steps");
        assert_eq!(names(now), ["alone"]);
        let (now, rest) = next(rest).expect("steps");
        assert_eq!(names(now), ["one", "two", "three"]);
        let (pair, rest) = next(rest).expect("steps");
        assert_eq!((names(pair), lanes(pair) <= 2), (vec!["four", "five"], true));
        assert_eq!(names(next(rest).expect("steps").0), ["last"]);
        let mut tally = Tally::default();
        tally.run(now);
        assert_eq!((tally.passed.len(), tally.failed.as_slice()), (2, &["two"][..]));
    }
}
