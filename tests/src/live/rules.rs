//! The rules that one playlist, or two in a row, must keep, judged on text alone.
//!
//! Sections are those of RFC 8216bis, draft 22.

pub(super) mod ranges;
mod reload;

use super::date::unix_micros;
use super::playlist::{Media, Segment, seconds};
use super::report::Notes;
pub use reload::between;

/// Microseconds by which printed times may differ from exact ones: they are printed in
/// milliseconds.
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
    ranges::alone(media, notes);
    let window: u64 = media.segments.iter().map(|segment| segment.duration).sum();
    let least = 3 * media.target_duration * 1_000_000;
    notes.must(media.ended || window >= least, "R10", 0, || {
        format!("the window is {} ms of at least {}", window / 1000, least / 1000)
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
            format!("segment {} has another init and no discontinuity", segment.sequence)
        });
        let needs = before.is_none() || segment.discontinuous;
        notes.must(!needs || segment.maps || media.skipped > 0, "R7", segment.line, || {
            format!("segment {} begins a stretch and has no EXT-X-MAP of its own", segment.sequence)
        });
        before = Some(segment);
    }
}

/// 4.4.4.6: dates are on discontinuous segments at least; ours are on each, and follow from
/// durations.
fn dates(media: &Media, notes: Notes<'_>) {
    let mut expected: Option<u64> = None;
    for segment in media.all() {
        let date = segment.date.as_deref().and_then(unix_micros);
        notes.must(date.is_some(), "R6", segment.line, || {
            format!("segment {} has no date that can be read: {:?}", segment.sequence, segment.date)
        });
        if let (Some(expected), Some(date)) = (expected, date) {
            notes.must(expected.abs_diff(date) <= 2 * PRINT, "R6", segment.line, || {
                format!(
                    "segment {} is dated {} us off the end of the one before",
                    segment.sequence,
                    expected.abs_diff(date)
                )
            });
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
    notes.must(back.is_some_and(|back| back + PRINT >= 3 * part_target), "L1", 0, || {
        format!("PART-HOLD-BACK is {back:?} us, three part targets are {}", 3 * part_target)
    });
    let blocks = media.control.get("CAN-BLOCK-RELOAD").is_some_and(|v| v == "YES");
    notes.must(blocks || media.ended, "L1", 0, || "parts without CAN-BLOCK-RELOAD=YES".into());
}

fn parts(media: &Media, notes: Notes<'_>) {
    let Some(target) = media.part_target else {
        let first = media.all().find_map(|segment| segment.parts.first());
        return notes.must(first.is_none(), "L2", first.map_or(0, |part| part.line), || {
            "parts without EXT-X-PART-INF".into()
        });
    };
    for segment in media.all() {
        let whole = !segment.uri.is_empty();
        for (at, part) in segment.parts.iter().enumerate() {
            notes.must(part.duration <= target + PRINT, "L2", part.line, || {
                format!("a part of {} us with a part target of {target}", part.duration)
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

/// 4.4.4.9: parts further than three target durations from the end are of no use to anybody; a
/// segment's length of grace.
fn old_parts(media: &Media, notes: Notes<'_>) {
    let target = media.target_duration * 1_000_000;
    let mut from_end: u64 =
        media.open.iter().flat_map(|open| &open.parts).map(|part| part.duration).sum();
    for segment in media.segments.iter().rev() {
        let late = from_end > 4 * target && !segment.parts.is_empty();
        notes.must(!late, "L2", segment.line, || {
            format!("segment {} still lists parts {from_end} us from the end", segment.sequence)
        });
        from_end += segment.duration;
    }
}

fn hints(media: &Media, notes: Notes<'_>) {
    for kind in ["PART", "MAP"] {
        let of_kind =
            media.hints.iter().filter(|(_, list)| list.get("TYPE").is_some_and(|t| t == kind));
        notes.must(of_kind.count() <= 1, "L5", 0, || format!("two hints of type {kind}"));
    }
    if let Some((line, _)) = media.hints.first() {
        notes.must(!media.ended, "L5", *line, || "a hint in a playlist that has ended".into());
    }
    if media.part_target.is_some() && !media.ended {
        let hinted =
            media.hints.iter().any(|(_, list)| list.get("TYPE").is_some_and(|t| t == "PART"));
        notes.must(hinted, "L5", 0, || "no part is hinted".into());
    }
}

/// Section 8, of a text as it came: a delta is judged before it is put over a playlist.
pub(super) fn version(media: &Media, notes: Notes<'_>) {
    let Media { version, needs, .. } = media;
    notes.must(version >= needs, "L8", 0, || {
        format!("version {version}, and its tags need {needs}")
    });
    notes.must(version <= needs, "L8", 0, || {
        format!("version {version} is higher than the {needs} that its tags need")
    });
    let uris = media
        .all()
        .flat_map(|s| s.parts.iter().map(|p| (p.line, &p.uri)).chain([(s.line, &s.uri)]));
    for (line, uri) in uris {
        notes.must(!uri.contains("_HLS_"), "L8", line, || format!("{uri} has a reserved name"));
    }
}
