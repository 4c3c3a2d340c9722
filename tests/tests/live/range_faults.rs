//! Faults in date ranges, in one rendition and between two.

use super::case::{Case, without};

pub(crate) fn cases() -> Vec<Case> {
    [both_ends(), over_time(), across()].into_iter().flatten().collect()
}

fn both_ends() -> Vec<Case> {
    vec![
        Case::text("the return has an ID of its own", &["D1"], |_, text| {
            text.replace(
                ",DURATION=6.000,SCTE35-IN",
                "\n#EXT-X-DATERANGE:ID=\"b2\",START-DATE=\"2026-01-01T00:03:48.000Z\",SCTE35-IN",
            )
        }),
        Case::text("a return has no break", &["D1"], |_, text| {
            text.replace(
                ",SCTE35-IN=0xFC31",
                ",SCTE35-IN=0xFC31\n#EXT-X-DATERANGE:ID=\"b2\",START-DATE=\"2026-01-01T00:03:48.000Z\",DURATION=0,SCTE35-IN=0xFC31",
            )
        }),
        Case::text("the return is not told", &["D1"], |_, text| {
            text.replace(",SCTE35-IN=0xFC31", "")
        }),
    ]
}

fn over_time() -> Vec<Case> {
    vec![
        Case::text("a range leaves while it is in the window", &["D1"], |ask, text| {
            if ask.is_from(116) { without(&text, "#EXT-X-DATERANGE") } else { text }
        }),
        Case::text("an attribute changes", &["D1"], |ask, text| {
            if ask.is_from(113) {
                text.replace("SCTE35-OUT=0xFC30", "SCTE35-OUT=0xFC32")
            } else {
                text
            }
        }),
        Case::text("an ID is used again", &["D1"], |ask, text| {
            if ask.is_from(123) {
                text.replace(
                    "#EXT-X-INDEPENDENT",
                    "#EXT-X-DATERANGE:ID=\"b1\",START-DATE=\"2026-01-01T00:04:20.000Z\"\n#EXT-X-INDEPENDENT",
                )
            } else {
                text
            }
        }),
    ]
}

fn across() -> Vec<Case> {
    vec![
        Case::text("a range is in one rendition alone", &["D1"], |ask, text| {
            if ask.rendition == "a1" { without(&text, "#EXT-X-DATERANGE") } else { text }
        }),
        Case::text("a range is another in one rendition", &["D1"], |ask, text| {
            if ask.rendition == "a1" {
                text.replace("PLANNED-DURATION=6.000", "PLANNED-DURATION=6.001")
            } else {
                text
            }
        }),
    ]
}
