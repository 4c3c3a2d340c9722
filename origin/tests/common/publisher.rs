//! A publisher, for the tests of the real binary.
#![allow(dead_code, clippy::unwrap_used, reason = "tests; each uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionError, ClientSessionEvent,
    ClientSessionResult, PublishRequestType,
};

/// The type of a tag with pictures.
pub(crate) const VIDEO: u8 = 9;
/// The type of a tag with sound.
pub(crate) const AUDIO: u8 = 8;

/// Type, milliseconds and payload.
pub(crate) type Tag = (u8, u32, Bytes);

/// The tags of a clip of a minute.
pub(crate) fn tags(folder: &Path) -> Vec<Tag> {
    let file = folder.join("clip.flv");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=284x160:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", "60", "-c:v", "libx264", "-preset", "ultrafast"])
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

pub(crate) struct Publisher {
    stream: TcpStream,
    pub(crate) session: ClientSession,
}

impl Publisher {
    /// Connects, names the key, and waits until it may publish.
    pub(crate) fn admitted(port: u16, key: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let rest = shake(&mut stream);
        let (session, first) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        let mut publisher = Self { stream, session };
        publisher.carry_out(first);
        publisher.take(&rest);
        let asked = publisher.session.request_connection("live".to_owned());
        publisher.send(asked);
        publisher.wait_for(&ClientSessionEvent::ConnectionRequestAccepted);
        let asked = publisher.session.request_publishing(key.to_owned(), PublishRequestType::Live);
        publisher.send(asked);
        publisher.wait_for(&ClientSessionEvent::PublishRequestAccepted);
        publisher
    }

    fn wait_for(&mut self, awaited: &ClientSessionEvent) {
        let mut buffer = [0; 4096];
        loop {
            let length = self.stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the origin closed the connection");
            if self.take(&buffer[..length]).contains(awaited) {
                return;
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<ClientSessionEvent> {
        let results = self.session.handle_input(bytes).unwrap();
        self.carry_out(results)
    }

    pub(crate) fn send(&mut self, result: Result<ClientSessionResult, ClientSessionError>) {
        self.carry_out(vec![result.unwrap()]);
    }

    fn carry_out(&mut self, results: Vec<ClientSessionResult>) -> Vec<ClientSessionEvent> {
        let mut events = Vec::new();
        for result in results {
            match result {
                ClientSessionResult::OutboundResponse(packet) => {
                    self.stream.write_all(&packet.bytes).unwrap();
                }
                ClientSessionResult::RaisedEvent(event) => events.push(event),
                ClientSessionResult::UnhandleableMessageReceived(_) => {}
            }
        }
        events
    }
}

fn shake(stream: &mut TcpStream) -> Vec<u8> {
    let mut handshake = Handshake::new(PeerType::Client);
    let hello = handshake.generate_outbound_p0_and_p1().unwrap();
    stream.write_all(&hello).unwrap();
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).unwrap();
        let result = handshake.process_bytes(&buffer[..length]).unwrap();
        let (answer, rest) = match result {
            HandshakeProcessResult::InProgress { response_bytes } => (response_bytes, None),
            HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                (response_bytes, Some(remaining_bytes))
            }
        };
        stream.write_all(&answer).unwrap();
        if let Some(rest) = rest {
            return rest;
        }
    }
}
