//! What of a stream changes while it is on the air, and what does not.

use std::process::Command;

use serde_json::{Value, json};

use crate::common::edge::Edge;
use crate::common::{self, publish, wait};
use crate::platform::{Platform, on_both, problem};

#[test]
fn what_may_change_of_a_live_stream_acts_at_once_and_nobody_is_dropped() {
    on_both(|database| {
        let platform = Platform::with(database, "open-playback = true\n");
        let made = platform.make(&json!({
            "id": "a", "title": "A", "segment_ms": 1000,
            "plans": [{"id": "gold", "max_height": 1080}, {"id": "tin", "max_height": 100}],
            "pods": [{"cohort": "generic", "creatives": []}],
        }));
        let mut publisher = publish(platform.rtmp, made["stream_key"].as_str().unwrap());
        let mut edge = platform.edge();
        let entry = platform.sign("a", "", &["age=18-34"]);
        let mut entered = None;
        wait("the playlist", || {
            entered = edge.enter(&entry);
            entered.is_some()
        });
        let (before, target) = entered.unwrap();
        let starts = platform.shown("a")["media"]["encoder_starts"].take();
        refuse_what_is_fixed(&platform);
        change_admission(&platform);
        change_breaks(&platform, &mut edge, &entry, &target);

        let after = edge.text(&target);
        assert!(end_of(&after) > end_of(&before), "{before}{after}");
        assert_eq!(platform.shown("a")["media"]["encoder_starts"], starts);
        assert!(publisher.0.try_wait().unwrap().is_none(), "the publisher was dropped");
        assert_eq!(platform.log().matches("a publisher begins").count(), 1, "{}", platform.log());
    });
}

/// The sequence number after the last whole segment.
fn end_of(playlist: &str) -> u64 {
    let first = playlist.lines().find_map(|line| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
    first.unwrap().parse::<u64>().unwrap() + playlist.matches("#EXTINF").count() as u64
}

/// Sends a patch, after which the stream has these values.
fn patch(platform: &Platform, patch: &Value) {
    let (status, answer) = platform.call("PATCH", "streams/a", patch);
    assert_eq!(status, 200, "{answer}");
    let shown = platform.stream("a");
    for (name, value) in patch.as_object().unwrap() {
        assert_eq!((&answer[name], &shown[name]), (&shown[name], value), "{name}");
    }
}

fn refuse_what_is_fixed(platform: &Platform) {
    let team = json!([{"name": "team", "values": ["red", "blue"], "default": "red"}]);
    for (pointer, fixed) in [
        ("/id", json!({"id": "b"})),
        ("/id", json!({"id": null})),
        ("/latency", json!({"latency": "standard"})),
        ("/input", json!({"input": "test"})),
        ("/languages", json!({"languages": ["en", "hi"]})),
        ("/ladder/max_height", json!({"ladder": {"max_height": 360}})),
        ("/frame_rate", json!({"frame_rate": "25"})),
        ("/segment_ms", json!({"segment_ms": 2000})),
        ("/part_ms", json!({"part_ms": 250})),
        ("/window_s", json!({"window_s": 30})),
        ("/dvr_s", json!({"dvr_s": 1200})),
        ("/cohorts", json!({"cohorts": team})),
    ] {
        let answer = platform.call("PATCH", "streams/a", &fixed);
        assert_eq!(problem(&answer), (409, "field-fixed"), "{fixed}: {}", answer.1);
        let pointers: Vec<&Value> =
            answer.1["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
        assert_eq!(pointers, [pointer], "{fixed}");
    }
    let answer = platform.call("PATCH", "streams/a", &json!({"breaks": {"every_s": "often"}}));
    assert_eq!(problem(&answer), (422, "settings-invalid"));
    assert_eq!(answer.1["errors"][0]["pointer"], "/breaks/every_s");
    // What it says already is no change.
    patch(platform, &json!({"id": "a", "segment_ms": 1000}));
}

fn change_admission(platform: &Platform) {
    let plans = json!([{"id": "silver", "max_height": 720}]);
    patch(platform, &json!({"consent": "assumed", "plans": plans, "playback_plan": "silver"}));
    let document = platform.document("events/a");
    assert_eq!((&document["consent"], &document["plans"]), (&json!("assumed"), &plans));
    let (_, body) = common::get(platform.main, "/api/events/a/playback").unwrap();
    let playback: Value = serde_json::from_slice(&body).unwrap();
    assert!(playback["url"].as_str().unwrap().contains("plan=silver"), "{playback}");
}

/// `entry` leads a viewer to the cohort of the new pods, now that consent is assumed; who entered
/// before sees `generic`.
fn change_breaks(platform: &Platform, edge: &mut Edge, entry: &str, generic: &str) {
    let [everyones, own] = ["red", "blue"].map(|colour| clip(platform, colour));
    patch(
        platform,
        &json!({"pods": [
            {"cohort": "18-34.*.*.*.*", "creatives": [own]},
            {"cohort": "generic", "creatives": [everyones]},
            {"cohort": "fallback", "creatives": []},
        ]}),
    );
    let creative = |name: &str| {
        let (_, body) = common::get(platform.main, "/api/events/a").unwrap();
        let event: Value = serde_json::from_slice(&body).unwrap();
        let creatives = event["creatives"].as_object().unwrap().clone();
        creatives.into_iter().find_map(|(id, known)| (known == name).then_some(id))
    };
    let ready = || ["red", "blue"].iter().all(|name| creative(name).is_some());
    wait("the new creatives", ready);
    check_lead(platform);

    patch(platform, &json!({"breaks": {"first_s": 3, "every_s": 0, "length_s": 2, "lead_s": 2}}));
    let scheduled = || {
        let breaks = platform.shown("a")["breaks"].take();
        let is_begun = |one: &&Value| one["levels"]["cohort"].is_u64();
        breaks.as_array().unwrap().iter().find(is_begun).cloned()
    };
    wait("the break of the schedule", || scheduled().is_some());
    let scheduled = scheduled().unwrap();
    assert_eq!((&scheduled["length"], &scheduled["length_ms"]), (&json!(2), &json!(2000)));
    let (_, target) = edge.enter(entry).unwrap();
    for (target, name) in [(target.as_str(), "blue"), (generic, "red")] {
        let folder = format!("/ads/{}/", creative(name).unwrap());
        wait(name, || edge.text(target).contains(&folder));
    }
}

/// The lead holds for the next break that anybody announces.
fn check_lead(platform: &Platform) {
    patch(platform, &json!({"breaks": {"first_s": 0, "every_s": 0, "length_s": 20, "lead_s": 20}}));
    let next = platform.shown("a")["live_edge"]["next_sequence"].as_u64().unwrap();
    let path = "/control/events/a/breaks";
    let (status, body) = common::ask(platform.control, "POST", path, "{\"length_s\": 2}").unwrap();
    let plan: Value = serde_json::from_slice(&body).unwrap();
    assert!(status == 201 && plan["start"].as_u64().unwrap() >= next + 20, "{next} {plan}");
    let path = format!("{path}/{}/return", plan["id"].as_str().unwrap());
    assert_eq!(common::ask(platform.control, "POST", &path, "").unwrap().0, 200);
}

/// The path of a clip of two seconds in this colour.
fn clip(platform: &Platform, colour: &str) -> String {
    let path = platform.folder.path().join(format!("{colour}.mp4")).display().to_string();
    let picture = format!("color=size=284x160:rate=30:color={colour}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", &picture])
        .args(["-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "2", "-pix_fmt", "yuv420p"])
        .arg(&path)
        .status();
    assert!(made.unwrap().success());
    path
}
