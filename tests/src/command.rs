//! The command line of `sightscreen-cases`, and what it prints: a line for each case, then
//! `N skipped` if any was, then `N passed, N failed`.
#![allow(clippy::print_stdout, reason = "the output of a command line tool")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::case::{Case, DoorSpec, Loaded, envelope, keyring_json, load_all, now_ms};
use crate::doors::{Door, NAMES, Running, Surroundings};
use crate::origin::Origin;
use crate::run::Runner;

/// Lines of a door's own output that a failure shows.
const LOG_LINES: usize = 15;
/// Cases that run at the same time; most of their time is waiting.
const TOGETHER: usize = 6;

/// Runs the cases of a folder at one door or at all of them.
#[derive(Debug, Parser)]
#[command(name = "sightscreen-cases")]
pub struct Options {
    /// Where to run the cases; may be given several times.
    #[arg(long = "door", value_name = "DOOR", required = true, value_parser = door_names())]
    doors: Vec<String>,
    /// Folder of the cases [default: tests/cases below the root].
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Run only cases with this in their name.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write golden files rather than compare with them.
    #[arg(long)]
    bless: bool,
    /// The `spin` to use, in place of the one on PATH or the stand-in.
    #[arg(long, value_name = "PATH")]
    spin: Option<PathBuf>,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    root: PathBuf,
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn door_names() -> PossibleValuesParser {
    PossibleValuesParser::new(NAMES.into_iter().chain(["all"]))
}

impl Options {
    /// The doors in the order of the command line.
    fn doors(&self) -> impl Iterator<Item = &'static Door> {
        self.doors
            .iter()
            .flat_map(|name| if name == "all" { NAMES.to_vec() } else { vec![name.as_str()] })
            .filter_map(Door::named)
    }
}

/// Runs everything and prints it; false where anything failed.
///
/// # Errors
/// Where nothing could be run: a case file that cannot be read.
pub fn run(options: &Options) -> Result<bool, String> {
    let folder = options.cases.clone().unwrap_or_else(|| options.root.join("tests/cases"));
    let cases = load_all(&folder, options.filter.as_deref())?;
    if cases.is_empty() {
        return Err(format!("no case in {}", folder.display()));
    }
    let mut tally = Tally::default();
    for door in options.doors() {
        run_door(door, &cases, &folder, options, &mut tally)?;
    }
    if tally.skipped > 0 {
        println!("{} skipped", tally.skipped);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// That there is no such document is signed, as all that the origin says of documents.
pub(crate) fn absence(target: &str) -> Option<Vec<u8>> {
    let name = target.strip_prefix("/documents/")?;
    Some(envelope(name, 0, b"null", "d1", None))
}

fn run_door(
    door: &'static Door,
    cases: &[Loaded],
    folder: &Path,
    options: &Options,
    tally: &mut Tally,
) -> Result<(), String> {
    let origin = origin()?;
    let with = Surroundings {
        root: options.root.clone(),
        origin: origin.addr(),
        keyring: keyring_json(),
        geo_header: true,
        edge_secret: true,
        spin: options.spin.clone(),
        one_instance: true,
    };
    let door = door.within(&with);
    let running = match door.start(&with) {
        Ok(running) => running,
        Err(fault) => {
            println!("FAIL {}: the door does not start: {fault}", door.name);
            tally.failed += cases.len();
            return Ok(());
        }
    };
    forget_probe(&origin);
    let (events, made) = (format!("ev-{}-", base36(now_ms().unsigned_abs())), Mutex::default());
    let runner = Runner {
        door,
        addr: running.addr,
        edge_secret: with.edge_secret(),
        origin: &origin,
        cases: folder,
        bless: options.bless,
        events: &events,
        made: &made,
    };
    let numbered =
        || cases.iter().enumerate().map(|(at, loaded)| (loaded, format!("{events}{at:03}")));
    let (alone, together): (Vec<_>, Vec<_>) =
        numbered().partition(|(loaded, _)| loaded.case.is_alone());
    let tally = Mutex::new(tally);
    let one = |(loaded, event): (&Loaded, String)| {
        let skipped = skipped(&loaded.case, door);
        let outcome = match &loaded.case.door {
            _ if skipped.is_some() => Ok(()),
            Some(own) => at_own_door(own, &with, &runner, loaded, event),
            None => runner.run(loaded, event),
        };
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match skipped {
            Some(reason) => tally.skip(door, loaded, &reason),
            None => tally.report(door, loaded, &running, outcome),
        }
    };
    let queue = Mutex::new(together.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| std::iter::from_fn(next).for_each(one));
        }
    });
    let between = runner.rest();
    alone.into_iter().for_each(one);
    let after = runner.rest();
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    [between, after]
        .into_iter()
        .filter_map(Result::err)
        .for_each(|fault| tally.strayed(door, &fault));
    Ok(())
}

/// Runs a case at a door of its own. It has an origin of its own too: what comes late at either
/// origin is of a door with known surroundings.
fn at_own_door(
    own: &DoorSpec,
    with: &Surroundings,
    runner: &Runner<'_>,
    loaded: &Loaded,
    event: String,
) -> Result<(), String> {
    let origin = &origin()?;
    let with = Surroundings { origin: origin.addr(), ..with.of(own) };
    let (door, edge_secret) = (runner.door.within(&with), with.edge_secret());
    let running = door.start(&with)?;
    forget_probe(origin);
    let runner = Runner { door, addr: running.addr, edge_secret, origin, ..*runner };
    runner.run(loaded, event)?;
    runner.rest()
}

fn origin() -> Result<Origin, String> {
    let origin = Origin::start().map_err(|e| format!("scripted origin: {e}"))?;
    origin.otherwise(absence);
    Ok(origin)
}

/// Why the door does not run the case.
fn skipped(case: &Case, door: &Door) -> Option<String> {
    let lacks = || Some(format!("it needs {}", door.lacks(&case.needs)?));
    case.not_at.get(door.name).cloned().or_else(lacks)
}

/// Viceroy looks whether its backends answer before it listens: that is no door's request. No door
/// asks the origin for this target.
fn forget_probe(origin: &Origin) {
    drop(origin.take_seen(|target| target == "/"));
}

impl Tally {
    fn skip(&mut self, door: &Door, loaded: &Loaded, reason: &str) {
        println!("skip {}: {}: {reason}", door.name, loaded.name);
        self.skipped += 1;
    }

    /// A fault that is no case's own.
    fn strayed(&mut self, door: &Door, fault: &str) {
        println!("FAIL {}: beside the cases\n{fault}", door.name);
        self.failed += 1;
    }

    fn report(
        &mut self,
        door: &Door,
        loaded: &Loaded,
        running: &Running,
        outcome: Result<(), String>,
    ) {
        match outcome {
            Ok(()) => {
                println!("ok   {}: {}", door.name, loaded.name);
                self.passed += 1;
            }
            Err(fault) => {
                println!("FAIL {}: {}: {}\n{fault}", door.name, loaded.name, loaded.case.about);
                let log = running.log_tail(LOG_LINES);
                if !log.is_empty() {
                    println!("  the door wrote:\n{log}");
                }
                self.failed += 1;
            }
        }
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.extend(char::from_digit(u32::try_from(number % 36).unwrap_or(0), 36));
        number /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["sightscreen-cases"].iter().chain(args))
    }

    #[test]
    fn a_door_is_named_or_all_are() {
        let doors = |args: &[&str]| -> Vec<&str> {
            parsed(args).map(|o| o.doors().map(|door| door.name).collect()).unwrap_or_default()
        };
        assert_eq!(doors(&["--door", "spin", "--door=native"]), ["spin", "native"]);
        assert_eq!(doors(&["--door=all"]), NAMES);
        for refused in [&[][..], &["--door", "nowhere"], &["--dor=host"], &["--door=host", "x"]] {
            assert!(parsed(refused).is_err(), "{refused:?}");
        }
    }
}
