//! The command line of `sightscreen-live-check`.
#![allow(clippy::print_stdout, reason = "the output of a command line tool")]

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::across::Across;
use super::fetch::Url;
use super::follow::Follower;
use super::multivariant::{Rendition, renditions};
use super::report::Report;

const USAGE: &str =
    "usage: sightscreen-live-check URL [--for SECONDS] [--json FILE] [--without-break]";
/// Seconds, where nothing is said: the demonstration has a break each minute.
const SECONDS: u64 = 90;
/// Discontinuities of a break: into it, and back.
const BREAK: u64 = 2;

/// Checks the event at the URL of the command line; whether every rule was seen, through a break at least, and held.
///
/// # Errors
/// Where nothing could be checked.
pub fn run(mut args: lexopt::Parser) -> Result<bool, String> {
    use lexopt::prelude::*;
    let usage = |e: lexopt::Error| format!("{e}\n{USAGE}");
    let (mut url, mut seconds, mut json): (Option<String>, u64, Option<PathBuf>) =
        (None, SECONDS, None);
    let mut without_break = false;
    while let Some(arg) = args.next().map_err(usage)? {
        match arg {
            Long("for") => seconds = args.value().map_err(usage)?.parse().map_err(usage)?,
            Long("without-break") => without_break = true,
            Long("json") => json = Some(args.value().map_err(usage)?.into()),
            Value(value) if url.is_none() => url = Some(value.string().map_err(usage)?),
            _ => return Err(usage(arg.unexpected())),
        }
    }
    let url = Url::parse(&url.ok_or(USAGE)?)?;
    let (report, discontinuities) = check(&url, Duration::from_secs(seconds))?;
    if let Some(file) = json {
        fs::write(&file, format!("{:#}\n", report.json()))
            .map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let whole = without_break || (discontinuities >= BREAK && report.unseen().is_empty());
    if !whole {
        println!(
            "not seen through a break: follow for longer with --for, start one, or say --without-break"
        );
    }
    print!("{}", report.text());
    Ok(whole && report.broken().is_empty())
}

/// Follows every rendition of the event for a time; the discontinuities that it saw with the report.
fn check(url: &Url, time: Duration) -> Result<(Report, u64), String> {
    let text = url
        .body()
        .map_err(|fault| format!("{}: {fault}", url.target))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let all: Vec<Rendition> = renditions(url, &text)?;
    let names: Vec<String> = all.iter().map(|rendition| rendition.name.clone()).collect();
    println!("following {} for {} s", names.join(", "), time.as_secs());
    let (report, across) = (Report::default(), Across::default());
    let deadline = Instant::now() + time;
    thread::scope(|scope| {
        for rendition in &all {
            let follower = Follower::new(rendition, report.of(&rendition.name), &across);
            scope.spawn(move || follower.follow(deadline));
        }
    });
    across.judge(&report, &names);
    let (sequences, discontinuities) = across.extent();
    println!("saw {sequences} media sequence numbers and {discontinuities} discontinuities");
    Ok((report, discontinuities))
}
