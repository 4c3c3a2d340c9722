//! What must be equal in all renditions of an event.
//!
//! Owns the record of what each has shown, and the judgement when all is seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::attributes::Attributes;
use super::date::unix_micros;
use super::playlist::Media;
use super::report::{Notes, Report};

/// Microseconds on top of a part target by which two renditions may differ: a report travels at another time than the playlist it is about.
const REPORT_SLACK: u64 = 100_000;

/// The record, by all who follow.
#[derive(Debug, Default)]
pub(super) struct Across(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    /// Discontinuities by media sequence number, by rendition.
    discontinuities: BTreeMap<u64, BTreeMap<String, u64>>,
    /// Date ranges by rendition and identifier.
    ranges: BTreeMap<String, BTreeMap<String, Attributes>>,
    /// Target duration and server control by rendition.
    heads: BTreeMap<String, (u64, Attributes)>,
    /// When a rendition's segment or part ends, in microseconds since 1970.
    ends: HashMap<(String, u64, u64), u64>,
    reports: Vec<Reported>,
}

/// One rendition report.
#[derive(Debug)]
struct Reported {
    from: String,
    line: usize,
    /// End of the reporting playlist itself.
    end: u64,
    about: String,
    sequence: u64,
    part: u64,
    part_target: u64,
}

impl Across {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn saw(&self, name: &str, media: &Media, notes: Notes<'_>) {
        let mut record = self.lock();
        for segment in media.all() {
            record
                .discontinuities
                .entry(segment.sequence)
                .or_default()
                .insert(name.to_owned(), segment.discontinuities);
        }
        let ranges = record.ranges.entry(name.to_owned()).or_default();
        for (_, range) in &media.dateranges {
            if let Some(id) = range.get("ID") {
                ranges.insert(id.clone(), range.clone());
            }
        }
        record.heads.insert(
            name.to_owned(),
            (media.target_duration, without_parts(media)),
        );
        let end = record.ends_of(name, media);
        let Some(end) = end else { return };
        for (line, list) in &media.reports {
            let uri = list.get("URI").cloned().unwrap_or_default();
            let relative = !uri.contains("://") && !uri.starts_with('/');
            notes.must(relative, "L6", *line, || {
                format!("the report's URI {uri} is not relative")
            });
            let number = |name: &str| list.get(name).and_then(|text| text.parse().ok());
            notes.must(number("LAST-MSN").is_some(), "L6", *line, || {
                format!("the report about {uri} has no LAST-MSN")
            });
            record.reports.push(Reported {
                from: name.to_owned(),
                line: *line,
                end,
                about: uri.rsplit('/').nth(1).unwrap_or_default().to_owned(),
                sequence: number("LAST-MSN").unwrap_or(0),
                part: number("LAST-PART").unwrap_or(u64::MAX),
                part_target: media
                    .part_target
                    .unwrap_or(media.target_duration * 1_000_000),
            });
        }
    }

    /// How many media sequence numbers and discontinuities were seen.
    pub(super) fn extent(&self) -> (usize, u64) {
        let record = self.lock();
        let counts = || record.discontinuities.values().flat_map(BTreeMap::values);
        let passed = counts()
            .max()
            .zip(counts().min())
            .map_or(0, |(most, least)| most - least);
        (record.discontinuities.len(), passed)
    }

    /// Judges the whole record.
    pub(super) fn judge(&self, report: &Report, names: &[String]) {
        let record = self.lock();
        record.equal_discontinuities(report);
        record.equal_ranges(report);
        record.equal_heads(report);
        record.reports_in_step(report, names);
    }
}

impl Record {
    /// Notes the end of each part and segment; the end of the playlist.
    fn ends_of(&mut self, name: &str, media: &Media) -> Option<u64> {
        let mut last = None;
        for segment in media.all() {
            let start = segment.date.as_deref().and_then(unix_micros)?;
            let mut end = start;
            for (index, part) in segment.parts.iter().enumerate() {
                end += part.duration;
                self.ends
                    .insert((name.to_owned(), segment.sequence, index as u64), end);
            }
            if !segment.uri.is_empty() {
                end = start + segment.duration;
                self.ends
                    .insert((name.to_owned(), segment.sequence, u64::MAX), end);
            }
            last = Some(end);
        }
        last
    }

    fn equal_discontinuities(&self, report: &Report) {
        for (sequence, by) in &self.discontinuities {
            let counts: BTreeSet<&u64> = by.values().collect();
            report.of("all").must(counts.len() <= 1, "R3", 0, || {
                format!("discontinuity sequence at {sequence} differs: {by:?}")
            });
        }
    }

    /// Ranges are compared by those that two renditions both showed; one may have been seen a moment later.
    fn equal_ranges(&self, report: &Report) {
        let Some((first, ranges)) = self.ranges.iter().next() else {
            return;
        };
        for (name, others) in self.ranges.iter().skip(1) {
            for (id, range) in ranges {
                let same = others.get(id).is_none_or(|other| {
                    other
                        .iter()
                        .all(|(n, v)| range.get(n).is_none_or(|mine| mine == v))
                });
                report.of(name).must(same, "D1", 0, || {
                    format!("date range {id} is another than in {first}")
                });
            }
            let ids = |ranges: &BTreeMap<String, Attributes>| {
                ranges.keys().cloned().collect::<BTreeSet<_>>()
            };
            let differ: Vec<String> = ids(ranges)
                .symmetric_difference(&ids(others))
                .cloned()
                .collect();
            // The last one may have come between the last reloads of two renditions.
            report.of(name).must(differ.len() <= 1, "D1", 0, || {
                format!("date ranges {differ:?} are not in both {first} and {name}")
            });
        }
    }

    fn equal_heads(&self, report: &Report) {
        let Some((first, head)) = self.heads.iter().next() else {
            return;
        };
        for (name, other) in self.heads.iter().skip(1) {
            report.of(name).must(head.0 == other.0, "R3", 0, || {
                format!("target duration {} and {} in {first}", other.0, head.0)
            });
            report.of(name).must(head.1 == other.1, "L1", 0, || {
                format!("server control {:?} and {:?} in {first}", other.1, head.1)
            });
        }
    }

    fn reports_in_step(&self, report: &Report, names: &[String]) {
        let mut about: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for one in &self.reports {
            about.entry(&one.from).or_default().insert(&one.about);
            let Some(end) = self.ends.get(&(one.about.clone(), one.sequence, one.part)) else {
                continue;
            };
            let apart = end.abs_diff(one.end);
            report.of(&one.from).must(
                apart <= one.part_target + REPORT_SLACK,
                "L6",
                one.line,
                || {
                    format!(
                        "{} is reported to end {apart} us from this playlist's end",
                        one.about
                    )
                },
            );
        }
        for (from, about) in about {
            let missing: Vec<&String> = names
                .iter()
                .filter(|name| *name != from && !about.contains(name.as_str()))
                .collect();
            report.of(from).must(missing.is_empty(), "L6", 0, || {
                format!("no report about {missing:?}")
            });
        }
    }
}

/// Part hold back follows the part target, which may differ between video and audio (4.4.3.8 asks for equal attributes otherwise).
fn without_parts(media: &Media) -> Attributes {
    media
        .control
        .iter()
        .filter(|(name, _)| *name != "PART-HOLD-BACK")
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}
