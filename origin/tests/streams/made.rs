//! What a stream is answered with when it is made: where to publish, and where to play.

use serde_json::{Value, json};

use crate::common::edge::Edge;
use crate::common::{can_call, check_decoded, free_port, passphrase, send, wait};
use crate::platform::{Platform, on_both};

/// Base URL of the edges, as the settings say.
const EDGE: &str = "https://edge.example:8443";

#[test]
fn a_stream_is_published_and_played_by_what_it_was_answered_with() {
    on_both(|database| {
        let srt = free_port();
        let settings = format!("srt = \"127.0.0.1:{srt}\"\nplayback-url = \"{EDGE}/\"\n");
        let platform = Platform::with(database, &settings);
        let low = platform.make(&json!({"id": "low", "title": "Low", "segment_ms": 1000}));
        let whole = platform.make(&json!({
            "id": "whole", "title": "Whole", "latency": "standard", "segment_ms": 2000,
        }));
        // As they are pasted into the two fields of OBS.
        let _camera = send("flv", &[text(&low["ingest"][0]["url"]), key(&low)].join("/"));
        let _caller = match can_call() {
            true => send("mpegts", &call(&whole)),
            false => send("flv", &[text(&whole["ingest"][0]["url"]), key(&whole)].join("/")),
        };
        let mut edge = platform.edge();
        let (playlist, _) = play(&platform, &mut edge, &low);
        for tag in ["#EXT-X-PART:", "CAN-BLOCK-RELOAD=YES", "#EXT-X-TARGETDURATION:1\n"] {
            assert!(playlist.contains(tag), "{playlist}");
        }
        let (playlist, target) = play(&platform, &mut edge, &whole);
        check_whole(&playlist);
        check_objects(&platform, &mut edge, &playlist, &target);
    });
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn key(made: &Value) -> &str {
    text(&made["stream_key"])
}

/// The URL of a call by SRT, with the passphrase, which the answer does not have.
fn call(made: &Value) -> String {
    assert_eq!(made["ingest"][1]["protocol"], "srt");
    let url = text(&made["ingest"][1]["url"]);
    format!("{url}&passphrase={}&pkt_size=1316", passphrase(key(made)))
}

/// The playlist of a viewer who enters by the playback URL, signed, and its target.
fn play(platform: &Platform, edge: &mut Edge, made: &Value) -> (String, String) {
    let id = text(&made["id"]);
    let playback = text(&made["playback_url"]);
    let signed = platform.sign(id, EDGE, &["consent=1"]);
    assert_eq!(signed.split_once('?').unwrap().0, playback);
    // Without a signature it lets nobody in.
    assert_eq!(edge.get(playback.strip_prefix(EDGE).unwrap()).status, 403);
    let entry = signed.strip_prefix(EDGE).unwrap();
    let mut found = None;
    wait("the playlist", || {
        found = edge.enter(entry);
        found.is_some()
    });
    found.unwrap()
}

/// Whole segments of standard latency, and nothing of low latency.
fn check_whole(playlist: &str) {
    assert!(playlist.contains("#EXT-X-TARGETDURATION:2\n"), "{playlist}");
    let lengths: Vec<&str> =
        playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:")).collect();
    assert!(lengths.len() >= 3 && lengths.iter().all(|l| *l == "2.00000,"), "{playlist}");
    for tag in ["#EXT-X-PART", "BLOCK", "#EXT-X-PRELOAD-HINT", "#EXT-X-RENDITION-REPORT"] {
        assert!(!playlist.contains(tag), "{tag}: {playlist}");
    }
}

/// What the playlist names is there, and decodes without a complaint.
fn check_objects(platform: &Platform, edge: &mut Edge, playlist: &str, target: &str) {
    let folder = target.strip_suffix("index.m3u8").unwrap();
    let map = playlist.split_once("#EXT-X-MAP:URI=\"").unwrap().1.split_once('"').unwrap().0;
    let segments = playlist.lines().filter(|line| !line.starts_with('#'));
    let mut stream = Vec::new();
    for uri in [map].into_iter().chain(segments) {
        let response = edge.get(&format!("{folder}{uri}"));
        assert_eq!(response.status, 200, "{uri}");
        stream.extend(response.body);
    }
    let file = platform.folder.path().join("whole.mp4");
    std::fs::write(&file, stream).unwrap();
    check_decoded(&file, target);
}
