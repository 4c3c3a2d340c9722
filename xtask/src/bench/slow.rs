//! The slow-reader attack: connections that ask for more than the host's memory may hold and read
//! nothing. What the host takes of the machine meanwhile, beside its budget, and whether a viewer
//! who reads is served.

mod attack;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::attack::{Attack, Objects};
use super::process::{MIB, forget_peak, peak, resident};
use super::recording::Recording;
use super::{Figure, descriptors};
use crate::children;
use crate::servers::{Plan, Servers};
use crate::{live, up};

/// A segment of 16 Mbit/s, two seconds long.
const SEGMENT_MIB: u32 = 4;
/// Settings of the host, by their defaults.
const CACHE_MIB: u32 = 256;
const UNREAD_MIB: u32 = 256;
/// What the process may have above the bytes that it counts, for the state of connections and
/// requests, their buffers, and what the allocator keeps: a quarter.
const ALLOWANCE: f64 = 1.25;
const LASTS: Duration = Duration::from_secs(20);
/// Time for the last connection to be gone, and the last body that nobody waits for.
const OVER_WITHIN: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("slow readers, {} s:", LASTS.as_secs());
    // Those of the attack, and as many of the origin's.
    descriptors::raise(4096)?;
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut plan = Plan::fresh(scratch.path(), "test")?;
    let origin = format!("http://127.0.0.1:{}", plan.origin);
    let recording = Recording::with_segments(origin, SEGMENT_MIB as usize * MIB as usize)?;
    plan.edge_origin = Some(recording.port);
    plan.edge_flags = [("--cache-bytes", CACHE_MIB), ("--unread-bytes", UNREAD_MIB)]
        .map(|(name, mib)| [name.to_owned(), (u64::from(mib) << 20).to_string()])
        .concat();
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    let viewer = Viewer::enter(&servers.edge_url())?;
    recording.freeze();
    servers.stop("origin");
    let pid = servers.pid("edge").context("there is no edge")?;
    under_attack(&servers, pid, &viewer)
}

fn under_attack(servers: &Servers, pid: u32, viewer: &Viewer) -> Result<Vec<Figure>> {
    let told = |name| metric(&servers.admin_url(), name);
    viewer.watch()?;
    sleep(Duration::from_secs(1));
    let idle = resident(pid)?;
    forget_peak(pid)?;
    let over = AtomicBool::new(false);
    let (asked, watched) = std::thread::scope(|scope| {
        let attack = scope.spawn(|| Attack::run(&servers.edge_url(), &viewer.objects, &over));
        let watched = watch(viewer, || told("sightscreen_body_bytes"));
        over.store(true, Ordering::Relaxed);
        Ok::<_, anyhow::Error>((joined(attack)?, watched?))
    })?;
    let above_idle = |bytes: f64| (bytes - idle) / MIB;
    let most = above_idle(peak(pid)?);
    let closed = told("sightscreen_connections_unread_total")?;
    wait_until_over(|| Ok(told("sightscreen_connections")? + told("sightscreen_flights")?))?;
    let after = above_idle(resident(pid)?);
    let kept = told("sightscreen_body_bytes")? / MIB;

    let (cache, budget) = (f64::from(CACHE_MIB), f64::from(CACHE_MIB + UNREAD_MIB));
    let asked = f64::from(asked) * f64::from(SEGMENT_MIB);
    Ok(vec![
        Figure::new("asked for by who does not read", asked, "MiB").at_least(2.0 * budget),
        Figure::new("connections closed because of it", closed, "").at_least(1.0),
        Figure::new("resident before", idle / MIB, "MiB"),
        Figure::new("budget, cache-bytes and unread-bytes", budget, "MiB"),
        Figure::new("resident above it, peak", most, "MiB").at_most(budget * ALLOWANCE),
        Figure::new("bodies counted, most seen", watched.bodies / MIB, "MiB"),
        Figure::new("resident above it, after", after, "MiB").at_most(cache * ALLOWANCE),
        Figure::new("bodies counted, after", kept, "MiB").at_most(cache),
        Figure::new("requests of a viewer who reads", watched.requests, ""),
        Figure::new("of them, not answered whole", watched.failed, "").at_most(0.0),
        Figure::new("the slowest of them", watched.slowest_s, "s"),
    ])
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| bail!("the attack panicked"))
}

/// Someone who watches.
struct Viewer {
    playlist: String,
    objects: Objects,
}

/// How somebody was served, and the most bytes that the host counted meanwhile.
#[derive(Default)]
struct Watched {
    bodies: f64,
    requests: f64,
    failed: f64,
    slowest_s: f64,
}

impl Viewer {
    /// Comes in, and has the recording hear of all that is asked for later.
    fn enter(edge: &str) -> Result<Self> {
        let playlist = live::first_playlist(edge)?;
        let folder = playlist.rsplit_once('/').map_or(playlist.as_str(), |(folder, _)| folder);
        let objects = Objects::new(folder);
        let viewer = Self { playlist, objects };
        viewer.watch()?;
        Ok(viewer)
    }

    /// A playlist, and a segment that nobody has asked for before.
    fn watch(&self) -> Result<()> {
        live::get(&self.playlist)?;
        self.segment()
    }

    fn segment(&self) -> Result<()> {
        let url = self.objects.next();
        let body = live::get_bytes(&url)?;
        if body.len() != SEGMENT_MIB as usize * MIB as usize {
            bail!("GET {url}: {} bytes of {SEGMENT_MIB} MiB", body.len());
        }
        Ok(())
    }
}

/// Watches for as long as the attack lasts, and looks at what the host counts.
fn watch(viewer: &Viewer, bodies: impl Fn() -> Result<f64>) -> Result<Watched> {
    let mut watched = Watched::default();
    let begun = Instant::now();
    while begun.elapsed() < LASTS {
        children::check()?;
        watched.note(|| live::get(&viewer.playlist).map(drop));
        watched.note(|| viewer.segment());
        watched.bodies = watched.bodies.max(bodies()?);
        sleep(PAUSE);
    }
    Ok(watched)
}

impl Watched {
    fn note(&mut self, request: impl FnOnce() -> Result<()>) {
        let begun = Instant::now();
        let answered = request();
        self.requests += 1.0;
        self.slowest_s = self.slowest_s.max(begun.elapsed().as_secs_f64());
        if let Err(error) = answered {
            println!("  {error:#}");
            self.failed += 1.0;
        }
    }
}

fn wait_until_over(work: impl Fn() -> Result<f64>) -> Result<()> {
    let deadline = Instant::now() + OVER_WITHIN;
    while work()? > 0.0 {
        children::check()?;
        if Instant::now() > deadline {
            bail!("the host is still busy {} s after the attack", OVER_WITHIN.as_secs());
        }
        sleep(PAUSE);
    }
    Ok(())
}

/// A number of the host's metrics.
fn metric(admin: &str, name: &str) -> Result<f64> {
    let metrics = live::get(&format!("{admin}/metrics"))?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.with_context(|| format!("the host has no {name}"))?.parse().map_err(Into::into)
}
