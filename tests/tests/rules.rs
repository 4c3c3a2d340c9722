//! The live check against playlists that are broken on purpose: each breach is found, under its own
//! rule, and a sound playlist has none.

use sightscreen_tests::live::playlist::Media;
use sightscreen_tests::live::report::Report;
use sightscreen_tests::live::rules::{alone, between};
use sightscreen_tests::playlist::ContentSpec;

fn content(first: u64, open_parts: u64) -> String {
    let range =
        "#EXT-X-DATERANGE:ID=\"b\",START-DATE=\"2026-01-01T00:40:02.000Z\",PLANNED-DURATION=8";
    ContentSpec { first, open_parts, dateranges: vec![range.into()], ..ContentSpec::default() }
        .render()
}

/// The rules that a playlist breaks by itself.
fn broken(text: &str) -> Vec<&'static str> {
    let report = Report::default();
    match Media::parse(text) {
        Ok(media) => alone(&media, report.of("x")),
        Err(fault) => {
            return vec![if fault.what.ends_with("follows a segment") { "R5" } else { "R0" }];
        }
    }
    report.broken()
}

/// The rules that two playlists in a row break.
fn broken_by(earlier: &str, later: &str) -> Vec<&'static str> {
    let report = Report::default();
    if let (Ok(earlier), Ok(later)) = (Media::parse(earlier), Media::parse(later)) {
        between(&earlier, &later, report.of("x"));
        return report.broken();
    }
    vec!["R0"]
}

/// `text` with `find`, which is there, replaced once.
fn with(text: &str, find: &str, put: &str) -> String {
    assert!(text.contains(find), "{find:?} is not in\n{text}");
    text.replacen(find, put, 1)
}

#[test]
fn a_sound_playlist_and_its_reload_break_nothing() {
    assert_eq!(broken(&content(1200, 2)), Vec::<&str>::new());
    assert_eq!(broken_by(&content(1200, 2), &content(1200, 3)), Vec::<&str>::new());
    assert_eq!(broken_by(&content(1200, 3), &content(1201, 0)), Vec::<&str>::new());
}

/// RFC 8216bis 6.2.1: lines are appended. `EXT-X-GAP` need not stand before the parts (4.4.4.9).
#[test]
fn a_segment_that_becomes_a_gap_is_told_so_after_its_parts() {
    let open = content(1200, 2);
    let part = with(&content(1200, 3), "\"1206.2.m4s\"", "\"1206.2.m4s\",GAP=YES");
    assert_eq!(broken_by(&open, &part), Vec::<&str>::new());
    let whole = content(1201, 0);
    let appended = with(&whole, "#EXTINF:2.000,\n1206", "#EXT-X-GAP\n#EXTINF:2.000,\n1206");
    assert_eq!(broken_by(&open, &appended), Vec::<&str>::new());
    let before = with(
        &whole,
        "#EXT-X-PART:DURATION=0.500,URI=\"1206.0",
        "#EXT-X-GAP\n\
         #EXT-X-PART:DURATION=0.500,URI=\"1206.0",
    );
    assert_eq!(broken_by(&open, &before), ["R1"]);
}

/// RFC 8216bis 4.4.5.1: tags of one ID are one range.
#[test]
fn the_two_ends_of_a_break_may_be_two_tags_of_one_range() {
    let out = with(&content(1200, 1), "PLANNED-DURATION=8", "SCTE35-OUT=0xFC30");
    let back = "\n#EXT-X-DATERANGE:ID=\"b\",START-DATE=\"2026-01-01T00:40:02.000Z\",SCTE35-IN=0xFC31\n#EXT-X-MAP";
    let both = with(&out, "\n#EXT-X-MAP", back);
    assert_eq!(broken(&both), Vec::<&str>::new());
    assert_eq!(broken_by(&out, &both), Vec::<&str>::new());
    assert_eq!(broken_by(&both, &out), ["D1"]);
}

#[test]
fn breaches_of_one_playlist_are_found() {
    let sound = content(1200, 2);
    let cases = [
        ("R0", with(&sound, "#EXTM3U", "#EXTM3")),
        ("R0", with(&sound, "#EXTINF:2.000,\n1200", "1200")),
        ("R3", with(&sound, "#EXTINF:2.000,\n1200", "#EXTINF:2.600,\n1200")),
        (
            "R4",
            with(
                &sound,
                "#EXTINF:2.000,\n1202",
                "#EXT-X-MAP:URI=\"other.mp4\"\n#EXTINF:2.000,\n1202",
            ),
        ),
        ("R5", with(&sound, "\n1200.m4s\n", "\n1200.m4s\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n")),
        ("R6", with(&sound, "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:40:04.000Z\n", "")),
        ("R6", with(&sound, "00:40:04.000Z", "00:40:04.200Z")),
        ("R7", with(&sound, "#EXT-X-MAP:URI=\"init.mp4\"\n", "")),
        ("R7", with(&sound, "#EXTINF:2.000,\n1202", "#EXT-X-DISCONTINUITY\n#EXTINF:2.000,\n1202")),
        ("R10", ContentSpec { segments: 2, ..ContentSpec::default() }.render()),
        ("L1", with(&sound, "CAN-SKIP-UNTIL=12.000", "CAN-SKIP-UNTIL=11.000")),
        ("L1", with(&sound, "HOLD-BACK=6.000", "HOLD-BACK=5.000")),
        ("L1", with(&sound, "PART-HOLD-BACK=1.500", "PART-HOLD-BACK=1.000")),
        ("L1", with(&sound, "CAN-BLOCK-RELOAD=YES,", "")),
        ("L2", with(&sound, "DURATION=0.500,URI=\"1205.1", "DURATION=0.600,URI=\"1205.1")),
        ("L2", with(&sound, "DURATION=0.500,URI=\"1205.1", "DURATION=0.300,URI=\"1205.1")),
        ("L2", with(&sound, "#EXT-X-PART-INF:PART-TARGET=0.500\n", "")),
        ("L2", ContentSpec { segments: 9, with_parts: 9, ..ContentSpec::default() }.render()),
        ("L5", with(&sound, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1206.2.m4s\"\n", "")),
        ("L5", format!("{sound}#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1206.3.m4s\"\n")),
        ("L5", format!("{sound}#EXT-X-ENDLIST\n")),
        ("L8", with(&sound, "#EXT-X-VERSION:6", "#EXT-X-VERSION:5")),
        ("L8", with(&sound, "#EXT-X-VERSION:6", "#EXT-X-VERSION:7")),
        ("L8", with(&sound, "#EXT-X-VERSION:6", "#EXT-X-VERSION:9")),
        ("L8", with(&sound, "\n#EXT-X-MAP", "\n#EXT-X-SKIP:SKIPPED-SEGMENTS=0\n#EXT-X-MAP")),
        ("L8", with(&sound, "\n1200.m4s", "\n1200.m4s?_HLS_own=1")),
        ("D1", with(&sound, "ID=\"b\",", "")),
        ("D1", with(&sound, "PLANNED-DURATION=8", "SCTE35-IN=0xFC30")),
        (
            "D1",
            with(
                &sound,
                "\n#EXT-X-MAP",
                "\n#EXT-X-DATERANGE:ID=\"b\",START-DATE=\"2026-01-01T00:40:04.000Z\"\n#EXT-X-MAP",
            ),
        ),
    ];
    for (rule, text) in cases {
        assert!(
            broken(&text).contains(&rule),
            "{rule} was not found, but {:?}, in\n{text}",
            broken(&text)
        );
    }
}

#[test]
fn breaches_of_a_reload_are_found() {
    let (earlier, later) = (content(1201, 1), content(1202, 1));
    let cases = [
        ("R1", with(&later, "\n1203.m4s", "\n../ads/c/0.m4s")),
        ("R1", with(&later, "1206.0.m4s", "1206.9.m4s")),
        ("R1", with(&later, "#EXTINF:2.000,\n1203", "#EXT-X-GAP\n#EXTINF:2.000,\n1203")),
        ("R1", with(&later, "#EXTINF:2.000,\n1203", "#EXT-X-DISCONTINUITY\n#EXTINF:2.000,\n1203")),
        ("R1", with(&later, "#EXTINF:2.000,\n1203", "#EXTINF:1.900,\n1203")),
        ("R2", content(1200, 1)),
        ("R2", with(&later, "DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1")),
        ("R3", with(&later, "TARGETDURATION:2", "TARGETDURATION:3")),
        ("L1", with(&later, "PART-TARGET=0.500", "PART-TARGET=0.501")),
        (
            "L5",
            content(1202, 1).replace("1207.1.m4s", "1207.1.x").replace("1207.0.m4s", "1207.8.m4s"),
        ),
        ("D1", with(&later, "PLANNED-DURATION=8", "PLANNED-DURATION=9")),
        ("D1", with(&later, "#EXT-X-DATERANGE:ID=\"b\"", "#EXT-X-DATERANGE:ID=\"c\"")),
    ];
    for (rule, text) in cases {
        let earlier = if rule == "L5" { content(1201, 0) } else { earlier.clone() };
        assert!(
            broken_by(&earlier, &text).contains(&rule),
            "{rule} was not found, but {:?}, in\n{text}",
            broken_by(&earlier, &text)
        );
    }
}
