//! What the origin costs beyond bare ffmpeg that makes the same outputs, in one run.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::unistd::{SysconfVar, sysconf};

use super::Figure;
use crate::children::{AtSignal, Group};
use crate::servers::{Plan, Servers};
use crate::{run, up};

/// Long enough that what a start costs does not count, on a machine of two cores.
const MEASURED: Duration = Duration::from_secs(40);
/// Until decoders and encoders are at their pace.
const SETTLES: Duration = Duration::from_secs(5);

pub(super) fn measure() -> Result<Vec<Figure>> {
    println!("the ladder beside bare ffmpeg, {} s each:", MEASURED.as_secs());
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let clip = clip(scratch.path())?;
    let mut plan = Plan::fresh(&scratch.path().join("data"), &format!("file:{}", clip.display()))?;
    plan.scheduled = false;
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    servers.prepared()?;
    let encoder = servers.encoder()?.context("the origin runs no encoder")?;
    let origin = servers.pid("origin").context("there is no origin")?;
    let command = arguments(encoder)?;
    let ours = spent(&[origin, encoder])?;
    drop(servers);
    let bare = bare(&command, scratch.path())?;
    let share = |seconds: f64| 100.0 * seconds / MEASURED.as_secs_f64();
    Ok(vec![
        Figure::new("origin with its encoder", share(ours), "% of a core"),
        Figure::new("bare ffmpeg, same outputs", share(bare), "% of a core"),
        Figure::new("ratio", ours / bare, "").at_most(1.05),
    ])
}

/// A clip of 20 s that is read in a loop, as large as the ladder's tallest rung on two cores.
fn clip(folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join("clip.mp4");
    let mut make = Command::new("ffmpeg");
    make.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30:d=20"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=20"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "60"])
        .args(["-c:a", "aac"])
        .arg(&path);
    run::logged("bench clip", &mut make)?;
    Ok(path)
}

/// The command line of a running process.
fn arguments(pid: u32) -> Result<Vec<String>> {
    let line = fs::read(format!("/proc/{pid}/cmdline"))?;
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    Ok(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// The same command with files in place of the origin's sockets.
fn bare(command: &[String], folder: &Path) -> Result<f64> {
    let Some((program, arguments)) = command.split_first() else {
        bail!("the encoder has no command line");
    };
    let outputs = arguments.iter().enumerate().map(|(at, argument)| {
        if argument.starts_with("unix:") {
            folder.join(format!("{at}.mp4")).display().to_string()
        } else {
            argument.clone()
        }
    });
    let mut ffmpeg = Command::new(program);
    ffmpeg.args(outputs).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ffmpeg = Group::spawn(&mut ffmpeg, AtSignal::Stops)?;
    spent(&[ffmpeg.id()])
}

/// Processor seconds that these take while they are measured.
fn spent(pids: &[u32]) -> Result<f64> {
    std::thread::sleep(SETTLES);
    let used = || pids.iter().map(|pid| processor_seconds(*pid)).sum::<Result<f64>>();
    let before = used()?;
    std::thread::sleep(MEASURED);
    Ok(used()? - before)
}

/// Processor seconds that a process has taken so far.
pub(super) fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // What follows the name in brackets: the 12th and 13th are user and system time.
    let (_, fields) = stat.rsplit_once(") ").context("a process without fields")?;
    let ticks: u64 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()
        .context("processor time is no number")?;
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no ticks a second")?;
    Ok(ticks as f64 / per_second as f64)
}
