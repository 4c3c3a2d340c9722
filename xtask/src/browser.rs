//! Plays the page in a real browser and judges what it saw by the origin's frozen decisions.
//!
//! A verdict rests only on what the browser reported. What was not seen fails.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::children::{self, AtSignal, Group};
use crate::servers::Servers;
use crate::{live, paths, run, tools};

/// For a browser to start and to end, beyond the time that it plays.
const DRIVER_MORE: Duration = Duration::from_secs(90);

/// The driver that plays and samples.
const PLAY: &str = "drive.mjs";
/// Longest standstill that a viewer may meet, in seconds.
pub(crate) const STALL: f64 = 0.5;
/// By how much of the real time the playhead must advance: joining costs a little, and playing
/// faster on the way to the live edge gains a little.
const ADVANCE: RangeInclusive<f64> = 0.9..=1.1;
/// Readings of the picture's own clock, of two a second while the match is on.
const STRIP_READ: u64 = 10;
/// From the start of the servers to the first picture, in seconds.
const FIRST_PICTURE: f64 = 15.0;

/// What was asked, and how it came out.
#[derive(Default)]
pub(crate) struct Verdict {
    checks: Vec<Check>,
    measured: Vec<String>,
}

struct Check {
    passed: bool,
    /// Whether a machine that was busy for a moment explains a failure.
    pace: bool,
    what: String,
}

/// A check in real time failed, and nothing but the machine's pace is against it.
#[derive(Debug)]
pub(crate) struct TooSlow(String);

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TooSlow {}

impl Verdict {
    /// Whether nothing failed.
    pub(crate) fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// An error that names what failed and how to repeat it; it is [`TooSlow`] where pace alone
    /// failed.
    pub(crate) fn demand(&self, repeat: &str) -> Result<()> {
        let failed: Vec<_> = self.checks.iter().filter(|check| !check.passed).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let words: Vec<_> = failed.iter().map(|check| check.what.as_str()).collect();
        let words = format!(
            "the browser saw something wrong: {}; repeat it with: {repeat}",
            words.join("; ")
        );
        if failed.iter().all(|check| check.pace) {
            return Err(TooSlow(words).into());
        }
        bail!(words)
    }

    /// Notes what came of a check.
    pub(crate) fn check(&mut self, passed: bool, what: String) {
        let pace = false;
        self.checks.push(Check { passed, pace, what });
    }

    fn pace(&mut self, passed: bool, what: String) {
        let pace = true;
        self.checks.push(Check { passed, pace, what });
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.measured {
            writeln!(f, "  {line}")?;
        }
        for check in &self.checks {
            let word = if check.passed { "ok  " } else { "FAIL" };
            writeln!(f, "  {word} {}", check.what)?;
        }
        Ok(())
    }
}

/// Opens the page in Chromium for a time; the answer is what the driver printed.
pub(crate) fn play(
    servers: &mut Servers,
    seconds: u64,
    screenshot: Option<&Path>,
) -> Result<Value> {
    let screenshot = screenshot.map(std::path::absolute).transpose()?;
    playing(servers, seconds, &json!({"screenshot": screenshot}))
}

/// The same with another event's page open beside it; what was seen there is the answer's `beside`.
pub(crate) fn play_two(servers: &mut Servers, seconds: u64, other: &str) -> Result<Value> {
    let url = servers.page_url(other);
    playing(servers, seconds, &json!({"beside": url}))
}

fn playing(servers: &mut Servers, seconds: u64, more: &Value) -> Result<Value> {
    let packages = tools::packages()?;
    let plan = json!({
        "packages": packages.folder(),
        "chromium": tools::chromium()?,
        "url": servers.page_url("demo"),
        "seconds": seconds,
        "screenshot": more["screenshot"],
        "beside": more["beside"],
    });
    println!("playing for {seconds} s in Chromium ...");
    let limit = Duration::from_secs(seconds) + DRIVER_MORE;
    let report = drive(PLAY, &plan, limit)?;
    servers.tend()?;
    Ok(report)
}

/// Renames what the first try printed, so that a second try does not overwrite it.
pub(crate) fn keep_first() -> Result<()> {
    let folder = paths::work("logs")?;
    let printed = folder.join(format!("{PLAY}.json"));
    if printed.is_file() {
        std::fs::rename(&printed, folder.join(format!("{PLAY}.first-try.json")))?;
    }
    Ok(())
}

/// Runs a driver of `xtask/node`; the answer is the JSON that it printed.
pub(crate) fn drive(script: &str, plan: &Value, limit: Duration) -> Result<Value> {
    let printed = paths::work("logs")?.join(format!("{script}.json"));
    let mut driver = Command::new("node");
    driver
        .arg(paths::root().join("xtask/node").join(script))
        .arg(plan.to_string())
        .stdin(Stdio::null())
        .stdout(File::create(&printed)?);
    let mut group = Group::spawn(&mut driver, AtSignal::Stops)?;
    let status = run::finish(&mut group, script, limit, |_| {})?;
    children::check()?;
    let text = std::fs::read_to_string(&printed)?;
    match status {
        Some(status) if status.success() => {}
        Some(status) => bail!("the browser's driver ended with {status}: {text}"),
        None => {
            bail!("the browser's driver did not end within {} s and was stopped", limit.as_secs())
        }
    }
    serde_json::from_str(text.trim())
        .with_context(|| format!("the browser's driver printed no report: {text}"))
}

/// Compares a report with what was asked of a player and with the pods of its cohort.
pub(crate) fn judge(servers: &Servers, report: &Value) -> Result<Verdict> {
    let mut verdict = judge_steady(report);
    if !servers.waits_for_a_publisher() {
        first_picture(servers, report, &mut verdict)?;
    }
    if servers.shows_the_test_match() {
        strip(report, &mut verdict);
    }
    match pods(servers, report) {
        Ok(pods) => {
            breaks(&pods, report, &mut verdict);
            entirely(&pods, &Played::list(report), &mut verdict);
        }
        Err(error) => verdict.check(false, format!("the cohort's pods: {error:#}")),
    }
    faults(report, &mut verdict);
    Ok(verdict)
}

/// Whether picture and sound went on, whatever was shown.
pub(crate) fn judge_steady(report: &Value) -> Verdict {
    let mut verdict = Verdict { measured: measured(report), ..Verdict::default() };
    picture(report, &mut verdict);
    sound(report, &mut verdict);
    stalls(report, &mut verdict);
    in_order(&Played::list(report), &mut verdict);
    let problems = report["problems"].as_array().map_or(0, Vec::len);
    verdict.check(
        problems == 0,
        format!("the page reported {problems} problems {}", report["problems"]),
    );
    verdict
}

/// What no page may do, however busy the machine and whatever is switched off.
pub(crate) fn faults(report: &Value, verdict: &mut Verdict) {
    for (name, what) in [
        ("thrown", "exceptions that nobody caught"),
        ("outside", "requests to other servers than the edge"),
    ] {
        let none = report[name].as_array().is_some_and(Vec::is_empty);
        verdict.check(none, format!("{what}: {}", report[name]));
    }
}

fn measured(report: &Value) -> Vec<String> {
    let spread = |name: &str| {
        let of = &report[name];
        if of.is_null() {
            return "none seen".to_owned();
        }
        format!(
            "median {} s, 95 % {} s, largest {} s of {} samples",
            of["median"], of["p95"], of["max"], of["samples"]
        )
    };
    vec![
        format!(
            "first picture {} ms after the page was opened, {}x{}",
            report["firstPictureMs"], report["size"][0], report["size"][1]
        ),
        format!("latency by hls.js: {}", spread("latency")),
        format!("latency read off the picture: {}", spread("pictureLatency")),
        format!(
            "frames {}, dropped {}, stalls {}",
            report["frames"], report["dropped"], report["stalls"]
        ),
        format!("ledger revisions {}", report["revisions"]),
        format!("hls.js reported {}", reasons(&report["errors"])),
    ]
}

/// What hls.js complained of, and how often.
fn reasons(errors: &Value) -> String {
    let mut counts = BTreeMap::new();
    for error in errors.as_array().into_iter().flatten() {
        *counts.entry(error["details"].as_str().unwrap_or("?")).or_insert(0) += 1;
    }
    if counts.is_empty() {
        return "no error".to_owned();
    }
    let words: Vec<_> = counts.iter().map(|(what, times)| format!("{what} {times}")).collect();
    words.join(", ")
}

/// Within the time that a person waits, from the moment when the builds had ended.
fn first_picture(servers: &Servers, report: &Value, verdict: &mut Verdict) -> Result<()> {
    let started = servers.started.duration_since(UNIX_EPOCH)?.as_secs_f64();
    let shown = report["firstPictureMs"].as_f64();
    let seconds = shown.map(|ms| (number(&report["opened"]) + ms) / 1000.0 - started);
    match seconds {
        Some(seconds) => verdict.pace(
            seconds <= FIRST_PICTURE,
            format!("the first picture came {seconds:.1} s after the servers' start, expected within {FIRST_PICTURE} s"),
        ),
        None => verdict.check(false, "no picture came".to_owned()),
    }
    Ok(())
}

fn picture(report: &Value, verdict: &mut Verdict) {
    let samples: Vec<_> = samples(report).filter(|sample| sample["picture"].is_u64()).collect();
    // Where the playhead stood there is a stall, which is judged by its length.
    let pairs: Vec<_> = samples.windows(2).filter(|pair| more(pair, "time")).collect();
    let changed = pairs
        .iter()
        .filter(|pair| pair[0]["picture"] != pair[1]["picture"] && more(pair, "frames"))
        .count();
    // A machine that is too busy to paint goes on playing.
    verdict.pace(
        !pairs.is_empty() && changed * 100 >= pairs.len() * 95,
        format!("the picture moved between {changed} of {} samples", pairs.len()),
    );
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        verdict.check(false, "no picture was seen".to_owned());
        return;
    };
    let real = number(&last["at"]) / 1000.0 - number(&first["at"]) / 1000.0;
    let shown = number(&last["time"]) - number(&first["time"]);
    verdict.pace(
        ADVANCE.contains(&(shown / real)),
        format!("the playhead advanced {shown:.1} s in {real:.1} s"),
    );
}

/// The test match shows in each picture when it was made. Without enough readings the latency would
/// not mean anything.
fn strip(report: &Value, verdict: &mut Verdict) {
    let read = report["pictureLatency"]["samples"].as_u64().unwrap_or(0);
    verdict.check(
        read >= STRIP_READ,
        format!(
            "the latency was read off the picture {read} times, expected at least {STRIP_READ}"
        ),
    );
}

fn sound(report: &Value, verdict: &mut Verdict) {
    let samples: Vec<_> = samples(report).filter(|sample| sample["firstPicture"] == true).collect();
    // Audio is decoded in bursts, a part at a time: look at two seconds, not at neighbours, and not
    // where the playhead stood.
    let windows: Vec<_> =
        samples.windows(5).filter(|some| some.windows(2).all(|pair| more(pair, "time"))).collect();
    let grew = windows.iter().filter(|some| more(some, "audioBytes")).count();
    verdict.check(
        !windows.is_empty() && grew == windows.len(),
        format!("audio was decoded in {grew} of {} spans of two seconds", windows.len()),
    );
}

fn stalls(report: &Value, verdict: &mut Verdict) {
    let longest = longest_stall(report);
    verdict.pace(
        longest <= STALL,
        format!("the longest stall was {longest:.2} s, expected at most {STALL} s"),
    );
}

/// Seconds; without end where the page reported none of its stalls.
pub(crate) fn longest_stall(report: &Value) -> f64 {
    let stalls = report["stalls"].as_array();
    stalls.map_or(f64::INFINITY, |stalls| {
        let seconds = stalls.iter().map(|stall| number(&stall["seconds"]));
        seconds.fold(0.0, f64::max)
    })
}

/// A fragment that the playhead entered.
struct Played {
    sequence: u64,
    creative: Option<String>,
}

impl Played {
    fn list(report: &Value) -> Vec<Self> {
        let entries = report["played"].as_array().into_iter().flatten();
        entries
            .filter_map(|entry| {
                Some(Self {
                    sequence: entry["sn"].as_u64()?,
                    creative: entry["creative"].as_str().map(str::to_owned),
                })
            })
            .collect()
    }
}

/// The creatives that a viewer saw, by sequence number.
pub(crate) fn ads(report: &Value) -> BTreeMap<u64, String> {
    let played = Played::list(report).into_iter();
    played.filter_map(|one| Some((one.sequence, one.creative?))).collect()
}

/// The pods document of the viewer's cohort, as the origin published it last.
pub(crate) fn pods(servers: &Servers, report: &Value) -> Result<Value> {
    let cohort = report["cohort"].as_str().context("the page read no cohort in its pass")?;
    let state = servers.state()?;
    let revision = state["ledger"]["revision"]
        .as_u64()
        .with_context(|| format!("the control API named no revision: {state}"))?;
    let epoch = state["epoch"].as_str().context("the control API named no epoch")?;
    let name = format!("pods/demo/{epoch}.{revision}/{cohort}");
    let document = live::get(&format!("{}/documents/{name}", servers.origin_url()))?;
    let (_, payload) = document.split_once('\n').context("the pods document has no header line")?;
    Ok(serde_json::from_str(payload)?)
}

/// The creative that a cohort must see at a sequence number.
fn due(pods: &Value, sequence: u64) -> Option<(&str, &str)> {
    let breaks = pods["breaks"].as_array()?;
    let found = breaks.iter().find(|one| {
        let start = one["start"].as_u64().unwrap_or(u64::MAX);
        let length = one["length"].as_u64().unwrap_or(0);
        sequence >= start && sequence - start < length
    })?;
    let offset = sequence - found["start"].as_u64()?;
    let slots = found["slots"].as_array()?;
    let slot =
        slots.iter().rev().find(|slot| slot["offset"].as_u64().is_some_and(|at| at <= offset))?;
    Some((found["id"].as_str()?, slot["creative"].as_str()?))
}

/// Whether a viewer saw content and the creatives that were due, and content again.
pub(crate) fn breaks(pods: &Value, report: &Value, verdict: &mut Verdict) {
    let played = Played::list(report);
    let wrong: Vec<_> = played
        .iter()
        .filter(|one| {
            due(pods, one.sequence).map(|(_, creative)| creative) != one.creative.as_deref()
        })
        .map(|one| format!("{}: {:?}", one.sequence, one.creative))
        .collect();
    verdict.check(
        wrong.is_empty() && !played.is_empty(),
        format!(
            "{} of {} segments were what cohort {} was due {}",
            played.len() - wrong.len(),
            played.len(),
            pods["cohort"],
            wrong.join(", ")
        ),
    );
    let mut seen: Vec<&str> = played.iter().filter_map(|one| one.creative.as_deref()).collect();
    seen.dedup();
    let first = played.iter().position(|one| one.creative.is_some());
    let back = first.is_some_and(|at| played[at..].iter().any(|one| one.creative.is_none()));
    let before = first.is_some_and(|at| at > 0);
    verdict.check(before && back, format!("content, then a break of {seen:?}, then content again"));
}

/// Whether nothing was left out.
fn entirely(pods: &Value, played: &[Played], verdict: &mut Verdict) {
    let whole = entire(pods, played);
    verdict.pace(
        whole.is_some(),
        format!("every segment of a whole break was seen: {}", whole.unwrap_or("of none")),
    );
}

/// A player that left out a segment or went back would show it here.
fn in_order(played: &[Played], verdict: &mut Verdict) {
    let jumps: Vec<_> = played
        .windows(2)
        .filter(|pair| pair[1].sequence != pair[0].sequence + 1)
        .map(|pair| format!("{} to {}", pair[0].sequence, pair[1].sequence))
        .collect();
    verdict.pace(
        jumps.is_empty(),
        format!("segments followed one another, {} jumps {}", jumps.len(), jumps.join(", ")),
    );
}

/// A break of which every sequence number was played.
fn entire<'a>(pods: &'a Value, played: &[Played]) -> Option<&'a str> {
    let breaks = pods["breaks"].as_array()?;
    let found = breaks.iter().find(|one| {
        let (start, length) = (one["start"].as_u64(), one["length"].as_u64());
        let (Some(start), Some(length)) = (start, length) else {
            return false;
        };
        length > 0 && (start..start + length).all(|at| played.iter().any(|p| p.sequence == at))
    })?;
    found["id"].as_str()
}

fn samples(report: &Value) -> impl Iterator<Item = &Value> {
    report["samples"].as_array().into_iter().flatten()
}

/// Whether a counter grew from the first to the last.
fn more(some: &[&Value], counter: &str) -> bool {
    match (some.first(), some.last()) {
        (Some(first), Some(last)) => number(&last[counter]) > number(&first[counter]),
        _ => false,
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> Value {
        json!({"cohort": "a.b", "breaks": [{"id": "b1", "start": 10, "length": 3, "slots": [
            {"offset": 0, "creative": "one", "segments": 2}, {"offset": 2, "creative": "slate", "segments": 5}]}]})
    }

    fn played(creatives: &[Option<&str>]) -> Value {
        let list: Vec<_> = (9u64..)
            .zip(creatives)
            .map(|(sequence, creative)| json!({"sn": sequence, "creative": creative}))
            .collect();
        json!({ "played": list })
    }

    fn judged(report: &Value) -> Verdict {
        let mut verdict = Verdict::default();
        in_order(&Played::list(report), &mut verdict);
        breaks(&pods(), report, &mut verdict);
        entirely(&pods(), &Played::list(report), &mut verdict);
        verdict
    }

    fn passes(creatives: &[Option<&str>]) -> bool {
        judged(&played(creatives)).passed()
    }

    #[test]
    fn a_break_passes_only_as_it_was_frozen() {
        let (one, slate) = (Some("one"), Some("slate"));
        assert!(passes(&[None, one, one, slate, None]));
        assert!(!passes(&[None, one, slate, slate, None]), "another creative");
        assert!(!passes(&[None, None, one, slate, None]), "content in the break");
        assert!(!passes(&[None, one, one, slate]), "no return");
        assert!(!passes(&[one, one, slate, None]), "shifted");
        assert!(!passes(&[None, None][..1]), "no break");
        assert!(!passes(&[]), "nothing");
    }

    #[test]
    fn a_segment_that_was_left_out_is_the_machines_pace_and_another_creative_is_not() {
        let judged = |sequences: &[u64], creative: &str| {
            let list: Vec<_> = sequences
                .iter()
                .map(|sequence| match sequence {
                    10 | 11 => json!({"sn": sequence, "creative": creative}),
                    12 => json!({"sn": sequence, "creative": "slate"}),
                    _ => json!({"sn": sequence, "creative": null}),
                })
                .collect();
            judged(&json!({ "played": list }))
        };
        assert!(judged(&[9, 10, 11, 12, 13], "one").passed());
        let slow = judged(&[9, 10, 12, 13], "one").demand("it");
        assert!(slow.is_err_and(|error| error.is::<TooSlow>()));
        let wrong = judged(&[9, 10, 12, 13], "two").demand("it");
        assert!(wrong.is_err_and(|error| !error.is::<TooSlow>()));
        let back = judged(&[9, 10, 11, 10, 11, 12, 13], "one");
        assert!(!back.passed(), "went back");
    }

    #[test]
    fn a_latency_that_was_not_read_off_the_picture_fails() {
        let judged = |report: Value| {
            let mut verdict = Verdict::default();
            strip(&report, &mut verdict);
            verdict.passed()
        };
        assert!(judged(json!({"pictureLatency": {"samples": 60}})));
        assert!(!judged(json!({"pictureLatency": {"samples": 2}})));
        assert!(!judged(json!({"pictureLatency": null})));
    }

    #[test]
    fn a_page_that_threw_or_asked_others_fails_and_so_does_silence_about_it() {
        let judged = |report: Value| {
            let mut verdict = Verdict::default();
            faults(&report, &mut verdict);
            verdict.passed()
        };
        assert!(judged(json!({"thrown": [], "outside": []})));
        assert!(!judged(json!({"thrown": ["x is null"], "outside": []})));
        assert!(!judged(json!({"thrown": [], "outside": ["http://h/"]})));
        assert!(!judged(json!({})));
    }

    #[test]
    fn a_picture_that_stands_still_fails() {
        let sample = |at: u32, picture: u32, time: f64| json!({"at": at, "picture": picture, "frames": at / 40, "time": time});
        let judged = |samples: Vec<Value>| {
            let mut verdict = Verdict::default();
            picture(&json!({"samples": samples}), &mut verdict);
            verdict.passed()
        };
        let moving = (0..10u32).map(|n| sample(n * 500, n, f64::from(n) * 0.5));
        assert!(judged(moving.collect()));
        let frozen = (0..10u32).map(|n| sample(n * 500, 7, f64::from(n) * 0.5));
        assert!(!judged(frozen.collect()));
        let slow = (0..10u32).map(|n| sample(n * 500, n, f64::from(n) * 0.3));
        assert!(!judged(slow.collect()));
        let fast = (0..10u32).map(|n| sample(n * 500, n, f64::from(n) * 0.6));
        assert!(!judged(fast.collect()));
        assert!(!judged(Vec::new()));
    }
}
