//! Faults in how playlists are served: blocking reload, what is refused, cache times, gzip.

use std::thread;
use std::time::Duration;

use super::case::Case;
use super::event::{Cursor, Directives};
use super::server::{Answer, Ask, gzip};

/// Longer than a case that is in a hurry waits.
const SLOW: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) fn cases() -> Vec<Case> {
    [reloads(), refusals(), cache_times(), encodings()].into_iter().flatten().collect()
}

fn reloads() -> Vec<Case> {
    vec![
        Case::answer("a reload fails once", &["R0"], |ask, answer| {
            if ask.is_first_of(112, 1) {
                answer.status = 500;
            }
        }),
        Case::text("a blocking reload brings what the player has", &["L3"], |ask, text| {
            if ask.is_first_of(112, 2) {
                let before = Cursor { next: 112, open: 1 };
                ask.event.playlist(ask.rendition, before, false)
            } else {
                text
            }
        }),
        Case::answer("a blocking reload is held for too long", &["L3"], |ask, _| {
            if ask.is_first_of(112, 2) {
                thread::sleep(SLOW);
            }
        })
        .hurried(|plan| plan.held = Some(PATIENCE)),
        Case::answer("an old segment is not answered", &["L3"], |ask, answer| {
            if is_old(ask) {
                answer.status = 404;
            }
        }),
        Case::answer("an old segment is answered late", &["L3"], |ask, _| {
            if is_old(ask) {
                thread::sleep(SLOW);
            }
        })
        .hurried(|plan| plan.at_once = PATIENCE),
        Case::text("an old segment brings a delta", &["L3"], |ask, text| match ask.cursor {
            Some(cursor) if is_old(ask) => ask.event.playlist(ask.rendition, cursor, true),
            _ => text,
        }),
        Case::answer("directives are heeded after the end", &["L3"], |ask, answer| {
            if msn(ask) > 1000 && ask.query.ends_with("&_HLS_skip=YES") {
                answer.status = 400;
            }
        }),
    ]
}

fn msn(ask: &Ask<'_>) -> u64 {
    let value = ask.query.strip_prefix("_HLS_msn=").unwrap_or_default();
    value.split('&').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The first segment of the first playlist.
fn is_old(ask: &Ask<'_>) -> bool {
    ask.query == "_HLS_msn=102"
}

fn refusals() -> Vec<Case> {
    vec![
        Case::answer("a segment far ahead is not refused", &["L3"], |ask, answer| {
            allow(answer, msn(ask) > 1000);
        }),
        Case::answer("the third segment after the last is not refused", &["L3"], |ask, answer| {
            allow(answer, (100..1000).contains(&msn(ask)));
        }),
        Case::answer("the third segment after the last is refused late", &["L3"], |ask, answer| {
            if answer.status == 400 && msn(ask) > 0 {
                thread::sleep(SLOW);
            }
        })
        .hurried(|plan| plan.at_once = PATIENCE),
        Case::answer("a part without its segment is not refused", &["L3"], |ask, answer| {
            allow(answer, ask.query == "_HLS_part=1");
        }),
        Case::answer(
            "a part past the advance part limit is not refused",
            &["L3"],
            |ask, answer| {
                allow(answer, ask.query.starts_with("_HLS_part=9&_HLS_msn="));
            },
        )
        .of_parts(10),
    ]
}

/// Answers what the event refused.
fn allow(answer: &mut Answer, this: bool) {
    if answer.status == 400 && this {
        answer.status = 200;
    }
}

fn cache_times() -> Vec<Case> {
    vec![
        Case::answer("a blocking answer is kept for too long", &["L7"], |ask, answer| {
            keep(answer, Directives::of(ask.query).blocks(), 200, "max-age=13");
        }),
        Case::answer("a plain answer is kept for too long", &["L7"], |ask, answer| {
            keep(answer, ask.query.is_empty(), 200, "max-age=2");
        }),
        Case::answer("an answer does not say how long to keep it", &["L7"], |ask, answer| {
            keep(answer, ask.query.is_empty(), 200, "no-cache");
        }),
        Case::answer(
            "a refusal of a blocking request is kept for too long",
            &["L7"],
            |ask, answer| {
                keep(answer, msn(ask) > 0, 400, "max-age=9");
            },
        ),
        Case::answer("a refusal is kept for too long", &["L7"], |ask, answer| {
            keep(answer, msn(ask) == 0, 400, "max-age=3");
        }),
    ]
}

fn keep(answer: &mut Answer, this: bool, status: u16, control: &str) {
    if this && answer.status == status {
        answer.headers.retain(|(name, _)| name != "cache-control");
        answer.headers.push(("cache-control".to_owned(), control.to_owned()));
    }
}

fn encodings() -> Vec<Case> {
    vec![
        Case::answer("gzip is another playlist", &["L7"], |_, answer| {
            if is_packed(answer) {
                answer.body = gzip(b"#EXTM3U\n");
            }
        }),
        Case::answer("gzip is cut", &["L7"], |_, answer| {
            if is_packed(answer) {
                answer.body.truncate(answer.body.len() - 9);
            }
        }),
        Case::answer("gzip does not say that it is", &["L7"], |_, answer| {
            answer.headers.retain(|(name, _)| name != "content-encoding");
        }),
    ]
}

fn is_packed(answer: &Answer) -> bool {
    answer.headers.iter().any(|(name, _)| name == "content-encoding")
}
