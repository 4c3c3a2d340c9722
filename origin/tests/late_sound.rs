//! A publisher whose sound announces itself late, over a real socket: the sound is heard all the
//! same.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::cell::Cell;

use common::publisher::{AUDIO, Publisher, VIDEO, play, tags};
use common::stage::{KEY, Stage};

/// On the publisher's clock.
const SOUND_FROM_MS: u32 = 1500;

#[test]
fn sound_that_begins_late_is_heard() {
    let stage = Stage::new();
    let tags = tags(stage.folder.path());
    let is_config = |kind: u8, data: &[u8]| kind == AUDIO && data.get(1) == Some(&0);
    let (config, rest): (Vec<_>, Vec<_>) =
        tags.into_iter().partition(|(kind, _, data)| is_config(*kind, data));
    // It announces itself with its first sound, as late as that is.
    let late = rest.iter().position(|(kind, ms, _)| *kind == AUDIO && *ms >= SOUND_FROM_MS);
    let (early, late) = rest.split_at(late.unwrap());
    let config = config.into_iter().map(|(kind, _, data)| (kind, SOUND_FROM_MS, data));
    let tags: Vec<_> = early.iter().cloned().chain(config).chain(late.iter().cloned()).collect();
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let last = Cell::new(0);
    let sent = |kind, ms| (kind == VIDEO || ms >= SOUND_FROM_MS).then_some(ms);
    play(&mut publisher, &tags, sent, || {
        let is_up = stage.is_up();
        if is_up {
            last.set(stage.next() - 2);
        }
        is_up
    });
    assert!(stage.log().contains("sends more than it began with"), "{}", stage.log());
    // On a busy machine the first may be over before it begins.
    assert!(stage.starts() <= 2, "{}", stage.log());
    assert!(stage.is("live"), "{}", stage.shown());
    let loudest = stage.loudest(last.get());
    assert!(loudest > -40.0, "the sound is silence: {loudest} dB");
}
