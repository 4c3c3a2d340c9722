//! The real binary with an encoder that becomes another one, in mid-match and over a restart: the
//! stream goes on, and what comes before and after a discontinuity plays with its own init segment.
//!
//! A script in place of ffmpeg changes a preset, which affects the init segment as a failed card or
//! an upgrade would.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{
    Running, TOKEN, ask, binary, check_decoded, free_port, get, kill_encoder, script, wait,
};
use serde_json::Value;

const RENDITIONS: [&str; 2] = ["v160", "a-en"];

/// While the file `other` is there, pictures are coded by another preset and so with another
/// profile, by an ffmpeg that calls itself another version.
const SCRIPT: &str = r#"#!/bin/sh
if [ -e "${0%/*}/other" ]; then
    for word; do
        shift
        [ "$word" = -version ] && echo "another version"
        [ "$word" = superfast ] && word=ultrafast
        set -- "$@" "$word"
    done
fi
exec REAL "$@"
"#;

struct Origin {
    process: Running,
    main: u16,
    control: u16,
    folder: PathBuf,
}

/// What a playlist lists of one encoder.
#[derive(Debug)]
struct Stretch {
    first: u64,
    map: String,
    /// Those that are no gaps.
    segments: Vec<String>,
}

impl Origin {
    fn start(folder: &Path, path: &str) -> Self {
        let [main, control] = [free_port(), free_port()];
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        let child = binary()
            .args(["serve", "--input", "test", "--max-height", "160", "--languages", "en"])
            .args(["--operator-token", TOKEN, "--listen", &format!("127.0.0.1:{main}")])
            .args(["--control", &format!("127.0.0.1:{control}"), "--data"])
            .arg(folder.join("data"))
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = Running(child.unwrap());
        let origin = Self { process, main, control, folder: folder.to_owned() };
        let is_up = || get(control, "/health").is_some_and(|(status, _)| status == 200);
        wait("the first segments", is_up);
        origin
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn state(&self) -> Value {
        let (_, state) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        serde_json::from_slice(&state).unwrap()
    }

    fn next(&self) -> u64 {
        self.state()["live_edge"]["next_sequence"].as_u64().unwrap()
    }

    fn kill_encoder(&self) {
        kill_encoder(&self.process, "unix:");
    }

    /// Waits for so many changes, and for some segments after the last.
    fn wait_for_changes(&self, count: usize) {
        let told = || self.log().matches("the encoder's settings changed").count();
        wait("another encoder", || told() >= count);
        assert_eq!(told(), count, "{}", self.log());
        let from = self.next();
        wait("segments of it", || self.next() > from + 3);
    }

    fn object(&self, path: &str) -> Vec<u8> {
        let (status, body) = get(self.main, &format!("/live/demo/{path}")).unwrap();
        assert_eq!(status, 200, "{path}: {}", self.log());
        body
    }

    fn playlist(&self, rendition: &str) -> String {
        String::from_utf8(self.object(&format!("{rendition}/index.m3u8"))).unwrap()
    }

    /// What the playlist lists, by discontinuity, and that each is decoded without a complaint.
    fn stretches(&self, rendition: &str) -> Vec<Stretch> {
        let stretches = stretches(&self.playlist(rendition));
        for stretch in &stretches {
            let uris = [&stretch.map].into_iter().chain(&stretch.segments);
            let media = uris.flat_map(|uri| self.object(&format!("{rendition}/{uri}")));
            let file = self.folder.join("stretch.mp4");
            std::fs::write(&file, media.collect::<Vec<u8>>()).unwrap();
            check_decoded(&file, &format!("{stretch:?}"));
        }
        stretches
    }

    /// Seconds from the event's start at which the media of a segment begin.
    fn begins(&self, rendition: &str, stretch: &Stretch, segment: &str) -> f64 {
        let file = self.folder.join("segment.mp4");
        let of = |uri: &str| self.object(&format!("{rendition}/{uri}"));
        std::fs::write(&file, [of(&stretch.map), of(segment)].concat()).unwrap();
        let probe = Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", "packet=dts_time", "-of", "csv=p=0"])
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(probe.stdout).unwrap();
        said.lines().next().unwrap().trim_end_matches(',').parse().unwrap()
    }

    fn codecs(&self) -> String {
        let (_, document) = get(self.main, "/documents/events/demo").unwrap();
        let text = String::from_utf8(document).unwrap();
        let payload: Value = serde_json::from_str(text.split_once('\n').unwrap().1).unwrap();
        payload["renditions"][0]["codecs"].as_str().unwrap().to_owned()
    }
}

fn stretches(playlist: &str) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let (mut msn, mut map, mut is_new, mut gap) = (0, String::new(), true, false);
    for line in playlist.lines() {
        if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            msn = first.parse().unwrap();
        } else if let Some(uri) = line.strip_prefix("#EXT-X-MAP:URI=") {
            map = uri.trim_matches('"').to_owned();
        } else if line == "#EXT-X-DISCONTINUITY" {
            is_new = true;
        } else if line == "#EXT-X-GAP" {
            gap = true;
        } else if !line.starts_with('#') {
            if std::mem::take(&mut is_new) {
                stretches.push(Stretch { first: msn, map: map.clone(), segments: Vec::new() });
            }
            if !std::mem::take(&mut gap) {
                stretches.last_mut().unwrap().segments.push(line.to_owned());
            }
            msn += 1;
        }
    }
    stretches
}

/// The number in `{epoch}-{msn}.m4s`.
fn number(uri: &str) -> u64 {
    uri.trim_end_matches(".m4s").rsplit_once('-').unwrap().1.parse().unwrap()
}

#[test]
fn another_encoder_goes_on_after_a_discontinuity_in_mid_match_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = script::in_place_of_ffmpeg(folder.path(), SCRIPT);
    let other = folder.path().join("bin/other");
    let origin = Origin::start(folder.path(), &path);
    let codec = origin.codecs();
    std::fs::write(&other, "").unwrap();
    origin.kill_encoder();
    origin.wait_for_changes(1);
    let of_all = |origin: &Origin| RENDITIONS.map(|rendition| origin.stretches(rendition));
    let [picture, sound] = of_all(&origin);
    let [_, second] = picture.as_slice() else { panic!("{}", origin.playlist("v160")) };
    assert!(second.map.ends_with("-init-1.mp4"), "{second:?}");
    assert!(!origin.playlist("v160").contains("GAP"), "{}", origin.playlist("v160"));
    // The sound is coded as before, and its numbers must match (RFC 8216bis 6.2.4).
    assert!(sound.len() == 2 && sound[1].first == second.first, "{sound:?}");
    assert!(sound[1].map.ends_with("-init.mp4"), "{sound:?}");
    wait("the new codec", || origin.codecs().starts_with(&format!("{codec},avc1.")));
    let tag = format!("#EXT-X-SIGHTSCREEN-MAPS:{}\n", second.first);
    assert!(origin.playlist("v160").contains(&tag) && origin.playlist("a-en").contains(&tag));
    let (first, kept) = (second.first, origin.object(&format!("v160/{}", second.segments[0])));
    drop(origin);

    // The first one is back with the next process.
    std::fs::remove_file(&other).unwrap();
    let origin = Origin::start(folder.path(), &path);
    origin.wait_for_changes(2);
    let [picture, sound] = of_all(&origin);
    let [_, second, third] = picture.as_slice() else { panic!("{}", origin.playlist("v160")) };
    assert_eq!(second.first, first);
    assert_eq!(origin.object(&format!("v160/{}", second.segments[0])), kept);
    assert!(third.map.ends_with("-init.mp4") && sound[2].first == third.first, "{picture:?}");
    // On the same timeline: segments of two seconds, whichever encoder made them.
    for stretch in &picture {
        for segment in [stretch.segments.first(), stretch.segments.last()].into_iter().flatten() {
            let (at, due) = (origin.begins("v160", stretch, segment), 2.0 * number(segment) as f64);
            assert!((at - due).abs() < 0.05, "{segment} begins at {at}");
        }
    }
}
