//! Several events in one origin: one port for all publishers, and each event for itself.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use common::{Running, TOKEN, ask, binary, free_port, get, publish, wait};
use serde_json::Value;

const KEY_OF_A: &str = "key-of-the-first-match";

/// Ports of one origin.
#[derive(Clone, Copy)]
struct Ports {
    main: u16,
    control: u16,
    rtmp: u16,
}

fn serve(folder: &Path, ports: Ports) -> Running {
    let Ports { main, control, rtmp } = ports;
    let file = folder.join("origin.toml");
    let text = format!(
        "listen = \"127.0.0.1:{main}\"\ncontrol = \"127.0.0.1:{control}\"\n\
         rtmp = \"127.0.0.1:{rtmp}\"\ndata = \"{data}\"\ninput = \"rtmp\"\nmax-height = 160\n\
         languages = [\"en\"]\noperator-token = \"{TOKEN}\"\nopen-playback = true\n\
         [[events]]\nevent = \"a\"\ntitle = \"First match\"\nstream-key = \"{KEY_OF_A}\"\n\
         [[events]]\nevent = \"b\"\ntitle = \"Second match\"\n",
        data = folder.join("data").display()
    );
    std::fs::write(&file, text).unwrap();
    let log = File::options().append(true).create(true).open(folder.join("log")).unwrap();
    let child =
        binary().args(["serve", "--config"]).arg(&file).stdout(Stdio::null()).stderr(log).spawn();
    Running(child.unwrap())
}

fn json(port: u16, path: &str) -> Value {
    let (_, body) = get(port, path).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn two_events_have_a_publisher_each_and_one_port() {
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports { main: free_port(), control: free_port(), rtmp: free_port() };
    let origin = serve(folder.path(), ports);
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    wait("the origin", || log().contains("the origin is up"));
    let state = |event: &str| json(ports.control, "/health")["events"][event].clone();
    assert_eq!((state("a"), state("b")), ("ready".into(), "ready".into()));
    let kept = folder.path().join("data/events/b/stream-key");
    let key_of_b = std::fs::read_to_string(&kept).unwrap();

    let first = publish(ports.rtmp, KEY_OF_A);
    wait("the first event", || state("a") == "live");
    assert_eq!(state("b"), "ready");
    let _second = publish(ports.rtmp, &key_of_b);
    wait("the second event", || state("b") == "live");

    each_event_has_its_own(ports);
    both_are_measured(ports);
    a_score_is_shown_once_it_is_given(ports);
    a_switch_of_one_is_not_the_others(ports);

    // One publisher leaves: its event has gaps, and the other goes on.
    drop(first);
    let media =
        |event: &str| json(ports.control, &format!("/control/events/{event}"))["media"].clone();
    wait("the interruption", || media("a")["state"] == "interrupted");
    let before = media("b")["next_msn"].as_u64().unwrap();
    wait("more of the other", || media("b")["next_msn"].as_u64().unwrap() > before + 1);
    assert_eq!(media("b")["state"], "live");

    // After a restart both go on, and the key that was made is the same.
    drop(origin);
    let _origin = serve(folder.path(), ports);
    wait("the origin again", || get(ports.control, "/health").is_some());
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), key_of_b);
    let _again = publish(ports.rtmp, &key_of_b);
    wait("the second event again", || media("b")["state"] == "live");
}

fn each_event_has_its_own(ports: Ports) {
    let listed = json(ports.main, "/api/events");
    let titles: Vec<&str> =
        listed["events"].as_array().unwrap().iter().filter_map(|e| e["title"].as_str()).collect();
    assert_eq!(titles, ["First match", "Second match"]);
    let epoch = |event: &str| {
        let (status, body) = get(ports.main, &format!("/documents/events/{event}")).unwrap();
        assert_eq!(status, 200);
        let payload = body.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
        let document: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(document["event"], event);
        document["epoch"].as_str().unwrap().to_owned()
    };
    let (a, b) = (epoch("a"), epoch("b"));
    assert_ne!(a, b);
    for (event, own, other) in [("a", &a, &b), ("b", &b, &a)] {
        let (status, playlist) =
            get(ports.main, &format!("/live/{event}/v160/index.m3u8")).unwrap();
        assert_eq!(status, 200);
        let playlist = String::from_utf8(playlist).unwrap();
        assert!(playlist.contains(own.as_str()) && !playlist.contains(other.as_str()));
        let url = json(ports.main, &format!("/api/events/{event}/playback"));
        assert!(url["url"].as_str().unwrap().starts_with(&format!("/live/{event}/main.m3u8?")));
    }
    for nothing in ["/live/c/v160/index.m3u8", "/api/events/c", "/live/", "/live/a"] {
        assert_eq!(get(ports.main, nothing).unwrap().0, 404, "{nothing}");
    }
    assert_eq!(get(ports.control, "/control/events/c").unwrap().0, 404);
}

fn both_are_measured(ports: Ports) {
    let (status, body) = get(ports.control, "/metrics").unwrap();
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 200, "{text}");
    for event in ["a", "b"] {
        let value = |name: &str, label: &str| -> f64 {
            let start = format!("{name}{{event=\"{event}\"{label}}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&start));
            line.unwrap_or_else(|| panic!("{start} is not in {text}")).parse().unwrap()
        };
        assert_eq!(value("sightscreen_event_state", ",state=\"live\""), 1.0);
        assert_eq!(value("sightscreen_encoder_starts_total", ""), 1.0);
        assert!(value("sightscreen_parts_total", ",of=\"input\"") > 10.0, "{text}");
        assert!(value("sightscreen_encoded_seconds_total", "") > 2.0, "{text}");
        assert_eq!(value("sightscreen_disk_late", ""), 0.0);
        assert_eq!(value("sightscreen_input_connected", ""), 1.0);
        assert!(value("sightscreen_input_bytes_total", "") > 10_000.0, "{text}");
        assert!(value("sightscreen_input_clock_offset_seconds", "").abs() < 10.0, "{text}");
        assert_eq!(value("sightscreen_breaks", ",state=\"announced\""), 0.0);
    }
    let documents = "sightscreen_documents_total{outcome=\"ok\"} ";
    let written = text.lines().find_map(|line| line.strip_prefix(documents));
    assert!(written.unwrap().parse::<u64>().unwrap() >= 4, "{text}");
    let parts = text.lines().find_map(|line| line.strip_prefix("sightscreen_part_seconds_count "));
    assert!(parts.unwrap().parse::<u64>().unwrap() > 20, "{text}");
}

fn a_score_is_shown_once_it_is_given(ports: Ports) {
    let media = json(ports.control, "/control/events/a")["media"].clone();
    assert_eq!(media["encoder"], "x264");
    let path = "/control/events/a/score";
    let shown = || json(ports.main, "/api/events/a/score")["score"].clone();
    // Nothing is invented for a real match.
    assert_eq!(shown(), Value::Null);
    let score = "{\"teams\": [\"Reds\", \"Blues\"], \"score\": \"2 - 1\"}";
    assert_eq!(ask(ports.control, "PUT", path, score).unwrap().0, 200);
    assert_eq!(shown(), "2 - 1");
    assert_eq!(ask(ports.control, "DELETE", path, "").unwrap().0, 200);
    assert_eq!(shown(), Value::Null);
}

fn a_switch_of_one_is_not_the_others(ports: Ports) {
    let path = "/control/events/a/flags";
    assert_eq!(ask(ports.control, "POST", path, "{\"ads\":\"off\"}").unwrap().0, 200);
    let ads = |event: &str| {
        json(ports.control, &format!("/control/events/{event}"))["flags"]["ads"].clone()
    };
    assert_eq!((ads("a"), ads("b")), ("off".into(), "on".into()));
    // What the other's snapshots are stays when this one takes its own.
    for event in ["a", "b"] {
        let path = format!("/control/events/{event}/snapshots");
        assert_eq!(ask(ports.control, "POST", &path, "").unwrap().0, 200);
    }
    for event in ["a", "b"] {
        let (_, body) =
            get(ports.main, &format!("/documents/snapshots/api/events/{event}")).unwrap();
        assert!(!body.ends_with(b"\nnull"), "{event}");
    }
}
