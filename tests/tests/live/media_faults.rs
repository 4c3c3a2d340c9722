//! Faults in media, and in what playlists promise of it.

use super::case::Case;
use super::event::{TIMESCALE, decode};
use super::media::{fragment, init};
use super::server::Ask;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::answer("CODECS does not have the break's codec", &["R9"], |ask, answer| {
            if ask.object == "main.m3u8" {
                let text = String::from_utf8_lossy(&answer.body);
                answer.body = text.replace("avc1.640015,", "").into_bytes();
            }
        }),
        Case::answer("a segment has more bytes than its parts", &["M1"], |ask, answer| {
            if ask.object == "112.m4s" {
                answer.body.extend(b"\0\0\0\x08free");
            }
        }),
        Case::answer("media is longer than listed, by its clock", &["M2"], |ask, answer| {
            if ask.object == "one/v1/init.mp4" {
                answer.body = init("avc1.640015", TIMESCALE - 10);
            }
        }),
        Case::answer(
            "a segment is longer than listed, and than its parts",
            &["M1", "M2"],
            |ask, answer| {
                if ask.object == "112.m4s" {
                    answer.body = fragment(decode(112), 2100);
                }
            },
        ),
        Case::answer("a segment has a hole between fragments", &["M1", "M2"], |ask, answer| {
            if ask.object == "112.m4s" {
                answer.body =
                    [fragment(decode(112), 1000), fragment(decode(112) + 1500, 500)].concat();
            }
        }),
        Case::answer("a part is longer than listed", &["M1", "M2", "M3"], |ask, answer| {
            if ask.object == "112.1.m4s" {
                answer.body = fragment(decode(112) + 500, 600);
            }
        }),
        Case::answer("a part begins too late", &["M1", "M3"], |ask, answer| {
            if ask.object == "112.1.m4s" {
                answer.body = fragment(decode(112) + 600, 500);
            }
        }),
        Case::answer("a part holds no media", &["M1", "M2", "M3"], |ask, answer| {
            if ask.object == "112.1.m4s" {
                answer.body = b"\0\0\0\x08free".to_vec();
            }
        }),
        Case::answer("a part cannot be fetched", &["M4"], |ask, answer| {
            if ask.object == "112.1.m4s" {
                answer.status = 404;
            }
        }),
        Case::answer("a segment cannot be fetched", &["M4"], |ask, answer| {
            if ask.object == "112.m4s" {
                answer.status = 404;
            }
        }),
        Case::answer("the break's init is none", &["M4"], |ask, answer| {
            if ask.object.starts_with("one/") {
                answer.body = fragment(0, 500);
            }
        }),
        Case::answer("a hinted part is not held", &["L5"], |ask, answer| {
            if is_hinted(ask) {
                answer.status = 404;
            }
        }),
        Case::answer("a hinted part is sent before it is whole", &["L5"], |ask, answer| {
            if is_hinted(ask) {
                answer.body = fragment(decode(113), 100);
            }
        }),
    ]
}

/// Whether it is a part that is listed only later.
fn is_hinted(ask: &Ask<'_>) -> bool {
    ask.object == "113.0.m4s" && ask.before == 0
}
