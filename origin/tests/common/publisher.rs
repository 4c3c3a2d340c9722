//! A publisher that writes its bytes itself, so that a test can bend them.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use sightscreen_wire::amf::{self, Value};
use sightscreen_wire::chunks::{self, ChunkReader};
use sightscreen_wire::message::{Message, kind};

pub(crate) const AUDIO: u8 = kind::AUDIO;
pub(crate) const VIDEO: u8 = kind::VIDEO;

/// Bytes of a chunk, as long as nobody says otherwise.
const CHUNK: usize = 128;

pub(crate) struct Publisher {
    pub(crate) stream: TcpStream,
    answers: ChunkReader,
    calls: f64,
}

impl Publisher {
    /// A connection after its handshake.
    pub(crate) fn connected(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut hello = vec![3; 1 + 1536];
        hello[1..9].fill(0);
        stream.write_all(&hello).unwrap();
        let mut theirs = [0; 1 + 2 * 1536];
        stream.read_exact(&mut theirs).unwrap();
        assert_eq!(theirs[1 + 1536..], hello[1..]);
        stream.write_all(&theirs[1..=1536]).unwrap();
        Self { stream, answers: ChunkReader::new(1 << 20), calls: 0.0 }
    }

    /// The same after it connected to an application.
    pub(crate) fn at(port: u16, app: &str) -> Self {
        let mut publisher = Self::connected(port);
        let app = Value::texts(&[("app", app), ("tcUrl", "rtmp://127.0.0.1/live")]);
        publisher.call("connect", &[app]);
        publisher
    }

    /// Connects, names the key, and waits until it may publish.
    pub(crate) fn admitted(port: u16, key: &str) -> Self {
        let mut publisher = Self::at(port, "live");
        publisher.call("createStream", &[Value::Null]);
        publisher.publish(&[Value::Null, Value::text(key), Value::text("live")]);
        assert_eq!(publisher.code(), "NetStream.Publish.Start");
        publisher
    }

    /// Asks to publish with these values after the command's name and number.
    pub(crate) fn publish(&mut self, values: &[Value]) {
        let all = [&[Value::text("publish"), Value::Number(5.0)], values].concat();
        self.command(1, &all);
    }

    /// Calls, and returns the values of the answer.
    pub(crate) fn call(&mut self, name: &str, values: &[Value]) -> Vec<Value> {
        self.calls += 1.0;
        let head = [Value::text(name), Value::Number(self.calls)];
        self.command(0, &[&head, values].concat());
        let number = Value::Number(self.calls);
        self.answer(|values| values.get(1) == Some(&number))
    }

    fn command(&mut self, stream: u32, values: &[Value]) {
        let mut body = BytesMut::new();
        amf::write(&mut body, values);
        self.message(&Message::new(kind::COMMAND, stream, body.freeze()));
    }

    pub(crate) fn message(&mut self, message: &Message) {
        let mut out = BytesMut::new();
        chunks::write(&mut out, 3, CHUNK, message);
        self.send(&out);
    }

    /// Picture or sound.
    pub(crate) fn media(&mut self, kind: u8, time: u32, data: &Bytes) {
        self.message(&Message { time, ..Message::new(kind, 1, data.clone()) });
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The code of the next status.
    pub(crate) fn code(&mut self) -> String {
        self.status().0
    }

    /// Code and description of the next status.
    pub(crate) fn status(&mut self) -> (String, String) {
        let values = self.answer(|values| values[0].as_text() == Some("onStatus"));
        let text = |name| values[3].get(name).and_then(Value::as_text).unwrap().to_owned();
        (text("code"), text("description"))
    }

    /// The next command for which this holds.
    fn answer(&mut self, is_it: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let mut buffer = [0; 4096];
        loop {
            while let Some(message) = self.answers.next().unwrap() {
                let values = amf::read(&message.body);
                if message.kind == kind::COMMAND && is_it(&values) {
                    return values;
                }
            }
            let length = self.stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the origin closed the connection");
            self.answers.push(&buffer[..length]);
        }
    }

    /// Whether the origin still answers.
    pub(crate) fn is_heard(&mut self) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.call("createStream", &[Value::Null]);
        }))
        .is_ok()
    }

    /// Waits until the origin closes.
    pub(crate) fn wait_for_end(&mut self) {
        wait_for_end(&mut self.stream);
    }
}

/// Waits until the other side closes.
pub(crate) fn wait_for_end(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("the origin keeps the connection: {error}"),
        }
    }
}

/// Sends tags in real time, each with the time that `bend` gives it, or not at all, until
/// `is_enough`. That is asked three times a second.
pub(crate) fn play(
    publisher: &mut Publisher,
    tags: &[Tag],
    mut bend: impl FnMut(u8, u32) -> Option<u32>,
    mut is_enough: impl FnMut() -> bool,
) {
    let begun = Instant::now();
    let mut looked = Duration::ZERO;
    for (kind, ms, data) in tags.iter().filter(|(kind, ..)| [VIDEO, AUDIO].contains(kind)) {
        let due = Duration::from_millis(u64::from(*ms));
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        if let Some(time) = bend(*kind, *ms) {
            publisher.media(*kind, time, data);
        }
        if begun.elapsed() > looked + Duration::from_millis(300) {
            looked = begun.elapsed();
            if is_enough() {
                return;
            }
        }
    }
    panic!("the clip ended too early");
}

/// Type, milliseconds and payload.
pub(crate) type Tag = (u8, u32, Bytes);

/// The tags of a clip of a minute with picture and tone.
pub(crate) fn tags(folder: &Path) -> Vec<Tag> {
    clip(folder, "testsrc2=size=284x160:rate=30", 48_000)
}

/// The same of this picture, with sound at this rate.
pub(crate) fn clip(folder: &Path, picture: &str, rate: u32) -> Vec<Tag> {
    clip_of(folder, picture, rate, 60)
}

/// The same of this many seconds.
pub(crate) fn clip_of(folder: &Path, picture: &str, rate: u32, seconds: u64) -> Vec<Tag> {
    let file = folder.join("clip.flv");
    let tone = format!("sine=frequency=440:sample_rate={rate}");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", &tone])
        .args(["-t", &seconds.to_string(), "-c:v", "libx264", "-preset", "ultrafast"])
        .args(["-tune", "zerolatency", "-pix_fmt", "yuv420p", "-g", "30"])
        .args(["-c:a", "aac"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    let bytes = Bytes::from(std::fs::read(file).unwrap());
    let (mut tags, mut at) = (Vec::new(), 13);
    while at + 11 <= bytes.len() {
        let size = u32::from_be_bytes([0, bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let time = [bytes[at + 7], bytes[at + 4], bytes[at + 5], bytes[at + 6]];
        let payload = bytes.slice(at + 11..at + 11 + size);
        tags.push((bytes[at], u32::from_be_bytes(time), payload));
        at += 11 + size + 4;
    }
    tags
}
