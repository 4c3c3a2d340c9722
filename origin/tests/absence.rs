//! Publishers who leave, stall, or lose picture or sound, over real sockets: the timeline goes on
//! without a gap, and what is published decodes from end to end.
//!
//! Needs ffmpeg, as the origin itself does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::publisher::{AUDIO, Publisher, Tag, VIDEO, tags};
use common::{Running, TOKEN, ask, binary, free_port, get, publish, wait};
use serde_json::Value;

const KEY: &str = "key-of-the-right-camera";

struct Stage {
    folder: tempfile::TempDir,
    main: u16,
    control: u16,
    rtmp: u16,
    _origin: Running,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [main, control, rtmp] = [free_port(), free_port(), free_port()];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let child = binary()
            .args(["serve", "--input", "rtmp", "--stream-key", KEY, "--max-height", "160"])
            .args(["--operator-token", TOKEN, "--languages", "en", "--rtmp", &address(rtmp)])
            .args(["--listen", &address(main), "--control", &address(control), "--data"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn();
        let stage = Self { folder, main, control, rtmp, _origin: Running(child.unwrap()) };
        wait("the origin", || stage.log().contains("the origin is up"));
        stage
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn shown(&self) -> Value {
        let (_, state) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        serde_json::from_slice(&state).unwrap()
    }

    fn is(&self, state: &str) -> bool {
        self.shown()["state"] == state
    }

    fn lacking(&self) -> Vec<String> {
        let lacking = self.shown()["media"]["lacking"].clone();
        serde_json::from_value(lacking).unwrap()
    }

    fn next(&self) -> u64 {
        self.shown()["live_edge"]["next_sequence"].as_u64().unwrap()
    }

    fn more(&self, segments: u64) {
        let from = self.next();
        wait("more segments", || self.next() > from + segments);
    }

    /// No gap in what is listed, and all of it decodes without a complaint.
    fn check(&self, rendition: &str) {
        let object = |name: &str| {
            let (status, body) = get(self.main, &format!("/live/demo/{rendition}/{name}")).unwrap();
            assert_eq!(status, 200, "{rendition}/{name}");
            body
        };
        let playlist = String::from_utf8(object("index.m3u8")).unwrap();
        assert!(!playlist.contains("GAP"), "{playlist}");
        assert!(!playlist.contains("#EXT-X-DISCONTINUITY\n"), "{playlist}");
        let map = playlist.split("#EXT-X-MAP:URI=\"").nth(1).unwrap();
        let mut stream = object(map.split('"').next().unwrap());
        let uris = playlist.lines().filter(|line| !line.starts_with('#'));
        let mut segments = 0;
        for uri in uris {
            stream.extend(object(uri));
            segments += 1;
        }
        assert!(segments >= 4, "{playlist}");
        let file = self.folder.path().join("all.mp4");
        std::fs::write(&file, stream).unwrap();
        let decoded = Command::new("ffmpeg")
            .args(["-v", "warning", "-xerror", "-i"])
            .arg(&file)
            .args(["-f", "null", "-"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&decoded.stderr);
        assert!(decoded.status.success() && said.trim().is_empty(), "{rendition}: {said}");
    }
}

fn signal(child: &Running, name: &str) {
    let sent = Command::new("kill").args([name, &child.0.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_publisher_leaves_and_another_comes_and_the_stream_goes_on() {
    let stage = Stage::new();
    assert!(stage.is("ready"));
    let first = publish(stage.rtmp, KEY);
    wait("the first segments", || stage.is("live"));
    stage.more(1);
    drop(first);
    wait("the interruption", || stage.is("interrupted"));
    let (status, health) = get(stage.control, "/health").unwrap();
    assert_eq!(status, 200);
    assert!(String::from_utf8(health).unwrap().contains("interrupted"));
    wait("slate and silence", || stage.lacking() == ["v160", "a-en"]);
    stage.more(3);
    assert_eq!(stage.shown()["media"]["cause"], "nobody publishes");
    let _second = publish(stage.rtmp, KEY);
    wait("the match again", || stage.is("live") && stage.lacking().is_empty());
    stage.more(2);
    ["v160", "a-en"].iter().for_each(|rendition| stage.check(rendition));
    assert_eq!(stage.shown()["media"]["encoder_starts"], 2);
}

#[test]
fn a_stall_of_three_seconds_that_loses_nothing_costs_nothing() {
    let stage = Stage::new();
    let camera = publish(stage.rtmp, KEY);
    wait("the first segments", || stage.is("live"));
    stage.more(1);
    signal(&camera, "-STOP");
    std::thread::sleep(Duration::from_secs(3));
    signal(&camera, "-CONT");
    stage.more(4);
    ["v160", "a-en"].iter().for_each(|rendition| stage.check(rendition));
    assert_eq!(stage.shown()["media"]["encoder_starts"], 1);
    assert!(!stage.log().contains("nothing comes"), "{}", stage.log());
}

/// Sends the clip in real time, but for what `is_lost`, until `is_enough`.
fn send(
    publisher: &mut Publisher,
    tags: &[Tag],
    mut is_lost: impl FnMut(u8) -> bool,
    mut is_enough: impl FnMut() -> bool,
) {
    let begun = Instant::now();
    let mut looked = Duration::ZERO;
    for (kind, ms, data) in tags {
        let due = Duration::from_millis(u64::from(*ms));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        if is_lost(*kind) || ![VIDEO, AUDIO].contains(kind) {
            continue;
        }
        publisher.media(*kind, *ms, data);
        if begun.elapsed() > looked + Duration::from_millis(300) {
            looked = begun.elapsed();
            if is_enough() {
                return;
            }
        }
    }
    panic!("the clip ended too early");
}

/// One kind is lost for a while.
fn lose(kind: u8, rendition: &str, then: &str) -> Stage {
    let stage = Stage::new();
    let tags = tags(stage.folder.path());
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let (lost, step) = (std::cell::Cell::new(false), std::cell::Cell::new(0));
    let mut until = 0;
    send(
        &mut publisher,
        &tags,
        |sent| lost.get() && sent == kind,
        || {
            match step.get() {
                0 if stage.is("live") => lost.set(true),
                1 if stage.lacking() == [rendition] => {
                    assert!(stage.is(then), "{}", stage.shown());
                    until = stage.next() + 2;
                }
                2 if stage.next() > until => lost.set(false),
                3 if stage.lacking().is_empty() => {
                    assert!(stage.is("live"));
                    until = stage.next() + 2;
                }
                4 => return stage.next() > until,
                _ => return false,
            }
            step.set(step.get() + 1);
            false
        },
    );
    ["v160", "a-en"].iter().for_each(|rendition| stage.check(rendition));
    stage
}

#[test]
fn a_picture_that_is_lost_is_slate_while_the_sound_goes_on() {
    lose(VIDEO, "v160", "interrupted");
}

#[test]
fn sound_that_is_lost_is_silence_while_the_picture_stays() {
    lose(AUDIO, "a-en", "live");
}
