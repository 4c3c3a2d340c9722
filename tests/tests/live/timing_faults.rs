//! Faults in the content's decode times, and what is none.

use super::case::Case;
use super::event::{BREAK, decode};
use super::server::{Answer, Ask};

pub(crate) fn cases() -> Vec<Case> {
    [at_the_return(), over_time(), across(), sound()].into_iter().flatten().collect()
}

fn at_the_return() -> Vec<Case> {
    vec![
        Case::answer("the content resumes late", &["M5"], |ask, answer| {
            content(ask, answer, |msn| decode(msn) + late(msn, 500));
        }),
        Case::answer("the content resumes late in one rendition", &["M5"], |ask, answer| {
            if ask.rendition == "a1" {
                content(ask, answer, |msn| decode(msn) + late(msn, 500));
            }
        }),
        Case::answer("the content begins anew", &["M5"], |ask, answer| {
            content(ask, answer, |msn| decode(msn) - late(msn, decode(BREAK.end)));
        }),
        Case::answer("the content goes on where it was left", &["M5"], |ask, answer| {
            let break_ms = decode(BREAK.end) - decode(BREAK.start - 1) - 2000;
            content(ask, answer, |msn| decode(msn) - late(msn, break_ms));
        }),
        Case::answer(
            "the content begins anew in an event without parts",
            &["M5"],
            |ask, answer| {
                content(ask, answer, |msn| decode(msn) - late(msn, decode(BREAK.end)));
            },
        )
        .of_parts(0),
    ]
}

/// `ms` from the return on.
fn late(msn: u64, ms: u64) -> u64 {
    if msn < BREAK.end { 0 } else { ms }
}

fn over_time() -> Vec<Case> {
    vec![Case::text(
        "dates leave decode times behind, by less a segment than a date may be off",
        &["M5"],
        |_, text| {
            (102..124)
                .fold(text, |text, msn| text.replace(&date(msn, 0), &date(msn, 2 * (msn - 102))))
        },
    )]
}

/// A segment's date, with these milliseconds.
fn date(msn: u64, ms: u64) -> String {
    let second = msn * 2;
    format!("TIME:2026-01-01T00:{:02}:{:02}.{ms:03}Z", second / 60, second % 60)
}

fn across() -> Vec<Case> {
    vec![
        Case::answer("a rendition counts from another epoch", &["R3"], |ask, answer| {
            if ask.rendition == "a1" {
                content(ask, answer, |msn| decode(msn) + 500);
            }
        }),
        Case::answer("a rendition is two samples ahead", &["R3"], |ask, answer| {
            if ask.rendition == "v1" {
                content(ask, answer, |msn| decode(msn) - 2 * SAMPLE_MS);
            }
        }),
    ]
}

/// Milliseconds of a sample in an event of four parts.
const SAMPLE_MS: u64 = 20;

fn sound() -> Vec<Case> {
    vec![
        Case::answer("all renditions count from elsewhere", &[], |ask, answer| {
            content(ask, answer, |msn| decode(msn) + 86_400_000);
        }),
        Case::answer("a rendition is a sample late", &[], |ask, answer| {
            if ask.rendition == "a1" {
                content(ask, answer, |msn| decode(msn) + SAMPLE_MS);
            }
        }),
        Case::answer("the content resumes a sample late", &[], |ask, answer| {
            content(ask, answer, |msn| decode(msn) + late(msn, SAMPLE_MS));
        }),
        Case::answer("creatives count from elsewhere", &[], |ask, answer| {
            if let Some(body) = ask
                .event
                .media(ask.object, |msn| decode(msn) + if BREAK.contains(&msn) { 7_000 } else { 0 })
            {
                answer.body = body;
            }
        }),
    ]
}

/// Sends content that decodes at other times, in its parts as in its segments.
fn content(ask: &Ask<'_>, answer: &mut Answer, times: impl Fn(u64) -> u64) {
    let times = |msn| {
        if BREAK.contains(&msn) { decode(msn) } else { times(msn) }
    };
    if let Some(body) = ask.event.media(ask.object, times) {
        answer.body = body;
    }
}

/// `text` with gaps for all content after the break.
pub(crate) fn with_gaps(text: &str) -> String {
    (BREAK.end..124).fold(text.to_owned(), |text, msn| {
        let line = format!("#EXT-X-PROGRAM-DATE-{}\n", date(msn, 0));
        text.replace(&line, &format!("#EXT-X-GAP\n{line}"))
    })
}
