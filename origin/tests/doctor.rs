//! `doctor` at the real binary.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::TcpListener;

use common::{binary, free_port};
use serde_json::Value;

/// Exit status, and what was found.
fn ask(config: &str, path: &str) -> (Option<i32>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("origin.toml");
    let data = folder.path().join("data");
    std::fs::write(&file, format!("{config}\ndata = {data:?}\n")).unwrap();
    let mut command = binary();
    command.args(["doctor", "--json", "--config"]).arg(&file);
    if !path.is_empty() {
        command.env("PATH", path);
    }
    let output = command.output().unwrap();
    let found = serde_json::from_slice(&output.stdout);
    (output.status.code(), found.unwrap_or_else(|_| panic!("{output:?}")))
}

/// The level of what is about something.
fn level(found: &Value, about: &str) -> String {
    let findings = found["findings"].as_array().unwrap().iter();
    let mut of = findings.filter(|finding| finding["about"].as_str().unwrap().starts_with(about));
    of.next().unwrap_or_else(|| panic!("{about}: {found:#}"))["level"].as_str().unwrap().to_owned()
}

#[test]
fn what_a_machine_bears_and_lacks_is_said_and_tells_by_the_exit_status() {
    let [listen, control] = [free_port(), free_port()];
    let config = |listen: u16| {
        format!(
            "listen = \"127.0.0.1:{listen}\"\ncontrol = \"127.0.0.1:{control}\"\nmax-height = 360"
        )
    };
    let (status, found) = ask(&config(listen), "");
    assert_eq!((status, &found["ok"]), (Some(0), &true.into()), "{found:#}");
    for about in ["ffmpeg", "encoder x264", "disk", "port listen", "port control"] {
        assert_eq!(level(&found, about), "good", "{about}");
    }
    let text = found.to_string();
    for about in ["x264 360p25", "streams of 1080p50", "space", "clock", "files"] {
        assert!(text.contains(about), "{about}: {found:#}");
    }
    assert!(!text.contains("x264 720p"), "{found:#}");

    // A port that is taken, and no ffmpeg.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, found) = ask(&config(taken.local_addr().unwrap().port()), "/nowhere");
    assert_eq!((status, &found["ok"]), (Some(1), &false.into()), "{found:#}");
    assert_eq!(level(&found, "port listen"), "missing");
    assert_eq!(level(&found, "ffmpeg"), "missing");
}
