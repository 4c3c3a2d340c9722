//! The server's side of an RTMP session, without IO: bytes in, events and answers out.
//!
//! What is not understood is answered where somebody may wait for it, and left aside otherwise.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::amf::{self, Value};
use super::chunks::{self, ChunkError, ChunkReader};
use super::flv::Tag;
use super::message::{self, Message, kind};

/// The application name that publishers connect to.
const APPLICATION: &str = "live";

/// Bytes of our chunks: above every answer.
const OUR_CHUNK_SIZE: usize = 4096;

/// Bytes after which we ask for an acknowledgement and, unless the peer says otherwise, send one.
const WINDOW: u32 = 2_500_000;

/// The least window that a peer may ask for: more acknowledgements than that help nobody.
const WINDOW_MIN: u32 = 64 << 10;

/// User control messages (RTMP 1.0, 7.1.7).
const STREAM_BEGIN: u16 = 0;
const PING_REQUEST: u16 = 6;
const PING_RESPONSE: u16 = 7;

/// What follows for whoever holds the connection.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// It wants to publish with this stream key. Answer with [`Session::accept`] or
    /// [`Session::refuse`].
    Publish(String),
    /// It sent picture or sound.
    Media(Tag),
    /// It stopped publishing.
    Unpublish,
    /// It wants something that it does not get here, and was told so.
    Refused(String),
}

/// One connection after its handshake.
#[derive(Debug)]
pub struct Session {
    chunks: ChunkReader,
    /// Messages that came inside another.
    split: VecDeque<Message>,
    out: BytesMut,
    out_size: usize,
    received: u32,
    acknowledged: u32,
    window: u32,
    /// What stands behind the application's name.
    behind_application: String,
    streams: u32,
    /// The message stream on which it asked to publish.
    asked_on: u32,
    is_publishing: bool,
}

impl Session {
    /// For a peer whose unfinished messages may take up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            chunks: ChunkReader::new(limit),
            split: VecDeque::new(),
            out: BytesMut::new(),
            out_size: 128,
            received: 0,
            acknowledged: 0,
            window: WINDOW,
            behind_application: String::new(),
            streams: 0,
            asked_on: 0,
            is_publishing: false,
        }
    }

    /// Takes the next bytes. Call [`Self::next`] until there is no event left.
    pub fn push(&mut self, bytes: &[u8]) {
        self.chunks.push(bytes);
        self.received = self.received.wrapping_add(bytes.len() as u32);
        if self.received.wrapping_sub(self.acknowledged) >= self.window {
            self.acknowledged = self.received;
            self.control(kind::ACKNOWLEDGEMENT, &self.received.to_be_bytes());
        }
    }

    /// The next event.
    ///
    /// # Errors
    /// See [`ChunkError`].
    #[expect(clippy::should_implement_trait, reason = "there may be more after None")]
    pub fn next(&mut self) -> Result<Option<SessionEvent>, ChunkError> {
        loop {
            let message = match self.split.pop_front() {
                Some(message) => message,
                None => match self.chunks.next()? {
                    Some(message) => message,
                    None => return Ok(None),
                },
            };
            if let Some(event) = self.react(message) {
                return Ok(Some(event));
            }
        }
    }

    /// What is to be sent to the peer.
    pub fn take_output(&mut self) -> Bytes {
        self.out.split().freeze()
    }

    /// Lets it publish.
    pub fn accept(&mut self) {
        self.is_publishing = true;
        let begin = [&STREAM_BEGIN.to_be_bytes()[..], &self.asked_on.to_be_bytes()].concat();
        self.control(kind::USER_CONTROL, &begin);
        self.status(self.asked_on, "status", "NetStream.Publish.Start", "publishing");
    }

    /// Tells it that it may not publish, or no longer, in words for its user.
    pub fn refuse(&mut self, code: &str, description: &str) {
        self.is_publishing = false;
        self.status(self.asked_on, "error", code, description);
    }

    fn react(&mut self, message: Message) -> Option<SessionEvent> {
        match message.kind {
            kind::VIDEO | kind::AUDIO if self.is_publishing => Some(SessionEvent::Media(Tag {
                video: message.kind == kind::VIDEO,
                time: message.time,
                data: message.body,
            })),
            kind::AGGREGATE if self.is_publishing => {
                self.split = message::split(&message);
                None
            }
            kind::COMMAND | kind::COMMAND_AMF3 => self.command(&message),
            kind::USER_CONTROL => {
                self.pong(message.body);
                None
            }
            kind::WINDOW_SIZE => {
                let window = message.body.clone().try_get_u32().unwrap_or(WINDOW);
                self.window = window.max(WINDOW_MIN);
                None
            }
            _ => None,
        }
    }

    fn pong(&mut self, mut body: Bytes) {
        if body.try_get_u16() == Ok(PING_REQUEST) {
            let time = body.slice(..body.len().min(4));
            self.control(kind::USER_CONTROL, &[&PING_RESPONSE.to_be_bytes()[..], &time].concat());
        }
    }

    fn command(&mut self, message: &Message) -> Option<SessionEvent> {
        // In messages for AMF3 a zero says that AMF0 follows; some send it in others, too.
        let body = message.body.strip_prefix(&[0]).unwrap_or(&message.body);
        let values = amf::read(body);
        let (name, arguments) = values.split_first()?;
        let transaction = arguments.first().and_then(Value::as_number).unwrap_or_default();
        let argument = |at: usize| arguments.get(at);
        match name.as_text()? {
            "connect" => return self.connect(transaction, argument(1)),
            "createStream" => {
                self.streams = self.streams.wrapping_add(1);
                let number = Value::Number(f64::from(self.streams));
                self.answer("_result", transaction, &[Value::Null, number]);
            }
            "publish" => return Some(self.publish(message.stream, argument(2))),
            "FCPublish" => {
                self.answer("_result", transaction, &[Value::Null, Value::Undefined]);
                self.tell("onFCPublish", "NetStream.Publish.Start", "the stream key comes next");
            }
            "FCUnpublish" => {
                self.answer("_result", transaction, &[Value::Null, Value::Undefined]);
                self.tell("onFCUnpublish", "NetStream.Unpublish.Success", "unpublished");
                return self.unpublish();
            }
            "deleteStream" | "closeStream" => return self.unpublish(),
            "getStreamLength" => {
                self.answer("_result", transaction, &[Value::Null, Value::Number(0.0)]);
            }
            "_result" | "_error" => {}
            // `releaseStream`, `_checkbw`, and what else a peer may wait for.
            _ if transaction > 0.0 => {
                self.answer("_result", transaction, &[Value::Null, Value::Undefined]);
            }
            _ => {}
        }
        None
    }

    fn connect(&mut self, transaction: f64, about: Option<&Value>) -> Option<SessionEvent> {
        let text = |name| about.and_then(|about| about.get(name)).and_then(Value::as_text);
        let application = text("app").or_else(|| text("tcUrl").map(path_of_url)).unwrap_or("");
        let application = without_query(application).trim_matches('/');
        let (name, behind) = application.split_once('/').unwrap_or((application, ""));
        if name != APPLICATION {
            let reason = format!("no application of that name: use rtmp://HOST/{APPLICATION}");
            let code = "NetConnection.Connect.Rejected";
            let info = info("error", code, &reason);
            self.answer("_error", transaction, &[Value::Null, info]);
            self.status(0, "error", code, &reason);
            return Some(SessionEvent::Refused(format!(
                "wrong application, expected {APPLICATION}"
            )));
        }
        behind.clone_into(&mut self.behind_application);
        self.control(kind::WINDOW_SIZE, &WINDOW.to_be_bytes());
        // The limit is a dynamic one.
        self.control(kind::PEER_BANDWIDTH, &[&WINDOW.to_be_bytes()[..], &[2]].concat());
        self.control(kind::SET_CHUNK_SIZE, &(OUR_CHUNK_SIZE as u32).to_be_bytes());
        self.out_size = OUR_CHUNK_SIZE;
        let server = Value::Object(vec![
            ("fmsVer".to_owned(), Value::text("FMS/3,0,1,123")),
            ("capabilities".to_owned(), Value::Number(31.0)),
        ]);
        let mut info = info("status", "NetConnection.Connect.Success", "connected");
        if let Value::Object(pairs) = &mut info {
            pairs.push(("objectEncoding".to_owned(), Value::Number(0.0)));
        }
        self.answer("_result", transaction, &[server, info]);
        None
    }

    /// The key is the stream's name. Where that is empty, it stands in the server's field.
    fn publish(&mut self, stream: u32, name: Option<&Value>) -> SessionEvent {
        self.asked_on = stream;
        let name = without_query(name.and_then(Value::as_text).unwrap_or_default()).trim();
        SessionEvent::Publish(match name {
            "" => self.behind_application.clone(),
            name => name.to_owned(),
        })
    }

    fn unpublish(&mut self) -> Option<SessionEvent> {
        std::mem::take(&mut self.is_publishing).then_some(SessionEvent::Unpublish)
    }

    fn answer(&mut self, name: &str, transaction: f64, values: &[Value]) {
        self.send(0, name, transaction, values);
    }

    fn tell(&mut self, name: &str, code: &str, description: &str) {
        self.send(0, name, 0.0, &[Value::Null, info("status", code, description)]);
    }

    fn status(&mut self, stream: u32, level: &str, code: &str, description: &str) {
        let values = [Value::Null, info(level, code, description)];
        self.send(stream, "onStatus", 0.0, &values);
    }

    fn send(&mut self, stream: u32, name: &str, transaction: f64, values: &[Value]) {
        let mut body = BytesMut::new();
        amf::write(&mut body, &[Value::text(name), Value::Number(transaction)]);
        amf::write(&mut body, values);
        let message = Message::new(kind::COMMAND, stream, body.freeze());
        // Commands have chunk stream 3 by custom.
        chunks::write(&mut self.out, 3, self.out_size, &message);
    }

    /// A message about the connection, on the chunk stream that is kept for these.
    fn control(&mut self, kind: u8, body: &[u8]) {
        let message = Message::new(kind, 0, Bytes::copy_from_slice(body));
        chunks::write(&mut self.out, 2, self.out_size, &message);
    }
}

fn info(level: &str, code: &str, description: &str) -> Value {
    Value::texts(&[("level", level), ("code", code), ("description", description)])
}

fn without_query(text: &str) -> &str {
    text.split_once('?').map_or(text, |(before, _)| before)
}

/// The path in `rtmp://host/path`.
fn path_of_url(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    rest.split_once('/').map_or("", |(_, path)| path)
}

#[cfg(test)]
mod tests;
