//! Footage by RTMP: a publisher that behaves like a camera's encoder, and the page that plays it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Outcome;
use super::steps::played;
use crate::children::{AtSignal, Group};
use crate::servers::{Plan, Servers};
use crate::{paths, run, up};

const NAMED: &str = "SIGHTSCREEN_FOOTAGE";
/// Longest until the origin listens for a publisher.
const LISTENS: Duration = Duration::from_secs(30);
const REPEAT: &str = "cargo xtask test --only 'footage by RTMP'";

/// The clip beside the repository, or what is made where there is none.
struct Footage {
    file: PathBuf,
    word: String,
}

pub(super) fn run() -> Result<Outcome> {
    let footage = footage()?;
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(Plan::fresh(scratch.path(), "rtmp")?)?;
    let _publisher = publish(&footage.file, &servers)?;
    servers.ready()?;
    played(&mut servers, REPEAT)?;
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

/// What a camera's encoder would send: a key frame every two seconds, picture and sound.
fn made() -> Result<PathBuf> {
    let file = paths::work("footage")?.join("made.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-y", "-v", "error"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", "20", "-c:v", "libx264", "-preset", "veryfast"])
        .args(["-pix_fmt", "yuv420p", "-g", "60", "-sc_threshold", "0"])
        .args(["-c:a", "aac", "-ac", "2", "-b:a", "96k"])
        .arg(&file);
    run::logged("make a clip", &mut ffmpeg)?;
    Ok(file)
}

fn publish(footage: &Path, servers: &Servers) -> Result<Group> {
    let started = Instant::now();
    while !servers.ingest_listens() {
        if started.elapsed() > LISTENS {
            bail!("the origin does not listen at {}", servers.ingest_url());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-re", "-stream_loop", "-1", "-i"])
        .arg(footage)
        .args(["-c", "copy", "-f", "flv"])
        .arg(format!("{}/{}", servers.ingest_url(), servers.stream_key))
        .stdin(Stdio::null());
    Group::spawn(&mut ffmpeg, AtSignal::Stops)
}
