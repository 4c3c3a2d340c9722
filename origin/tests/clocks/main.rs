//! Clocks that are wrong: the machine's, which is set anew, and a publisher's, which runs fast.
//!
//! Needs a C compiler.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Running, TOKEN, binary, free_port, get, wait};
use serde_json::Value;

const KEY: &str = "key-of-a-fast-camera";

/// An origin whose folder outlives it.
struct Origin {
    _child: Running,
    main: u16,
    control: u16,
    rtmp: u16,
}

impl Origin {
    fn start(folder: &Path, settings: &[&str], environment: &[(&str, &Path)]) -> Self {
        let [main, control, rtmp] = [free_port(), free_port(), free_port()];
        let child = binary()
            .args(["serve", "--max-height", "160", "--languages", "en"])
            .args(["--operator-token", TOKEN, "--event", "demo"])
            .args(settings)
            .envs(environment.iter().copied())
            .args(["--listen", &format!("127.0.0.1:{main}")])
            .args(["--control", &format!("127.0.0.1:{control}")])
            .args(["--rtmp", &format!("127.0.0.1:{rtmp}"), "--data"])
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .stderr(File::options().append(true).create(true).open(folder.join("log")).unwrap())
            .spawn();
        Self { _child: Running(child.unwrap()), main, control, rtmp }
    }

    fn media(&self) -> Value {
        let (_, body) = get(self.control, "/control/events/demo").unwrap_or_default();
        let state: Value = serde_json::from_slice(&body).unwrap_or_default();
        state["media"].clone()
    }

    fn next_msn(&self) -> u64 {
        self.media()["next_msn"].as_u64().unwrap_or(0)
    }

    fn wait_for_segments(&self, more: u64) {
        let first = self.next_msn();
        wait("more segments", || self.next_msn() >= first + more);
    }

    fn playlist(&self) -> String {
        let (status, body) = get(self.main, "/live/demo/v160/index.m3u8").unwrap();
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap()
    }
}

/// The shim that steps the wall clock of whoever is started with it.
fn step_shim(folder: &Path) -> PathBuf {
    let library = folder.join("step.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clocks/step.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(built.unwrap().success(), "the shim does not compile");
    library
}

#[test]
fn a_step_of_the_machines_clock_changes_nothing_on_the_air() {
    let folder = tempfile::tempdir().unwrap();
    let (shim, step) = (step_shim(folder.path()), folder.path().join("step"));
    let set_clock = |seconds: i64| std::fs::write(&step, seconds.to_string()).unwrap();
    set_clock(0);
    let environment = [("LD_PRELOAD", shim.as_path()), ("CLOCK_STEP_FILE", step.as_path())];
    let origin = Origin::start(folder.path(), &["--input", "test"], &environment);
    wait("the first segments", || origin.next_msn() >= 4);
    for seconds in [3600, 0, -3600] {
        let before = origin.next_msn();
        set_clock(seconds);
        origin.wait_for_segments(3);
        let went = origin.next_msn() - before;
        assert!(went < 60, "the timeline jumped by {went} segments at a step of {seconds} s");
    }
    let playlist = origin.playlist();
    assert!(!playlist.contains("EXT-X-GAP"), "{playlist}");
    assert_eq!(origin.media()["encoder_starts"], 1);
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.matches("clock was set anew").count(), 2, "{log}");

    // A machine that starts again an hour behind goes on where the timeline ended.
    let last = origin.next_msn();
    drop(origin);
    let origin = Origin::start(folder.path(), &["--input", "test"], &environment);
    wait("more segments after a restart", || origin.next_msn() >= last + 3);
    assert!(origin.next_msn() < last + 100);
}

/// A camera whose clock gains 4,000 millionths: in 50 s it is 200 ms ahead.
fn fast_camera(port: u16) -> Running {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(["-readrate", "1.004", "-f", "lavfi", "-i", "testsrc2=size=284x160:rate=30"])
        .args(["-readrate", "1.004", "-f", "lavfi", "-i", "sine=sample_rate=48000"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-pix_fmt", "yuv420p", "-g", "30", "-c:a", "aac", "-f", "flv"])
        .arg(format!("rtmp://127.0.0.1:{port}/live/{KEY}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(child.unwrap())
}

#[test]
fn a_publisher_whose_clock_runs_fast_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ["--input", "rtmp", "--stream-key", KEY];
    let origin = Origin::start(folder.path(), &settings, &[]);
    wait("the origin", || get(origin.control, "/health").is_some());
    let _camera = fast_camera(origin.rtmp);
    let offset = || origin.media()["clock_offset_ms"].as_i64().unwrap_or(0);
    wait("a clock that is followed", || offset() <= -100);
    let media = origin.media();
    let drift = media["clock_drift_ppm"].as_i64().unwrap();
    assert!((-5000..=-1500).contains(&drift), "{media}");
    assert_eq!(media["encoder_starts"], 1, "{media}");
    let playlist = origin.playlist();
    assert!(!playlist.contains("EXT-X-GAP"), "{playlist}");
}
