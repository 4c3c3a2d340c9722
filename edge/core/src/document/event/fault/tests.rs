#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use serde_json::{Value, json};

use super::*;

fn sound() -> Value {
    let video = |id: &str, height: u32| {
        json!({"id": id, "kind": "video", "codecs": "avc1", "bandwidth": 2, "average_bandwidth": 1,
            "phases": 1, "width": 2, "height": height, "frame_rate": 25.0})
    };
    let audio = |id: &str, language: &str, default: bool| {
        json!({"id": id, "kind": "audio", "codecs": "mp4a", "bandwidth": 2, "average_bandwidth": 1,
            "phases": 4, "language": language, "default": default})
    };
    json!({
        "event": "final", "title": "Final", "target_duration": 2, "parts": 10,
        "plans": [{"id": "premium", "max_height": 2160}, {"id": "free", "max_height": 480}],
        "cohorts": [
            {"name": "age", "values": ["18-34", "35-plus"], "default": "35-plus",
                "unknown": "35-plus", "aliases": [["35+", "35-plus"]],
                "ranges": [{"from": 18, "to": 34, "value": "18-34"}]},
            {"name": "metro", "values": ["metro", "rest"], "default": "rest",
                "geo": [{"country": "IN", "region": "MH", "value": "metro"}]},
        ],
        "territories": {"allow": ["IN", "LK"], "deny": ["IN-MH"], "unknown": "deny"},
        "bound": [{"path": "/api/events/final/score", "countries": ["IN"]}],
        "pass": {"session_s": 43200},
        "renditions": [
            video("v720", 720), video("v480", 480), audio("a-en", "en", true),
            audio("a-pt", "pt-BR", false),
        ],
    })
}

/// The fault of the sound document with another value at that JSON pointer.
fn fault(at: &str, value: Value) -> String {
    let mut document = sound();
    match document.pointer_mut(at) {
        Some(place) => *place = value,
        None => {
            let (parent, name) = at.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[name] = value;
        }
    }
    let event: Event = serde_json::from_value(document).unwrap();
    event.fault().unwrap_or_default()
}

#[test]
fn a_sound_document_has_no_fault() {
    assert_eq!(fault("/title", json!("Final")), "");
    // A cohort of exactly 64 bytes: 3 values of 16, one of 13, 3 dots.
    let of = |name: &str, bytes: usize| {
        let value = "v".repeat(bytes);
        json!({"name": name, "values": [value], "default": value})
    };
    let cohorts = |last| json!([of("a", 16), of("b", 16), of("c", 16), of("d", last)]);
    assert_eq!(fault("/cohorts", cohorts(13)), "");
    assert!(fault("/cohorts", cohorts(14)).contains("has 65 bytes"));
}

/// Each of these was accepted once, and would have locked viewers out, let them see what they may
/// not, or broken a playlist.
#[test]
fn every_trap_is_named() {
    let dimension = |values: Value| json!([{"name": "d", "values": values, "default": "a"}]);
    let many: Vec<String> = (0..101).map(|n| format!("v{n}")).collect();
    for (at, value, told) in [
        ("/event", json!("Final"), "expected an identifier"),
        ("/epoch", json!("A1"), "expected 1 to 16"),
        ("/event", json!("site"), "expected an identifier other than site"),
        ("/target_duration", json!(0), "expected 1 to 60 seconds"),
        ("/target_duration", json!(61), "expected 1 to 60 seconds"),
        ("/parts", json!(0), "expected at least 1"),
        ("/pass/session_s", json!(0), "pass.session_s"),
        ("/pass/ttl_s", json!(1), "pass.ttl_s"),
        ("/plans", json!([]), "expected at least one"),
        ("/plans/0/id", json!("Premium"), "\"Premium\": expected an identifier"),
        ("/plans/0/id", json!("p".repeat(65)), "expected an identifier"),
        ("/plans/0/id", json!("free"), "\"free\" is there twice"),
        ("/cohorts/1/name", json!("age"), "\"age\" is there twice"),
        ("/cohorts/0/name", json!("plan"), "expected another name"),
        ("/cohorts/0/name", json!("consent"), "expected another name"),
        ("/cohorts/0/name", json!("A"), "expected a name"),
        ("/cohorts", dimension(json!(["a", "none"])), "\"none\""),
        ("/cohorts", dimension(json!(["a", "generic"])), "\"generic\""),
        ("/cohorts", dimension(json!(["a", "a"])), "\"a\" is there twice"),
        ("/cohorts", dimension(json!(["a", "-b"])), "not - first"),
        ("/cohorts", dimension(json!(["a", "b.c"])), "expected 1 to 16"),
        ("/cohorts", dimension(json!(["b"])), "\"a\": expected one of its values"),
        ("/cohorts", dimension(json!([])), "expected one of its values"),
        ("/cohorts", json!([{"name": "d", "values": many, "default": "v0"}]), "101 cohorts"),
        ("/cohorts/0/unknown", json!("u"), "\"u\": expected one of its values"),
        ("/cohorts/0/aliases", json!([["35+", "old"]]), "\"old\": expected one of its values"),
        ("/cohorts/0/aliases", json!([["18-34", "35-plus"]]), "expected none of its values"),
        ("/cohorts/0/aliases", json!([["x", "18-34"], ["x", "35-plus"]]), "\"x\" is there twice"),
        ("/cohorts/0/ranges/0/from", json!(35), "expected the smaller number first"),
        (
            "/cohorts/0/ranges",
            json!([{"from": 1, "to": 9, "value": "18-34"}, {"from": 9, "to": 12, "value": "35-plus"}]),
            "overlap",
        ),
        ("/cohorts/1/geo/0/country", json!("in"), "geo rule"),
        ("/cohorts/1/geo/0/region", json!("IN-MH"), "geo rule"),
        ("/territories", json!({"unknown": "allow"}), "expected a place in allow or in deny"),
        ("/territories/allow", json!(["India"]), "territories: \"India\""),
        ("/bound/0/path", json!("/api/events/finale/score"), "expected a path of the event"),
        ("/bound/0/path", json!("/api/events"), "expected a path of the event"),
        ("/bound/0/path", json!("/api/events/final/"), "expected a path of the event"),
        ("/bound/0/countries", json!([]), "expected countries"),
        ("/bound/0/countries", json!(["in"]), "expected countries"),
        (
            "/renditions",
            json!([{"id": "a", "kind": "audio", "codecs": "mp4a.40.2", "bandwidth": 1,
                "average_bandwidth": 1, "phases": 4, "default": true}]),
            "at least one of video",
        ),
        ("/renditions/1/id", json!("v720"), "\"v720\" is there twice"),
        ("/renditions/1/id", json!("ads"), "expected an identifier, not ads"),
        ("/renditions/1/height", Value::Null, "expected width and height"),
        ("/renditions/1/frame_rate", json!(0.0), "expected a frame rate"),
        ("/renditions/1/codecs", json!(""), "expected codecs"),
        ("/renditions/1/codecs", json!("a\"b"), "expected codecs"),
        ("/renditions/1/bandwidth", json!(0), "expected bandwidths above 0"),
        ("/renditions/1/phases", json!(0), "expected at least one phase"),
        ("/renditions/1/default", json!(true), "expected default on audio alone"),
        ("/renditions/2/default", json!(false), "exactly one that is the default"),
        ("/renditions/3/default", json!(true), "exactly one that is the default"),
        ("/renditions/3/language", json!("zh_Hant"), "expected a language tag"),
        ("/renditions/3/name", json!("a\nb"), "expected a name without quotes"),
        ("/renditions/3/name", json!("a-en"), "have the name \"a-en\""),
        ("/renditions/3/channels", json!(0), "expected at least one channel"),
    ] {
        let said = fault(at, value.clone());
        assert!(said.contains(told), "{at} {value}: {said:?} lacks {told:?}");
    }
}
