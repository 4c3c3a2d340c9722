//! Clocks that are wrong: the machine's, which is set anew, and a publisher's, which runs fast.
//!
//! Needs a C compiler.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Running, TOKEN, binary, free_port, get, kill_encoder, wait};
use serde_json::Value;

const KEY: &str = "key-of-a-fast-camera";

/// The event of which the settings name none.
const ONLY: &str = "demo";

/// Inputs that the origin paces itself, each as an event of its own.
const PACED: [&str; 2] = ["match", "file"];

/// An origin whose folder outlives it.
struct Origin {
    child: Running,
    main: u16,
    control: u16,
    rtmp: u16,
}

impl Origin {
    fn start(folder: &Path, settings: &[&str], environment: &[(&str, &Path)]) -> Self {
        let [main, control, rtmp] = [free_port(), free_port(), free_port()];
        let child = binary()
            .args(["serve", "--max-height", "160", "--languages", "en"])
            .args(["--operator-token", TOKEN])
            .args(settings)
            .envs(environment.iter().copied())
            .args(["--listen", &format!("127.0.0.1:{main}")])
            .args(["--control", &format!("127.0.0.1:{control}")])
            .args(["--rtmp", &format!("127.0.0.1:{rtmp}"), "--data"])
            .arg(folder.join("data"))
            .stdout(Stdio::null())
            .stderr(File::options().append(true).create(true).open(folder.join("log")).unwrap())
            .spawn();
        Self { child: Running(child.unwrap()), main, control, rtmp }
    }

    fn media(&self, event: &str) -> Value {
        let (_, body) = get(self.control, &format!("/control/events/{event}")).unwrap_or_default();
        let state: Value = serde_json::from_slice(&body).unwrap_or_default();
        state["media"].clone()
    }

    fn next_msn(&self, event: &str) -> u64 {
        self.media(event)["next_msn"].as_u64().unwrap_or(0)
    }

    fn playlist(&self, event: &str) -> String {
        let (status, body) = get(self.main, &format!("/live/{event}/v160/index.m3u8")).unwrap();
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap()
    }

    /// Both paced inputs go on by so many segments, and their timelines by not many more.
    fn go_on(&self, segments: u64, when: &str) {
        let first = PACED.map(|event| self.next_msn(event));
        let next = || PACED.map(|event| self.next_msn(event));
        wait(when, || next().iter().zip(first).all(|(next, first)| *next >= first + segments));
        for (event, (next, first)) in PACED.iter().zip(next().iter().zip(first)) {
            assert!(next - first < 60, "{event} jumped by {} segments {when}", next - first);
        }
    }
}

/// Settings of the events with paced inputs, in segments of a second.
fn paced(folder: &Path) -> PathBuf {
    let clip = folder.join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=284x160:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=sample_rate=48000", "-t", "7"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"])
        .arg(&clip)
        .status();
    assert!(made.unwrap().success());
    let inputs = ["test".to_owned(), format!("file:{}", clip.display())];
    let events = PACED.iter().zip(inputs);
    let events = events
        .map(|(event, input)| format!("[[events]]\nevent = \"{event}\"\ninput = \"{input}\"\n"));
    let file = folder.join("origin.toml");
    std::fs::write(&file, format!("segment-ms = 1000\n{}", events.collect::<String>())).unwrap();
    file
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
    let config = paced(folder.path());
    let settings = ["--config", config.to_str().unwrap()];
    let origin = Origin::start(folder.path(), &settings, &environment);
    wait("the first segments", || PACED.iter().all(|event| origin.next_msn(event) >= 4));
    for seconds in [3600, 0, -3600] {
        set_clock(seconds);
        origin.go_on(4, &format!("at a step to {seconds} s"));
    }
    for event in PACED {
        let playlist = origin.playlist(event);
        assert!(!playlist.contains("EXT-X-GAP"), "{event}: {playlist}");
        assert_eq!(origin.media(event)["encoder_starts"], 1, "{event}");
    }
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert_eq!(log.matches("clock was set anew").count(), 2, "{log}");

    // An encoder that starts after the step goes on where the timeline is, and is on the air.
    kill_encoder(&origin.child, "color=c=0x2f7d3b");
    kill_encoder(&origin.child, "concat");
    let is_back = |event: &str| {
        let media = origin.media(event);
        media["encoder_starts"] == 2 && media["lacking"].as_array().is_some_and(Vec::is_empty)
    };
    wait("the encoders again", || PACED.iter().all(|event| is_back(event)));
    origin.go_on(2, "with an encoder of after the step");
    assert!(PACED.iter().all(|event| is_back(event)));

    // A machine that starts again an hour behind goes on where the timeline ended.
    let last = PACED.map(|event| origin.next_msn(event));
    drop(origin);
    let origin = Origin::start(folder.path(), &settings, &environment);
    let next = || PACED.map(|event| origin.next_msn(event));
    wait("more segments after a restart", || {
        next().iter().zip(last).all(|(next, last)| *next >= last + 3)
    });
    let jumped = next().iter().zip(last).any(|(next, last)| *next >= last + 100);
    assert!(!jumped, "from {last:?} to {:?}", next());
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
    let offset = || origin.media(ONLY)["clock_offset_ms"].as_i64().unwrap_or(0);
    wait("a clock that is followed", || offset() <= -100);
    let media = origin.media(ONLY);
    let drift = media["clock_drift_ppm"].as_i64().unwrap();
    assert!((-5000..=-1500).contains(&drift), "{media}");
    assert_eq!(media["encoder_starts"], 1, "{media}");
    let playlist = origin.playlist(ONLY);
    assert!(!playlist.contains("EXT-X-GAP"), "{playlist}");
}
