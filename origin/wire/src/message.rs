//! RTMP's messages: what a chunk stream carries.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Types of messages (RTMP 1.0, 5.4 and 7.1).
pub mod kind {
    /// The size of chunks changes.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// The unfinished message of a chunk stream is given up.
    pub const ABORT: u8 = 2;
    /// So many bytes came.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// Beginnings, ends and pings.
    pub const USER_CONTROL: u8 = 4;
    /// After how many bytes an acknowledgement is due.
    pub const WINDOW_SIZE: u8 = 5;
    /// How many bytes may be on their way.
    pub const PEER_BANDWIDTH: u8 = 6;
    /// Sound.
    pub const AUDIO: u8 = 8;
    /// Picture.
    pub const VIDEO: u8 = 9;
    /// Data whose encoding may change to AMF3.
    pub const DATA_AMF3: u8 = 15;
    /// A command whose encoding may change to AMF3.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data in AMF0.
    pub const DATA: u8 = 18;
    /// A command in AMF0.
    pub const COMMAND: u8 = 20;
    /// Several messages in one.
    pub const AGGREGATE: u8 = 22;
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One of [`kind`], or unknown.
    pub kind: u8,
    /// Message stream; 0 is the connection itself.
    pub stream: u32,
    /// Milliseconds on the sender's clock; they wrap.
    pub time: u32,
    /// What it says.
    pub body: Bytes,
}

impl Message {
    /// A message of this kind at time 0.
    #[must_use]
    pub fn new(kind: u8, stream: u32, body: impl Into<Bytes>) -> Self {
        Self { kind, stream, time: 0, body: body.into() }
    }
}

/// The messages inside an aggregate (7.1.6), whose times count from that of the aggregate. What is
/// cut off is left out, and so is an aggregate inside.
#[must_use]
pub fn split(aggregate: &Message) -> VecDeque<Message> {
    let mut rest = aggregate.body.clone();
    let mut messages = VecDeque::new();
    let mut first = None;
    while rest.len() >= 11 {
        let kind = rest.get_u8();
        let length = rest.get_uint(3) as usize;
        let low = rest.get_uint(3) as u32;
        let time = u32::from(rest.get_u8()) << 24 | low;
        rest.advance(3);
        if rest.len() < length {
            break;
        }
        let body = rest.split_to(length);
        // How long the message was, once more.
        rest.advance(rest.len().min(4));
        let since = time.wrapping_sub(*first.get_or_insert(time));
        let time = aggregate.time.wrapping_add(since);
        if kind != kind::AGGREGATE {
            messages.push_back(Message { kind, stream: aggregate.stream, time, body });
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(kind: u8, time: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
        bytes.extend(&time.to_be_bytes()[1..]);
        bytes.extend([time.to_be_bytes()[0], 0, 0, 0]);
        bytes.extend(body);
        bytes.extend((body.len() as u32 + 11).to_be_bytes());
        bytes
    }

    #[test]
    fn an_aggregate_holds_messages_with_times_of_their_own() {
        let late = 0x0123_4567;
        let body = [
            inside(kind::VIDEO, late, &[1, 2]),
            inside(kind::AGGREGATE, late, &[0; 20]),
            inside(kind::AUDIO, late + 21, &[3]),
            inside(kind::AUDIO, late + 42, &[4])[..11].to_vec(),
        ];
        let aggregate = Message { time: 900, ..Message::new(kind::AGGREGATE, 1, body.concat()) };
        let parts: Vec<(u8, u32, Vec<u8>)> =
            split(&aggregate).into_iter().map(|m| (m.kind, m.time, m.body.to_vec())).collect();
        assert_eq!(parts, [(kind::VIDEO, 900, vec![1, 2]), (kind::AUDIO, 921, vec![3])]);
    }
}
