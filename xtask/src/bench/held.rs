//! 5,000 playlist requests that wait at the origin for one part: how long after it the answers are
//! whole, and what they cost. Beside it, nginx has the same bytes as a file, for as many
//! connections. And how soon a part can be fetched, while nobody asks and while all do.
//!
//! This is the origin alone, without an edge, which would ask once for all. Client, origin and
//! encoder share the machine. So the client sleeps while it is answered, and the kernel tells when
//! each answer came; and the event is small, so that the encoder leaves room.

mod crowd;
mod event;
mod figures;
mod turns;

use std::io::Write;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::process::{MIB, resident};
use super::{Figure, descriptors, nginx};
use crate::servers::{Plan, Servers};
use crate::up;
use crowd::Crowd;
use event::{End, Event, Histogram, PLAYLIST};
use turns::Turns;

const CONNECTIONS: usize = 5_000;
/// Releases that are counted, each with a question to nginx after it.
const RELEASES: usize = 10;
/// With gzip, to tell it once.
const GZIP_RELEASES: usize = 3;
const GZIP: &str = "accept-encoding: gzip\r\n";
/// Seconds of media that a playlist lists when its window is full.
const WINDOW: Duration = Duration::from_secs(60);
/// So long, all wait for one part after the other.
const LOAD: Duration = Duration::from_secs(20);
/// How often the client looks meanwhile: to be woken for each answer would cost a switch for each.
const LOOK: Duration = Duration::from_millis(1);

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("{CONNECTIONS} held playlist requests at the origin, beside nginx with a file:");
    // Before the servers are started, which inherit it. The client has connections to both.
    descriptors::raise(2 * CONNECTIONS)?;
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(plan(scratch.path())?)?;
    servers.ready()?;
    servers.prepared()?;
    // It would ask as well.
    servers.stop("edge");
    let event = Event::of(&servers)?;
    let mut figures = vec![part_figure("quiet", &quiet(&mut servers, &event)?)?];
    figures.extend(released(&servers, &event)?);
    servers.tend()?;
    Ok(figures)
}

fn plan(data: &Path) -> Result<Plan> {
    let mut plan = Plan::fresh(data, "test")?;
    plan.scheduled = false;
    // As an origin is set that holds so many requests itself.
    let flags = ["--max-height", "160", "--languages", "en", "--encoder-nice", "10"];
    plan.origin_flags = flags.map(str::to_owned).into();
    Ok(plan)
}

/// Waits until the playlist is as long as it gets, while nobody asks for anything.
fn quiet(servers: &mut Servers, event: &Event) -> Result<Histogram> {
    let before = event.metrics()?.part_seconds()?;
    let until = Instant::now() + WINDOW;
    while Instant::now() < until {
        servers.tend()?;
        sleep(Duration::from_millis(500));
    }
    Ok(event.metrics()?.part_seconds()?.since(&before))
}

/// All that is measured with the crowd.
fn released(servers: &Servers, event: &Event) -> Result<Vec<Figure>> {
    let origin = servers.pid("origin").context("there is no origin")?;
    let playlist = event.playlist()?;
    let nginx = nginx::plain(PLAYLIST, &playlist, &compressed(&playlist)?)?;
    let address = nginx.url.trim_start_matches("http://").trim_end_matches(PLAYLIST).parse()?;
    let now = event.request(None, "");
    let mut beside = Crowd::connect(address, CONNECTIONS, &now)?;
    let mut crowd = Crowd::connect(event.address, CONNECTIONS, &now)?;
    let (crowds, pids) = ([&mut crowd, &mut beside], [origin, nginx.pid()]);
    let mut turns = Turns { event, crowds, pids };
    let plain = turns.take(RELEASES, "")?;
    let gzip = turns.take(GZIP_RELEASES, GZIP)?;
    let (rate, busy) = load(event, &mut crowd, origin)?;

    let mut figures = figures::of(&plain, "");
    figures.extend(memory(plain.resident, &servers.encoders()?)?);
    figures.extend(figures::of(&gzip, "gzip: "));
    figures.push(Figure::new("parts that all waited for, in a row", rate, "parts/s"));
    figures.push(part_figure("busy", &busy)?);
    Ok(figures)
}

/// As the origin compresses.
fn compressed(text: &str) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    Ok(encoder.finish()?)
}

/// Memory while all wait, of the origin and of the encoder beside it.
fn memory(origin: f64, encoder: &[u32]) -> Result<[Figure; 2]> {
    let encoder = encoder.iter().map(|pid| resident(*pid)).sum::<Result<f64>>()?;
    Ok([
        Figure::new("origin, resident while all wait", origin / MIB, "MiB").at_most(300.0),
        Figure::new("encoder beside it, resident", encoder / MIB, "MiB"),
    ])
}

/// All wait for one part after the other, as players do. Returns how many parts a second that were,
/// and what the origin tells of the parts of that time.
fn load(event: &Event, crowd: &mut Crowd, origin: u32) -> Result<(f64, Histogram)> {
    let end = End::of(&event.playlist()?)?;
    let before = event.metrics()?.part_seconds()?;
    let (begun, mut parts) = (Instant::now(), 0_u32);
    while begun.elapsed() < LOAD {
        crowd.ask(&event.request(Some(end.ahead(parts.into())), ""))?;
        crowd.answers(origin, LOOK)?;
        parts += 1;
    }
    let rate = f64::from(parts) / begun.elapsed().as_secs_f64();
    Ok((rate, event.metrics()?.part_seconds()?.since(&before)))
}

/// From a part's last byte out of the encoder to its publication, by the origin's own histogram.
fn part_figure(when: &str, parts: &Histogram) -> Result<Figure> {
    println!("  {} parts, {when}", parts.count());
    let name = format!("part fetchable, p99's bucket bound, {when}");
    Ok(Figure::new(name, parts.bound(0.99)? * 1e3, "ms").at_most(50.0))
}
