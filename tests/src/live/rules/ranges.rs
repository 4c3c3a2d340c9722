//! Date ranges (4.4.5.1), in one playlist and over a reload.
//!
//! Tags with one ID are one range, which has the attributes of all of them.

use crate::live::attributes::Attributes;
use crate::live::date::unix_micros;
use crate::live::playlist::{Media, seconds};
use crate::live::report::Notes;

use super::PRINT;

/// What the ranges of one playlist must keep.
pub(super) fn alone(media: &Media, notes: Notes<'_>) {
    for (at, (line, range)) in media.dateranges.iter().enumerate() {
        let named = range.contains_key("ID")
            && range.get("START-DATE").is_some_and(|date| unix_micros(date).is_some());
        notes.must(named, "D1", *line, || "a date range without ID or START-DATE".into());
        let agrees = media.dateranges[..at]
            .iter()
            .filter(|(_, other)| other.get("ID") == range.get("ID"))
            .all(|(_, other)| agree(range, other));
        notes.must(agrees, "D1", *line, || {
            format!("two date ranges {:?} contradict each other", range.get("ID"))
        });
    }
    for (id, (line, range)) in media.ranges() {
        // 4.4.5.1.1: the tags of a break's two ends have one ID.
        let paired = range.contains_key("SCTE35-OUT") || !range.contains_key("SCTE35-IN");
        notes.must(paired, "D1", line, || {
            format!("date range {id:?} has SCTE35-IN, and no SCTE35-OUT has its ID")
        });
    }
}

/// Attributes of a date range may come and never change; a range stays while its time is in the
/// window.
pub(super) fn grew(earlier: &Media, later: &Media, notes: Notes<'_>) {
    let first =
        later.segments.first().and_then(|segment| segment.date.as_deref().and_then(unix_micros));
    let now = later.ranges();
    for (id, (_, old)) in earlier.ranges() {
        match now.get(&id) {
            Some((line, new)) => {
                let grown = old.iter().all(|(name, value)| new.get(name) == Some(value));
                notes.must(grown, "D1", *line, || {
                    format!("date range {id:?} lost or changed an attribute")
                });
            }
            None => {
                let over = end_of(&old).zip(first).is_none_or(|(end, first)| end <= first + PRINT);
                notes.must(over, "D1", 0, || {
                    format!("date range {id:?} left while it was in the window")
                });
            }
        }
    }
}

/// Whether no attribute that both have differs.
pub(in crate::live) fn agree(one: &Attributes, other: &Attributes) -> bool {
    one.iter().all(|(name, value)| other.get(name).is_none_or(|theirs| theirs == value))
}

/// Where a range ends, in microseconds since 1970, as far as it is known or planned.
pub(in crate::live) fn end_of(range: &Attributes) -> Option<u64> {
    let start = unix_micros(range.get("START-DATE")?)?;
    let of = |name: &str| range.get(name).and_then(|text| seconds(text).ok());
    let end = range.get("END-DATE").and_then(|date| unix_micros(date));
    end.or_else(|| {
        of("DURATION").or_else(|| of("PLANNED-DURATION")).map(|duration| start + duration)
    })
}
