//! What the real binary refuses, and how it says so: one message with its remedy, and no secret.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::time::Duration;

use common::publisher::Publisher;
use common::stage::{KEY, Stage};
use common::{TOKEN, binary, free_port, get, publish, wait};
use serde_json::Value;

const WRONG_KEY: &str = "key-of-another-camera";

/// Starts the origin with these arguments and free ports for the rest, and returns what it said
/// when it gave up.
fn given_up(arguments: &[&str], path: Option<&str>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary();
    command.args(["serve", "--operator-token", TOKEN, "--data"]);
    command.arg(folder.path()).args(arguments);
    for setting in ["--listen", "--control"] {
        if !arguments.contains(&setting) {
            command.args([setting, &format!("127.0.0.1:{}", free_port())]);
        }
    }
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains(TOKEN) && !said.contains("panicked"), "{said}");
    let messages: Vec<&str> = said.split("sightscreen-origin: ").collect();
    assert_eq!(messages.len(), 2, "not one message: {said}");
    messages[1].to_owned()
}

#[test]
fn without_ffmpeg_the_remedy_is_told_for_every_input() {
    let rtmp = format!("127.0.0.1:{}", free_port());
    for input in [["--input", "test", "--rtmp", &rtmp], ["--input", "rtmp", "--rtmp", &rtmp]] {
        let said = given_up(&input, Some("/nowhere"));
        assert!(
            said.contains("ffmpeg cannot be started") && said.contains("apt-get install ffmpeg"),
            "{said}"
        );
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["--listen", "--control", "--rtmp"] {
        let said = given_up(&["--input", "rtmp", setting, &address], None);
        assert!(said.starts_with(&format!("{setting} {address}: cannot listen")), "{said}");
        assert!(said.contains("choose another"), "{said}");
    }
}

#[test]
fn all_faults_of_the_configuration_are_told_at_once() {
    let said =
        given_up(&["--event", "../etc", "--window", "many", "--input", "file:/nowhere.mp4"], None);
    assert!(said.starts_with("the configuration has 3 fault(s):"), "{said}");
    for part in [
        "--event: \"../etc\" is not an identifier",
        "--window: is not a number",
        "--input: there is no file \"/nowhere.mp4\"",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_wrong_key_is_refused_and_a_publisher_that_drops_at_once_spoils_nothing() {
    let stage = Stage::new();
    let (main, rtmp) = (stage.main, stage.rtmp);
    let log = || stage.log();
    let begun = || stage.told("a publisher begins");
    let mut refused = publish(rtmp, WRONG_KEY);
    wait("the end of the refused publisher", || refused.0.try_wait().unwrap().is_some());
    assert!(!refused.0.wait().unwrap().success());
    let line = log();
    let line = line.lines().find(|line| line.contains("wrong stream key"));
    assert!(line.is_some_and(|line| line.contains("127.0.0.1")), "{}", log());
    assert_eq!(begun(), 0);
    assert_eq!(stage.metric("sightscreen_publishers_refused_total{protocol=\"rtmp\"}"), 1.0);

    // Gone before the encoder can have told how its tracks are decoded.
    let short = publish(rtmp, KEY);
    wait("the short publisher", || begun() == 1);
    std::thread::sleep(Duration::from_millis(300));
    drop(short);
    wait("its end", || log().contains("the publisher left"));
    assert!(!stage.is_up());
    let (status, early) = get(main, "/documents/events/demo").unwrap();
    let early = String::from_utf8(early).unwrap();
    assert!(status == 200 && early.contains("\"renditions\":[]"), "{early}");

    let _camera = publish(rtmp, KEY);
    wait("the event", || stage.is_up());
    let (status, document) = get(main, "/documents/events/demo").unwrap();
    assert_eq!(status, 200);
    let payload = document.splitn(2, |byte| *byte == b'\n').nth(1).unwrap();
    let event: Value = serde_json::from_slice(payload).unwrap();
    let renditions = event["renditions"].as_array().unwrap();
    let ids: Vec<&str> =
        renditions.iter().filter_map(|rendition| rendition["id"].as_str()).collect();
    assert_eq!(ids, ["v160", "a-en"], "{event}");
    assert!(!log().contains(KEY) && !log().contains(WRONG_KEY), "{}", log());
}

#[test]
fn strangers_who_say_nothing_keep_no_publisher_out() {
    let stage = Stage::new();
    let enter = |_| TcpStream::connect(("127.0.0.1", stage.rtmp)).unwrap();
    let before: Vec<TcpStream> = (0..100).map(enter).collect();
    let _publisher = Publisher::admitted(stage.rtmp, KEY);
    let after: Vec<TcpStream> = (0..100).map(enter).collect();
    wait("the last of them", || stage.told("the oldest are closed") > 0);
    assert!(stage.told("the oldest are closed") < 20);
    // Who came in after all of them finds the event still the first publisher's.
    let _second = Publisher::admitted(stage.rtmp, KEY);
    wait("the newer publisher", || stage.told("a newer publisher took over") > 0);
    drop((before, after));
}
