//! A disk that is full under the real binary: what is on the air goes on from memory, a break that
//! cannot be kept is not shown, all of it is told, and what is missing is written once there is
//! room.
//!
//! Needs a name space of its own, for a small disk.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use common::stage::{KEY, Stage};
use common::{ask, binary, publish, wait};

/// Mounts a disk of 64 MiB at the folder behind `--data`, and goes on as the rest.
const ON_A_SMALL_DISK: &str = "\
    for argument; do [ \"$before\" = --data ] && data=$argument; before=$argument; done
    mount -t tmpfs -o size=64m small \"$data\" && exec \"$0\" \"$@\"";

/// A shell in a name space where it may mount.
fn shell(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
    command
}

/// The origin on a small disk; `None`, which is told, where nobody may mount one.
fn on_a_small_disk() -> Option<Stage> {
    let folder = tempfile::tempdir().unwrap();
    let can = shell("mount -t tmpfs -o size=1m small \"$0\"").arg(folder.path()).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("skipped with a full disk: this system lets nobody mount a small one (unshare)");
        return None;
    }
    let mut command = shell(ON_A_SMALL_DISK);
    command.arg(binary().get_program());
    Some(Stage::by(command, &["--break-length", "6"]))
}

/// What takes all the room on the stage's disk.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(stage: &Stage) -> Self {
        let path = stage.inside().join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        Self(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

fn announce(stage: &Stage) -> u16 {
    let path = "/control/events/demo/breaks";
    ask(stage.control, "POST", path, "{\"length_s\":6}").unwrap().0
}

/// The states of all breaks, in order.
fn breaks(stage: &Stage) -> Vec<String> {
    let shown = stage.shown();
    let breaks = shown["breaks"].as_array().unwrap().iter();
    breaks.map(|one| one["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_full_disk_stops_nothing_and_what_is_missing_is_written_once_there_is_room() {
    let Some(stage) = on_a_small_disk() else { return };
    let _camera = publish(stage.rtmp, KEY);
    wait("the event", || stage.is("live"));
    stage.more(1);
    assert_eq!(announce(&stage), 201);
    let ballast = Ballast::fill(&stage);
    wait("the line about it", || stage.told("the disk is late") == 1);
    let log = stage.log();
    let line = log.lines().find(|line| line.contains("the disk is late")).unwrap();
    assert!(line.contains("demo"), "{line}");
    // Past the break that was due.
    stage.more(5);
    assert!(stage.is("live") && stage.lacking().is_empty(), "{}", stage.shown());
    let disk = || stage.shown()["media"]["disk"].clone();
    assert_eq!(disk()["late"], true, "{}", stage.log());
    assert_eq!(stage.metric("sightscreen_disk_late{event=\"demo\"}"), 1.0);
    stage.check_all();
    let refused = announce(&stage);
    assert!(refused >= 500, "{refused}");

    ballast.remove();
    wait("the backlog", || disk()["backlog_bytes"] == 0 && disk()["late"] == false);
    assert_eq!(disk()["lost_segments"], 0);
    wait("the end of what was due", || breaks(&stage) == ["cancelled"]);
    assert_eq!(announce(&stage), 201);
    wait("a break", || breaks(&stage) == ["cancelled", "running"]);
    stage.check_all();
    assert_eq!(stage.starts(), 1, "{}", stage.log());
    assert!(!stage.log().contains("panicked"), "{}", stage.log());
}
