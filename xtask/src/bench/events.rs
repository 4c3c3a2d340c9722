//! Events at 360p, as many as the machine holds: each made by the API, with a publisher of its own
//! by RTMP, and at the end each followed by the live check through a break, all at once.
//!
//! Everything shares the machine: origin, encoders, edge, checks, and the publishers, who send a
//! clip that is encoded already. Each event is measured from its POST on, while those before it
//! run: to the first part that the origin has, its publisher's start included, and to the first
//! that a viewer gets through the edge, who is let in when there is enough for a player. Streams
//! are added until one gets no room, an encoder falls below real time, or there are enough.

mod checks;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::process::{MIB, proportional, resident};
use super::{Figure, median};
use crate::children::{AtSignal, Group};
use crate::servers::{Plan, Servers};
use crate::{clip, live, paths, up};

const EVENTS_MAX: usize = 8;
/// Below it an encoder falls behind for good, as docs/operate.md says.
const REAL_TIME: f64 = 0.95;
/// For which the speeds are measured after each new event.
const TRIAL: Duration = Duration::from_secs(5);
const FIRST_PART_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_secs(3);
/// What the origin's log says of a stream that the budget refuses.
const NO_ROOM: &str = "no room for another event";
const RUNGS: &str = "[[rungs]]\nheight = 360\nbitrate = 700000\n";

pub(super) fn measure() -> Result<Vec<Figure>> {
    println!("events at 360p, up to {EVENTS_MAX}, with publishers and viewers on this machine:");
    up::build()?;
    let check = live::checker()?;
    let scratch = tempfile::tempdir()?;
    let mut stage = Stage::open(scratch.path())?;
    sleep(SETTLE);
    let origin = stage.servers.pid("origin").context("there is no origin")?;
    let empty = resident(origin)?;
    stage.fill()?;
    let (before, began) = (stage.encoded_s()?, Instant::now());
    let whole = checks::run(&check, &stage)?;
    let slowest = stage.slowest(&before, began)?;
    let count = f64::from(u32::try_from(stage.events.len())?);
    let of_origin = resident(origin)? - empty;
    let of_encoders = stage.servers.encoders()?.into_iter().map(proportional);
    let of_encoders: f64 = of_encoders.sum::<Result<_>>()?;
    let mut figures = vec![
        Figure::new("events that ran", count, ""),
        Figure::new("events with nothing broken", whole, "").at_least(count),
        Figure::new("origin's memory, of an event", of_origin / count / MIB, "MiB"),
        Figure::new("encoder's memory, of an event", of_encoders / count / MIB, "MiB"),
        Figure::new("slowest encoder", slowest, "of real time"),
    ];
    figures.extend(waits("POST to the first part", stage.events.iter().map(|e| e.first_part)));
    figures.extend(waits("POST to a viewer's part", stage.events.iter().map(|e| e.viewers_part)));
    Ok(figures)
}

/// How long one waits, usually and at most.
fn waits(name: &str, all: impl Iterator<Item = Duration>) -> [Figure; 2] {
    let all: Vec<f64> = all.map(|wait| wait.as_secs_f64()).collect();
    let longest = all.iter().copied().fold(0.0, f64::max);
    [
        Figure::new(format!("{name}, median"), median(all), "s"),
        Figure::new(format!("{name}, longest"), longest, "s"),
    ]
}

/// What runs.
struct Stage {
    /// Before the servers, so that publishers end first.
    events: Vec<Event>,
    servers: Servers,
    clip: PathBuf,
    origin_log: PathBuf,
}

struct Event {
    id: String,
    /// From its POST to the first part at the origin.
    first_part: Duration,
    /// From its POST to the first part that a viewer gets.
    viewers_part: Duration,
    _publisher: Group,
}

impl Stage {
    /// With no event on the air.
    fn open(scratch: &Path) -> Result<Self> {
        let config = scratch.join("origin.toml");
        std::fs::write(&config, RUNGS)?;
        let mut plan = Plan::fresh(scratch, "rtmp")?;
        plan.scheduled = false;
        // The encoders' speeds say what fits, and no reserve is kept.
        let flags = ["--config", &config.display().to_string(), "--cpu-percent", "100"];
        plan.origin_flags = flags.map(str::to_owned).into();
        let mut servers = Servers::start(plan)?;
        servers.answers_for_us()?;
        let origin_log = scratch.join("origin.log");
        Ok(Self { events: Vec::new(), servers, clip: clip()?, origin_log })
    }

    /// Adds events while they fit.
    fn fill(&mut self) -> Result<()> {
        while self.events.len() < EVENTS_MAX {
            let Some(event) = self.add()? else {
                break;
            };
            let (first, viewers) =
                (event.first_part.as_secs_f64(), event.viewers_part.as_secs_f64());
            self.events.push(event);
            // The conditioning of its creatives takes what the encoders leave, and ends.
            self.servers.prepared()?;
            let (before, began) = (self.encoded_s()?, Instant::now());
            sleep(TRIAL);
            let slowest = self.slowest(&before, began)?;
            println!(
                "  {}: first part after {first:.2} s, a viewer's after {viewers:.2} s, \
                 then the slowest encoder of all {slowest:.2} of real time",
                self.events.last().map_or("", |event| &event.id)
            );
            if slowest < REAL_TIME {
                let last = self.events.pop();
                last.map_or(Ok(()), |event| self.delete(&event.id))?;
                break;
            }
        }
        if self.events.is_empty() {
            bail!("not even one event fits on this machine");
        }
        Ok(())
    }

    /// Makes a stream and publishes to it; none where there is no room.
    fn add(&mut self) -> Result<Option<Event>> {
        let id = format!("match-{}", self.events.len() + 1);
        let stream = json!({
            "id": id, "title": id, "languages": ["en"],
            "pods": [{"cohort": "generic", "creatives": ["built-in:bank", "built-in:car"]}],
        });
        let posted = Instant::now();
        let made = self.servers.control("/api/v1/streams", &stream)?;
        let key = made["stream_key"].as_str().context("the stream was made without a key")?;
        let publisher = self.publish(key)?;
        let playlist = format!("{}/live/{id}/v360/index.m3u8", self.servers.origin_url());
        if !self.comes(&id, posted, || has_part(&playlist))? {
            println!("  {id}: no room for it");
            drop(publisher);
            return self.delete(&id).map(|()| None);
        }
        let first_part = posted.elapsed();
        let entry = self.servers.signed_entry_of(&id)?;
        self.comes(&id, posted, || first_playlist(&entry).is_some_and(|url| has_part(&url)))?;
        let viewers_part = posted.elapsed();
        Ok(Some(Event { id, first_part, viewers_part, _publisher: publisher }))
    }

    /// Waits until it is there; whether it came before the event was refused.
    fn comes(&mut self, id: &str, posted: Instant, is_there: impl Fn() -> bool) -> Result<bool> {
        while !is_there() {
            if self.is_refused(id) {
                return Ok(false);
            }
            if posted.elapsed() > FIRST_PART_WITHIN {
                bail!("{id} has no part within {} s", FIRST_PART_WITHIN.as_secs());
            }
            self.servers.tend()?;
            sleep(POLL);
        }
        Ok(true)
    }

    fn publish(&self, key: &str) -> Result<Group> {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg
            .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
            .arg(&self.clip)
            .args(["-c", "copy", "-f", "flv"])
            .arg(format!("{}/{key}", self.servers.ingest_url()))
            .stdin(Stdio::null());
        Group::spawn(&mut ffmpeg, AtSignal::Stops)
    }

    /// The log alone tells, and the publisher stays connected.
    fn is_refused(&self, id: &str) -> bool {
        let log = std::fs::read_to_string(&self.origin_log).unwrap_or_default();
        log.lines().any(|line| line.contains(NO_ROOM) && line.contains(id))
    }

    fn delete(&self, id: &str) -> Result<()> {
        let url = format!("{}/api/v1/streams/{id}?force=true", self.servers.control_url());
        live::ask_text("DELETE", &url, Some(&self.servers.token), None).map(drop)
    }

    /// Seconds of picture that each event's encoder gave so far.
    fn encoded_s(&self) -> Result<Vec<f64>> {
        let url = format!("{}/metrics", self.servers.control_url());
        let text = live::get_as(&url, &self.servers.token)?;
        let of = |event: &Event| {
            let name = format!("sightscreen_encoded_seconds_total{{event=\"{}\"}} ", event.id);
            let value = text.lines().find_map(|line| line.strip_prefix(&name));
            value.with_context(|| format!("no metric {name}"))?.parse().context(name)
        };
        self.events.iter().map(of).collect()
    }

    /// Seconds of picture in a second, of the slowest encoder since then.
    fn slowest(&self, before: &[f64], began: Instant) -> Result<f64> {
        let (after, took) = (self.encoded_s()?, began.elapsed().as_secs_f64());
        let speeds = after.iter().zip(before).map(|(after, before)| (after - before) / took);
        Ok(speeds.fold(f64::INFINITY, f64::min))
    }
}

/// Whether a media playlist lists a part that can be fetched.
fn has_part(playlist: &str) -> bool {
    let listed = live::get(playlist).unwrap_or_default();
    let part = listed.lines().find_map(|line| line.strip_prefix("#EXT-X-PART:"));
    let name = part.and_then(|part| part.split("URI=\"").nth(1)?.split('"').next());
    name.is_some_and(|name| live::status(&beside(playlist, name)) == Some(200))
}

/// The first media playlist that a viewer with this entry URL is given.
fn first_playlist(entry: &str) -> Option<String> {
    let multivariant = live::get(entry).ok()?;
    let is_playlist = |line: &&str| line.contains("index.m3u8") && !line.starts_with('#');
    multivariant.lines().find(is_playlist).map(|line| beside(entry, line))
}

/// Where a relative URL leads.
fn beside(url: &str, relative: &str) -> String {
    let base = url.rsplit_once('/').map_or(url, |(base, _)| base);
    format!("{base}/{relative}")
}

/// What every publisher sends, encoded once.
fn clip() -> Result<PathBuf> {
    let file = paths::work("bench")?.join("match-360p.flv");
    let coding = ["-preset", "ultrafast", "-b:v", "2M"];
    clip::make(file, "testsrc2=size=640x360:rate=30", "60", &coding)
}
