//! Publishers by the letter of RTMP and beside it, over real sockets: whatever they send, the
//! connection goes on, or its end is told to both sides.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::publisher::{AUDIO, Publisher, VIDEO, tags, wait_for_end};
use common::stage::{KEY, Stage};
use common::wait;
use sightscreen_wire::amf::Value;
use sightscreen_wire::message::{Message, kind};

/// Milliseconds after which times need more than 24 bits: four hours and 39 minutes.
const LATE: u32 = 0x00ff_ffff;

/// A chunk with a full header.
fn chunk(id: u8, time: u32, length: usize, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut chunk = vec![id];
    chunk.extend(&time.min(LATE).to_be_bytes()[1..]);
    chunk.extend(&(length as u32).to_be_bytes()[1..]);
    chunk.extend([kind, 1, 0, 0, 0]);
    if time >= LATE {
        chunk.extend(time.to_be_bytes());
    }
    chunk.extend(payload);
    chunk
}

/// A whole message in chunks of 128 bytes.
fn whole(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut chunks = body.chunks(128);
    let mut bytes = chunk(4, 0, body.len(), kind, chunks.next().unwrap_or_default());
    for more in chunks {
        bytes.push(0xc4);
        bytes.extend(more);
    }
    bytes
}

/// `onMetaData` with one odd value in it.
fn metadata(odd: &[u8]) -> Vec<u8> {
    let mut body = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x03\x00\x03odd".to_vec();
    body.extend(odd);
    body.extend(b"\x00\x05width\x00\x40\x94\x00\x00\x00\x00\x00\x00\x00\x00\x09");
    body
}

/// What encoders send once they may publish, by what is odd about it.
fn oddities() -> Vec<(&'static str, Vec<u8>)> {
    let long = [&[12, 0, 1, 0, 0][..], &[b'x'; 64 << 10]].concat();
    let interleaved = [
        chunk(6, 0, 300, VIDEO, &[0x27; 128]),
        chunk(5, 0, 3, AUDIO, &[0xaf, 1, 9]),
        [&[0xc6][..], &[9; 128]].concat(),
        [&[0xc6][..], &[9; 44]].concat(),
    ];
    let resized = [
        chunk(6, 0, 700, VIDEO, &[0x27; 128]),
        chunk(2, 0, 4, kind::SET_CHUNK_SIZE, &500_u32.to_be_bytes()),
        [&[0xc6][..], &[9; 500]].concat(),
        [&[0xc6][..], &[9; 72]].concat(),
    ];
    let aborted = [
        chunk(6, 0, 300, VIDEO, &[0x27; 128]),
        chunk(2, 0, 4, kind::ABORT, &6_u32.to_be_bytes()),
        chunk(6, 0, 3, VIDEO, &[0x27, 1, 9]),
    ];
    let late = |repeat: &[u8]| {
        let more = [&[0xc6], repeat, &[9; 22]].concat();
        [chunk(6, LATE + 40, 150, VIDEO, &[0x27; 128]), more].concat()
    };
    let amf3 = [&[0][..], b"\x02\x00\x0aonMetaData", &[17, 10, 11, 1, 3, b'a', 4, 1, 1]].concat();
    vec![
        ("sound inside a picture", interleaved.concat()),
        ("another chunk size inside a picture", resized.concat()),
        ("a picture that is given up", aborted.concat()),
        ("a late time, repeated", late(&(LATE + 40).to_be_bytes())),
        ("a late time, not repeated", late(&[])),
        ("metadata of 64 KiB", whole(kind::DATA, &metadata(&long))),
        ("a date", whole(kind::DATA, &metadata(b"\x0b\x40\x94\0\0\0\0\0\0\0\0"))),
        ("a typed object", whole(kind::DATA, &metadata(b"\x10\0\x01K\0\0\x09"))),
        ("an array that ends by its count", {
            whole(kind::DATA, &metadata(b"\x08\0\0\0\x01\0\x01k\x01\x01"))
        }),
        ("AMF3 inside", whole(kind::DATA, &metadata(&[17, 4, 1]))),
        ("a value that nobody knows", whole(kind::DATA, &metadata(&[0x20, 1]))),
        ("data in AMF3", whole(kind::DATA_AMF3, &amf3)),
        ("data of 5 KiB that are none", whole(kind::DATA, &[0xff; 5 << 10])),
        ("a command of two values", whole(kind::COMMAND, b"\x02\0\x04noop\0\0\0\0\0\0\0\0\0")),
        ("a command of one value", whole(kind::COMMAND, b"\x02\0\x04noop")),
        ("a command of none", whole(kind::COMMAND, b"")),
        ("an aggregate", {
            whole(kind::AGGREGATE, &[8, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xaf, 1, 0, 0, 0, 13])
        }),
        ("empty pictures and sounds", [whole(VIDEO, &[]), whole(AUDIO, &[])].concat()),
        ("an extended command frame", whole(VIDEO, b"\xd4hvc1")),
    ]
}

#[test]
fn no_oddity_ends_the_connection() {
    let stage = Stage::with(&["--rtmp-rival-pause", "0"]);
    let mut ended = Vec::new();
    for (what, bytes) in oddities() {
        let mut publisher = Publisher::admitted(stage.rtmp, KEY);
        publisher.send(&bytes);
        if !publisher.is_heard() {
            ended.push(what);
        }
    }
    assert!(ended.is_empty(), "{ended:#?}\n{}", stage.log());
    assert!(!stage.log().contains("panicked"));
}

#[test]
fn encoders_get_the_answers_for_which_they_wait() {
    let stage = Stage::with(&["--rtmp-rival-pause", "0"]);
    let mut publisher = Publisher::at(stage.rtmp, "live");
    for call in ["releaseStream", "FCPublish", "_checkbw", "getStreamLength"] {
        let answer = publisher.call(call, &[Value::Null, Value::text(KEY)]);
        assert_eq!(answer[0], Value::text("_result"), "{call}");
    }
    let key = Value::text(KEY);
    let queried = Value::String(format!("{KEY}?user=a&bitrate=6000"));
    for (app, values) in [
        ("live".to_owned(), vec![Value::Null, key.clone(), Value::text("live")]),
        ("live".to_owned(), vec![Value::Null, key]),
        ("live".to_owned(), vec![Value::Null, queried]),
        (format!("live/{KEY}"), vec![Value::Null, Value::text("")]),
        (format!("live/{KEY}"), vec![]),
    ] {
        let mut publisher = Publisher::at(stage.rtmp, &app);
        publisher.publish(&values);
        assert_eq!(publisher.code(), "NetStream.Publish.Start", "{values:?}");
    }
    assert!(!stage.log().contains(KEY), "{}", stage.log());
}

#[test]
fn a_refusal_says_why_before_the_connection_ends() {
    let stage = Stage::new();
    let mut publisher = Publisher::at(stage.rtmp, "live");
    publisher.publish(&[Value::Null, Value::text("no-such-key"), Value::text("live")]);
    let (code, description) = publisher.status();
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.contains("stream key is not valid"), "{description}");
    publisher.wait_for_end();

    let mut publisher = Publisher::connected(stage.rtmp);
    let answer = publisher.call("connect", &[Value::texts(&[("app", "vod")])]);
    assert_eq!(answer[0], Value::text("_error"));
    let (code, description) = publisher.status();
    assert_eq!(code, "NetConnection.Connect.Rejected");
    assert!(description.contains("rtmp://HOST/live"), "{description}");
    publisher.wait_for_end();

    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    publisher.media(VIDEO, 0, &Bytes::from_static(b"\x90hvc1settings"));
    let (code, description) = publisher.status();
    assert_eq!(code, "NetStream.Publish.Rejected");
    assert!(description.contains("H.265") && description.contains("H.264"), "{description}");
    publisher.wait_for_end();
    let log = stage.log();
    assert!(log.contains("wrong stream key") && log.contains("wrong application"), "{log}");
    assert!(log.contains("the picture is H.265"), "{log}");
}

#[test]
fn two_publishers_with_one_key_end_with_one() {
    let stage = Stage::with(&["--rtmp-rival-pause", "60"]);
    let sound = Bytes::from_static(&[0xaf, 1, 9]);
    let mut first = Publisher::admitted(stage.rtmp, KEY);
    first.media(AUDIO, 0, &sound);
    let mut second = Publisher::admitted(stage.rtmp, KEY);
    let (code, description) = first.status();
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.contains("took over"), "{description}");
    first.wait_for_end();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for time in (0..).step_by(50) {
                second.media(AUDIO, time, &sound);
                std::thread::sleep(Duration::from_millis(50));
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        for _ in 0..3 {
            let mut again = Publisher::at(stage.rtmp, "live");
            again.publish(&[Value::Null, Value::text(KEY)]);
            let (code, description) = again.status();
            is_over.store(code != "NetStream.Publish.BadName", Ordering::Relaxed);
            assert_eq!(code, "NetStream.Publish.BadName");
            assert!(description.contains("is on the air"), "{description}");
            again.wait_for_end();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(second.is_heard());
    let log = stage.log();
    let line = log.lines().find(|line| line.contains("two publishers fight"));
    assert!(line.is_some_and(|line| line.contains("demo") && line.contains("127.0.0.1")), "{log}");
    assert_eq!(log.matches("a newer publisher took over").count(), 1, "{log}");
    // Once the other one has left, it is free.
    drop(second);
    wait("a free seat", || {
        let mut again = Publisher::at(stage.rtmp, "live");
        again.publish(&[Value::Null, Value::text(KEY)]);
        again.code() == "NetStream.Publish.Start"
    });
}

#[test]
fn sound_alone_is_on_the_air_and_a_picture_that_comes_later_too() {
    let stage = Stage::with(&["--picture-wait-ms", "1000"]);
    let clip = tags(stage.folder.path());
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    let begun = Instant::now();
    let mut picture_from = None;
    for (number, (kind, ms, data)) in clip.iter().enumerate() {
        let due = Duration::from_millis(u64::from(*ms));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let is_config = data.get(1) == Some(&0);
        if *kind == AUDIO || (*kind == VIDEO && picture_from.is_some_and(|from| *ms >= from)) {
            publisher.media(*kind, *ms, data);
        }
        if number % 30 != 0 || is_config || !stage.is_up() {
            continue;
        }
        match picture_from {
            None => {
                assert_eq!(stage.starts(), 1, "{}", stage.log());
                let config = clip.iter().find(|(kind, ..)| *kind == VIDEO).unwrap();
                publisher.media(VIDEO, *ms, &config.2);
                picture_from = Some(*ms);
            }
            Some(_) if stage.starts() == 2 && stage.is("live") => {
                assert_eq!(stage.told("sound and no picture"), 1, "{}", stage.log());
                assert_eq!(stage.told("the publisher's picture came"), 1, "{}", stage.log());
                return;
            }
            Some(_) => {}
        }
    }
    panic!("the clip ended too early: {}\n{}", stage.shown(), stage.log());
}

#[test]
fn sound_alone_is_heard() {
    let stage = Stage::with(&["--picture-wait-ms", "1000"]);
    let _commentary = stage.camera("-re -f lavfi -i sine=frequency=440:sample_rate=48000 -c:a aac");
    wait("the event", || stage.is_up());
    let loudest = stage.loudest(stage.next() - 1);
    assert!(loudest > -40.0, "it is silence: {loudest} dB\n{}", stage.log());
    assert!(stage.is("live"), "{}", stage.shown());
}

#[test]
fn strangers_and_slow_publishers_have_deadlines() {
    let stage = Stage::with(&["--rtmp-admission", "2", "--rtmp-idle", "2"]);
    let enter = |sent: &[u8]| {
        let mut stream = TcpStream::connect(("127.0.0.1", stage.rtmp)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(sent).unwrap();
        stream
    };
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 2, 0], &[0; 4096]] {
        wait_for_end(&mut enter(garbage));
    }
    assert_eq!(stage.log().matches("not RTMP").count(), 3, "{}", stage.log());
    let mut half = [3; 700];
    half[1..].fill(0);
    for sent in [&[][..], &[3], &half] {
        wait_for_end(&mut enter(sent));
    }
    assert_eq!(stage.log().matches("no RTMP handshake in time").count(), 3, "{}", stage.log());
    Publisher::connected(stage.rtmp).wait_for_end();
    assert!(stage.log().contains("did not give a stream key in time"), "{}", stage.log());
    // A byte now and then is no stream.
    let mut slow = Publisher::admitted(stage.rtmp, KEY);
    let bytes = chunk(4, 0, 4096, VIDEO, &[0x27; 128]);
    let sent = bytes.iter().take_while(|byte| {
        std::thread::sleep(Duration::from_millis(500));
        slow.stream.write_all(&[**byte]).is_ok()
    });
    assert!(sent.count() < bytes.len());
    assert!(stage.log().contains("neither picture nor sound"), "{}", stage.log());
}

/// Sends a clip in real time, its sound inside its pictures, with what is no picture between them.
fn publish_bent(publisher: &mut Publisher, clip: &[(u8, u32, Bytes)], is_over: impl Fn() -> bool) {
    let begun = Instant::now();
    let mut sounds: Vec<(u32, Bytes)> = Vec::new();
    for (number, (kind, ms, data)) in clip.iter().enumerate() {
        let due = Duration::from_millis(u64::from(*ms));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        // From shortly before the times that need more than 24 bits.
        let time = LATE - 1000 + ms;
        if *kind == AUDIO {
            sounds.push((time, data.clone()));
        } else if *kind == VIDEO {
            let repeat = time.to_be_bytes();
            let repeat = if time < LATE { &[][..] } else { &repeat };
            let mut pieces = data.chunks(128);
            publisher.send(&chunk(6, time, data.len(), VIDEO, pieces.next().unwrap()));
            for piece in pieces {
                for (time, sound) in sounds.drain(..) {
                    publisher.media(AUDIO, time, &sound);
                }
                publisher.send(&[&[0xc6][..], repeat, piece].concat());
            }
            for aside in [&[0x57, 0][..], &[0x57, 1], &[0x17, 2, 0, 0, 0], &[], b"\xd4avc1"] {
                publisher.message(&Message { time, ..Message::new(VIDEO, 1, aside.to_vec()) });
            }
        }
        if number % 16 == 0 && is_over() {
            return;
        }
    }
    panic!("the clip ended before the event was live");
}

#[test]
fn a_bent_stream_past_four_hours_is_on_the_air_at_once() {
    let stage = Stage::new();
    let clip = tags(stage.folder.path());
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    publish_bent(&mut publisher, &clip, || stage.is_up());
    let state = stage.shown();
    assert_eq!(state["media"]["encoder_starts"], 1, "{state}\n{}", stage.log());
    assert_eq!(state["media"]["state"], "live", "{state}");
}

#[test]
fn sound_in_other_codecs_is_heard() {
    for codec in ["libmp3lame -ar 44100 -ac 1", "pcm_alaw -ar 8000 -ac 1"] {
        let stage = Stage::new();
        let _camera = stage.camera(&format!(
            "-re -f lavfi -i testsrc2=size=284x160:rate=30 \
             -f lavfi -i sine=frequency=440:sample_rate=48000 -c:v libx264 -preset ultrafast \
             -tune zerolatency -pix_fmt yuv420p -g 30 -c:a {codec}"
        ));
        wait("the event", || stage.is_up());
        let loudest = stage.loudest(stage.next() - 1);
        assert!(loudest > -40.0, "{codec} is silence: {loudest} dB\n{}", stage.log());
    }
}
