//! What the origin's ladder costs over bare ffmpeg that makes the same outputs of the same clip:
//! the processor time of one second of media. The two run side by side and are measured over the
//! same seconds, because the machine's speed changes from minute to minute.
//!
//! The origin's: its whole process and its encoder, without viewers, edge or breaks, and with its
//! creatives prepared before. So it has in it the playlists, the index, the synced files and the
//! snapshots. Bare ffmpeg's: what a person would type. It reads the clip in real time in a loop,
//! scales once for each rung by the same scaler, and has the encoders' options word for word from
//! the running encoder's command line. Its own muxer writes HLS with segments of the same length in
//! fMP4. It makes no parts, and neither's start is counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::{cpu_s, cpu_s_with_children};
use super::{Figure, median};
use crate::children::{AtSignal, Group};
use crate::servers::{Plan, Servers};
use crate::{clip, paths, up};

/// Each with a start of its own.
const TURNS: usize = 3;
/// Over which the time is taken. Both make media in real time, so as many seconds of media.
const MEASURED: Duration = Duration::from_secs(40);
/// Of two seconds, as the origin's are unless set.
const SEGMENT: Duration = Duration::from_secs(2);
/// That bare ffmpeg writes before that, for what only a start costs.
const FIRST: usize = 2;
const POLL: Duration = Duration::from_millis(10);
/// All rungs up to 720 lines: what two cores can encode twice in real time.
const FLAGS: [&str; 6] = ["--languages", "en", "--max-height", "720", "--cpu-percent", "90"];

pub(super) fn measure() -> Result<Vec<Figure>> {
    println!("the ladder beside bare ffmpeg, processor time of a second of media:");
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let clip = clip()?;
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        let cost = turn(&clip, scratch.path())?;
        println!(
            "  origin {:.4} s ({:.4} s of it its ffmpeg), bare ffmpeg {:.4} s: {:.3}",
            cost.all(),
            cost.encoder,
            cost.bare,
            cost.ratio()
        );
        turns.push(cost);
    }
    let of = |cost: fn(&Cost) -> f64| median(turns.iter().map(cost));
    Ok(vec![
        Figure::new("origin and its ffmpeg", of(Cost::all), "s"),
        Figure::new("its ffmpeg alone", of(|cost| cost.encoder), "s"),
        Figure::new("bare ffmpeg", of(|cost| cost.bare), "s"),
        Figure::new("its ffmpeg alone, to bare ffmpeg", of(|cost| cost.encoder / cost.bare), ""),
        Figure::new("ratio of the two", of(Cost::ratio), "").at_most(1.05),
    ])
}

/// Seconds of processor time for a second of media.
struct Cost {
    /// The origin's own process.
    process: f64,
    encoder: f64,
    bare: f64,
}

impl Cost {
    fn all(&self) -> f64 {
        self.process + self.encoder
    }

    fn ratio(&self) -> f64 {
        self.all() / self.bare
    }
}

/// Both at once. The origin's folder is kept for the next turn, so that creatives are prepared
/// once.
fn turn(clip: &Path, data: &Path) -> Result<Cost> {
    let mut plan = Plan::fresh(data, &format!("file:{}", clip.display()))?;
    plan.scheduled = false;
    plan.origin_flags = FLAGS.map(str::to_owned).into();
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    servers.prepared()?;
    servers.stop("edge");
    let process = servers.pid("origin").context("there is no origin")?;
    let encoder = match servers.encoders()?[..] {
        [encoder] => encoder,
        ref others => bail!("expected one encoder of the origin, found {}", others.len()),
    };
    let folder = tempfile::tempdir()?;
    let bare = bare(clip, &command_line(encoder)?, folder.path())?;
    segments_are_written(&folder.path().join("0/index.m3u8"), FIRST)?;
    let taken = || -> Result<[f64; 3]> {
        Ok([cpu_s_with_children(process)?, cpu_s(encoder)?, cpu_s(bare.id())?])
    };
    let (begun, before) = (Instant::now(), taken()?);
    sleep(MEASURED);
    let (measured, after) = (begun.elapsed(), taken()?);
    servers.tend()?;
    let cost = |at: usize| (after[at] - before[at]) / measured.as_secs_f64();
    Ok(Cost { process: cost(0), encoder: cost(1), bare: cost(2) })
}

fn command_line(pid: u32) -> Result<Vec<String>> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).context("the encoder is gone")?;
    let text = String::from_utf8(bytes).context("the encoder's command line is no text")?;
    Ok(text.trim_end_matches('\0').split('\0').map(str::to_owned).collect())
}

/// Bare ffmpeg that writes the outputs of the origin's encoder, each into a folder of its own.
fn bare(clip: &Path, encoder: &[String], folder: &Path) -> Result<Group> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-hide_banner", "-nostdin", "-y", "-v", "warning"])
        .args(["-re", "-stream_loop", "-1", "-i"])
        .arg(clip)
        .args(["-filter_complex", &filters(encoder)?])
        .stdin(Stdio::null());
    for (at, options) in outputs(encoder).into_iter().enumerate() {
        let folder = folder.join(at.to_string());
        fs::create_dir(&folder)?;
        ffmpeg
            .args(options)
            .args(["-f", "hls", "-hls_segment_type", "fmp4", "-hls_list_size", "0"])
            .args(["-hls_time", &SEGMENT.as_secs().to_string()])
            .arg(folder.join("index.m3u8"));
    }
    Group::spawn(&mut ffmpeg, AtSignal::Stops)
}

/// The picture of the clip at each size of the origin's graph, `[v0]` and so on.
fn filters(encoder: &[String]) -> Result<String> {
    let graph = encoder.iter().find(|arg| arg.contains(",split=")).context("no split picture")?;
    let scales = graph.split(',').filter_map(|filter| {
        let (_, scale) = filter.split_once("scale=")?;
        scale.split_once(":force_original").map(|(size_and_scaler, _)| size_and_scaler)
    });
    let scales: Vec<_> = scales.collect();
    let mut filters = format!("[0:v]split={}", scales.len());
    (0..scales.len()).for_each(|at| filters.push_str(&format!("[s{at}]")));
    for (at, scale) in scales.iter().enumerate() {
        filters.push_str(&format!(";[s{at}]scale={scale}[v{at}]"));
    }
    Ok(filters)
}

/// For each output its source and its encoder's options, without those of the muxer. Sound is the
/// clip's own.
fn outputs(encoder: &[String]) -> Vec<Vec<String>> {
    let mut outputs = Vec::new();
    for group in encoder.split(|arg| arg == "-map").skip(1) {
        let muxer = group.iter().position(|arg| arg == "-output_ts_offset");
        let mut output = vec!["-map".to_owned()];
        output.extend_from_slice(&group[..muxer.unwrap_or(group.len())]);
        if let Some(sound) = output.iter_mut().find(|arg| arg.starts_with("[a")) {
            "0:a".clone_into(sound);
        }
        if let Some(at) = output.iter().position(|arg| arg == "-video_track_timescale") {
            output.drain(at..output.len().min(at + 2));
        }
        outputs.push(output);
    }
    outputs
}

fn segments_are_written(playlist: &Path, count: usize) -> Result<()> {
    let deadline = Instant::now() + SEGMENT * (u32::try_from(count)? + 5);
    let written = || fs::read_to_string(playlist).unwrap_or_default().matches("#EXTINF:").count();
    while written() < count {
        if Instant::now() > deadline {
            bail!("bare ffmpeg did not write {count} segments in time");
        }
        sleep(POLL);
    }
    Ok(())
}

/// Something between a camera and a drawing: a moving picture with noise, and sound.
fn clip() -> Result<PathBuf> {
    let file = paths::work("bench")?.join("match-720p.mp4");
    let coding = ["-preset", "veryfast", "-b:v", "6M"];
    clip::make(file, "testsrc2=size=1280x720:rate=30,noise=alls=10:allf=t", "40", &coding)
}
