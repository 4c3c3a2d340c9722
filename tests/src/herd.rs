//! `sightscreen-herd`: what many who wait for the same playlist cost the origin, through several
//! processes of a door that share nothing. At Spin each process has as many instances as Spin would
//! start.
#![allow(clippy::print_stdout, reason = "the output of a command line tool")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use crate::case::{Expander, FIXTURES, envelope, keyring_json};
use crate::command::absence;
use crate::doors::{Door, NAMES, Running, Surroundings};
use crate::origin::{Answer, Origin};
use crate::playlist::ContentSpec;
use crate::run::{DOCUMENTS, read};
use crate::wire::{self, Request};

/// How long the origin holds a blocking reload: half a target duration, as in the mean.
const HELD: Duration = Duration::from_secs(1);
/// How long a viewer waits.
const PATIENCE: Duration = Duration::from_secs(20);
/// The first media sequence number that somebody waits for.
const FIRST: u64 = 1206;
/// The playlist at the origin.
const PLAYLIST: &str = "/live/{event}/v720/index.m3u8";
/// Segments of a playlist.
const WINDOW: u64 = 6;

/// Lets a herd of viewers wait for the same playlist and counts what the origin is asked.
///
/// The last line is JSON, with the number of requests of each round.
#[derive(Debug, Parser)]
#[command(name = "sightscreen-herd")]
pub struct Options {
    /// The door.
    #[arg(long, value_name = "DOOR", value_parser = NAMES)]
    door: String,
    /// Processes of it, among which the viewers are dealt out.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count())]
    processes: u64,
    /// Viewers, all at the same time.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = count())]
    viewers: u64,
    /// Playlists, one after another.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count())]
    rounds: u64,
    /// The repository.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    root: PathBuf,
}

fn count() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=10_000)
}

/// Measures and prints.
///
/// # Errors
/// A door that does not start, or a viewer who did not get the playlist.
pub fn run(options: &Options) -> Result<(), String> {
    let origin = Origin::start().map_err(|e| format!("scripted origin: {e}"))?;
    origin.otherwise(absence);
    let expander = Expander::new("herd".into());
    publish(options, &origin, &expander)?;
    let processes = start(options, &origin)?;
    let addrs: Vec<SocketAddr> = processes.iter().map(|process| process.addr).collect();
    for addr in &addrs {
        let entry = expander.expand("{entry}")?;
        get(*addr, &entry, "#EXTM3U")?;
    }
    let requests: Result<Vec<usize>, String> =
        (0..options.rounds).map(|at| round(options, &origin, &expander, &addrs, at)).collect();
    println!(
        "{}",
        json!({
            "door": options.door, "processes": options.processes, "viewers": options.viewers,
            "requests": requests?,
        })
    );
    Ok(())
}

/// The documents that every event needs.
fn publish(options: &Options, origin: &Origin, expander: &Expander) -> Result<(), String> {
    let fixtures = options.root.join("tests/cases").join(FIXTURES);
    for (name, fixture) in DOCUMENTS {
        let name = expander.expand(name)?;
        let payload = expander.expand(&read(&fixtures.join(format!("{fixture}.json")))?)?;
        let body = envelope(&name, 1, payload.as_bytes(), "d1", None);
        let answer = Answer { status: 200, body, ..Answer::default() };
        origin.script(format!("/documents/{name}"), vec![answer]);
    }
    Ok(())
}

fn start(options: &Options, origin: &Origin) -> Result<Vec<Running>, String> {
    let with = Surroundings {
        root: options.root.clone(),
        origin: origin.addr(),
        keyring: keyring_json(),
        geo_header: true,
        edge_secret: true,
        spin: None,
        one_instance: false,
    };
    let door = Door::named(&options.door).ok_or("no such door")?.within(&with);
    (0..options.processes).map(|_| door.start(&with)).collect()
}

/// All viewers wait for the next segment; the answer is how often the origin was asked for it.
fn round(
    options: &Options,
    origin: &Origin,
    expander: &Expander,
    addrs: &[SocketAddr],
    at: u64,
) -> Result<usize, String> {
    let msn = FIRST + at;
    let waits = format!("{PLAYLIST}?_HLS_msn={msn}");
    let target = expander.expand(&waits)?;
    origin.script(expander.expand(PLAYLIST)?, vec![playlist_to(msn - 1, Duration::ZERO)]);
    origin.script(target.clone(), vec![playlist_to(msn, HELD)]);
    // What a player has when it begins to wait, and what the edge judges the number by.
    let plain = of_viewer(PLAYLIST, expander)?;
    for addr in addrs {
        get(*addr, &plain, "#EXTM3U")?;
    }
    let viewers = of_viewer(&waits, expander)?;
    let segment = format!("\n{msn}.m4s\n");
    let came: Result<(), String> = thread::scope(|scope| {
        let dealt = addrs.iter().cycle().zip(0..options.viewers);
        let waiting: Vec<_> =
            dealt.map(|(addr, _)| scope.spawn(|| get(*addr, &viewers, &segment))).collect();
        waiting.into_iter().try_for_each(|viewer| viewer.join().map_err(|_| "a panic")?)
    });
    came?;
    Ok(origin.take_seen(|seen| seen == target).len())
}

/// The content playlist that ends with this segment, after a wait.
fn playlist_to(msn: u64, delay: Duration) -> Answer {
    let content = ContentSpec { first: msn + 1 - WINDOW, segments: WINDOW, ..Default::default() };
    Answer { status: 200, body: content.render().into_bytes(), delay, ..Answer::default() }
}

/// The same target with a pass.
fn of_viewer(target: &str, expander: &Expander) -> Result<String, String> {
    expander.expand(&target.replace("{event}/", "{event}/{pass}/"))
}

/// A GET that is answered with 200 and this in the body.
fn get(addr: SocketAddr, target: &str, holds: &str) -> Result<(), String> {
    let request = Request { method: "GET".into(), target: target.into(), ..Request::default() };
    let reply = wire::send(addr, &request, PATIENCE).map_err(|e| format!("{addr}: {e}"))?;
    let body = String::from_utf8_lossy(&reply.body);
    if reply.status == 200 && body.contains(holds) {
        return Ok(());
    }
    Err(format!("{addr} answered {} without {holds:?}: {body}", reply.status))
}
