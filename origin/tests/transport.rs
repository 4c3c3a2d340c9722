//! Transport streams in datagrams, in RTP to a group, and through a named pipe, with the real
//! binary and real encoders; and sent by the test itself, with what networks and encoders do to
//! them.
//!
//! A broadcast encoder's recording is outside of the repository. Without it, that kind is skipped.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs::File;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Running, TOKEN, ask, binary, check_decoded, free_port, get, loudest_of, wait};
use serde_json::Value;
use sightscreen_wire::ts::{Demux, DemuxEvent, Mux, Packets, Stream, TICKS, Unit};

/// Bytes of a transport packet, and of the datagrams in which seven of them go.
const PACKET: usize = 188;
const DATAGRAM: usize = 7 * PACKET;

struct Origin {
    _running: Running,
    folder: tempfile::TempDir,
    main: u16,
    control: u16,
}

impl Origin {
    fn start(input: &str, settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [main, control] = [free_port(), free_port()];
        let child = binary()
            .args(["serve", "--input", input, "--operator-token", TOKEN])
            .args(["--max-height", "160", "--languages", "en,hi"])
            .args(["--listen", &format!("127.0.0.1:{main}")])
            .args(["--control", &format!("127.0.0.1:{control}"), "--data"])
            .arg(folder.path())
            .args(settings)
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn();
        let origin = Self { _running: Running(child.unwrap()), folder, main, control };
        wait("the origin", || origin.log().contains("the origin is up"));
        origin
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn media(&self) -> Value {
        let (_, shown) = ask(self.control, "GET", "/control/events/demo", "").unwrap();
        serde_json::from_slice::<Value>(&shown).unwrap()["media"].take()
    }

    /// Whether viewers can play, and nothing is missing.
    fn is_whole(&self) -> bool {
        let is_live = get(self.control, "/health").is_some_and(|(status, _)| status == 200);
        let media = if is_live { self.media() } else { Value::Null };
        media["state"] == "live" && media["lacking"].as_array().is_some_and(Vec::is_empty)
    }

    /// Until the event has all that it has input for, and slate for when that ends.
    fn wait_until_whole(&self) {
        let begun = Instant::now();
        let has_slate = || self.log().matches("a creative is conditioned").count() >= 2;
        while !(self.is_whole() && has_slate()) {
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(90), "{}\n{}", self.media(), self.log());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn next(&self) -> u64 {
        self.media()["next_msn"].as_u64().unwrap_or(0)
    }

    /// Packets that are counted as lost.
    fn lost(&self) -> u64 {
        let (_, text) = get(self.control, "/metrics").unwrap();
        let text = String::from_utf8(text).unwrap();
        let (_, rest) = text.split_once("sightscreen_input_lost_total{event=\"demo\"} ").unwrap();
        rest.lines().next().unwrap().parse().unwrap()
    }

    fn more(&self, segments: u64) {
        let from = self.next();
        wait("more segments", || self.next() > from + segments);
    }

    fn object(&self, path: &str) -> Vec<u8> {
        let (status, body) = get(self.main, &format!("/live/demo/{path}")).unwrap();
        assert_eq!(status, 200, "{path}");
        body
    }

    /// All that a rendition's playlist lists, as a file. There is no gap in it.
    fn listed(&self, rendition: &str) -> PathBuf {
        let playlist = String::from_utf8(self.object(&format!("{rendition}/index.m3u8"))).unwrap();
        assert!(!playlist.contains("GAP"), "{playlist}\n{}", self.log());
        let map = playlist.split("#EXT-X-MAP:URI=\"").nth(1).unwrap();
        let uris = playlist.lines().filter(|line| !line.starts_with('#'));
        let names = map.split('"').take(1).chain(uris);
        let media = names.flat_map(|name| self.object(&format!("{rendition}/{name}")));
        let file = self.folder.path().join(format!("{rendition}.mp4"));
        std::fs::write(&file, media.collect::<Vec<u8>>()).unwrap();
        file
    }

    /// The picture decodes without a complaint, and these languages are heard.
    fn check(&self, languages: &[&str]) {
        check_decoded(&self.listed("v160"), "the picture");
        for language in languages {
            let loudest = loudest_of(&self.listed(&format!("a-{language}")));
            assert!(loudest > -40.0, "{language} is silence: {loudest} dB\n{}", self.log());
        }
    }
}

const PICTURE: &str = "-f lavfi -i testsrc2=size=284x160:rate=30 \
    -f lavfi -i sine=frequency=440:sample_rate=48000 \
    -c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 30";

/// An encoder in real time.
fn encoder(arguments: &str, to: &str) -> Running {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y", "-re"])
        .args(arguments.split_whitespace())
        .arg(to)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(child.unwrap())
}

#[test]
fn a_sender_of_datagrams_leaves_and_another_comes() {
    let port = free_port();
    let origin = Origin::start(&format!("udp://127.0.0.1:{port}"), &[]);
    let to = format!("udp://127.0.0.1:{port}?pkt_size=1316");
    let arguments = format!("{PICTURE} -map 0 -map 1 -map 1 -c:a aac -f mpegts");
    let first = encoder(&arguments, &to);
    origin.wait_until_whole();
    // Strangers and garbage change nothing.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for bytes in [&[0x47; PACKET][..], b"GET / HTTP/1.1", &[], &[0x80; 20], &[0x47]] {
        stranger.send_to(bytes, ("127.0.0.1", port)).unwrap();
    }
    origin.more(2);
    assert!(origin.log().contains("two senders of datagrams"), "{}", origin.log());
    assert_eq!(origin.media()["encoder_starts"], 1, "{}", origin.log());
    origin.check(&["en", "hi"]);
    drop(first);
    wait("the interruption", || origin.media()["state"] == "interrupted");
    assert!(origin.log().contains("no datagrams come any more"), "{}", origin.log());
    wait("slate and silence", || origin.media()["lacking"].as_array().unwrap().len() == 3);
    origin.more(2);
    let _second = encoder(&arguments, &to);
    origin.wait_until_whole();
    origin.more(2);
    origin.check(&["en", "hi"]);
    assert_eq!(origin.media()["encoder_starts"], 2);
}

#[test]
fn rtp_to_a_group_with_other_codecs_is_on_the_air() {
    let port = free_port();
    let group = "239.255.77.7";
    let origin = Origin::start(&format!("udp://{group}:{port}?interface=127.0.0.1"), &[]);
    let picture = "-f lavfi -i testsrc2=size=426x240:rate=25 \
        -f lavfi -i sine=frequency=440:sample_rate=48000 \
        -c:v mpeg2video -b:v 1M -g 12 -bf 2 -c:a ac3 -f rtp_mpegts";
    let to = format!("rtp://{group}:{port}?localaddr=127.0.0.1&ttl=0");
    let _encoder = encoder(picture, &to);
    origin.wait_until_whole();
    origin.more(1);
    origin.check(&["en"]);
}

#[test]
fn a_pipe_is_read_from_one_writer_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    let origin = Origin::start(&format!("pipe:{pipe}"), &[]);
    let hevc = "-f lavfi -i testsrc2=size=426x240:rate=50 \
        -f lavfi -i sine=frequency=440:sample_rate=44100 \
        -c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p -g 50 \
        -c:a mp2 -ac 1 -f mpegts";
    let first = encoder(hevc, pipe);
    origin.wait_until_whole();
    origin.more(1);
    origin.check(&["en"]);
    drop(first);
    wait("the interruption", || origin.media()["state"] == "interrupted");
    assert!(origin.log().contains("the writer of the pipe left"), "{}", origin.log());
    let _second = encoder(&format!("{PICTURE} -c:a aac -f mpegts"), pipe);
    origin.wait_until_whole();
}

#[test]
fn a_broadcast_encoder_is_on_the_air_with_both_languages() {
    let clip =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media/kyrion_dirtystart.ts");
    if !clip.is_file() {
        println!("skipped: there is no {}", clip.display());
        return;
    }
    let port = free_port();
    let origin = Origin::start(&format!("udp://127.0.0.1:{port}"), &[]);
    let again =
        format!("-stream_loop -1 -i {} -map 0:v -map 0:a -c copy -f mpegts", clip.display());
    let _encoder = encoder(&again, &format!("udp://127.0.0.1:{port}?pkt_size=1316"));
    origin.wait_until_whole();
    origin.more(2);
    let log = origin.log();
    assert!(log.contains("is_interlaced: true, fps: (30000, 1001)"), "{log}");
    origin.check(&["en", "hi"]);
}

/// A clip of some seconds, made with these arguments.
fn clip(folder: &Path, arguments: &str) -> Vec<u8> {
    let file = folder.join("clip.ts");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .args(["-f", "mpegts"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    std::fs::read(file).unwrap()
}

/// A stream that the test sends: its units, and from where they go on.
struct Sender {
    socket: UdpSocket,
    to: u16,
    begun: Instant,
    /// What was sent so far, in ticks.
    sent: i64,
    /// Number of the next datagram, to leave some out.
    number: u32,
    /// Counts the packets of a programme.
    mux: Option<(Vec<Stream>, Mux)>,
}

impl Sender {
    fn new(to: u16) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        Self { socket, to, begun: Instant::now(), sent: 0, number: 0, mux: None }
    }

    /// Sends a clip in real time with its first time at `from`, and leaves out each datagram whose
    /// number `is_lost`. Returns the time after it.
    fn send(&mut self, clip: &[u8], from: i64, is_lost: impl Fn(u32) -> bool) -> i64 {
        let (streams, units) = read(clip);
        if self.mux.as_ref().is_none_or(|(known, _)| *known != streams) {
            self.mux = Some((streams.clone(), Mux::new(streams.clone())));
        }
        let (_, mux) = self.mux.as_mut().unwrap();
        let first = units.iter().filter_map(|unit| unit.dts).min().unwrap();
        let last = units.iter().filter_map(|unit| unit.dts).max().unwrap();
        // Twice: the first may count as a repeat of the programme's before it.
        let mut waiting = [mux.head(), mux.head()].concat();
        for unit in &units {
            let (pts, dts) = (unit.pts.unwrap() - first, unit.dts.unwrap() - first);
            let due = Duration::from_millis(((self.sent + dts) / (TICKS / 1000)) as u64);
            std::thread::sleep(due.saturating_sub(self.begun.elapsed()));
            let at = streams.iter().position(|stream| stream.pid == unit.pid).unwrap();
            waiting.extend(mux.unit(at, pts + from, dts + from, &unit.data).unwrap());
            for datagram in waiting.chunks(DATAGRAM) {
                self.number += 1;
                if !is_lost(self.number) {
                    self.socket.send_to(datagram, ("127.0.0.1", self.to)).unwrap();
                }
            }
            waiting.clear();
        }
        // A picture follows the last.
        let length = last - first + TICKS / 30;
        self.sent += length;
        from + length
    }
}

fn read(clip: &[u8]) -> (Vec<Stream>, Vec<Unit>) {
    let (mut packets, mut demux) = (Packets::default(), Demux::new(1 << 20));
    packets.push(clip);
    while let Some(packet) = packets.next() {
        demux.take(&packet);
    }
    demux.finish();
    let (mut streams, mut units) = (Vec::new(), Vec::new());
    while let Some(event) = demux.next_event() {
        match event {
            DemuxEvent::Streams(all) => streams = all,
            DemuxEvent::Unit(unit) => units.push(unit),
            DemuxEvent::Clock { .. } => {}
        }
    }
    units.sort_by_key(|unit| unit.dts);
    (streams, units)
}

#[test]
fn losses_jumps_wraps_and_other_tables_end_no_event() {
    let port = free_port();
    let origin = Origin::start(&format!("udp://127.0.0.1:{port}"), &[]);
    let folder = tempfile::tempdir().unwrap();
    let small = clip(folder.path(), &format!("{PICTURE} -t 3 -c:a aac"));
    let other = clip(
        folder.path(),
        "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=frequency=440 -t 3 \
         -c:v mpeg2video -g 12 -c:a mp2",
    );
    let mut sender = Sender::new(port);
    let none_lost = |_: u32| false;
    // Two seconds before its 33 bits are over.
    let mut time = (1 << 33) - 2 * TICKS;
    while !origin.is_whole() {
        time = sender.send(&small, time, none_lost);
        assert!(sender.sent < 90 * TICKS, "{}\n{}", origin.media(), origin.log());
    }
    assert_eq!(origin.media()["encoder_starts"], 1, "{}", origin.log());
    assert!(!origin.log().contains("are missing") && origin.lost() == 0, "{}", origin.log());
    // Losses.
    time = sender.send(&small, time, |number| number.is_multiple_of(20));
    time = sender.send(&small, time, none_lost);
    wait("a line about it", || {
        origin.log().contains("packets of the transport stream are missing")
    });
    assert!(origin.lost() > 0, "none is counted");
    assert_eq!(origin.media()["encoder_starts"], 1, "{}", origin.log());
    // A jump of an hour, and back: of two in a row the first is told.
    sender.send(&small, time + 3600 * TICKS, none_lost);
    assert!(origin.log().contains("ms ahead of what it was"), "{}", origin.log());
    while origin.media()["encoder_starts"] != 3 || !origin.is_whole() {
        time = sender.send(&small, time, none_lost);
        assert!(sender.sent < 180 * TICKS, "{}\n{}", origin.media(), origin.log());
    }
    assert!(!origin.log().contains("no key picture"), "{}", origin.log());
    // Another programme: other codecs and sizes, and then the first again.
    time = sender.send(&other, time, none_lost);
    let log = origin.log();
    assert!(log.contains("codecs=[(256, Mpeg2), (257, MpegAudio)]"), "{log}");
    assert!(log.contains("settings changed"), "{log}");
    for _ in 0..30 {
        time = sender.send(&small, time, none_lost);
        if origin.is_whole() {
            return;
        }
    }
    panic!("not on the air again: {}\n{}", origin.media(), origin.log());
}

#[test]
fn what_has_no_programme_is_told() {
    let port = free_port();
    let origin = Origin::start(&format!("udp://127.0.0.1:{port}"), &["--ts-idle-ms", "60000"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let tell = |datagram: &[u8], line: &str| {
        wait(line, || {
            for _ in 0..200 {
                socket.send_to(datagram, ("127.0.0.1", port)).unwrap();
            }
            origin.log().contains(line)
        });
    };
    tell(b"no transport stream", "datagrams that are no transport stream");
    // Packets without tables.
    let packet = [&[0x47, 1, 0, 0x10][..], &[0; PACKET - 4]].concat();
    tell(&packet.repeat(7), "no programme is in what comes");
    assert_eq!(origin.media()["state"], "waiting");
    // A port that is taken, and what is no pipe.
    let fails = |input: &str| {
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data"];
        let mut serve = binary();
        let serve = serve.args(["serve", "--input", input]).args(arguments).arg(folder.path());
        let output = serve.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = fails(&format!("udp://127.0.0.1:{port}"));
    assert!(said.contains("nothing can be received there") && said.contains("free port"), "{said}");
    let said = fails(&format!("pipe:{}", origin.folder.path().join("log").display()));
    assert!(said.contains("is no named pipe") && said.contains("mkfifo"), "{said}");
}

#[test]
fn sound_alone_is_on_the_air_with_the_slate() {
    let port = free_port();
    let input = format!("udp://127.0.0.1:{port}");
    let origin = Origin::start(&input, &["--picture-wait-ms", "1000"]);
    let sound = "-f lavfi -i sine=frequency=440:sample_rate=48000 -c:a aac -f mpegts";
    let _encoder = encoder(sound, &format!("udp://127.0.0.1:{port}?pkt_size=1316"));
    origin.wait_until_whole();
    assert!(origin.log().contains("sound and no picture"), "{}", origin.log());
    origin.more(1);
    origin.check(&["en"]);
}
