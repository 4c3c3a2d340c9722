use super::*;
use crate::document::{Break, Slot};

const CONTENT: &str = "#EXTM3U
#EXT-X-VERSION:6
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0,PART-HOLD-BACK=0.6
#EXT-X-PART-INF:PART-TARGET=0.2
#EXT-X-SIGHTSCREEN-LEDGER:4
#EXT-X-MEDIA-SEQUENCE:9
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-DATERANGE:ID=\"b1\",START-DATE=\"2026-01-01T00:00:20.000Z\"
#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:18.000Z
#EXTINF:2.000,
9.m4s
#EXT-X-GAP
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:20.000Z
#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"10.0.m4s\"
#EXT-X-PART:DURATION=1.0,GAP=YES,URI=\"10.1.m4s\"
#EXTINF:2.000,
10.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:22.000Z
#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"11.0.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"11.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a-en/index.m3u8\",LAST-MSN=11,LAST-PART=0
";

fn pods(start: u64, length: u64, slots: &[(u64, &str, u64)]) -> Pods {
    let slots = slots
        .iter()
        .map(|&(offset, creative, segments)| Slot { offset, creative: creative.into(), segments })
        .collect();
    let one = Break { id: "b1".into(), start, length, discontinuities_before: 7, slots };
    Pods {
        event: "e".into(),
        revision: 4,
        cohort: "c".into(),
        discontinuities: 0,
        changes_hidden: 0,
        breaks: vec![one],
    }
}

fn stitched(content: &str, pods: &Pods, latency: Latency) -> String {
    let mut out = Vec::new();
    let how = Stitch { rendition: "720p", phases: 4, pods: Some(pods), latency };
    assert_eq!(stitch(content.as_bytes(), how, &mut out), Ok(()));
    String::from_utf8(out).unwrap_or_default()
}

fn segments_of(text: &str) -> &str {
    &text[text.find("#EXT-X-MAP").unwrap_or(0)..]
}

#[test]
fn a_break_replaces_uris_and_nothing_else() {
    let out = stitched(CONTENT, &pods(10, 2, &[(0, "ad", 1), (1, "promo", 1)]), Latency::Low);
    assert!(out.contains("#EXT-X-DATERANGE:ID=\"b1\",START-DATE=\"2026-01-01T00:00:20.000Z\"\n#EXT-X-DISCONTINUITY-SEQUENCE:7\n#EXT-X-MAP"));
    assert_eq!(
        segments_of(&out),
        "#EXT-X-MAP:URI=\"init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:18.000Z
#EXTINF:2.000,
9.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"../ads/ad/720p/2/init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:20.000Z
#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"../ads/ad/720p/2/0.0.m4s\"
#EXT-X-PART:DURATION=1.0,URI=\"../ads/ad/720p/2/0.1.m4s\"
#EXTINF:2.000,
../ads/ad/720p/2/0.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"../ads/promo/720p/3/init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:22.000Z
#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"../ads/promo/720p/3/0.0.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../ads/promo/720p/3/0.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a-en/index.m3u8\",LAST-MSN=11,LAST-PART=0
"
    );
}

#[test]
fn without_a_break_in_the_window_the_content_is_copied() {
    let out = stitched(CONTENT, &pods(100, 2, &[(0, "ad", 2)]), Latency::Low);
    let expected = CONTENT
        .replace("#EXT-X-DISCONTINUITY-SEQUENCE:0\n", "")
        .replace("#EXT-X-MAP", "#EXT-X-DISCONTINUITY-SEQUENCE:7\n#EXT-X-MAP");
    assert_eq!(out, expected);
}

#[test]
fn a_playlist_that_begins_inside_a_creative_begins_with_its_init() {
    let out = stitched(CONTENT, &pods(6, 5, &[(0, "ad", 5)]), Latency::Low);
    assert!(out.contains(
        "#EXT-X-DISCONTINUITY-SEQUENCE:8\n#EXT-X-MAP:URI=\"../ads/ad/720p/2/init.mp4\"\n"
    ));
    assert!(out.contains("\n../ads/ad/720p/2/3.m4s\n"));
    assert!(out.contains("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:22.000Z\n"));
}

#[test]
fn a_playlist_that_begins_at_a_discontinuity_keeps_the_tag_and_does_not_count_it() {
    let out = stitched(CONTENT, &pods(9, 1, &[(0, "ad", 1)]), Latency::Low);
    assert!(out.contains("#EXT-X-DISCONTINUITY-SEQUENCE:7\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"../ads/ad/720p/1/init.mp4\"\n"));
}

#[test]
fn a_hint_across_a_boundary_hints_the_init_too() {
    let next = CONTENT
        .replace("#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:22.000Z\n#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"11.0.m4s\"\n", "")
        .replace("11.1.m4s", "11.0.m4s");
    let into = stitched(&next, &pods(11, 2, &[(0, "ad", 2)]), Latency::Low);
    assert!(into.contains(
        "10.m4s\n#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"../ads/ad/720p/3/init.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../ads/ad/720p/3/0.0.m4s\"\n"
    ));
    let back = stitched(&next, &pods(10, 1, &[(0, "ad", 2)]), Latency::Low);
    assert!(back.contains("0.m4s\n#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init.mp4\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"11.0.m4s\"\n"));
}

#[test]
fn a_standard_session_sees_whole_segments_only() {
    let out = stitched(CONTENT, &pods(10, 2, &[(0, "ad", 1), (1, "promo", 1)]), Latency::Standard);
    assert!(out.contains("#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12.0,HOLD-BACK=6.0\n"));
    for absent in ["EXT-X-PART", "HINT", "REPORT", "22.000Z", "promo"] {
        assert!(!out.contains(absent), "{absent} in {out}");
    }
    assert!(out.ends_with("#EXTINF:2.000,\n../ads/ad/720p/2/0.m4s\n"));
}

#[test]
fn faults_of_the_origin_are_named() {
    let pods = pods(9, 2, &[(0, "ad", 2)]);
    let error = |content: &str| {
        let how = Stitch { rendition: "720p", phases: 1, pods: Some(&pods), latency: Latency::Low };
        stitch(content.as_bytes(), how, &mut Vec::new()).err()
    };
    assert_eq!(error("<html>"), Some(PlaylistError::NotAPlaylist));
    assert_eq!(error("#EXTM3U\n#EXTINF:2,\n1.m4s\n"), Some(PlaylistError::MediaSequence));
    assert_eq!(error(&CONTENT.replace(":9\n", ":-9\n")), Some(PlaylistError::MediaSequence));
    assert_eq!(error(&CONTENT.replace("\n9.m4s", "\n8.m4s")), Some(PlaylistError::Uri));
    assert_eq!(
        error("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:90\n#EXTINF:2,\n90.m4s\n"),
        Some(PlaylistError::Map)
    );
}

#[test]
fn the_content_keeps_its_epoch_and_creatives_have_none() {
    let content = CONTENT
        .replace("LEDGER:4", "LEDGER:1a2b.4")
        .replace("init.mp4", "1a2b-init.mp4")
        .replace("\n9.m4s", "\n1a2b-9.m4s")
        .replace("10.m4s", "1a2b-10.m4s")
        .replace("\"10.", "\"1a2b-10.")
        .replace("\"11.", "\"1a2b-11.");
    let out = stitched(&content, &pods(10, 1, &[(0, "ad", 1)]), Latency::Low);
    assert_eq!(
        segments_of(&out),
        "#EXT-X-MAP:URI=\"1a2b-init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:18.000Z
#EXTINF:2.000,
1a2b-9.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"../ads/ad/720p/2/init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:20.000Z
#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"../ads/ad/720p/2/0.0.m4s\"
#EXT-X-PART:DURATION=1.0,URI=\"../ads/ad/720p/2/0.1.m4s\"
#EXTINF:2.000,
../ads/ad/720p/2/0.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"1a2b-init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:22.000Z
#EXT-X-PART:DURATION=1.0,INDEPENDENT=YES,URI=\"1a2b-11.0.m4s\"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1a2b-11.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"../a-en/index.m3u8\",LAST-MSN=11,LAST-PART=0
"
    );
    let how = Stitch {
        rendition: "720p",
        phases: 4,
        pods: Some(&pods(9, 2, &[(0, "ad", 2)])),
        latency: Latency::Low,
    };
    for bad in ["1A2b-9.m4s", "-9.m4s", "1a2b-x-9.m4s", "1a2b-8.m4s"] {
        let torn = content.replace("1a2b-9.m4s", bad);
        let made = stitch(torn.as_bytes(), how, &mut Vec::new());
        assert_eq!(made, Err(PlaylistError::Uri), "{bad}");
    }
}

#[test]
fn the_revision_is_found_in_the_header() {
    let named = |text: &str| {
        let playlist = CONTENT.replace("LEDGER:4", &format!("LEDGER:{text}"));
        ledger_revision(playlist.as_bytes()).map(|found| found.map(str::to_owned))
    };
    for name in ["4", "1a2b.17", "0123456789abcdef.0"] {
        assert_eq!(named(name), Ok(Some(name.to_owned())));
    }
    for bad in ["", ".4", "1a2b.", "1a2b.x", "1A2b.4", "../x", "1a2b.4.5", "0123456789abcdefg.4"] {
        assert_eq!(named(bad), Ok(None), "{bad}");
    }
    assert_eq!(ledger_revision(b"#EXTM3U\n1.m4s\n#EXT-X-SIGHTSCREEN-LEDGER:4\n"), Ok(None));
    assert_eq!(ledger_revision(b"no"), Err(PlaylistError::NotAPlaylist));
}
