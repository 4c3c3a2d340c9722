//! The command line of `sightscreen-cases`.
//!
//! Owns options and what is printed. Invariant: the last line is `N passed, N failed`, and the one
//! before it `N skipped` where a case was.
#![allow(clippy::print_stdout, reason = "the output of a command line tool")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::case::{Loaded, envelope, keyring_json, load_all, now_ms};
use crate::doors::{Door, NAMES, Running, Surroundings};
use crate::origin::Origin;
use crate::run::Runner;
use crate::wire::Request;

const USAGE: &str = "usage: sightscreen-cases --door native|host|fastly|cloudflare|spin|all [--cases DIR] [--filter TEXT] [--bless] [--spin PATH] [--root DIR]";
/// Lines of a door's own output that a failure shows.
const LOG_LINES: usize = 15;
/// Cases that run at the same time; most of their time is waiting.
const TOGETHER: usize = 6;

/// What was asked for.
#[derive(Debug)]
pub struct Options {
    doors: Vec<&'static Door>,
    cases: Option<PathBuf>,
    filter: Option<String>,
    bless: bool,
    spin: Option<PathBuf>,
    root: PathBuf,
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    /// What is wrong with it, with the usage.
    pub fn from_args(mut args: lexopt::Parser) -> Result<Self, String> {
        use lexopt::prelude::*;
        let usage = |e: lexopt::Error| format!("{e}\n{USAGE}");
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut options =
            Self { doors: Vec::new(), cases: None, filter: None, bless: false, spin: None, root };
        while let Some(arg) = args.next().map_err(usage)? {
            match arg {
                Long("bless") => options.bless = true,
                Long("door") => options.doors.extend(doors(&text(&mut args)?)?),
                Long("cases") => options.cases = Some(text(&mut args)?.into()),
                Long("filter") => options.filter = Some(text(&mut args)?),
                Long("spin") => options.spin = Some(text(&mut args)?.into()),
                Long("root") => options.root = text(&mut args)?.into(),
                _ => return Err(usage(arg.unexpected())),
            }
        }
        if options.doors.is_empty() {
            return Err(format!("no --door\n{USAGE}"));
        }
        Ok(options)
    }
}

fn text(args: &mut lexopt::Parser) -> Result<String, String> {
    let value = args.value().map_err(|e| format!("{e}\n{USAGE}"))?;
    value.into_string().map_err(|value| format!("{} is not UTF-8", value.display()))
}

fn doors(name: &str) -> Result<Vec<&'static Door>, String> {
    if name == "all" {
        return Ok(NAMES.iter().filter_map(|name| Door::named(name)).collect());
    }
    Door::named(name)
        .map(|door| vec![door])
        .ok_or_else(|| format!("there is no door {name:?}\n{USAGE}"))
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
    for door in &options.doors {
        run_door(door, &cases, &folder, options, &mut tally)?;
    }
    if tally.skipped > 0 {
        println!("{} skipped", tally.skipped);
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(tally.failed == 0)
}

/// That there is no such document is signed, as all that the origin says of documents.
fn absence(target: &str) -> Option<Vec<u8>> {
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
    let origin = Origin::start().map_err(|e| format!("scripted origin: {e}"))?;
    origin.otherwise(absence);
    let with = Surroundings {
        root: options.root.clone(),
        origin: origin.addr(),
        keyring: keyring_json(),
        geo_header: true,
        spin: options.spin.clone(),
    };
    let running = match door.start(&with) {
        Ok(running) => running,
        Err(fault) => {
            println!("FAIL {}: the door does not start: {fault}", door.name);
            tally.failed += cases.len();
            return Ok(());
        }
    };
    drop(asked_at_start(&origin));
    let (events, made) = (format!("ev-{}-", base36(now_ms().unsigned_abs())), Mutex::default());
    let runner = Runner {
        door,
        addr: running.addr,
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
        let skipped = loaded.case.not_at.get(door.name);
        let outcome = match &loaded.case.door {
            _ if skipped.is_some() => Ok(()),
            Some(own) => door.start(&with.of(own)).and_then(|running| {
                drop(asked_at_start(&origin));
                let runner = Runner { addr: running.addr, ..runner };
                runner.run(loaded, event)
            }),
            None => runner.run(loaded, event),
        };
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        match skipped {
            Some(reason) => tally.skip(door, loaded, reason),
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

/// Viceroy looks whether its backends answer before it listens: that is no case's.
fn asked_at_start(origin: &Origin) -> Vec<Request> {
    origin.take_seen(|_| true)
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
