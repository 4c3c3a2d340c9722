//! `sightscreen-live-check`: its options, and what it prints.
#![allow(clippy::print_stdout, reason = "the output of a command line tool")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use super::check::{Check, Plan};

/// Follows a running event through a break and reports every rule of HLS that it breaks.
#[derive(Debug, Parser)]
#[command(name = "sightscreen-live-check")]
pub struct Options {
    /// The event's entry URL.
    url: String,
    /// How long to follow it.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = Plan::default().time.as_secs())]
    seconds: u64,
    /// Also write the report here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Pass even if no break was followed or a rule was not seen.
    #[arg(long)]
    without_break: bool,
}

/// Checks the event; whether every rule was seen, a break was followed, and all rules held.
///
/// # Errors
/// Where nothing could be checked.
pub fn run(options: &Options) -> Result<bool, String> {
    let plan = Plan { time: Duration::from_secs(options.seconds), ..Plan::default() };
    let check = Check::of(&options.url)?;
    println!("following {} for {} s", check.names().join(", "), plan.time.as_secs());
    let outcome = check.run(&plan);
    println!(
        "saw {} media sequence numbers and {} discontinuities",
        outcome.sequences, outcome.discontinuities
    );
    let report = &outcome.report;
    if let Some(file) = &options.json {
        fs::write(file, format!("{:#}\n", report.json()))
            .map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let missing = if options.without_break { Vec::new() } else { outcome.missing() };
    for what in &missing {
        println!("not whole: {what}");
    }
    print!("{}", report.text());
    Ok(missing.is_empty() && report.broken().is_empty())
}
