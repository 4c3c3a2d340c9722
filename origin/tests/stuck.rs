//! A disk that fails under the real binary: it is told once, the event goes on when the disk is
//! back, and a signal ends the origin all the same.
//!
//! Needs ffmpeg, as the origin itself does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Origin, ask, wait};
use serde_json::Value;

impl Origin {
    /// A file in the place of the picture's folder stands for a disk that fails.
    fn break_disk(&self) {
        fs::rename(self.media(), self.away()).unwrap();
        fs::write(self.media(), "").unwrap();
    }

    fn mend_disk(&self) {
        fs::remove_file(self.media()).unwrap();
        fs::rename(self.away(), self.media()).unwrap();
    }

    fn media(&self) -> PathBuf {
        self.folder.path().join("events/demo/media/media/v160")
    }

    fn away(&self) -> PathBuf {
        self.folder.path().join("away")
    }

    fn complaints(&self) -> usize {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.matches("a part cannot be written").count()
    }

    fn next_sequence(&self) -> u64 {
        let (_, state) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        let state: Value = serde_json::from_slice(&state).unwrap();
        state["live_edge"]["next_sequence"].as_u64().unwrap()
    }
}

#[test]
fn a_disk_that_fails_is_told_once_and_holds_up_neither_the_event_nor_its_end() {
    let mut origin = Origin::start(&[]);
    origin.break_disk();
    wait("the first failure", || origin.complaints() == 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(origin.complaints(), 1);
    let stopped = origin.next_sequence();
    origin.mend_disk();
    wait("the next segments", || origin.next_sequence() > stopped + 2);

    origin.break_disk();
    wait("the second failure", || origin.complaints() == 2);
    let begun = Instant::now();
    let id = origin.child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
    wait("the end", || origin.child.try_wait().unwrap().is_some());
    assert!(origin.child.wait().unwrap().success());
    // Five for the packager, eight for open requests, and a slow machine.
    assert!(begun.elapsed() < Duration::from_secs(30));
}
