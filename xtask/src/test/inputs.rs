//! The live check of four events of one origin at once, through an edge node: the built-in match,
//! and what publishers send by RTMP, in datagrams and by SRT.

use std::fmt::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::Outcome;
use super::rtmp::{publish, srt_url, wait_to_listen};
use crate::children::Group;
use crate::live::{self, Follower};
use crate::servers::{Plan, Servers, random_hex};
use crate::{clip, paths, up};

/// The built-in match.
const MATCH: &str = "demo";
/// Those with publishers.
const BY_RTMP: &str = "by-rtmp";
const BY_UDP: &str = "by-udp";
const BY_SRT: &str = "by-srt";

/// Where publishers come in, and what they name.
struct Entrances {
    rtmp_key: String,
    srt_key: String,
    udp: String,
    srt: String,
}

pub(super) fn run() -> Result<Outcome> {
    up::build()?;
    let check = live::checker()?;
    let clip = clip()?;
    let scratch = tempfile::tempdir()?;
    let entrances = Entrances::new()?;
    let mut servers = Servers::start(entrances.plan(scratch.path())?)?;
    let _publishers = entrances.publishers(&clip, &servers)?;
    servers.ready()?;
    let mut followers = vec![Follower::begin(&check, MATCH, &[], &printed_entry(&servers)?)?];
    for event in [BY_RTMP, BY_UDP, BY_SRT] {
        followers.push(Follower::begin(&check, event, &[], &servers.signed_entry_of(event)?)?);
    }
    let judged = followers.into_iter().map(Follower::judge).collect::<Result<Vec<_>>>()?;
    let counts: Vec<&str> = judged.iter().map(|one| one.count.as_str()).collect();
    let broken: Vec<_> = judged.iter().filter(|one| !one.is_whole).collect();
    let faults: String =
        broken.iter().map(|one| format!("{}\n{}", one.count, one.faults)).collect();
    ensure!(broken.is_empty(), "{faults}");
    Ok(Outcome::Passed(counts.join("; ")))
}

impl Entrances {
    fn new() -> Result<Self> {
        // Held together, so that they differ.
        let free = || UdpSocket::bind("127.0.0.1:0");
        let (udp, srt) = (free()?, free()?);
        let (udp, srt) = (udp.local_addr()?.to_string(), srt.local_addr()?.to_string());
        Ok(Self { rtmp_key: random_hex::<16>()?, srt_key: random_hex::<16>()?, udp, srt })
    }

    fn plan(&self, scratch: &Path) -> Result<Plan> {
        let mut plan = Plan::fresh(scratch, "rtmp")?;
        let file = scratch.join("origin.toml");
        std::fs::write(&file, self.events()?)?;
        plan.events = Some(file);
        // Four encoders, three of which are small.
        plan.origin_flags = ["--srt", &self.srt, "--cpu-percent", "50"].map(str::to_owned).into();
        Ok(plan)
    }

    /// The events as settings.
    fn events(&self) -> Result<String> {
        let mut text =
            format!("[[events]]\nevent = \"{MATCH}\"\ninput = \"test\"\nmax-height = 720\n");
        let udp = format!("udp://{}", self.udp);
        for (event, input, key) in [
            (BY_RTMP, "rtmp", Some(&self.rtmp_key)),
            (BY_UDP, &udp, None),
            (BY_SRT, "rtmp", Some(&self.srt_key)),
        ] {
            let key = key.map_or_else(String::new, |key| format!("stream-key = \"{key}\"\n"));
            write!(
                text,
                "[[events]]\nevent = \"{event}\"\ninput = \"{input}\"\n{key}languages = [\"en\"]\n\
                 max-height = 160\n[[events.pods]]\ncohort = \"generic\"\n\
                 creatives = [\"built-in:bank\", \"built-in:car\"]\n"
            )?;
        }
        Ok(text)
    }

    fn publishers(&self, clip: &Path, servers: &Servers) -> Result<[Group; 3]> {
        wait_to_listen(servers)?;
        let rtmp = format!("{}/{}", servers.ingest_url(), self.rtmp_key);
        let udp = format!("udp://{}?pkt_size=1316", self.udp);
        let srt = srt_url(&self.srt, BY_SRT, &self.srt_key);
        Ok([
            publish(clip, "flv", &rtmp)?,
            publish(clip, "mpegts", &udp)?,
            publish(clip, "mpegts", &srt)?,
        ])
    }
}

/// The entry URL of the built-in match that `sightscreen-origin sign` prints, once `inspect` has
/// called it good.
fn printed_entry(servers: &Servers) -> Result<String> {
    let url = servers.signed_entry()?;
    let explained = servers.explained(&url)?;
    ensure!(
        explained.contains("good, and admitted now"),
        "expected sightscreen-origin inspect to admit what sign printed; it says:\n{explained}"
    );
    Ok(url)
}

/// What every publisher sends, encoded once.
fn clip() -> Result<PathBuf> {
    let file = paths::work("footage")?.join("inputs.mp4");
    let coding = ["-preset", "ultrafast", "-b:v", "1M"];
    clip::make(file, "testsrc2=size=284x160:rate=30", "60", &coding)
}
