//! What a publisher sends is followed: its rate, its shape, and its sound that ends in mid-stream.
//!
//! Needs ffmpeg, as the origin does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Running, TOKEN, ask, binary, free_port, get, loudest_of, wait};
use serde_json::Value;

const KEY: &str = "key-of-the-only-camera";

/// The second has every second picture of a camera with 50 a second.
const RUNGS: &str = "[[rungs]]\nheight = 160\nbitrate = 300000\n\
    [[rungs]]\nheight = 120\nbitrate = 200000\nhalf_from_fps = 50\n";

/// An anamorphic picture at 50 frames a second; after twelve seconds, without sound. By then the silence that stands in for it is
/// coded, also on a machine with much to do.
fn camera(port: u16) -> Running {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(["-re", "-f", "lavfi", "-i", "testsrc2=size=240x192:rate=50,setsar=64/45"])
        .args(["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=12"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-pix_fmt", "yuv420p", "-g", "50", "-c:a", "aac", "-f", "flv"])
        // Pictures do not wait for sound that has ended.
        .args(["-max_interleave_delta", "20000"])
        .arg(format!("rtmp://127.0.0.1:{port}/live/{KEY}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(child.unwrap())
}

fn state(control: u16) -> Value {
    let (_, state) = ask(control, "GET", "/control/events/demo", "").unwrap();
    serde_json::from_slice(&state).unwrap()
}

/// The loudest sample of a segment, in decibels.
fn loudest(main: u16, epoch: &str, msn: u64, folder: &Path) -> f64 {
    let of = |object: &str| {
        let (status, body) = get(main, &format!("/live/demo/a-en/{epoch}-{object}")).unwrap();
        assert_eq!(status, 200, "{object}");
        body
    };
    let file = folder.join("sound.mp4");
    std::fs::write(&file, [of("init.mp4"), of(&format!("{msn}.m4s"))].concat()).unwrap();
    loudest_of(&file)
}

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

struct Stage {
    main: u16,
    control: u16,
    rtmp: u16,
    folder: tempfile::TempDir,
    _origin: Running,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [main, control, rtmp] = [free_port(), free_port(), free_port()];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let config = folder.path().join("origin.toml");
        std::fs::write(&config, RUNGS).unwrap();
        let child = binary()
            .arg("serve")
            .arg("--config")
            .arg(config)
            .args(["--input", "rtmp", "--stream-key", KEY, "--segment-ms", "1000"])
            .args(["--operator-token", TOKEN, "--max-height", "160"])
            .args(["--listen", &address(main), "--control", &address(control)])
            .args(["--rtmp", &address(rtmp), "--languages", "en", "--data"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn();
        let stage = Self { main, control, rtmp, folder, _origin: Running(child.unwrap()) };
        wait("the origin", || stage.log().contains("the origin is up"));
        stage
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn wait_for_segments(&self) {
        let ready = || get(self.control, "/health").is_some_and(|(status, _)| status == 200);
        wait("the first segments", ready);
    }
}

#[test]
fn every_picture_may_be_a_key_picture_and_there_may_be_no_sound() {
    let stage = Stage::new();
    let camera = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=s=284x160:r=25"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-pix_fmt", "yuv420p", "-g", "1", "-f", "flv"])
        .arg(format!("rtmp://127.0.0.1:{}/live/{KEY}", stage.rtmp))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _camera = Running(camera.unwrap());
    stage.wait_for_segments();
}

#[test]
fn a_publishers_rate_and_shape_are_followed_and_sound_that_ends_is_no_gap() {
    let stage = Stage::new();
    let (main, control) = (stage.main, stage.control);
    let _camera = camera(stage.rtmp);
    stage.wait_for_segments();
    let first = state(control);
    let rendition = &first["renditions"][0];
    assert_eq!(rendition["frame_rate"], serde_json::json!([50, 1]), "{first}");
    assert_eq!((&rendition["width"], &rendition["height"]), (&284.into(), &160.into()), "{first}");
    let halved = &first["renditions"][1];
    assert_eq!(halved["frame_rate"], serde_json::json!([25, 1]), "{first}");
    let epoch = first["epoch"].as_str().unwrap();
    let newest = first["live_edge"]["next_sequence"].as_u64().unwrap() - 2;
    for (rendition, frames) in [("v160", 50), ("v120", 25)] {
        let file = stage.folder.path().join("picture.mp4");
        let of = |object: &str| get(main, &format!("/live/demo/{rendition}/{epoch}-{object}"));
        let bytes = [of("init.mp4"), of(&format!("{newest}.m4s"))].map(|answer| answer.unwrap().1);
        std::fs::write(&file, bytes.concat()).unwrap();
        assert_eq!(pictures(&file), vec![1.0 / f64::from(frames); frames as usize], "{rendition}");
    }
    let next = |state: &Value| state["live_edge"]["next_sequence"].as_u64().unwrap();
    let lacking = serde_json::json!(["a-en"]);
    wait("silence", || state(control)["media"]["lacking"] == lacking);
    // What is heard of the sound's last part is over with the next segment.
    let silent_from = next(&state(control));
    wait("silent segments", || next(&state(control)) > silent_from + 4);
    let last = state(control);
    assert_eq!(last["media"]["state"], "live", "{last}");
    assert_eq!(last["media"]["encoder_starts"], 1, "{}", stage.log());
    let epoch = last["epoch"].as_str().unwrap();
    let (_, playlist) = get(main, "/live/demo/a-en/index.m3u8").unwrap();
    let playlist = String::from_utf8(playlist).unwrap();
    assert!(!playlist.contains("GAP"), "{playlist}");
    let loud = loudest(main, epoch, next(&first) - 3, stage.folder.path());
    let silent = loudest(main, epoch, silent_from + 1, stage.folder.path());
    assert!(loud > -40.0 && silent < -60.0, "{loud} {silent}");
}
