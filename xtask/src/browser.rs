//! Plays the page in a real browser and judges what it saw against the origin's frozen decisions.
//!
//! Invariant: a verdict passes only on what the browser reported; what was not seen fails.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::servers::Servers;
use crate::{live, paths, tools};

/// Longest standstill that a viewer may meet, in seconds.
const STALL: f64 = 0.5;
/// Share of the playing time by which the playhead must advance: joining and seeking to the live edge cost a little.
const ADVANCE: f64 = 0.9;

/// What was asked, and how it came out.
pub(crate) struct Verdict {
    checks: Vec<(bool, String)>,
    measured: Vec<String>,
}

impl Verdict {
    /// Whether nothing failed.
    pub(crate) fn passed(&self) -> bool {
        self.checks.iter().all(|(passed, _)| *passed)
    }

    fn check(&mut self, passed: bool, what: String) {
        self.checks.push((passed, what));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.measured {
            writeln!(f, "  {line}")?;
        }
        for (passed, what) in &self.checks {
            writeln!(f, "  {} {what}", if *passed { "ok  " } else { "FAIL" })?;
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
    let packages = tools::packages()?;
    let screenshot = screenshot.map(std::path::absolute).transpose()?;
    let plan = json!({
        "packages": packages.folder(),
        "chromium": tools::chromium()?,
        "url": servers.operator_url(),
        "seconds": seconds,
        "screenshot": screenshot,
    });
    println!("playing for {seconds} s in Chromium ...");
    let driver = Command::new("node")
        .arg(paths::root().join("xtask/node/drive.mjs"))
        .arg(plan.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start node")?;
    let output = driver.wait_with_output()?;
    servers.tend()?;
    if !output.status.success() {
        bail!("the browser's driver ended with {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    std::fs::write(paths::work("logs")?.join("browser.json"), text.as_bytes())?;
    serde_json::from_str(text.trim())
        .with_context(|| format!("the browser's driver printed no report: {text}"))
}

/// Compares a report with what was asked of a player and with the pods of its cohort.
pub(crate) fn judge(servers: &Servers, report: &Value) -> Result<Verdict> {
    let mut verdict = Verdict {
        checks: Vec::new(),
        measured: measured(report),
    };
    picture(report, &mut verdict);
    sound(report, &mut verdict);
    stalls(report, &mut verdict);
    let played = Played::list(report);
    match pods(servers, report) {
        Ok(pods) => breaks(&pods, &played, &mut verdict),
        Err(error) => verdict.check(false, format!("the cohort's pods: {error:#}")),
    }
    let problems = report["problems"].as_array().map_or(0, Vec::len);
    verdict.check(
        problems == 0,
        format!(
            "the page reported {problems} problems {}",
            report["problems"]
        ),
    );
    Ok(verdict)
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
        *counts
            .entry(error["details"].as_str().unwrap_or("?"))
            .or_insert(0) += 1;
    }
    if counts.is_empty() {
        return "no error".to_owned();
    }
    let words: Vec<_> = counts
        .iter()
        .map(|(what, times)| format!("{what} {times}"))
        .collect();
    words.join(", ")
}

fn picture(report: &Value, verdict: &mut Verdict) {
    let samples: Vec<_> = samples(report)
        .filter(|sample| sample["picture"].is_u64())
        .collect();
    let changed = samples
        .windows(2)
        .filter(|pair| pair[0]["picture"] != pair[1]["picture"] && more(pair, "frames"))
        .count();
    let pairs = samples.len().saturating_sub(1);
    verdict.check(
        pairs > 0 && changed * 100 >= pairs * 95,
        format!("the picture moved between {changed} of {pairs} samples"),
    );
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        verdict.check(false, "no picture was seen".to_owned());
        return;
    };
    let real = number(&last["at"]) / 1000.0 - number(&first["at"]) / 1000.0;
    let shown = number(&last["time"]) - number(&first["time"]);
    verdict.check(
        shown >= real * ADVANCE && shown > 0.0,
        format!("the playhead advanced {shown:.1} s in {real:.1} s"),
    );
}

fn sound(report: &Value, verdict: &mut Verdict) {
    let samples: Vec<_> = samples(report)
        .filter(|sample| sample["firstPicture"] == true)
        .collect();
    // Audio is decoded in bursts, a part at a time: look at two seconds, not at neighbours.
    let grew = samples
        .windows(5)
        .filter(|some| more(some, "audioBytes"))
        .count();
    let windows = samples.len().saturating_sub(4);
    verdict.check(
        windows > 0 && grew == windows,
        format!("audio was decoded in {grew} of {windows} spans of two seconds"),
    );
}

fn stalls(report: &Value, verdict: &mut Verdict) {
    let longest = report["stalls"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|stall| number(&stall["seconds"]))
        .fold(0.0, f64::max);
    verdict.check(
        longest <= STALL && report["stalls"].is_array(),
        format!("the longest stall was {longest:.2} s, at most {STALL} s is allowed"),
    );
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

/// The pods document of the viewer's cohort, as the origin published it last.
fn pods(servers: &Servers, report: &Value) -> Result<Value> {
    let cohort = report["cohort"]
        .as_str()
        .context("the page read no cohort in its pass")?;
    let state = servers.state()?;
    let revision = state["ledger"]["revision"]
        .as_u64()
        .with_context(|| format!("the control API told no revision: {state}"))?;
    let document = live::get(&format!(
        "{}/documents/pods/demo/{revision}/{cohort}",
        servers.origin_url()
    ))?;
    let (_, payload) = document
        .split_once('\n')
        .context("the pods document has no header line")?;
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
    let slot = slots
        .iter()
        .rev()
        .find(|slot| slot["offset"].as_u64().is_some_and(|at| at <= offset))?;
    Some((found["id"].as_str()?, slot["creative"].as_str()?))
}

fn breaks(pods: &Value, played: &[Played], verdict: &mut Verdict) {
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
    let mut seen: Vec<&str> = played
        .iter()
        .filter_map(|one| one.creative.as_deref())
        .collect();
    seen.dedup();
    let first = played.iter().position(|one| one.creative.is_some());
    let back = first.is_some_and(|at| played[at..].iter().any(|one| one.creative.is_none()));
    let before = first.is_some_and(|at| at > 0);
    verdict.check(
        before && back,
        format!("content, then a break of {seen:?}, then content again"),
    );
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

    fn played(creatives: &[Option<&str>]) -> Vec<Played> {
        (9..)
            .zip(creatives)
            .map(|(sequence, creative)| Played {
                sequence,
                creative: creative.map(str::to_owned),
            })
            .collect()
    }

    fn passes(creatives: &[Option<&str>]) -> bool {
        let mut verdict = Verdict {
            checks: Vec::new(),
            measured: Vec::new(),
        };
        breaks(&pods(), &played(creatives), &mut verdict);
        verdict.passed()
    }

    #[test]
    fn a_break_passes_only_as_it_was_frozen() {
        let (one, slate) = (Some("one"), Some("slate"));
        assert!(passes(&[None, one, one, slate, None]));
        assert!(
            !passes(&[None, one, slate, slate, None]),
            "another creative"
        );
        assert!(
            !passes(&[None, None, one, slate, None]),
            "content in the break"
        );
        assert!(!passes(&[None, one, one, slate]), "no return");
        assert!(!passes(&[one, one, slate, None]), "shifted");
        assert!(!passes(&[None, None][..1]), "no break");
        assert!(!passes(&[]), "nothing");
    }

    #[test]
    fn a_picture_that_stands_still_fails() {
        let sample = |at: u32, picture: u32, time: f64| json!({"at": at, "picture": picture, "frames": at / 40, "time": time});
        let judged = |samples: Vec<Value>| {
            let mut verdict = Verdict {
                checks: Vec::new(),
                measured: Vec::new(),
            };
            picture(&json!({"samples": samples}), &mut verdict);
            verdict.passed()
        };
        let moving = (0..10u32).map(|n| sample(n * 500, n, f64::from(n) * 0.5));
        assert!(judged(moving.collect()));
        let frozen = (0..10u32).map(|n| sample(n * 500, 7, f64::from(n) * 0.5));
        assert!(!judged(frozen.collect()));
        let slow = (0..10u32).map(|n| sample(n * 500, n, f64::from(n) * 0.3));
        assert!(!judged(slow.collect()));
        assert!(!judged(Vec::new()));
    }
}
