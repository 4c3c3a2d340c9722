//! What a publisher sends is followed: its rate, its shape, and its sound that ends in mid-stream.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;

use common::stage::Stage;
use common::wait;

/// The second has every second picture of a camera with 50 a second.
const RUNGS: &str = "[[rungs]]\nheight = 160\nbitrate = 300000\n\
    [[rungs]]\nheight = 120\nbitrate = 200000\nhalf_from_fps = 50\n";

/// An anamorphic picture at 50 frames a second; after twelve seconds, without sound. By then the
/// silence that stands in for it is coded, also on a machine with much to do. Pictures do not wait
/// for sound that has ended.
const ANAMORPHIC: &str = "\
    -re -f lavfi -i testsrc2=size=240x192:rate=50,setsar=64/45 \
    -re -f lavfi -i sine=frequency=440:sample_rate=44100:duration=12 \
    -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 50 -c:a aac \
    -max_interleave_delta 20000";

/// A picture alone, each a key picture.
const KEYS_ALONE: &str = "-re -f lavfi -i testsrc2=s=284x160:r=25 \
    -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 1";

/// How long each picture of a file is shown, in seconds.
fn pictures(file: &Path) -> Vec<f64> {
    let told = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "packet=duration_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    told.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect()
}

#[test]
fn every_picture_may_be_a_key_picture_and_there_may_be_no_sound() {
    let stage = Stage::with(&["--segment-ms", "1000"]);
    let _camera = stage.camera(KEYS_ALONE);
    wait("the first segments", || stage.is_up());
}

#[test]
fn a_publishers_rate_and_shape_are_followed_and_sound_that_ends_is_no_gap() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("origin.toml");
    std::fs::write(&config, RUNGS).unwrap();
    let stage = Stage::with(&["--segment-ms", "1000", "--config", config.to_str().unwrap()]);
    let _camera = stage.camera(ANAMORPHIC);
    wait("the first segments", || stage.is_up());
    let (first, first_next) = (stage.shown(), stage.next());
    let rendition = &first["renditions"][0];
    assert_eq!(rendition["frame_rate"], serde_json::json!([50, 1]), "{first}");
    assert_eq!((&rendition["width"], &rendition["height"]), (&284.into(), &160.into()), "{first}");
    assert_eq!(first["renditions"][1]["frame_rate"], serde_json::json!([25, 1]), "{first}");
    let epoch = first["epoch"].as_str().unwrap();
    for (rendition, frames) in [("v160", 50), ("v120", 25)] {
        let of = |object: &str| stage.object(&format!("{rendition}/{epoch}-{object}"));
        let file = folder.path().join("picture.mp4");
        let bytes = [of("init.mp4"), of(&format!("{}.m4s", first_next - 2))];
        std::fs::write(&file, bytes.concat()).unwrap();
        assert_eq!(pictures(&file), vec![1.0 / f64::from(frames); frames as usize], "{rendition}");
    }
    wait("silence", || stage.lacking() == ["a-en"]);
    // What is heard of the sound's last part is over with the next segment.
    let silent_from = stage.next();
    wait("silent segments", || stage.next() > silent_from + 4);
    let last = stage.shown();
    assert_eq!(last["media"]["state"], "live", "{last}");
    assert_eq!(stage.starts(), 1, "{}", stage.log());
    let playlist = stage.playlist("a-en");
    assert!(!playlist.contains("GAP"), "{playlist}");
    let (loud, silent) = (stage.loudest(first_next - 3), stage.loudest(silent_from + 1));
    assert!(loud > -40.0 && silent < -60.0, "{loud} {silent}");
}
