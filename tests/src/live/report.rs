//! Rules and what was found against them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// Findings of a rule that are printed; the rest is counted.
const SHOWN: usize = 5;

/// Every rule that can be seen from outside, by its name in the specification's order.
pub const RULES: &[(&str, &str)] = &[
    ("R0", "a playlist is well formed, and comes with status 200"),
    ("R1", "a playlist changes only by appending and by removing from its head"),
    ("R2", "media sequence and discontinuity sequence never fall, and count what was removed"),
    (
        "R3",
        "target duration is one and constant, no segment is longer, discontinuity sequences are equal and timestamps match in every rendition",
    ),
    ("R4", "another init is announced by a discontinuity"),
    ("R5", "sequence tags precede the first segment and any discontinuity"),
    ("R6", "each segment has a date, and dates follow from durations"),
    ("R7", "an init is written for the first segment and after each discontinuity"),
    ("R9", "CODECS covers every init"),
    ("R10", "the window is at least three target durations"),
    ("L1", "server control and part target are within bounds, equal everywhere and constant"),
    ("L2", "parts are of the part target, add up to their segment and leave the playlist"),
    (
        "L3",
        "blocking reload brings what was asked for, 400 past its limits, the whole for what is old or has ended",
    ),
    (
        "L4",
        "a delta update skips what is past the boundary, and on top of the playlist before is the playlist",
    ),
    ("L5", "a hint is of the part and init that come, one of each type, and the part can be had"),
    ("L6", "every other rendition is reported, and all are in step"),
    ("L7", "cache times are those of appendix B, and gzip is the same playlist"),
    ("L8", "the version is the one that is needed, and no _HLS_ name is of one's own"),
    (
        "D1",
        "date ranges accumulate, are equal in every rendition, and have both ends of a break under one ID",
    ),
    ("M1", "the parts of a segment are its bytes"),
    ("M2", "listed durations are the media's"),
    ("M3", "decode times go on inside of a discontinuity"),
    ("M4", "everything that is listed can be fetched"),
    ("M5", "the content's decode times keep their distance to its dates, over breaks too"),
];

/// One breach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: &'static str,
    /// The rendition, or the multivariant playlist.
    pub playlist: String,
    /// Line, from 1; 0 for the whole.
    pub line: usize,
    /// What was seen.
    pub what: String,
}

/// What has been checked and found, by all who follow.
#[derive(Debug, Default)]
pub struct Report(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    checked: BTreeSet<&'static str>,
    found: BTreeMap<&'static str, Vec<Finding>>,
}

/// The report for one playlist.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'a> {
    report: &'a Report,
    playlist: &'a str,
}

impl Report {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one playlist.
    #[must_use]
    pub fn of<'a>(&'a self, playlist: &'a str) -> Notes<'a> {
        Notes { report: self, playlist }
    }

    /// All that was found.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.lock().found.values().flatten().cloned().collect()
    }

    /// The rules broken, by name.
    #[must_use]
    pub fn broken(&self) -> Vec<&'static str> {
        self.lock().found.keys().copied().collect()
    }

    /// The rules that nothing was seen of.
    #[must_use]
    pub fn unseen(&self) -> Vec<&'static str> {
        let inner = self.lock();
        let is_unseen = |rule: &&str| !inner.checked.contains(rule);
        RULES.iter().map(|(rule, _)| *rule).filter(is_unseen).collect()
    }

    /// For people: a line for each rule, breaches below it, and the count at the end.
    #[must_use]
    pub fn text(&self) -> String {
        let inner = self.lock();
        let (mut text, mut passed, mut failed, mut unseen) = (String::new(), 0, 0, 0);
        for (rule, title) in RULES {
            match inner.found.get(rule) {
                Some(found) => {
                    failed += 1;
                    text.push_str(&format!("BROKEN {rule:4} {title} ({} times)\n", found.len()));
                    for one in found.iter().take(SHOWN) {
                        text.push_str(&format!(
                            "       {} line {}: {}\n",
                            one.playlist, one.line, one.what
                        ));
                    }
                }
                None if inner.checked.contains(rule) => {
                    passed += 1;
                    text.push_str(&format!("ok     {rule:4} {title}\n"));
                }
                None => {
                    unseen += 1;
                    text.push_str(&format!("unseen {rule:4} {title}\n"));
                }
            }
        }
        let skipped = if unseen > 0 { format!(", {unseen} skipped") } else { String::new() };
        text + &format!("{passed} passed, {failed} failed{skipped}\n")
    }

    /// For machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let inner = self.lock();
        let rules: Vec<Value> = RULES
            .iter()
            .map(|(rule, title)| {
                let broken = inner.found.get(rule).map_or(0, Vec::len);
                json!({"rule": rule, "title": title, "seen": inner.checked.contains(rule), "broken": broken})
            })
            .collect();
        let finding = |f: &Finding| json!({"rule": f.rule, "playlist": f.playlist, "line": f.line, "what": f.what});
        let findings: Vec<Value> = inner.found.values().flatten().map(finding).collect();
        json!({"rules": rules, "findings": findings})
    }
}

impl Notes<'_> {
    /// The rule has been looked at.
    pub fn checked(&self, rule: &'static str) {
        self.report.lock().checked.insert(rule);
    }

    /// The rule holds, or it is broken as `what` says.
    pub fn must(
        &self,
        holds: bool,
        rule: &'static str,
        line: usize,
        what: impl FnOnce() -> String,
    ) {
        let mut inner = self.report.lock();
        inner.checked.insert(rule);
        if !holds {
            let finding = Finding { rule, playlist: self.playlist.to_owned(), line, what: what() };
            let found = inner.found.entry(rule).or_default();
            if !found.contains(&finding) {
                found.push(finding);
            }
        }
    }
}
