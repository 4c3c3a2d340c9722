//! The rules that two playlists in a row must keep.

use super::ranges;
use crate::live::playlist::Media;
use crate::live::report::Notes;

/// What holds of a playlist and the one before it.
pub fn between(earlier: &Media, later: &Media, notes: Notes<'_>) {
    notes.must(later.sequence >= earlier.sequence, "R2", 0, || {
        format!("media sequence fell from {} to {}", earlier.sequence, later.sequence)
    });
    if later.sequence < earlier.sequence {
        return;
    }
    kept(earlier, later, notes);
    counted(earlier, later, notes);
    notes.must(later.target_duration == earlier.target_duration, "R3", 0, || {
        "the target duration changed".into()
    });
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
    ranges::grew(earlier, later, notes);
}

fn kept(earlier: &Media, later: &Media, notes: Notes<'_>) {
    for old in earlier.all().filter(|old| old.sequence >= later.sequence) {
        let Some(new) = later.at(old.sequence) else {
            notes.must(false, "R1", 0, || {
                format!("segment {} was removed from elsewhere than the head", old.sequence)
            });
            continue;
        };
        let whole = !old.uri.is_empty();
        notes.must(!whole || new.uri == old.uri, "R1", new.line, || {
            format!("segment {}: {} became {}", old.sequence, old.uri, new.uri)
        });
        notes.must(!whole || new.duration == old.duration, "R1", new.line, || {
            format!("segment {} changed its duration", old.sequence)
        });
        let same =
            (&new.map, &new.date, new.discontinuous) == (&old.map, &old.date, old.discontinuous);
        notes.must(same, "R1", new.line, || {
            format!("segment {} changed its init, date or discontinuity", old.sequence)
        });
        // A part that is missing makes a gap of a segment that is open. Its tag is appended.
        let listed = new.parts.get(old.parts.len().wrapping_sub(1)).map_or(0, |part| part.line);
        let appended = !whole && new.gap.is_none_or(|line| line > listed);
        notes.must(new.gap.is_some() == old.gap.is_some() || appended, "R1", new.line, || {
            format!("segment {} became a gap, or is none any more", old.sequence)
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
        "a playlist goes on that had ended".into()
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
        let hint =
            earlier.hints.iter().find(|(_, list)| list.get("TYPE").is_some_and(|t| t == kind));
        hint.and_then(|(_, list)| list.get("URI"))
    };
    let (sequence, part) =
        earlier.open.as_ref().map_or((earlier.next(), 0), |open| (open.sequence, open.parts.len()));
    let Some(segment) = later.at(sequence) else {
        return;
    };
    if let (Some(uri), Some(part)) = (hinted("PART"), segment.parts.get(part)) {
        notes.must(*uri == part.uri, "L5", part.line, || {
            format!("{uri} was hinted and {} came", part.uri)
        });
    }
    let before = earlier.all().last().and_then(|segment| segment.map.as_ref());
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
