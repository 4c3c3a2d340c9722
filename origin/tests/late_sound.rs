//! A publisher whose sound announces itself late, over a real socket: the sound is heard all the
//! same.
//!
//! Needs ffmpeg, as the origin itself does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::publisher::{AUDIO, Publisher, VIDEO, tags};
use common::{Running, TOKEN, ask, binary, free_port, get, loudest_of, wait};
use serde_json::Value;

const KEY: &str = "key-of-the-right-camera";
/// On the publisher's clock.
const SOUND_FROM_MS: u32 = 1500;

/// Sends the clip in real time, its sound from a moment on, until `is_enough`.
fn publish(
    publisher: &mut Publisher,
    tags: &[(u8, u32, Bytes)],
    mut is_enough: impl FnMut() -> bool,
) {
    let begun = Instant::now();
    let is_config = |kind: u8, data: &Bytes| kind == AUDIO && data.get(1) == Some(&0);
    let config =
        tags.iter().find(|(kind, _, data)| is_config(*kind, data)).map(|(_, _, data)| data.clone());
    let mut config = Some(config.unwrap());
    for (kind, ms, data) in tags {
        let due = Duration::from_millis(u64::from(*ms));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        if *kind == VIDEO {
            publisher.media(VIDEO, *ms, data);
        } else if *kind == AUDIO && *ms >= SOUND_FROM_MS {
            for data in config.take().iter().chain([data]) {
                publisher.media(AUDIO, *ms, data);
            }
        }
        if is_enough() {
            return;
        }
    }
    panic!("the clip ended before the event was ready");
}

/// The loudest sample of a segment, in decibels.
fn loudest(init: &[u8], segment: &[u8], folder: &Path) -> f64 {
    let file = folder.join("sound.mp4");
    std::fs::write(&file, [init, segment].concat()).unwrap();
    loudest_of(&file)
}

#[test]
fn sound_that_begins_late_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let [main, control, rtmp] = [free_port(), free_port(), free_port()];
    let log = folder.path().join("log");
    let address = |port: u16| format!("127.0.0.1:{port}");
    let child = binary()
        .args(["serve", "--input", "rtmp", "--stream-key", KEY])
        .args(["--operator-token", TOKEN, "--max-height", "160"])
        .args(["--listen", &address(main), "--control", &address(control)])
        .args(["--rtmp", &address(rtmp), "--languages", "en", "--data"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn();
    let _origin = Running(child.unwrap());
    let log = || std::fs::read_to_string(&log).unwrap();
    wait("the origin", || log().contains("the origin is up"));

    let tags = tags(folder.path());
    let mut publisher = Publisher::admitted(rtmp, KEY);
    let mut looked = Instant::now();
    publish(&mut publisher, &tags, || {
        let due = looked.elapsed() > Duration::from_millis(500);
        if due {
            looked = Instant::now();
        }
        due && get(control, "/health").is_some_and(|(status, _)| status == 200)
    });
    assert!(log().contains("sound began late"), "{}", log());
    let (_, state) = ask(control, "GET", "/control/events/demo", "").unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    // On a busy machine the first may be over before it begins.
    assert!(state["media"]["encoder_starts"].as_u64() <= Some(2), "{state}");
    assert_eq!(state["media"]["state"], "live", "{state}");
    let last = state["live_edge"]["next_sequence"].as_u64().unwrap() - 2;
    let epoch = state["epoch"].as_str().unwrap();
    let of = |object: &str| get(main, &format!("/live/demo/a-en/{epoch}-{object}")).unwrap();
    let (init, segment) = (of("init.mp4"), of(&format!("{last}.m4s")));
    assert_eq!((init.0, segment.0), (200, 200), "{state}");
    let loudest = loudest(&init.1, &segment.1, folder.path());
    assert!(loudest > -40.0, "the sound is silence: {loudest} dB");
}
