//! The rules that one playlist, or two in a row, must keep.
//!
//! Owns the judgement of RFC 8216bis (draft 22) on text alone; sections are its own. Fetches nothing.

use super::attributes::Attributes;
use super::playlist::{Media, Segment, seconds};
use super::report::Notes;

/// Microseconds by which printed times may differ from exact ones: they are printed in milliseconds.
const PRINT: u64 = 1_000;
/// Lowest share of the part target that a part may last, in percent (4.4.4.9).
const PART_SHARE: u64 = 85;

/// What holds of a playlist by itself. A delta update is to be put over the playlist before first.
pub fn alone(media: &Media, notes: Notes<'_>) {
    segments(media, notes);
    dates(media, notes);
    control(media, notes);
    parts(media, notes);
    hints(media, notes);
    version(media, notes);
    date_ranges(media, notes);
    let window: u64 = media.segments.iter().map(|segment| segment.duration).sum();
    let least = 3 * media.target_duration * 1_000_000;
    notes.must(media.ended || window >= least, "R10", 0, || {
        format!(
            "the window is {} ms of at least {}",
            window / 1000,
            least / 1000
        )
    });
}

fn segments(media: &Media, notes: Notes<'_>) {
    let mut before: Option<&Segment> = None;
    for segment in media.all() {
        let rounded = (segment.duration + 500_000) / 1_000_000;
        notes.must(rounded <= media.target_duration, "R3", segment.line, || {
            format!(
                "segment {} of {} us is longer than the target duration",
                segment.sequence, segment.duration
            )
        });
        let same = before.is_none_or(|before| before.map == segment.map || segment.discontinuous);
        notes.must(same, "R4", segment.line, || {
            format!(
                "segment {} has another init and no discontinuity",
                segment.sequence
            )
        });
        let needs = before.is_none() || segment.discontinuous;
        notes.must(
            !needs || segment.maps || media.skipped > 0,
            "R7",
            segment.line,
            || {
                format!(
                    "segment {} begins a stretch and has no EXT-X-MAP of its own",
                    segment.sequence
                )
            },
        );
        before = Some(segment);
    }
}

/// 4.4.4.6: dates are on discontinuous segments at least; ours are on each, and follow from durations.
fn dates(media: &Media, notes: Notes<'_>) {
    let mut expected: Option<u64> = None;
    for segment in media.all() {
        let date = segment.date.as_deref().and_then(unix_micros);
        notes.must(date.is_some(), "R6", segment.line, || {
            format!(
                "segment {} has no date that can be read: {:?}",
                segment.sequence, segment.date
            )
        });
        if let (Some(expected), Some(date)) = (expected, date) {
            notes.must(
                expected.abs_diff(date) <= 2 * PRINT,
                "R6",
                segment.line,
                || {
                    format!(
                        "segment {} is dated {} us off the end of the one before",
                        segment.sequence,
                        expected.abs_diff(date)
                    )
                },
            );
        }
        expected = date.map(|date| date + segment.duration);
    }
}

fn control(media: &Media, notes: Notes<'_>) {
    let target = media.target_duration * 1_000_000;
    let value = |name: &str| media.control.get(name).and_then(|text| seconds(text).ok());
    if let Some(boundary) = value("CAN-SKIP-UNTIL") {
        notes.must(boundary >= 6 * target, "L1", 0, || {
            format!("CAN-SKIP-UNTIL of {boundary} us is below six target durations")
        });
    }
    if let Some(back) = value("HOLD-BACK") {
        notes.must(back >= 3 * target, "L1", 0, || {
            format!("HOLD-BACK of {back} us is below three target durations")
        });
    }
    let Some(part_target) = media.part_target else {
        return;
    };
    let back = value("PART-HOLD-BACK");
    notes.must(
        back.is_some_and(|back| back + PRINT >= 3 * part_target),
        "L1",
        0,
        || {
            format!(
                "PART-HOLD-BACK is {back:?} us, three part targets are {}",
                3 * part_target
            )
        },
    );
    let blocks = media
        .control
        .get("CAN-BLOCK-RELOAD")
        .is_some_and(|v| v == "YES");
    notes.must(blocks || media.ended, "L1", 0, || {
        "parts without CAN-BLOCK-RELOAD=YES".into()
    });
}

fn parts(media: &Media, notes: Notes<'_>) {
    let Some(target) = media.part_target else {
        let first = media.all().find_map(|segment| segment.parts.first());
        return notes.must(
            first.is_none(),
            "L2",
            first.map_or(0, |part| part.line),
            || "parts without EXT-X-PART-INF".into(),
        );
    };
    for segment in media.all() {
        let whole = !segment.uri.is_empty();
        for (at, part) in segment.parts.iter().enumerate() {
            notes.must(part.duration <= target + PRINT, "L2", part.line, || {
                format!(
                    "a part of {} us with a part target of {target}",
                    part.duration
                )
            });
            let next = segment.parts.get(at + 1);
            let excepted = part.gap
                || part.independent
                || next.is_none_or(|next| next.gap || next.independent);
            notes.must(
                excepted || part.duration * 100 >= target * PART_SHARE,
                "L2",
                part.line,
                || {
                    format!(
                        "a part of {} us is below {PART_SHARE} % of the part target {target}",
                        part.duration
                    )
                },
            );
        }
        let sum: u64 = segment.parts.iter().map(|part| part.duration).sum();
        let slack = PRINT * (segment.parts.len() as u64 + 1);
        notes.must(
            !whole || segment.parts.is_empty() || sum.abs_diff(segment.duration) <= slack,
            "L2",
            segment.line,
            || {
                format!(
                    "the parts of segment {} are {sum} us, EXTINF says {}",
                    segment.sequence, segment.duration
                )
            },
        );
    }
    old_parts(media, notes);
}

/// 4.4.4.9: parts further than three target durations from the end are of no use to anybody; a segment's length of grace.
fn old_parts(media: &Media, notes: Notes<'_>) {
    let target = media.target_duration * 1_000_000;
    let mut from_end: u64 = media
        .open
        .iter()
        .flat_map(|open| &open.parts)
        .map(|part| part.duration)
        .sum();
    for segment in media.segments.iter().rev() {
        let late = from_end > 4 * target && !segment.parts.is_empty();
        notes.must(!late, "L2", segment.line, || {
            format!(
                "segment {} still lists parts {from_end} us from the end",
                segment.sequence
            )
        });
        from_end += segment.duration;
    }
}

fn hints(media: &Media, notes: Notes<'_>) {
    for kind in ["PART", "MAP"] {
        let of_kind = media
            .hints
            .iter()
            .filter(|(_, list)| list.get("TYPE").is_some_and(|t| t == kind));
        notes.must(of_kind.count() <= 1, "L5", 0, || {
            format!("two hints of type {kind}")
        });
    }
    if let Some((line, _)) = media.hints.first() {
        notes.must(!media.ended, "L5", *line, || {
            "a hint in a playlist that has ended".into()
        });
    }
    if media.part_target.is_some() && !media.ended {
        let hinted = media
            .hints
            .iter()
            .any(|(_, list)| list.get("TYPE").is_some_and(|t| t == "PART"));
        notes.must(hinted, "L5", 0, || "no part is hinted".into());
    }
}

fn version(media: &Media, notes: Notes<'_>) {
    /// 8: EXT-X-SKIP needs 9; nothing that we write needs more than 10.
    const SKIP: u64 = 9;
    const MOST: u64 = 10;
    notes.must(media.skipped == 0 || media.version >= SKIP, "L8", 0, || {
        format!("EXT-X-SKIP in version {}", media.version)
    });
    notes.must(media.version <= MOST, "L8", 0, || {
        format!(
            "version {} is higher than anything here needs",
            media.version
        )
    });
    let uris = media.all().flat_map(|s| {
        s.parts
            .iter()
            .map(|p| (p.line, &p.uri))
            .chain([(s.line, &s.uri)])
    });
    for (line, uri) in uris {
        notes.must(!uri.contains("_HLS_"), "L8", line, || {
            format!("{uri} has a reserved name")
        });
    }
}

fn date_ranges(media: &Media, notes: Notes<'_>) {
    for (at, (line, range)) in media.dateranges.iter().enumerate() {
        let named = range.contains_key("ID")
            && range
                .get("START-DATE")
                .is_some_and(|date| unix_micros(date).is_some());
        notes.must(named, "D1", *line, || {
            "a date range without ID or START-DATE".into()
        });
        let twin = media.dateranges[..at]
            .iter()
            .find(|(_, other)| other.get("ID") == range.get("ID"));
        let agrees = twin.is_none_or(|(_, other)| {
            range
                .iter()
                .all(|(name, value)| other.get(name).is_none_or(|v| v == value))
        });
        notes.must(agrees, "D1", *line, || {
            format!(
                "two date ranges {:?} contradict each other",
                range.get("ID")
            )
        });
    }
}

/// What holds of a playlist and the one before it.
pub fn between(earlier: &Media, later: &Media, notes: Notes<'_>) {
    notes.must(later.sequence >= earlier.sequence, "R2", 0, || {
        format!(
            "media sequence fell from {} to {}",
            earlier.sequence, later.sequence
        )
    });
    if later.sequence < earlier.sequence {
        return;
    }
    kept(earlier, later, notes);
    counted(earlier, later, notes);
    notes.must(
        later.target_duration == earlier.target_duration,
        "R3",
        0,
        || "the target duration changed".into(),
    );
    notes.must(
        later.part_target == earlier.part_target && later.control == earlier.control,
        "L1",
        0,
        || {
            format!(
                "server control or part target changed: {:?} {:?}",
                later.control, later.part_target
            )
        },
    );
    hint_came(earlier, later, notes);
    ranges_grew(earlier, later, notes);
}

fn kept(earlier: &Media, later: &Media, notes: Notes<'_>) {
    for old in earlier.all().filter(|old| old.sequence >= later.sequence) {
        let Some(new) = later.at(old.sequence) else {
            notes.must(false, "R1", 0, || {
                format!(
                    "segment {} was removed, and not from the head",
                    old.sequence
                )
            });
            continue;
        };
        let whole = !old.uri.is_empty();
        notes.must(!whole || new.uri == old.uri, "R1", new.line, || {
            format!("segment {}: {} became {}", old.sequence, old.uri, new.uri)
        });
        notes.must(
            !whole || new.duration == old.duration,
            "R1",
            new.line,
            || format!("segment {} changed its duration", old.sequence),
        );
        let same = (&new.map, &new.date, new.gap, new.discontinuous)
            == (&old.map, &old.date, old.gap, old.discontinuous);
        notes.must(same, "R1", new.line, || {
            format!(
                "segment {} changed its init, date, gap or discontinuity",
                old.sequence
            )
        });
        for (now, then) in new.parts.iter().zip(&old.parts) {
            notes.must(
                now.uri == then.uri && now.duration == then.duration,
                "R1",
                now.line,
                || format!("part {} became {}", then.uri, now.uri),
            );
        }
    }
    notes.must(later.ended || !earlier.ended, "R1", 0, || {
        "a playlist that had ended goes on".into()
    });
}

fn counted(earlier: &Media, later: &Media, notes: Notes<'_>) {
    if later.sequence > earlier.next() {
        return;
    }
    let removed = earlier
        .all()
        .filter(|segment| segment.sequence < later.sequence && segment.discontinuous)
        .count() as u64;
    let expected = earlier.discontinuity + removed;
    notes.must(later.discontinuity == expected, "R2", 0, || {
        format!(
            "discontinuity sequence is {}, was {} before {removed} discontinuities left",
            later.discontinuity, earlier.discontinuity
        )
    });
}

/// 4.4.5.3: what was hinted is what comes.
fn hint_came(earlier: &Media, later: &Media, notes: Notes<'_>) {
    let hinted = |kind: &str| {
        let hint = earlier
            .hints
            .iter()
            .find(|(_, list)| list.get("TYPE").is_some_and(|t| t == kind));
        hint.and_then(|(_, list)| list.get("URI"))
    };
    let (sequence, part) = earlier.open.as_ref().map_or((earlier.next(), 0), |open| {
        (open.sequence, open.parts.len())
    });
    let Some(segment) = later.at(sequence) else {
        return;
    };
    if let (Some(uri), Some(part)) = (hinted("PART"), segment.parts.get(part)) {
        notes.must(*uri == part.uri, "L5", part.line, || {
            format!("{uri} was hinted and {} came", part.uri)
        });
    }
    let before = earlier
        .all()
        .last()
        .and_then(|segment| segment.map.as_ref());
    match (hinted("MAP"), &segment.map) {
        (Some(hint), Some(map)) => notes.must(hint == map, "L5", segment.line, || {
            format!("the init {hint} was hinted and {map} came")
        }),
        (None, Some(map)) if part == 0 && earlier.part_target.is_some() => {
            notes.must(before == Some(map), "L5", segment.line, || {
                format!("the init changed to {map} without a hint")
            });
        }
        _ => {}
    }
}

/// 4.4.5.1: attributes of a date range may come and never change; a range stays while its time is in the window.
fn ranges_grew(earlier: &Media, later: &Media, notes: Notes<'_>) {
    let first = later
        .segments
        .first()
        .and_then(|segment| segment.date.as_deref().and_then(unix_micros));
    for (_, old) in &earlier.dateranges {
        let new = later
            .dateranges
            .iter()
            .find(|(_, new)| new.get("ID") == old.get("ID"));
        match new {
            Some((line, new)) => {
                let grown = old.iter().all(|(name, value)| new.get(name) == Some(value));
                notes.must(grown, "D1", *line, || {
                    format!(
                        "date range {:?} lost or changed an attribute",
                        old.get("ID")
                    )
                });
            }
            None => {
                let over = end_of(old)
                    .zip(first)
                    .is_none_or(|(end, first)| end <= first + PRINT);
                notes.must(over, "D1", 0, || {
                    format!(
                        "date range {:?} left while it was in the window",
                        old.get("ID")
                    )
                });
            }
        }
    }
}

fn end_of(range: &Attributes) -> Option<u64> {
    let start = unix_micros(range.get("START-DATE")?)?;
    let of = |name: &str| range.get(name).and_then(|text| seconds(text).ok());
    let end = range.get("END-DATE").and_then(|date| unix_micros(date));
    end.or_else(|| {
        of("DURATION")
            .or_else(|| of("PLANNED-DURATION"))
            .map(|duration| start + duration)
    })
}

/// Microseconds since 1970 of an ISO 8601 date in UTC.
#[must_use]
pub fn unix_micros(date: &str) -> Option<u64> {
    let (day, time) = date.split_once('T')?;
    let time = time
        .strip_suffix('Z')
        .or_else(|| time.strip_suffix("+00:00"))?;
    let mut numbers = day.split('-').map(|n| n.parse::<u64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let mut fields = time.splitn(3, ':');
    let (hour, minute) = (
        fields.next()?.parse::<u64>().ok()?,
        fields.next()?.parse::<u64>().ok()?,
    );
    let within = (hour * 60 + minute) * 60_000_000 + seconds(fields.next()?).ok()?;
    Some(days(year, month, day)? * 86_400_000_000 + within)
}

/// Days since 1970-01-01 by the proleptic Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_year = (153 * m + 2) / 5 + day - 1;
    Some(y * 365 + y / 4 - y / 100 + y / 400 + of_year - 719_468)
}
