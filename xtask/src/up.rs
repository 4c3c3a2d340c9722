//! `cargo xtask up`: the whole of Sightscreen on this machine, for a person or for a judge.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::servers::{ENTRY_TTL, Plan, Servers};
use crate::{artifacts, browser, children, tools};

const PORT: u16 = 8080;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What plays: `test`, a match drawn here; `rtmp`, what you publish; or a file, looped.
    #[arg(long, value_name = "test|rtmp|FILE", default_value = "test", value_parser = input)]
    input: String,
    /// The edge's port; 8080 unless set, or a free one with --fresh.
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Use ports and data of its own, removed at the end.
    #[arg(long)]
    fresh: bool,
    /// Stop after so many seconds.
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Play in a browser through a break, and judge what it measured.
    #[arg(long, requires = "seconds")]
    headless: bool,
    /// Keep a picture from inside the break.
    #[arg(long, value_name = "FILE", requires = "headless")]
    screenshot: Option<PathBuf>,
}

/// `cargo xtask up ...`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    tools::need(tools::LIVE)?;
    build()?;
    let scratch = tempfile::tempdir()?;
    let plan = plan(options, scratch.path())?;
    let started = Instant::now();
    let mut servers = Servers::start(plan)?;
    announce(&servers)?;
    if servers.waits_for_a_publisher() {
        println!("Waiting for a publisher; the picture comes with the first segments.");
        servers.ready_when_published()?;
    } else {
        servers.ready()?;
    }
    println!("ready in {:.1} s", started.elapsed().as_secs_f32());
    match (options.seconds, options.headless) {
        (Some(seconds), true) => judge(&mut servers, seconds, options),
        (seconds, _) => {
            wait(&mut servers, seconds)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Builds what `up` starts.
pub(crate) fn build() -> Result<()> {
    artifacts::timed("page", artifacts::page)?;
    artifacts::timed("origin", artifacts::origin)?;
    artifacts::timed("host", artifacts::host)?;
    Ok(())
}

fn input(value: &str) -> Result<String> {
    if matches!(value, "test" | "rtmp") {
        return Ok(value.to_owned());
    }
    let path = std::path::absolute(value)?;
    if !path.is_file() {
        bail!("--input {value}: there is no such file (or say test, or rtmp)");
    }
    Ok(format!("file:{}", path.display()))
}

fn plan(options: &Options, scratch: &std::path::Path) -> Result<Plan> {
    if !options.fresh {
        return Ok(Plan::lasting(options.port.unwrap_or(PORT), &options.input));
    }
    let mut plan = Plan::fresh(scratch, &options.input)?;
    plan.edge = options.port.unwrap_or(plan.edge);
    Ok(plan)
}

/// Everything to open or to type elsewhere, known from the start: none of it waits for the first
/// segments.
fn announce(servers: &Servers) -> Result<()> {
    println!();
    println!("  page      {}/", servers.edge_url());
    println!("  operator  {}", servers.operator_page_url());
    println!("  player    {} (for {ENTRY_TTL})", servers.signed_entry()?);
    if servers.waits_for_a_publisher() {
        println!("  ingest    {}", servers.ingest_url());
        println!("  key       {}", servers.stream_key);
    }
    println!();
    Ok(())
}

fn wait(servers: &mut Servers, seconds: Option<u64>) -> Result<()> {
    let deadline = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    if deadline.is_none() {
        println!("Ctrl-C stops all.");
    }
    while !children::stopped() && deadline.is_none_or(|at| Instant::now() < at) {
        servers.tend()?;
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn judge(servers: &mut Servers, seconds: u64, options: &Options) -> Result<ExitCode> {
    let report = browser::play(servers, seconds, options.screenshot.as_deref())?;
    let verdict = browser::judge(servers, &report)?;
    print!("{verdict}");
    Ok(if verdict.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
