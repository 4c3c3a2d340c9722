//! Publishers by SRT, over a real socket: ffmpeg calls with Debian's library, and bytes that are no
//! SRT come from everywhere.
//!
//! If ffmpeg has no SRT, what needs it is skipped.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::stage::{KEY, Stage};
use common::{Running, can_call, free_port, passphrase, send, wait};
use serde_json::Value;

/// A stage that answers calls by SRT as well.
struct Origin {
    stage: Stage,
    srt: u16,
}

impl Origin {
    fn start() -> Self {
        Self::with(&[])
    }

    /// The same with these settings besides.
    fn with(settings: &[&str]) -> Self {
        let srt = free_port();
        let address = format!("127.0.0.1:{srt}");
        let own = ["--srt", &address, "--rtmp-strangers", "8"];
        let stage = Stage::with(&[&own, settings].concat());
        Self { stage, srt }
    }

    fn log(&self) -> String {
        self.stage.log()
    }

    fn media(&self) -> Value {
        self.stage.shown()["media"].take()
    }

    fn is_live(&self) -> bool {
        self.stage.is_up() && self.media()["state"] == "live"
    }

    /// ffmpeg calls with this stream id and these options.
    fn call(&self, id: &str, options: &str) -> Running {
        self.call_by(self.srt, id, options)
    }

    /// The same by another port, which leads here.
    fn call_by(&self, port: u16, id: &str, options: &str) -> Running {
        let id = id.replace('#', "%23").replace('!', "%21").replace('=', "%3D");
        send("mpegts", &format!("srt://127.0.0.1:{port}?streamid={id}&pkt_size=1316{options}"))
    }
}

/// A handshake of a caller, taken from a call, with other bytes from `at` on.
fn handshake(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 64];
    packet[0] = 0x80;
    // Version 4, datagrams, 1500 bytes a packet, 8192 packets, an induction, and a socket id.
    packet[16..20].copy_from_slice(&4_u32.to_be_bytes());
    packet[23] = 2;
    packet[28..32].copy_from_slice(&1500_u32.to_be_bytes());
    packet[32..36].copy_from_slice(&8192_u32.to_be_bytes());
    packet[36..40].copy_from_slice(&1_u32.to_be_bytes());
    packet[40..44].copy_from_slice(&7_u32.to_be_bytes());
    packet.truncate(at.max(64));
    packet.extend(bytes);
    packet
}

/// Sends what is no SRT from many addresses.
fn disturb(port: u16) {
    for number in 0_u8..60 {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ("127.0.0.1", port);
        let noise: Vec<u8> =
            (0_u8..200).map(|at| at.wrapping_mul(number).wrapping_add(at)).collect();
        socket.send_to(&handshake(64, b""), to).unwrap();
        socket.send_to(&noise, to).unwrap();
        // A list of losses that never ends, acknowledgements, keys, and a conclusion nobody asked
        // for.
        for kind in [3_u8, 2, 5, 6, 0x7f] {
            let mut packet = handshake(64, &noise);
            packet[1] = kind;
            packet[16] = 0x80 | number;
            socket.send_to(&packet, to).unwrap();
        }
        let mut conclusion = handshake(64, &[0, 4, 0, 1, number, number, number, number]);
        conclusion[16..20].copy_from_slice(&5_u32.to_be_bytes());
        conclusion[22..24].copy_from_slice(&7_u16.to_be_bytes());
        conclusion[36..40].copy_from_slice(&u32::MAX.to_be_bytes());
        socket.send_to(&conclusion, to).unwrap();
    }
}

#[test]
fn a_call_is_on_the_air_and_noise_ends_no_other() {
    if !can_call() {
        return;
    }
    let origin = Origin::start();
    disturb(origin.srt);
    let right = format!("&passphrase={}", passphrase(KEY));
    let first = origin.call("#!::r=demo,m=publish", &format!("{right}&pbkeylen=16"));
    wait("the event", || origin.is_live());
    disturb(origin.srt);
    let from = origin.media()["next_msn"].as_u64().unwrap();
    wait("more segments", || origin.media()["next_msn"].as_u64().unwrap() > from + 2);
    let media = origin.media();
    assert_eq!((&media["state"], &media["encoder_starts"]), (&"live".into(), &1.into()), "{media}");
    assert_eq!(media["lacking"], Value::Array(Vec::new()), "{}", origin.log());
    drop(first);
    wait("the interruption", || origin.media()["state"] == "interrupted");
    // One that comes by RTMP takes the same seat, and one by SRT takes it over.
    let camera = common::publish(origin.stage.rtmp, KEY);
    wait("the match again", || origin.media()["state"] == "live");
    let _second = origin.call("#!::m=publish,r=demo", &format!("{right}&pbkeylen=32"));
    wait("the take-over", || origin.log().contains("a newer publisher took over"));
    wait("the match again", || origin.media()["encoder_starts"] == 3 && origin.is_live());
    drop(camera);
    assert!(!origin.log().contains(KEY) && !origin.log().contains(&passphrase(KEY)));
}

/// A way to this port on which every so many-th datagram that carries data is lost. Returns its
/// port, and how many were lost.
fn lossy(to: u16, lost: usize) -> (u16, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let origin = SocketAddr::from(([127, 0, 0, 1], to));
    let dropped = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&dropped);
    std::thread::spawn(move || {
        let (mut buffer, mut caller, mut sent) = ([0; 2048], None, 0);
        // The socket closes with the process.
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let target = if from == origin { caller } else { Some(origin) };
            if from != origin {
                caller = Some(from);
                // Control packets have the first bit.
                let is_data = buffer[0] & 0x80 == 0;
                sent += usize::from(is_data);
                if is_data && sent % lost == 0 {
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            if let Some(target) = target {
                let _ = socket.send_to(&buffer[..length], target);
            }
        }
    });
    (port, dropped)
}

#[test]
fn what_is_lost_on_the_way_is_sent_again_and_costs_nothing() {
    if !can_call() {
        return;
    }
    // On a machine with much to do, what is sent again comes late.
    let origin = Origin::with(&["--srt-latency-ms", "2000"]);
    let (way, dropped) = lossy(origin.srt, 20);
    let options = format!("&passphrase={}&latency=2000000", passphrase(KEY));
    let _caller = origin.call_by(way, "#!::r=demo,m=publish", &options);
    wait("the event", || origin.is_live() && origin.stage.has_slate());
    origin.stage.more(4);
    origin.stage.check_all();
    assert!(dropped.load(Ordering::Relaxed) > 20, "nothing was lost on the way");
    let lost = origin.stage.metric("sightscreen_input_lost_total{event=\"demo\"}");
    assert_eq!((lost, origin.stage.starts()), (0.0, 1), "{}", origin.log());
}

#[test]
fn who_may_not_publish_is_refused_in_words() {
    if !can_call() {
        return;
    }
    let origin = Origin::start();
    let of = |key: &str| format!("&passphrase={}", passphrase(key));
    for (id, options, words) in [
        ("#!::r=demo,m=publish", of("another-key-of-a-camera"), "its passphrase is wrong"),
        ("#!::r=demo,m=publish", String::new(), "it is not encrypted"),
        ("#!::r=final,m=publish", of(KEY), "no event of that name"),
        ("#!::r=demo,m=request", of(KEY), "does not say m=publish"),
        ("demo", of(KEY), "does not begin with #!::"),
    ] {
        let mut caller = origin.call(id, &options);
        let mut ended = None;
        wait("the refusal", || {
            ended = caller.0.try_wait().unwrap();
            ended.is_some()
        });
        assert!(!ended.unwrap().success(), "{id} {words}");
        wait(words, || origin.log().contains(words));
    }
    let log = origin.log();
    assert!(log.contains("a call by SRT was refused peer=127.0.0.1"), "{log}");
    let refused = "sightscreen_publishers_refused_total{protocol=\"srt\"}";
    // A caller may try again before it gives up.
    assert!(origin.stage.metric(refused) >= 5.0, "{log}");
    assert_eq!(origin.media()["state"], "waiting");
    assert!(!log.contains("a publisher begins"), "{log}");
}
