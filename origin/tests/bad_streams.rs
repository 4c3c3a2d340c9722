//! Streams that are bent in themselves: their times, their groups of pictures, and settings that
//! change. Each is told in the log with its event, and viewers go on seeing something.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::cell::Cell;

use common::publisher::{Publisher, clip, play, tags};
use common::stage::{KEY, Stage};
use common::wait;

/// Far more than any clip lasts, in milliseconds.
const FAR: u32 = 1_000_000;

/// The line of the log that says this, with its event.
fn told(stage: &Stage, what: &str) {
    let log = stage.log();
    let line = log.lines().find(|line| line.contains(what));
    assert!(line.is_some_and(|line| line.contains("demo")), "{what} is not in {log}");
}

/// Plays a clip whose times are bent once the event is live. The function is given a time, and how
/// long they are bent. It ends when the bent times have passed, are told, and are live again.
fn bend(what: &str, bent: impl Fn(u32, Option<u32>) -> u32) -> Stage {
    let stage = Stage::new();
    let tags = tags(stage.folder.path());
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let (from, now) = (Cell::new(None), Cell::new(0));
    let mut until = u64::MAX;
    play(
        &mut publisher,
        &tags,
        |_, ms| {
            now.set(ms);
            Some(bent(ms, from.get().map(|from| ms - from)))
        },
        || match from.get() {
            None => {
                let is_ready = stage.is("live") && stage.has_slate();
                from.set(is_ready.then(|| now.get()));
                false
            }
            Some(_) if until == u64::MAX => {
                if stage.log().contains(what) && stage.lacking().is_empty() {
                    until = stage.next() + 3;
                }
                false
            }
            Some(_) => stage.next() > until && stage.lacking().is_empty(),
        },
    );
    told(&stage, what);
    stage.check_all();
    stage
}

#[test]
fn times_that_jump_ahead_are_followed() {
    bend("clock was set anew", |ms, since| ms + since.map_or(0, |_| FAR));
}

#[test]
fn times_that_jump_back_are_followed_at_once() {
    let stage = bend("clock was set anew", |ms, since| ms + since.map_or(FAR, |_| 0));
    // Not once for each tag that followed.
    assert_eq!(stage.told("clock was set anew"), 1, "{}", stage.log());
    assert_eq!(stage.starts(), 2, "{}", stage.log());
    // Until the next key picture, and not until the jump could have been no stall: five parts a
    // second of picture and sound.
    assert!(stage.metric("sightscreen_parts_total{event=\"demo\",of=\"filler\"}") <= 50.0);
}

#[test]
fn times_that_stand_still_are_told_and_followed_once_they_go_on() {
    bend("stands still", |ms, since| match since {
        Some(passed) if passed < 8000 => ms - passed,
        _ => ms,
    });
}

#[test]
fn times_that_wrap_and_times_that_repeat_change_nothing() {
    let stage = bend("the event is live", |ms, since| {
        // In pairs, and now and then half a second late.
        let repeated = ms - ms % 66;
        let late = if since.is_some_and(|passed| passed % 4000 < 33) { 500 } else { 0 };
        (u32::MAX - 9000).wrapping_add(repeated).wrapping_sub(late)
    });
    assert_eq!(stage.starts(), 1, "{}", stage.log());
    assert_eq!(stage.told("nothing comes"), 0, "{}", stage.log());
}

#[test]
fn a_group_of_twenty_seconds_is_no_wait_for_an_encoder_that_failed() {
    let stage = Stage::new();
    let _camera = stage.camera(
        "-re -f lavfi -i testsrc2=size=284x160:rate=30 -f lavfi -i sine=sample_rate=48000 \
         -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 600 \
         -sc_threshold 0 -c:a aac",
    );
    wait("the event", || stage.is("live") && stage.has_slate());
    stage.more(4);
    let before = stage.next();
    stage.kill_encoder();
    wait("another encoder", || stage.starts() == 2);
    wait("the picture", || stage.is("live") && stage.lacking().is_empty());
    // It began with the key picture before, and not with the next one.
    assert!(stage.next() < before + 5, "{} {before}\n{}", stage.next(), stage.log());
    stage.more(2);
    stage.check_all();
    told(&stage, "starting it again");
}

/// Publishes a picture every five seconds with its sound. Returns whether slate took its place once
/// viewers could see the event.
fn is_slate_in_a_slide_show(hold_ms: &str) -> bool {
    // The event begins with a picture of five seconds ago. What is missing there leaves the list.
    let stage = Stage::with(&["--picture-hold-ms", hold_ms, "--window", "16"]);
    let slides = clip(stage.folder.path(), "testsrc2=size=284x160:rate=1/5", 48_000);
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let (mut from, mut is_slate) = (None, false);
    let is_enough = || {
        if from.is_none() && stage.is_up() {
            from = Some(stage.next());
        }
        is_slate |= from.is_some() && stage.lacking().contains(&"v160".to_owned());
        from.is_some_and(|from| stage.next() > from + 9)
    };
    play(&mut publisher, &slides, |_, ms| Some(ms), is_enough);
    assert_eq!(stage.starts(), 1, "{}", stage.log());
    stage.check_all();
    is_slate
}

#[test]
fn a_slide_show_is_no_lost_picture() {
    assert!(!is_slate_in_a_slide_show("10000"));
}

#[test]
fn a_picture_need_not_be_held() {
    assert!(is_slate_in_a_slide_show("0"));
}

#[test]
fn a_picture_that_changes_in_mid_stream_or_with_another_publisher_is_brought_to_the_event() {
    let stage = Stage::new();
    let folder = stage.folder.path();
    let first = tags(folder);
    let other = clip(folder, "testsrc2=size=320x240:rate=50", 44_100);
    let third = clip(folder, "testsrc2=size=640x272:rate=24", 48_000);
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let begun = Cell::new(0);
    let note = |_, ms| {
        begun.set(ms);
        Some(ms)
    };
    let is_ready = || stage.is("live") && stage.has_slate() && stage.next() > 6;
    play(&mut publisher, &first, note, is_ready);
    let on_the_air = |from| stage.next() > from + 4 && stage.lacking().is_empty();
    let from = stage.next();
    let after = |_, ms| Some(begun.get() + 33 + ms);
    play(&mut publisher, &other, after, || on_the_air(from));
    told(&stage, "settings changed");
    assert_eq!(stage.starts(), 2, "{}", stage.log());
    drop(publisher);
    wait("the interruption", || stage.is("interrupted"));
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let from = stage.next();
    play(&mut publisher, &third, |_, ms| Some(ms), || stage.is("live") && on_the_air(from));
    stage.check_all();
}
