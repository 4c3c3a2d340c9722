//! The real binary with one event for a publisher, and what a viewer gets of it.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each uses a part of it")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{
    Running, TOKEN, ask, binary, check_decoded, free_port, get, kill_encoder, loudest_of, wait,
};

pub(crate) const KEY: &str = "key-of-the-right-camera";

/// An origin with one rung of 160 lines and one language; it ends with its value.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) main: u16,
    pub(crate) control: u16,
    pub(crate) rtmp: u16,
    origin: Running,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// The same with these settings besides.
    pub(crate) fn with(settings: &[&str]) -> Self {
        Self::by(binary(), settings)
    }

    /// The same by another command line, which ends with the binary.
    pub(crate) fn by(mut command: Command, settings: &[&str]) -> Self {
        let mut stage = Self::start(&mut command, settings);
        // Between the search for a free port and its use, another may have taken it.
        while stage.ended_for_a_port() {
            stage = Self::start(&mut command, settings);
        }
        stage
    }

    /// Waits until it is up, or over.
    fn ended_for_a_port(&mut self) -> bool {
        let mut is_over = false;
        wait("the origin", || {
            is_over = self.origin.0.try_wait().unwrap().is_some();
            is_over || self.log().contains("the origin is up")
        });
        assert!(!is_over || self.log().contains("cannot listen"), "{}", self.log());
        is_over
    }

    fn start(command: &mut Command, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [main, control, rtmp] = [free_port(), free_port(), free_port()];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let mut origin = copy(command);
        let child = origin
            .args(["serve", "--input", "rtmp", "--stream-key", KEY, "--max-height", "160"])
            .args(["--operator-token", TOKEN, "--languages", "en", "--rtmp", &address(rtmp)])
            .args(["--listen", &address(main), "--control", &address(control), "--data"])
            .arg(folder.path())
            .args(settings)
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn();
        Self { folder, main, control, rtmp, origin: Running(child.unwrap()) }
    }

    /// Whether slate and silence are coded, which a busy machine takes its time for.
    pub(crate) fn has_slate(&self) -> bool {
        self.told("a creative is conditioned") >= 2
    }

    /// A publisher: ffmpeg in real time, with these sources and codecs.
    pub(crate) fn camera(&self, arguments: &str) -> Running {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin"])
            .args(arguments.split_whitespace())
            .args(["-f", "flv", &format!("rtmp://127.0.0.1:{}/live/{KEY}", self.rtmp)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(child.unwrap())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Its data folder, as the origin itself sees it.
    pub(crate) fn inside(&self) -> PathBuf {
        let root = format!("/proc/{}/root", self.origin.0.id());
        PathBuf::from(root + self.folder.path().to_str().unwrap())
    }

    /// Kills what encodes now.
    pub(crate) fn kill_encoder(&self) {
        kill_encoder(&self.origin, "pipe:0");
    }

    /// How often the log says this.
    pub(crate) fn told(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }

    pub(crate) fn shown(&self) -> Value {
        let (_, state) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        serde_json::from_slice(&state).unwrap()
    }

    pub(crate) fn is(&self, state: &str) -> bool {
        self.shown()["state"] == state
    }

    /// Whether the first segments are there.
    pub(crate) fn is_up(&self) -> bool {
        get(self.control, "/health").is_some_and(|(status, _)| status == 200)
    }

    pub(crate) fn lacking(&self) -> Vec<String> {
        let lacking = self.shown()["media"]["lacking"].clone();
        serde_json::from_value(lacking).unwrap()
    }

    pub(crate) fn starts(&self) -> u64 {
        self.shown()["media"]["encoder_starts"].as_u64().unwrap()
    }

    /// The value of one metric, named with its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, text) = get(self.control, "/metrics").unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
    }

    pub(crate) fn next(&self) -> u64 {
        self.shown()["live_edge"]["next_sequence"].as_u64().unwrap()
    }

    pub(crate) fn more(&self, segments: u64) {
        let from = self.next();
        wait("more segments", || self.next() > from + segments);
    }

    pub(crate) fn object(&self, path: &str) -> Vec<u8> {
        let (status, body) = get(self.main, &format!("/live/demo/{path}")).unwrap();
        assert_eq!(status, 200, "{path}: {}", self.shown());
        body
    }

    pub(crate) fn playlist(&self, rendition: &str) -> String {
        String::from_utf8(self.object(&format!("{rendition}/index.m3u8"))).unwrap()
    }

    /// The loudest sample of a segment of the sound, in decibels.
    pub(crate) fn loudest(&self, msn: u64) -> f64 {
        let epoch = self.shown()["epoch"].as_str().unwrap().to_owned();
        let of = |object: &str| self.object(&format!("a-en/{epoch}-{object}"));
        let file = self.folder.path().join("sound.mp4");
        std::fs::write(&file, [of("init.mp4"), of(&format!("{msn}.m4s"))].concat()).unwrap();
        loudest_of(&file)
    }

    /// No gap in what is listed, and all of it decodes without a complaint.
    pub(crate) fn check(&self, rendition: &str) {
        let playlist = self.playlist(rendition);
        assert!(!playlist.contains("GAP"), "{playlist}\n{}", self.log());
        assert!(!playlist.contains("#EXT-X-DISCONTINUITY\n"), "{playlist}");
        check_times(&playlist);
        let object = |name: &str| self.object(&format!("{rendition}/{name}"));
        let map = playlist.split("#EXT-X-MAP:URI=\"").nth(1).unwrap();
        let mut stream = object(map.split('"').next().unwrap());
        let uris = playlist.lines().filter(|line| !line.starts_with('#'));
        let mut segments = 0;
        for uri in uris {
            stream.extend(object(uri));
            segments += 1;
        }
        assert!(segments >= 4, "{playlist}");
        let file = self.folder.path().join("all.mp4");
        std::fs::write(&file, stream).unwrap();
        check_decoded(&file, rendition);
    }

    /// The same of picture and sound.
    pub(crate) fn check_all(&self) {
        ["v160", "a-en"].iter().for_each(|rendition| self.check(rendition));
    }
}

/// The same command line.
fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    copy
}

/// Each segment begins where the one before it ends, and none is longer than was promised.
fn check_times(playlist: &str) {
    let of = |tag: &'static str| playlist.lines().filter_map(move |line| line.strip_prefix(tag));
    let lengths = of("#EXTINF:").map(|text| text.trim_end_matches(',').parse::<f64>().unwrap());
    let lengths: Vec<f64> = lengths.collect();
    let promised: f64 = of("#EXT-X-TARGETDURATION:").next().unwrap().parse().unwrap();
    assert!(lengths.iter().all(|length| length.round() <= promised), "{playlist}");
    let seconds = |text: &str| {
        let (_, time) = text.split_once('T').unwrap();
        let mut numbers = time.trim_end_matches('Z').split(':').map(|n| n.parse::<f64>().unwrap());
        let mut next = || numbers.next().unwrap();
        next() * 3600.0 + next() * 60.0 + next()
    };
    let dates: Vec<f64> = of("#EXT-X-PROGRAM-DATE-TIME:").map(seconds).collect();
    for (pair, length) in dates.windows(2).zip(&lengths) {
        let apart = (pair[1] - pair[0]).rem_euclid(86_400.0);
        assert!((apart - length).abs() < 0.002, "{apart} s and {length} s: {playlist}");
    }
}
