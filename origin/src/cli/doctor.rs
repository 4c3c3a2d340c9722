//! `doctor`: what this machine can do for an origin, and what it lacks.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use sightscreen_origin::config::{Config, Settings};
use sightscreen_origin::encode::budget::Budget;
use sightscreen_origin::encode::encoder::{Chosen, Encoder};
use sightscreen_origin::encode::ffmpeg::{check_installed, ffmpeg_version};
use sightscreen_origin::encode::ladder::{
    LadderInput, LadderLimits, Rung, RungRule, Shape, choose,
};
use sightscreen_origin::encode::speed::{Speed, measure};
use sightscreen_origin::ingest::Input;

/// Synced writes that are timed, as large as a part.
const WRITES: usize = 20;
const WRITE_BYTES: usize = 64 << 10;

/// A synced write that takes longer delays every part by as much, in milliseconds.
const SLOW_WRITE_MS: f64 = 50.0;

/// Fewer open files do not last for an event's viewers and encoders.
const FILES_MIN: u64 = 4096;

/// Streams that are counted at most.
const STREAMS_MAX: usize = 64;

/// Sources that are counted: lines and frames a second.
const SOURCES: [(u32, u32, u32); 4] =
    [(1920, 1080, 50), (1920, 1080, 25), (1280, 720, 50), (1280, 720, 25)];

/// Says what this machine can encode, and what it lacks for an origin
#[derive(Args)]
pub(crate) struct Doctor {
    /// File of settings: its ports, folders and ladder are looked at
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Good,
    /// It works, and not well.
    Poor,
    /// `serve` needs it.
    Missing,
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Finding {
    about: String,
    level: Level,
    found: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, about: &str, level: Level, found: impl Into<String>) {
        self.0.push(Finding { about: about.to_owned(), level, found: found.into() });
    }

    fn is_whole(&self) -> bool {
        self.0.iter().all(|finding| finding.level != Level::Missing)
    }
}

impl Doctor {
    /// Looks at the machine and prints what was found.
    pub(crate) fn print(&self) -> Result<(), String> {
        let configs = Config::read(&Settings::default(), self.config.as_deref());
        let configs = configs.map_err(|faults| {
            let list: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
            format!("the configuration has {} fault(s):{}", faults.len(), list.concat())
        })?;
        let config = configs.first().ok_or("the configuration has no event")?;
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        let mut findings = Findings::default();
        runtime.block_on(encoding(config, &mut findings));
        disk(&configs, &mut findings);
        ports(&configs, &mut findings);
        clock(&mut findings);
        files(&mut findings);
        self.tell(&findings)?;
        match findings.is_whole() {
            true => Ok(()),
            false => Err("something that serve needs is missing: see above".to_owned()),
        }
    }

    fn tell(&self, findings: &Findings) -> Result<(), String> {
        if self.json {
            let all = serde_json::json!({"ok": findings.is_whole(), "findings": findings.0});
            let text = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
            println!("{text}");
            return Ok(());
        }
        for Finding { about, level, found } in &findings.0 {
            let level = match level {
                Level::Good => "good",
                Level::Poor => "poor",
                Level::Missing => "MISSING",
            };
            println!("{level:8}{about}: {found}");
        }
        Ok(())
    }
}

/// ffmpeg, the encoders that work, and how much they bear.
async fn encoding(config: &Config, findings: &mut Findings) {
    if let Err(error) = check_installed().await {
        return findings.add("ffmpeg", Level::Missing, error.to_string());
    }
    let version = ffmpeg_version().await.unwrap_or_default();
    findings.add("ffmpeg", Level::Good, version.lines().next().unwrap_or_default());
    let mut works = Vec::new();
    for encoder in [Encoder::Nvenc, Encoder::Qsv, Encoder::Vaapi, Encoder::X264] {
        let about = format!("encoder {}", encoder.name());
        match (encoder.try_out().await, encoder) {
            (Ok(()), _) => {
                works.push(encoder);
                findings.add(&about, Level::Good, "it encodes");
            }
            (Err(reason), Encoder::X264) => findings.add(&about, Level::Missing, reason),
            (Err(reason), set) if Some(set) == config.encoder => {
                findings.add(&about, Level::Poor, format!("it is set and fails: {reason}"));
            }
            (Err(reason), _) => findings.add(&about, Level::Good, format!("not there: {reason}")),
        }
    }
    let wanted = config.encoder.filter(|encoder| works.contains(encoder));
    let Some(encoder) = wanted.or(works.first().copied()) else { return };
    rungs(config, encoder, findings).await;
    streams(config, encoder, findings).await;
}

/// What each rung costs with the encoder that would be used.
async fn rungs(config: &Config, encoder: Encoder, findings: &mut Findings) {
    for rule in config.rungs.iter().filter(|rule| rule.height <= config.max_height) {
        let fps = if rule.min_fps > 30 { rule.min_fps } else { 25 };
        let RungRule { height, bitrate, .. } = *rule;
        let rung = Rung { width: (height * 16 / 9) & !1, height, bitrate, half_rate: false };
        let about = format!("{} {}p{fps}", encoder.name(), rule.height);
        match measure(encoder, config.preset, rung, (fps, 1)).await {
            Ok(cost) => {
                let level = if cost.times < 1.0 { Level::Poor } else { Level::Good };
                let found =
                    format!("{:.1} times real time, {:.2} cores busy", cost.times, cost.cores);
                findings.add(&about, level, found);
            }
            Err(error) => findings.add(&about, Level::Poor, error.to_string()),
        }
    }
}

/// How many events of a source fit, and with which rungs, by the origin's own choice.
async fn streams(config: &Config, encoder: Encoder, findings: &mut Findings) {
    let Ok(folder) = tempfile_folder() else { return };
    let file = folder.join("speed");
    for (width, height, fps) in SOURCES {
        let limits = LadderLimits {
            max_height: config.max_height,
            rungs: config.rungs.clone(),
            budget: Budget::of_machine(config.cpu_share, Speed::kept_in(file.clone())),
            encoder: Chosen::new(encoder),
            preset: config.preset,
            audio_bitrate: config.audio_bitrate,
        };
        let (mut claims, mut first) = (Vec::new(), Vec::new());
        while claims.len() < STREAMS_MAX {
            let claim = limits.budget.claim();
            let shape = Shape { width, height };
            let source = LadderInput { shape, fps: (fps, 1), can_halve: true };
            let Ok(rungs) = choose(source, &limits, &claim).await else { break };
            if claims.is_empty() {
                first = rungs.iter().map(|rung| rung.height).collect();
            }
            if rungs.len() < first.len() {
                break;
            }
            claims.push(claim);
        }
        let found = format!("{} fit with rungs {first:?}", claims.len());
        findings.add(&format!("streams of {height}p{fps}"), Level::Good, found);
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn tempfile_folder() -> std::io::Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("sightscreen-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

/// Whether the data folder can be written, how fast, and how long it lasts.
fn disk(configs: &[Config], findings: &mut Findings) {
    let Some(config) = configs.first() else { return };
    let folder = &config.data;
    match synced_writes(folder) {
        Ok((median, worst)) => {
            let level = if median > SLOW_WRITE_MS { Level::Poor } else { Level::Good };
            let found = format!("a synced write takes {median:.1} ms, at worst {worst:.1} ms");
            findings.add("disk", level, found);
        }
        Err(error) => {
            let found =
                format!("--data {}: {error}: name a folder that can be written", folder.display());
            return findings.add("disk", Level::Missing, found);
        }
    }
    let bits = |config: &Config| -> u64 {
        let rungs = config.rungs.iter().filter(|rung| rung.height <= config.max_height);
        rungs.map(|rung| u64::from(rung.bitrate)).sum::<u64>() * u64::from(config.dvr_s)
    };
    let needed = configs.iter().map(bits).sum::<u64>() / 8;
    match free_bytes(folder) {
        Some(free) => {
            let level = if free < needed { Level::Poor } else { Level::Good };
            let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
            let found =
                format!("{:.1} GiB free, dvr takes up to {:.1} GiB", gib(free), gib(needed));
            findings.add("space", level, found);
        }
        None => findings.add("space", Level::Poor, "df does not say how much is free"),
    }
}

/// Median and worst milliseconds of a synced write.
fn synced_writes(folder: &Path) -> std::io::Result<(f64, f64)> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(".doctor");
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begun = Instant::now();
        let mut file = std::fs::File::create(&path)?;
        file.write_all(&[0x5a; WRITE_BYTES])?;
        file.sync_all()?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path)?;
    took.sort_by(f64::total_cmp);
    let at = |index: usize| took.get(index).copied().unwrap_or_default();
    Ok((at(WRITES / 2), at(WRITES - 1)))
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let kib: u64 = text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()?;
    kib.checked_mul(1024)
}

fn ports(configs: &[Config], findings: &mut Findings) {
    let Some(config) = configs.first() else { return };
    let takes = configs.iter().any(|config| matches!(config.input, Input::Publisher(_)));
    let rtmp = takes.then_some(("rtmp", config.rtmp));
    let wanted: [(&str, SocketAddr); 2] = [("listen", config.listen), ("control", config.control)];
    for (name, address) in wanted.into_iter().chain(rtmp) {
        let about = format!("port {name} {address}");
        match TcpListener::bind(address) {
            Ok(_) => findings.add(&about, Level::Good, "it is free"),
            Err(error) => {
                let found =
                    format!("{error}: stop what uses it (another origin?), or choose another");
                findings.add(&about, Level::Missing, found);
            }
        }
    }
}

fn clock(findings: &mut Findings) {
    let asked =
        Command::new("timedatectl").args(["show", "-p", "NTPSynchronized", "--value"]).output();
    let said = asked.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match said.as_deref() {
        Some("yes") => findings.add("clock", Level::Good, "it is synchronised"),
        Some("no") => {
            findings.add("clock", Level::Poor, "it is not synchronised: start an NTP client");
        }
        _ => findings.add("clock", Level::Poor, "nothing here says whether it is synchronised"),
    }
}

fn files(findings: &mut Findings) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    match soft.map(|text| text.parse::<u64>().unwrap_or(u64::MAX)) {
        Some(limit) if limit < FILES_MIN => {
            let found = format!("{limit} may be open: raise it to {FILES_MIN} or more (ulimit -n)");
            findings.add("files", Level::Poor, found);
        }
        Some(u64::MAX) => findings.add("files", Level::Good, "any number may be open"),
        Some(limit) => findings.add("files", Level::Good, format!("{limit} may be open")),
        None => findings.add("files", Level::Poor, "the limit of open files cannot be read"),
    }
}
