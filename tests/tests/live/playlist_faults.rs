//! Faults in the text of playlists, beside those of date ranges.

use super::case::{Case, without};
use super::event::Cursor;

pub(crate) fn cases() -> Vec<Case> {
    [alone(), over_reloads(), deltas(), reports()].into_iter().flatten().collect()
}

fn alone() -> Vec<Case> {
    vec![
        Case::text("an init changes without a discontinuity", &["R2", "R4"], |_, text| {
            text.replace("#EXT-X-DISCONTINUITY\n", "")
        }),
        Case::text("a sequence tag follows segments", &["R5"], |ask, text| {
            if ask.is_first_of(112, 1) { text + "#EXT-X-DISCONTINUITY-SEQUENCE:0\n" } else { text }
        }),
        Case::text("a date jumps", &["R6"], |_, text| {
            text.replace("TIME:2026-01-01T00:03:44.000Z", "TIME:2026-01-01T00:03:44.500Z")
        }),
        Case::text(
            "the break's init is not written",
            // Without it a player takes the creative for content, and that would jump.
            &["L5", "M5", "R1", "R7"],
            |ask, text| {
                // The header has it when the break is first in the window, and then a known segment
                // gets another init.
                if ask.is_from(119) {
                    return text;
                }
                without(&text, "#EXT-X-MAP:URI=\"../ads/one")
            },
        ),
        Case::text("the target duration is a third of the window", &["L1", "R10"], |_, text| {
            text.replace("TARGETDURATION:2", "TARGETDURATION:6")
        }),
        Case::text("a part is longer than its target", &["L2", "M2"], |_, text| {
            text.replace("DURATION=0.500,URI=\"112.1.", "DURATION=0.600,URI=\"112.1.")
        }),
        Case::text("a whole playlist says version 9", &["L8"], |_, text| {
            text.replace("VERSION:6", "VERSION:9")
        }),
        Case::text("a delta says version 6", &["L8"], |_, text| {
            text.replace("VERSION:9", "VERSION:6")
        }),
        Case::text("a delta says version 10", &["L8"], |_, text| {
            text.replace("VERSION:9", "VERSION:10")
        }),
        Case::text("server control is another in one rendition", &["L1"], |ask, text| {
            let other = ask.rendition == "a1";
            text.replace(
                ",HOLD-BACK=6.000",
                if other { ",HOLD-BACK=7.000" } else { ",HOLD-BACK=6.000" },
            )
        }),
    ]
}

fn over_reloads() -> Vec<Case> {
    vec![
        Case::text("a published segment becomes another", &["R1"], |ask, text| {
            if ask.is_from(115) { text.replace("\n112.m4s", "\n../ads/112.m4s") } else { text }
        }),
        Case::text("a discontinuity leaves and is not counted", &["R2"], |_, text| {
            text.replace("DISCONTINUITY-SEQUENCE:1", "DISCONTINUITY-SEQUENCE:0")
        }),
        Case::text(
            "discontinuities are counted from elsewhere in one rendition",
            &["R3"],
            |ask, text| {
                if ask.rendition == "a1" {
                    text.replace("DISCONTINUITY-SEQUENCE:", "DISCONTINUITY-SEQUENCE:1")
                } else {
                    text
                }
            },
        ),
        Case::text("another part comes than was hinted", &["L5"], |_, text| {
            text.replace("TYPE=PART,URI=\"112.2.m4s\"", "TYPE=PART,URI=\"112.9.m4s\"")
        }),
        Case::text("the break's init is not hinted", &["L5"], |_, text| {
            without(&text, "#EXT-X-PRELOAD-HINT:TYPE=MAP")
        }),
    ]
}

fn deltas() -> Vec<Case> {
    vec![
        Case::text("nothing is skipped", &["L4"], |ask, text| match ask.cursor {
            Some(cursor) if ask.query.contains("_HLS_skip") => {
                ask.event.playlist(ask.rendition, cursor, false)
            }
            _ => text,
        }),
        Case::text("more is skipped than the boundary allows", &["L4"], |_, text| {
            skip_another(&text)
        }),
        Case::text("a delta skips nothing and leaves segments out", &["L4"], |_, text| {
            text.replace("SKIPPED-SEGMENTS=1", "SKIPPED-SEGMENTS=9")
        }),
        Case::text("a delta has another discontinuity sequence", &["L4", "R2"], |_, text| {
            if text.contains("#EXT-X-SKIP") {
                text.replace("DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:5")
            } else {
                text
            }
        }),
    ]
}

/// A delta that skips two segments more.
fn skip_another(text: &str) -> String {
    let Some((head, segments)) = text.split_once("#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n") else {
        return text.to_owned();
    };
    let behind = segments.splitn(3, ".m4s\n").last().unwrap();
    format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n{behind}")
}

fn reports() -> Vec<Case> {
    vec![
        Case::text("a rendition never reports", &["L6"], |ask, text| {
            if ask.rendition == "v1" { without(&text, "#EXT-X-RENDITION-REPORT") } else { text }
        }),
        Case::text("one playlist does not report", &["L6"], |ask, text| {
            if ask.is_first_of(112, 2) { without(&text, "#EXT-X-RENDITION-REPORT") } else { text }
        }),
        Case::text("a report's URI is absolute", &["L6"], |_, text| {
            text.replace("URI=\"../a1/", "URI=\"/live/e/a1/")
        }),
        Case::text("a report does not say how far", &["L6"], |_, text| {
            text.replace("LAST-MSN", "FIRST-MSN")
        }),
        Case::text("a rendition is reported two parts behind", &["L6"], |ask, text| {
            let Some(Cursor { next, open }) = ask.cursor.filter(|at| at.open == 4 - 1) else {
                return text;
            };
            text.replace(
                &format!("LAST-MSN={next},LAST-PART={}", open - 1),
                &format!("LAST-MSN={next},LAST-PART={}", open - 3),
            )
        }),
    ]
}
