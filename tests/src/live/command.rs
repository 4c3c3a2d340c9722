//! The command line of `sightscreen-live-check`.
#![allow(clippy::print_stdout, reason = "the output of a command line tool")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{Check, Plan};

const USAGE: &str =
    "usage: sightscreen-live-check URL [--for SECONDS] [--json FILE] [--without-break]";

/// Checks the event at the URL of the command line; whether every rule was seen, a break was
/// followed, and all rules held.
///
/// # Errors
/// Where nothing could be checked.
pub fn run(mut args: lexopt::Parser) -> Result<bool, String> {
    use lexopt::prelude::*;
    let usage = |e: lexopt::Error| format!("{e}\n{USAGE}");
    let (mut url, mut plan, mut json): (Option<String>, Plan, Option<PathBuf>) =
        (None, Plan::default(), None);
    let mut without_break = false;
    while let Some(arg) = args.next().map_err(usage)? {
        match arg {
            Long("for") => {
                let seconds = args.value().map_err(usage)?.parse().map_err(usage)?;
                plan.time = Duration::from_secs(seconds);
            }
            Long("without-break") => without_break = true,
            Long("json") => json = Some(args.value().map_err(usage)?.into()),
            Value(value) if url.is_none() => url = Some(value.string().map_err(usage)?),
            _ => return Err(usage(arg.unexpected())),
        }
    }
    let check = Check::of(&url.ok_or(USAGE)?)?;
    println!("following {} for {} s", check.names().join(", "), plan.time.as_secs());
    let outcome = check.run(&plan);
    println!(
        "saw {} media sequence numbers and {} discontinuities",
        outcome.sequences, outcome.discontinuities
    );
    let report = &outcome.report;
    if let Some(file) = json {
        fs::write(&file, format!("{:#}\n", report.json()))
            .map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let missing = if without_break { Vec::new() } else { outcome.missing() };
    for what in &missing {
        println!("not whole: {what}");
    }
    print!("{}", report.text());
    Ok(missing.is_empty() && report.broken().is_empty())
}
