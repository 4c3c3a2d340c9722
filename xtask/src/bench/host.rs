//! The host on one core, beside nginx on the same core: playlists personalised by a pass, from the
//! cache.

use std::fmt;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::cpu_s;
use super::recording::Recording;
use super::{Figure, descriptors, idle, median, nginx};
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
    let mut figures = in_turns(&url, pid, &playlist)?;
    figures.extend(idle::measure(&servers.edge_url(), pid)?);
    Ok(figures)
}

/// Loads the host and nginx by turns. A ratio is the median of the pairs' ratios.
fn in_turns(url: &str, pid: u32, playlist: &str) -> Result<Vec<Figure>> {
    let nginx = nginx::start(playlist)?;
    let (mut hosts, mut peers, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (host, peer) = (load(url, pid)?, load(&nginx.url, nginx.pid())?);
        let ratio = host.per_second / peer.per_second;
        println!("  host {host}, nginx {peer}: {ratio:.2}");
        hosts.push(host);
        peers.push(peer);
        pairs.push((host, peer));
    }
    if live::get(url)? != playlist {
        bail!("the playlist changed during the load: what was measured is not one cached answer");
    }
    let rate = |loads: &[Served]| median(loads.iter().map(|load| load.per_second));
    let cost = |loads: &[Served]| median(loads.iter().map(|load| load.cpu_us));
    let by_rate = median(pairs.iter().map(|(host, peer)| host.per_second / peer.per_second));
    let by_cpu = median(pairs.iter().map(|(host, peer)| peer.cpu_us / host.cpu_us));
    Ok(vec![
        Figure::new("personalised playlists", rate(&hosts), "requests/s").at_least(40_000.0),
        Figure::new("nginx, njs HMAC-SHA256, static file", rate(&peers), "requests/s"),
        Figure::new("ratio of the two", by_rate, "").at_least(1.0),
        Figure::new("processor time of a playlist", cost(&hosts), "us"),
        Figure::new("processor time at nginx", cost(&peers), "us"),
        Figure::new("ratio by processor time", by_cpu, ""),
    ])
}

/// What a server did under load. Its processor time is also right where the core had other work.
#[derive(Clone, Copy)]
struct Served {
    per_second: f64,
    /// Microseconds of processor time for each request.
    cpu_us: f64,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} requests/s of {:.1} us", self.per_second, self.cpu_us)
    }
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

/// Has wrk ask from the other core; every answer must be 200. `pid`: the server's.
fn load(url: &str, pid: u32) -> Result<Served> {
    let before = cpu_s(pid)?;
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", LOAD_CORE, "wrk", "-t1", "-c64", "-d", LOAD_S, url]);
    let log = run::output(&mut wrk).context("wrk does not run")?;
    if log.contains("Non-2xx") || log.contains("Socket errors") {
        bail!("some answers were errors:\n{log}");
    }
    let cpu_s = cpu_s(pid)? - before;
    let number = |text: Option<&str>| text.and_then(|text| text.trim().parse::<f64>().ok());
    let mut lines = log.lines().map(str::trim);
    let count = lines.clone().find_map(|line| line.split_once(" requests in "));
    let rate = lines.find_map(|line| line.strip_prefix("Requests/sec:"));
    let (count, per_second) = number(count.map(|(count, _)| count))
        .zip(number(rate))
        .with_context(|| format!("wrk printed no rate:\n{log}"))?;
    Ok(Served { per_second, cpu_us: cpu_s * 1e6 / count })
}

/// A video playlist with a creative in it, and its URL with the pass.
fn playlist_in_break(servers: &mut Servers) -> Result<(String, String)> {
    let url = live::first_playlist(&servers.edge_url())?;
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
