//! Delta updates (RFC 8216bis 6.2.5.1), each compared with the whole playlist of its moment.
//!
//! The rule counts as seen only where a delta skipped something.

use super::playlist::{Media, seconds};
use super::rules;
use super::source::Source;

/// The delta of the same moment: it may be a part ahead of the whole, and must agree with it in all
/// else.
pub(super) fn check(source: Source<'_>, query: &str, earlier: &Media, whole: &Media) {
    let Some(delta) = source.load(&format!("{query}&_HLS_skip=YES")) else {
        return;
    };
    let notes = source.notes;
    rules::version(&delta, notes);
    if delta.skipped == 0 {
        let due = !delta.ended && is_due(whole);
        if due {
            notes.must(false, "L4", 0, || {
                format!(
                    "nothing is skipped of {} us, the boundary is {:?}",
                    whole.length(),
                    boundary(whole)
                )
            });
        }
        return;
    }
    let (skipped, kept) = (delta.skipped, delta.length());
    let boundary = boundary(whole).unwrap_or(u64::MAX);
    notes.must(kept >= boundary, "L4", 0, || {
        format!("{skipped} segments are skipped, {kept} us are left, the boundary is {boundary}")
    });
    match delta.over(earlier) {
        Err(fault) => notes.must(false, "L4", 0, || fault),
        Ok(made) => {
            rules::alone(&made, notes);
            rules::between(whole, &made, notes);
            let same = made.sequence == whole.sequence && made.discontinuity == whole.discontinuity;
            notes.must(same || made.next() > whole.next(), "L4", 0, || {
                "the delta has other sequences than the whole".into()
            });
        }
    }
}

/// Microseconds from the end that are never skipped.
fn boundary(media: &Media) -> Option<u64> {
    seconds(media.control.get("CAN-SKIP-UNTIL")?).ok()
}

/// Whether a segment is past the boundary, and by a target duration, since the server may have
/// counted without the parts at the end.
fn is_due(whole: &Media) -> bool {
    let Some((boundary, first)) = boundary(whole).zip(whole.segments.first()) else {
        return false;
    };
    let behind = whole.length() - first.duration;
    behind >= boundary + whole.target_duration * 1_000_000
}
