//! What must be equal in all renditions of an event, judged when all has been seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::attributes::Attributes;
use super::date::unix_micros;
use super::playlist::{Media, Segment};
use super::report::{Notes, Report};
use super::rules::ranges::{agree, end_of};

/// Microseconds on top of a part target by which two renditions may differ: a report travels at
/// another time than the playlist it is about.
const REPORT_SLACK: u64 = 100_000;

/// The record, by all who follow.
#[derive(Debug, Default)]
pub(super) struct Across(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    /// Discontinuities by media sequence number, by rendition.
    discontinuities: BTreeMap<u64, BTreeMap<String, u64>>,
    /// Date ranges by rendition and identifier, each with all attributes that it has come to.
    ranges: BTreeMap<String, BTreeMap<String, Attributes>>,
    /// Start of the first segment and end of the last whole one that a rendition has listed, in
    /// microseconds since 1970.
    windows: BTreeMap<String, (u64, u64)>,
    /// Target duration and server control by rendition.
    heads: BTreeMap<String, (u64, Attributes)>,
    /// When a rendition's segment or part ends, in microseconds since 1970.
    ends: HashMap<(String, u64, u64), u64>,
    reports: Vec<Reported>,
    /// The renditions that every low-latency playlist of a rendition has reported on.
    reported: BTreeMap<String, BTreeSet<String>>,
}

/// One rendition report.
#[derive(Debug)]
struct Reported {
    from: String,
    line: usize,
    /// End of the reporting playlist itself, where its dates can be read.
    end: Option<u64>,
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
        record.saw_ranges(name, media, notes);
        record.heads.insert(name.to_owned(), (media.target_duration, without_parts(media)));
        let end = record.ends_of(name, media);
        record.saw_reports(name, media, end, notes);
    }

    /// How many media sequence numbers and discontinuities were seen.
    pub(super) fn extent(&self) -> (usize, u64) {
        let record = self.lock();
        let counts = || record.discontinuities.values().flat_map(BTreeMap::values);
        let passed = counts().max().zip(counts().min()).map_or(0, |(most, least)| most - least);
        (record.discontinuities.len(), passed)
    }

    /// Judges the whole record.
    pub(super) fn judge(&self, report: &Report, names: &[String]) {
        let record = self.lock();
        record.equal_discontinuities(report);
        record.equal_ranges(report);
        record.closed_ranges(report);
        record.equal_heads(report);
        record.reports_in_step(report, names);
    }
}

impl Record {
    fn saw_ranges(&mut self, name: &str, media: &Media, notes: Notes<'_>) {
        let ranges = self.ranges.entry(name.to_owned()).or_default();
        for (id, (line, range)) in media.ranges() {
            let known = ranges.entry(id.clone()).or_default();
            let same =
                known.get("START-DATE").is_none_or(|date| range.get("START-DATE") == Some(date));
            notes.must(same, "D1", line, || format!("the ID {id} is used for a second date range"));
            known.extend(range);
        }
        let Some((start, end)) = window(media) else {
            return;
        };
        let seen = self.windows.entry(name.to_owned()).or_insert((start, end));
        *seen = (seen.0.min(start), seen.1.max(end));
    }

    fn saw_reports(&mut self, name: &str, media: &Media, end: Option<u64>, notes: Notes<'_>) {
        let mut about = BTreeSet::new();
        for (line, list) in &media.reports {
            let one = reported(name, media, end, (*line, list), notes);
            about.insert(one.about.clone());
            self.reports.push(one);
        }
        // Reports are for players that switch while they block.
        if media.part_target.is_some() && !media.ended {
            match self.reported.get_mut(name) {
                Some(always) => always.retain(|other| about.contains(other)),
                None => drop(self.reported.insert(name.to_owned(), about)),
            }
        }
    }

    /// Notes the end of each part and segment; the end of the playlist.
    fn ends_of(&mut self, name: &str, media: &Media) -> Option<u64> {
        let mut last = None;
        for segment in media.all() {
            let start = segment.date.as_deref().and_then(unix_micros)?;
            let mut end = start;
            for (index, part) in segment.parts.iter().enumerate() {
                end += part.duration;
                self.ends.insert((name.to_owned(), segment.sequence, index as u64), end);
            }
            if !segment.uri.is_empty() {
                end = start + segment.duration;
                self.ends.insert((name.to_owned(), segment.sequence, u64::MAX), end);
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

    /// Each range is in every rendition whose window had room for it; what is in two is the same in
    /// both.
    fn equal_ranges(&self, report: &Report) {
        let mut known: BTreeMap<&str, (&str, &Attributes)> = BTreeMap::new();
        for (name, ranges) in &self.ranges {
            for (id, range) in ranges {
                known.entry(id).or_insert((name, range));
            }
        }
        for (id, (first, range)) in known {
            for name in self.windows.keys() {
                let here = self.ranges.get(name).and_then(|ranges| ranges.get(id));
                let same = here.map_or(!self.must_show(name, range), |here| agree(range, here));
                report.of(name).must(same, "D1", 0, || match here {
                    Some(_) => format!("date range {id} differs from that in {first}"),
                    None => format!("date range {id} is in {first} but not here"),
                });
            }
        }
    }

    /// Whether a range lies in what a rendition has listed, by more than two renditions may be
    /// apart.
    fn must_show(&self, name: &str, range: &Attributes) -> bool {
        let start = range.get("START-DATE").and_then(|date| unix_micros(date));
        let Some((start, (first, last))) = start.zip(self.windows.get(name).copied()) else {
            return false;
        };
        let slack = self.target(name);
        start + slack <= last && end_of(range).is_none_or(|end| end >= first + slack)
    }

    /// 4.4.5.1.1: a break that is over says so under the ID that announced it.
    fn closed_ranges(&self, report: &Report) {
        for (name, ranges) in &self.ranges {
            let last = self.windows.get(name).map_or(0, |(_, last)| *last);
            for (id, range) in ranges {
                let end = end_of(range).map(|end| prolonged(end, ranges));
                let over = end.is_some_and(|end| end + 2 * self.target(name) <= last);
                let open = range.contains_key("SCTE35-OUT") && !range.contains_key("SCTE35-IN");
                report.of(name).must(!(over && open), "D1", 0, || {
                    format!("date range {id} is over, and its SCTE35-OUT has no SCTE35-IN")
                });
            }
        }
    }

    /// Target duration of a rendition in microseconds.
    fn target(&self, name: &str) -> u64 {
        self.heads.get(name).map_or(0, |head| head.0 * 1_000_000)
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
        for one in &self.reports {
            let Some(end) = self.ends.get(&(one.about.clone(), one.sequence, one.part)) else {
                continue;
            };
            let Some(apart) = one.end.map(|own| end.abs_diff(own)) else {
                continue;
            };
            report.of(&one.from).must(
                apart <= one.part_target + REPORT_SLACK,
                "L6",
                one.line,
                || format!("{} is reported to end {apart} us from this playlist's end", one.about),
            );
        }
        for (from, about) in &self.reported {
            let missing: Vec<&String> =
                names.iter().filter(|name| *name != from && !about.contains(*name)).collect();
            report.of(from).must(missing.is_empty(), "L6", 0, || {
                format!("no report about {missing:?} in a playlist at least")
            });
        }
    }
}

/// Reads one rendition report (4.4.5.4).
fn reported(
    name: &str,
    media: &Media,
    end: Option<u64>,
    (line, list): (usize, &Attributes),
    notes: Notes<'_>,
) -> Reported {
    let uri = list.get("URI").cloned().unwrap_or_default();
    let relative = !uri.contains("://") && !uri.starts_with('/');
    notes.must(relative, "L6", line, || format!("the report's URI {uri} is not relative"));
    let number = |name: &str| list.get(name).and_then(|text| text.parse().ok());
    notes.must(number("LAST-MSN").is_some(), "L6", line, || {
        format!("the report about {uri} has no LAST-MSN")
    });
    Reported {
        from: name.to_owned(),
        line,
        end,
        about: uri.rsplit('/').nth(1).unwrap_or_default().to_owned(),
        sequence: number("LAST-MSN").unwrap_or(0),
        part: number("LAST-PART").unwrap_or(u64::MAX),
        part_target: media.part_target.unwrap_or(media.target_duration * 1_000_000),
    }
}

/// Where a range ends, together with those that go on from its end: a break that is extended has
/// another range, which starts where the one before was to end.
fn prolonged(end: u64, ranges: &BTreeMap<String, Attributes>) -> u64 {
    let starts_there = |range: &&Attributes| {
        range.get("START-DATE").and_then(|date| unix_micros(date)) == Some(end)
    };
    let more = ranges.values().filter(starts_there).filter_map(end_of).max();
    more.filter(|more| *more > end).map_or(end, |more| prolonged(more, ranges))
}

/// Start of the first segment, and end of the last whole one.
fn window(media: &Media) -> Option<(u64, u64)> {
    let date = |segment: &Segment| segment.date.as_deref().and_then(unix_micros);
    let (first, last) = (media.segments.first()?, media.segments.last()?);
    Some((date(first)?, date(last)? + last.duration))
}

/// Part hold back follows the part target, which may differ between video and audio (4.4.3.8 asks
/// for equal attributes otherwise).
fn without_parts(media: &Media) -> Attributes {
    media
        .control
        .iter()
        .filter(|(name, _)| *name != "PART-HOLD-BACK")
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use crate::playlist::ContentSpec;

    /// Segments 100 to 105, from 00:03:20 to 00:03:32, with these date ranges.
    fn listed(ranges: &[&str]) -> Media {
        let spec = ContentSpec {
            first: 100,
            dateranges: ranges.iter().map(|range| (*range).to_owned()).collect(),
            ..ContentSpec::default()
        };
        Media::parse(&spec.render()).unwrap()
    }

    /// What two renditions with these date ranges break, and whether date ranges were seen.
    fn judged(one: &[&str], other: &[&str]) -> (Vec<String>, bool) {
        let (report, across) = (Report::default(), Across::default());
        for (name, ranges) in [("v", one), ("w", other)] {
            across.saw(name, &listed(ranges), report.of(name));
        }
        across.judge(&report, &[]);
        let found = report.findings().into_iter();
        let found = found.map(|one| format!("{} {}", one.rule, one.playlist));
        (found.collect(), !report.unseen().contains(&"D1"))
    }

    fn range(start: &str, planned: u64) -> String {
        format!(
            "#EXT-X-DATERANGE:ID=\"b\",START-DATE=\"2026-01-01T00:{start}.000Z\",PLANNED-DURATION={planned}"
        )
    }

    #[test]
    fn a_range_is_missed_where_the_window_had_room_for_it() {
        let missing = (vec!["D1 w".to_owned()], true);
        let sound = (vec![], true);
        for (start, planned, expected) in [
            ("03:24", 4, &missing),
            ("03:10", 12, &missing),
            // One rendition may not have come to it yet, or not have it any more.
            ("03:31", 60, &sound),
            ("03:40", 60, &sound),
            ("03:10", 11, &sound),
            ("03:10", 4, &sound),
        ] {
            let range = range(start, planned);
            assert_eq!(judged(&[&range], &[]), *expected, "{range}");
            assert_eq!(judged(&[&range], &[&range]), sound);
        }
    }

    #[test]
    fn without_ranges_nothing_was_seen_of_them() {
        assert_eq!(judged(&[], &[]), (vec![], false));
    }

    #[test]
    fn a_break_may_be_open_while_its_end_is_near() {
        let out = |planned| range("03:21", planned) + ",SCTE35-OUT=0xFC30";
        let open = out(8);
        assert_eq!(judged(&[&open], &[&open]).0, Vec::<String>::new());
        let over = out(7);
        assert_eq!(judged(&[&over], &[&over]).0, ["D1 v", "D1 w"]);
        let closed = over + ",SCTE35-IN=0xFC31";
        assert_eq!(judged(&[&closed], &[&closed]).0, Vec::<String>::new());
    }

    #[test]
    fn a_break_that_was_extended_is_over_with_its_extension() {
        let out = range("03:13", 8) + ",SCTE35-OUT=0xFC30";
        let more = |start, planned| range(start, planned).replace("\"b\"", "\"b.2\"");
        for (more, expected) in [
            (more("03:21", 8), [].as_slice()),
            (more("03:21", 7), ["D1 v", "D1 w"].as_slice()),
            (more("03:22", 8), ["D1 v", "D1 w"].as_slice()),
        ] {
            let ranges = [out.as_str(), more.as_str()];
            assert_eq!(judged(&ranges, &ranges).0, expected, "{more}");
        }
    }
}
