//! Publishers who leave, stall, or lose picture or sound, over real sockets: the timeline goes on
//! without a gap, and what is published decodes from end to end.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::Command;
use std::time::Duration;

use common::publisher::{AUDIO, Publisher, VIDEO, play, tags};
use common::stage::{KEY, Stage};
use common::{Running, get, publish, wait};

/// A camera that says of what colours its pictures are, as many do.
const TAGGED: &str = "\
    -re -f lavfi -i testsrc2=size=640x360:rate=25 \
    -re -f lavfi -i sine=frequency=440:sample_rate=48000 \
    -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 50 -c:a aac \
    -color_primaries bt470bg -color_trc gamma28 -colorspace bt470bg -color_range tv";

fn signal(child: &Running, name: &str) {
    let sent = Command::new("kill").args([name, &child.0.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn a_publisher_leaves_and_another_comes_and_the_stream_goes_on() {
    let stage = Stage::with(&["--slate-after-ms", "1500"]);
    assert!(stage.is("ready"));
    let first = stage.camera(TAGGED);
    wait("the first segments", || stage.is("live") && stage.has_slate());
    stage.more(1);
    drop(first);
    wait("the interruption", || stage.is("interrupted"));
    let (status, health) = get(stage.control, "/health").unwrap();
    assert_eq!(status, 200);
    assert!(String::from_utf8(health).unwrap().contains("interrupted"));
    wait("slate and silence", || stage.lacking() == ["v160", "a-en"]);
    stage.more(3);
    assert_eq!(stage.shown()["media"]["cause"], "nobody publishes");
    // As long after a part's end as is set, less one of its samples.
    let behind_s = stage.metric("sightscreen_behind_seconds{event=\"demo\"}");
    assert!(behind_s > 1.4, "slate is {behind_s} s behind the clock");
    let _second = publish(stage.rtmp, KEY);
    wait("the match again", || stage.is("live") && stage.lacking().is_empty());
    wait("a held request", || {
        let (port, msn) = (stage.main, stage.next());
        let path = format!("/live/demo/v160/index.m3u8?_HLS_msn={msn}");
        std::thread::spawn(move || get(port, &path));
        stage.metric("sightscreen_held_requests ") >= 1.0
    });
    stage.more(2);
    stage.check_all();
    assert_eq!(stage.starts(), 2);
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
    stage.check_all();
    assert_eq!(stage.starts(), 1);
    assert!(!stage.log().contains("nothing comes"), "{}", stage.log());
}

#[test]
fn a_publisher_that_is_gone_without_a_word_is_followed_by_slate() {
    let stage = Stage::with(&["--rtmp-idle", "3"]);
    let tags = tags(stage.folder.path());
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    play(
        &mut publisher,
        &tags,
        |_, ms| Some(ms),
        || stage.is("live") && stage.has_slate() && stage.next() > 5,
    );
    // The connection stays open, and nothing comes of it any more.
    wait("the line about it", || stage.told("neither picture nor sound") == 1);
    wait("the interruption", || stage.is("interrupted"));
    stage.more(3);
    stage.check_all();
    drop(publisher);
}

/// One kind is lost for a while.
fn lose(kind: u8, rendition: &str, then: &str) -> Stage {
    let stage = Stage::new();
    let tags = tags(stage.folder.path());
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let (lost, step) = (std::cell::Cell::new(false), std::cell::Cell::new(0));
    let mut until = 0;
    play(
        &mut publisher,
        &tags,
        |sent, ms| (!lost.get() || sent != kind).then_some(ms),
        || {
            match step.get() {
                0 if stage.is("live") && stage.has_slate() => lost.set(true),
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
    stage.check_all();
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
