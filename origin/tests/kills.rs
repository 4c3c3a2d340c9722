//! The real binary with two publishers, killed at random moments: what was published is as before,
//! byte for byte, and at most the segment that was being made becomes a gap. And the same where the
//! power is cut, which takes what was not synced: at most one segment of each rendition is lost.
//!
//! `SIGHTSCREEN_KILLS` says how often. What each took is printed for `cargo xtask bench --only
//! kills`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use common::power::Power;
use common::{Running, TOKEN, binary, free_port, get, publish, wait};

const EVENTS: [(&str, &str); 2] = [("a", "key-of-the-first-event"), ("b", "key-of-the-other-one")];
const RENDITIONS: [&str; 2] = ["v160", "a-en"];

/// By event, rendition and URI.
type Shown = BTreeMap<(&'static str, &'static str, String), Vec<u8>>;

#[derive(Clone, Copy)]
struct Ports {
    main: u16,
    control: u16,
    rtmp: u16,
}

impl Ports {
    fn serve(self, folder: &Path, power: Option<&Power>) -> Running {
        let Self { main, control, rtmp } = self;
        let events = EVENTS.map(|(event, key)| {
            format!("[[events]]\nevent = \"{event}\"\nstream-key = \"{key}\"\n")
        });
        let text = format!(
            "listen = \"127.0.0.1:{main}\"\ncontrol = \"127.0.0.1:{control}\"\n\
             rtmp = \"127.0.0.1:{rtmp}\"\ndata = {data:?}\ninput = \"rtmp\"\nmax-height = 160\n\
             languages = [\"en\"]\noperator-token = \"{TOKEN}\"\n{events}",
            data = folder.join("data"),
            events = events.concat(),
        );
        let file = folder.join("origin.toml");
        std::fs::write(&file, text).unwrap();
        let log = File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let mut program = binary();
        if let Some(power) = power {
            power.watch(&mut program);
        }
        let child = program
            .args(["serve", "--config"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let origin = Running(child.unwrap());
        wait("the origin", || get(control, "/health").is_some());
        origin
    }

    fn playlist(self, event: &str, rendition: &str) -> String {
        let path = format!("/live/{event}/{rendition}/index.m3u8");
        let (status, body) = get(self.main, &path).unwrap();
        assert_eq!(status, 200, "{path}");
        String::from_utf8(body).unwrap()
    }

    /// The segments that are listed and have media.
    fn segments(self, event: &str, rendition: &str) -> Vec<String> {
        let playlist = self.playlist(event, rendition);
        let (mut segments, mut gap) = (Vec::new(), false);
        for line in playlist.lines() {
            match line {
                "#EXT-X-GAP" => gap = true,
                line if line.starts_with('#') => {}
                line if !std::mem::take(&mut gap) => segments.push(line.to_owned()),
                _ => {}
            }
        }
        segments
    }

    fn get(self, event: &str, rendition: &str, uri: &str) -> (u16, Vec<u8>) {
        get(self.main, &format!("/live/{event}/{rendition}/{uri}")).unwrap()
    }

    /// The parts of the segment that is being made.
    fn open_parts(self, event: &str, rendition: &str) -> Vec<String> {
        let playlist = self.playlist(event, rendition);
        let (_, open) = playlist.rsplit_once("#EXTINF:").unwrap_or_default();
        let parts = open.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
        let parts = parts.filter(|line| !line.contains("GAP=YES"));
        parts.map(|line| line.split('"').nth(1).unwrap().to_owned()).collect()
    }

    fn all(self) -> Shown {
        let mut shown = Shown::new();
        for (event, rendition) in EVENTS.iter().flat_map(|(e, _)| RENDITIONS.map(|r| (*e, r))) {
            let parts = self.open_parts(event, rendition);
            for uri in self.segments(event, rendition).into_iter().chain(parts) {
                let (status, body) = self.get(event, rendition, &uri);
                assert_eq!(status, 200, "{event} {rendition} {uri}");
                shown.insert((event, rendition, uri), body);
            }
        }
        shown
    }

    /// The newest segment that both events have.
    fn newest(self) -> u64 {
        let of = |(event, _): (&str, &str)| {
            self.segments(event, "v160").last().map_or(0, |uri| number(uri))
        };
        EVENTS.iter().map(|event| of(*event)).min().unwrap_or(0)
    }

    /// The newest part of an event, by segment and place; (0, 0) where there is none.
    fn newest_part(self, event: &str) -> (u64, u64) {
        let playlist = self.playlist(event, "v160");
        let mut parts = playlist
            .lines()
            .filter(|line| line.starts_with("#EXT-X-PART:") && !line.contains("GAP=YES"));
        let last = parts.next_back();
        let uri = last.and_then(|line| line.split('"').find(|uri| uri.ends_with(".m4s")));
        let Some(uri) = uri else { return (0, 0) };
        let (segment, place) = uri.rsplit_once('.').unwrap().0.rsplit_once('.').unwrap();
        (number(segment), place.parse().unwrap())
    }

    /// Gaps after a segment, of the rendition that has most.
    fn gaps(self, after: u64) -> usize {
        let all = EVENTS.iter().flat_map(|(event, _)| RENDITIONS.map(|id| (*event, id)));
        let of = |(event, id)| {
            let playlist = self.playlist(event, id);
            let gaps = playlist.split("#EXT-X-GAP\n").skip(1);
            let uris = gaps.filter_map(|rest| rest.lines().find(|line| line.ends_with(".m4s")));
            uris.filter(|uri| number(uri) > after).count()
        };
        all.map(of).max().unwrap_or(0)
    }
}

fn is_live(control: u16) -> bool {
    let (_, health) = get(control, "/health").unwrap();
    let health: serde_json::Value = serde_json::from_slice(&health).unwrap();
    EVENTS.iter().all(|(event, _)| health["events"][event] == "live")
}

/// The segment of a URI such as `1a2b-17.m4s`, `1a2b-17.3.m4s` or `1a2b-17`.
fn number(uri: &str) -> u64 {
    let (_, name) = uri.split_once('-').unwrap();
    name.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn a_kill_at_any_moment_takes_nothing_that_was_published() {
    end_and_come_back(None);
}

#[test]
fn a_power_cut_at_any_moment_takes_at_most_a_segment_and_changes_none() {
    end_and_come_back(Some(&Power::new()));
}

/// How often an origin ends in a test.
fn ends() -> usize {
    std::env::var("SIGHTSCREEN_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3)
}

/// Kills the origin, with a power cut where `power` says so, and starts it again.
fn end_and_come_back(power: Option<&Power>) {
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports { main: free_port(), control: free_port(), rtmp: free_port() };
    let (mut before, mut parts, mut last) = (Shown::new(), [(0, 0); 2], 0);
    for end in 0..=ends() {
        let begun = Instant::now();
        let origin = ports.serve(folder.path(), power);
        let _cameras = EVENTS.map(|(_, key)| publish(ports.rtmp, key));
        let newest = || EVENTS.map(|(event, _)| ports.newest_part(event));
        let is_new = || newest().iter().zip(&parts).all(|(now, before)| now > before);
        wait("new parts of both events", || is_live(ports.control) && is_new());
        let back = begun.elapsed();
        let lost = lost(ports, &before);
        let more = ports.newest() + 2;
        wait("more of both", || ports.newest() >= more);
        if end > 0 {
            let (ms, gaps) = (back.as_millis(), ports.gaps(last));
            let end_of = if power.is_some() { "power cut" } else { "kill" };
            println!("{end_of} {end}: back after {ms} ms, {gaps} gaps, {lost} lost");
            // A power cut takes the segment that was being made, and may take the one before it.
            // What may have been listed since is a gap.
            let most = if power.is_some() { 3 } else { 1 };
            assert!(gaps <= most, "what was lost is slate, but for what may have been published");
            assert!(lost <= if power.is_some() { 2 } else { 0 }, "{lost} segments");
        }
        // The nanoseconds are random enough.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(now.subsec_nanos()) % 2000));
        (before, parts, last) = (ports.all(), newest(), ports.newest());
        assert!(before.len() >= 8, "{:?}", before.keys());
        drop(origin);
        if let Some(power) = power {
            power.cut(&folder.path().join("data"));
        }
    }
}

/// Of how many segments of a rendition something is gone, at most. What is there is as it was.
fn lost(ports: Ports, before: &Shown) -> usize {
    let mut lost = BTreeMap::<_, BTreeSet<u64>>::new();
    for ((event, rendition, uri), body) in before {
        let (status, now) = ports.get(event, rendition, uri);
        match status {
            200 => assert!(now == *body, "{event} {rendition} {uri} is another one"),
            404 => drop(lost.entry((event, rendition)).or_default().insert(number(uri))),
            _ => panic!("{event} {rendition} {uri}: {status}"),
        }
    }
    lost.into_values().map(|segments| segments.len()).max().unwrap_or(0)
}
