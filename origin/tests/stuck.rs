//! A disk that fails under the real binary: it is told once, the event goes on from memory, what is
//! missing is written when the disk is back, and a signal ends the origin all the same.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Origin, ask, get, wait};
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
        log.matches("the disk is late").count()
    }

    fn state(&self) -> Value {
        let (_, state) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        serde_json::from_slice(&state).unwrap()
    }

    fn next_sequence(&self) -> u64 {
        self.state()["live_edge"]["next_sequence"].as_u64().unwrap()
    }

    /// The whole segment before the live edge: its number, and what a viewer gets.
    fn newest(&self) -> (u64, Vec<u8>) {
        let (epoch, msn) = (self.state()["epoch"].clone(), self.next_sequence() - 2);
        let path = format!("/live/demo/v160/{}-{msn}.m4s", epoch.as_str().unwrap());
        let (status, body) = get(self.main, &path).unwrap();
        assert_eq!(status, 200, "{path}");
        (msn, body)
    }
}

#[test]
fn a_disk_that_fails_is_told_once_and_holds_up_neither_the_event_nor_its_end() {
    let mut origin = Origin::start(&[]);
    origin.break_disk();
    wait("the first failure", || origin.complaints() == 1);
    let from = origin.next_sequence();
    wait("more of the event", || origin.next_sequence() > from + 2);
    assert_eq!(origin.complaints(), 1);
    assert_eq!(origin.state()["media"]["disk"]["late"], true);
    let (msn, from_memory) = origin.newest();
    origin.mend_disk();
    wait("the backlog", || origin.state()["media"]["disk"]["backlog_bytes"] == 0);
    let kept = fs::read(origin.media().join(format!("{msn}.m4s"))).unwrap();
    assert!(kept.starts_with(&from_memory));
    assert_eq!(origin.state()["media"]["disk"]["late"], false);
    assert_eq!(origin.state()["media"]["disk"]["lost_segments"], 0);

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
