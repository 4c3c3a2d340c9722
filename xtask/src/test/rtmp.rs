//! Footage in two events at once: by RTMP, as a camera's encoder sends it, and by SRT into a stream
//! that the API made. Chromium plays both.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Outcome;
use super::steps::PLAY_S;
use crate::children::{AtSignal, Group};
use crate::servers::{Plan, Servers};
use crate::{browser, clip, live, paths, up};

const NAMED: &str = "SIGHTSCREEN_FOOTAGE";
/// Longest until the origin listens for a publisher.
const LISTENS: Duration = Duration::from_secs(30);
const REPEAT: &str = "cargo xtask test --only 'footage by RTMP'";
/// The second event.
const OTHER: &str = "other";

/// The clip beside the repository, or what is made where there is none.
struct Footage {
    file: PathBuf,
    word: String,
}

pub(super) fn run() -> Result<Outcome> {
    let footage = footage()?;
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut plan = Plan::fresh(scratch.path(), "rtmp")?;
    let srt = format!("127.0.0.1:{}", free_udp_port()?);
    // Small, because the machine has two to encode and two to play.
    plan.origin_flags = ["--srt", &srt, "--max-height", "160"].map(str::to_owned).into();
    let mut servers = Servers::start(plan)?;
    let _publisher = by_rtmp(&footage.file, &servers)?;
    let _other = by_srt(&footage.file, &servers, &srt)?;
    servers.ready()?;
    let report = browser::play_two(&mut servers, PLAY_S, OTHER)?;
    let verdicts = [browser::judge(&servers, &report)?, browser::judge_steady(&report["beside"])];
    for verdict in &verdicts {
        print!("{verdict}");
    }
    verdicts.iter().try_for_each(|verdict| verdict.demand(REPEAT))?;
    Ok(Outcome::Passed(footage.word))
}

/// Real footage: what the environment names, else the clip beside the repository. Without both, a
/// made one stands in.
fn footage() -> Result<Footage> {
    if let Some(named) = std::env::var_os(NAMED).map(PathBuf::from) {
        if !named.is_file() {
            bail!("{NAMED} names {}, where there is no file", named.display());
        }
        let word = format!("with {}", named.display());
        return Ok(Footage { file: named, word });
    }
    let shared = paths::root().join("../shared/media/skyline_360p.mp4");
    if shared.is_file() {
        let word = "with real footage".to_owned();
        return Ok(Footage { file: shared, word });
    }
    let word = format!(
        "with a MADE clip, because there was no real footage (set {NAMED} to a file with H.264 and \
         AAC)"
    );
    println!("  {word}");
    let file = made()?;
    Ok(Footage { file, word })
}

fn made() -> Result<PathBuf> {
    let file = paths::work("footage")?.join("made.mp4");
    let coding = ["-preset", "veryfast", "-b:a", "96k"];
    clip::make(file, "testsrc2=size=640x360:rate=30", "20", &coding)
}

fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn by_rtmp(footage: &Path, servers: &Servers) -> Result<Group> {
    wait_to_listen(servers)?;
    let url = format!("{}/{}", servers.ingest_url(), servers.stream_key);
    publish(footage, "flv", &url)
}

/// Until publishers can connect.
pub(super) fn wait_to_listen(servers: &Servers) -> Result<()> {
    let started = Instant::now();
    while !servers.ingest_listens() {
        if started.elapsed() > LISTENS {
            bail!("the origin does not listen at {}", servers.ingest_url());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Into a stream that is made for it.
fn by_srt(footage: &Path, servers: &Servers, address: &str) -> Result<Group> {
    let asked = json!({"id": OTHER, "title": "The other match", "languages": ["en"]});
    let made = live::post_as(
        &format!("{}/api/v1/streams", servers.control_url()),
        &servers.token,
        &asked,
    )?;
    let key = made["stream_key"].as_str().context("the stream has no key")?;
    publish(footage, "mpegts", &srt_url(address, OTHER, key))
}

/// Where to call the entrance at this address as the publisher of an event with this key.
pub(super) fn srt_url(address: &str, event: &str, key: &str) -> String {
    let passphrase = format!("{:x}", Sha256::digest(key));
    let id = format!("%23%21%3A%3Ar%3D{event}%2Cm%3Dpublish");
    // In milliseconds, for a machine with much to do; ffmpeg gives up after three seconds.
    let options = format!("passphrase={passphrase}&pkt_size=1316&connect_timeout=30000");
    format!("srt://{address}?streamid={id}&{options}")
}

/// Sends a clip again and again, as it is.
pub(super) fn publish(footage: &Path, format: &str, url: &str) -> Result<Group> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(footage)
        .args(["-c", "copy", "-f", format, url])
        .stdin(Stdio::null());
    Group::spawn(&mut ffmpeg, AtSignal::Stops)
}
