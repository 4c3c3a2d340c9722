//! The host on one core, beside nginx on the same core: playlists personalised by a pass, from the
//! cache.

use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::recording::Recording;
use super::{Figure, descriptors, idle, nginx};
use crate::servers::{Plan, Servers};
use crate::{artifacts, live, paths, run, up};

/// The server's core, and the load's.
const SERVER_CORE: &str = "0";
const LOAD_CORE: &str = "1";
const LOAD_S: &str = "5s";
/// Of a load on each server, one after the other: what a shared machine gives a core changes from
/// minute to minute by more than what the two differ by.
const PAIRS: usize = 7;
const BREAK_WITHIN: Duration = Duration::from_secs(90);

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("host, one core:");
    // Before the edge is started, which inherits it.
    descriptors::raise(idle::CONNECTIONS)?;
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut plan = Plan::fresh(scratch.path(), "test")?;
    let recording = Recording::start(format!("http://127.0.0.1:{}", plan.origin))?;
    plan.edge_origin = Some(recording.port);
    plan.edge_program = artifacts::timed("host", artifacts::shipped_host)?;
    // One core is one thread, as nginx's.
    plan.edge_flags = ["--threads", "1"].map(str::to_owned).into();
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    let (url, playlist) = playlist_in_break(&mut servers)?;
    recording.freeze();
    servers.stop("origin");

    let pid = servers.pid("edge").context("there is no edge")?;
    pin(pid)?;
    let mut figures = in_turns(&url, &playlist)?;
    figures.extend(idle::measure(&servers.edge_url(), pid)?);
    Ok(figures)
}

/// Loads the host and nginx by turns. The ratio is the median of the pairs' ratios.
fn in_turns(url: &str, playlist: &str) -> Result<Vec<Figure>> {
    let nginx = nginx::start(playlist)?;
    let (mut hosts, mut peers, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (host, peer) = (load(url)?, load(&nginx.url)?);
        println!("  host {host:.0}, nginx {peer:.0} requests/s: {:.2}", host / peer);
        hosts.push(host);
        peers.push(peer);
        ratios.push(host / peer);
    }
    if live::get(url)? != playlist {
        bail!("the playlist changed during the load: what was measured is not one cached answer");
    }
    Ok(vec![
        Figure::new("personalised playlists", median(hosts), "requests/s").at_least(40_000.0),
        Figure::new("nginx, njs HMAC-SHA256, static file", median(peers), "requests/s"),
        Figure::new("ratio of the two", median(ratios), "").at_least(1.0),
    ])
}

/// Of an odd number of values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Keeps a running process, all its threads, on the server's core.
pub(super) fn pin(pid: u32) -> Result<()> {
    run::output(Command::new("taskset").args(["-acp", SERVER_CORE, &pid.to_string()]))
        .map(drop)
        .context("taskset (of util-linux) cannot pin the server")
}

/// A command that runs on the server's core.
pub(super) fn pinned(program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE, program]);
    command
}

/// Requests a second that wrk gets answered with 200 from the other core.
fn load(url: &str) -> Result<f64> {
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", LOAD_CORE, "wrk", "-t1", "-c64", "-d", LOAD_S, url]);
    let log = run::output(&mut wrk).context("wrk does not run")?;
    if log.contains("Non-2xx") || log.contains("Socket errors") {
        bail!("some answers were errors:\n{log}");
    }
    log.lines()
        .find_map(|line| line.trim().strip_prefix("Requests/sec:"))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("wrk printed no rate:\n{log}"))
}

/// A video playlist with a creative in it, and its URL with the pass.
fn playlist_in_break(servers: &mut Servers) -> Result<(String, String)> {
    let entry = live::entry(&servers.edge_url())?;
    let multivariant = live::get(&entry)?;
    let line = multivariant
        .lines()
        .find(|line| line.contains("index.m3u8") && !line.starts_with('#'))
        .with_context(|| format!("no media playlist in:\n{multivariant}"))?;
    let base = entry.rsplit_once('/').map_or(entry.as_str(), |(base, _)| base);
    let url = format!("{base}/{line}");
    let deadline = Instant::now() + BREAK_WITHIN;
    loop {
        let playlist = live::get(&url)?;
        // Well inside, so that the window is one that a viewer in a break holds.
        if playlist.matches("/ads/").count() > 20 {
            return Ok((url, playlist));
        }
        if Instant::now() > deadline {
            bail!("no break within {} s in:\n{playlist}", BREAK_WITHIN.as_secs());
        }
        servers.tend()?;
        sleep(Duration::from_millis(500));
    }
}

/// Where a benchmark's server may keep its files.
pub(super) fn work() -> Result<std::path::PathBuf> {
    paths::work("bench")
}
