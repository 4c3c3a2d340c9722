//! RTMP's chunk stream: from bytes to messages and back (RTMP 1.0, 5.3 and 5.4).
//!
//! Chunks of several messages may stand between each other. What a peer announces costs nothing:
//! memory is taken as bytes come, and never more than the limit for all unfinished messages.

use std::collections::HashMap;

use bytes::{Buf, BufMut, BytesMut};

use super::message::{Message, kind};

/// Bytes of a chunk's payload until the peer says otherwise.
const SIZE: usize = 128;

/// Chunk streams of a connection; encoders use a handful.
const STREAMS_MAX: usize = 64;

/// A time that says that the real one follows in four bytes.
const EXTENDED: u32 = 0x00ff_ffff;

/// Why a connection's chunks cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A short header without one before it.
    #[error("chunk stream {0} is continued and never began")]
    NoStream(u32),
    /// More streams than anyone needs.
    #[error("more than {STREAMS_MAX} chunk streams")]
    Streams,
    /// Too much to keep.
    #[error("unfinished messages of {0} bytes, expected at most {1}: lower the encoder's bit rate")]
    Memory(usize, usize),
    /// A chunk size that cannot be.
    #[error("a chunk size of {0}, expected 1 to 2147483647")]
    Size(u32),
}

/// What the last header of a chunk stream said.
#[derive(Debug, Clone, Copy, Default)]
struct Header {
    /// Milliseconds: absolute, or since the message before it.
    time: u32,
    is_extended: bool,
    length: usize,
    kind: u8,
    stream: u32,
}

#[derive(Debug, Default)]
struct ChunkStream {
    header: Header,
    /// Absolute time of the newest message, in milliseconds.
    time: u32,
    /// The message that is being received.
    body: Option<BytesMut>,
}

/// A chunk's header as it was parsed.
struct Parsed {
    id: u32,
    header: Header,
    /// Absolute time of its message.
    time: u32,
    continues: bool,
    bytes: usize,
}

/// Reads the messages of one connection.
#[derive(Debug)]
pub struct ChunkReader {
    input: BytesMut,
    size: usize,
    streams: HashMap<u32, ChunkStream>,
    /// The chunk that is being received: its stream, and how much of it is missing.
    chunk: Option<(u32, usize)>,
    /// Whether this peer repeats an extended time in chunks without a header of their own. The
    /// specification says so, and encoders differ. Known from the first such chunk on.
    repeats: Option<bool>,
    unfinished: usize,
    limit: usize,
}

impl ChunkReader {
    /// For a peer whose unfinished messages may take up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            input: BytesMut::new(),
            size: SIZE,
            streams: HashMap::new(),
            chunk: None,
            repeats: None,
            unfinished: 0,
            limit,
        }
    }

    /// Takes the next bytes. Call [`Self::next`] until there is no message left.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next message that is complete. Those that steer the chunk stream itself are carried out
    /// and not returned.
    ///
    /// # Errors
    /// See [`ChunkError`]. After one the connection cannot be read on.
    #[expect(clippy::should_implement_trait, reason = "it may have more later")]
    pub fn next(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            let finished = match self.chunk {
                Some((id, missing)) => {
                    if self.input.is_empty() {
                        return Ok(None);
                    }
                    self.payload(id, missing)?
                }
                None => match self.parse()? {
                    Some(parsed) => self.begin(&parsed)?,
                    None => return Ok(None),
                },
            };
            if let Some(message) = finished
                && let Some(message) = self.steer(message)?
            {
                return Ok(Some(message));
            }
        }
    }

    /// The header at the start of the input; `None` while bytes are missing.
    fn parse(&mut self) -> Result<Option<Parsed>, ChunkError> {
        let Some((format, id, at)) = basic_header(&self.input) else { return Ok(None) };
        let known = self.streams.get(&id);
        let mut header = match (known, format) {
            (Some(stream), _) => stream.header,
            // librtmp begins chunk streams with a header that names no message stream.
            (None, 0 | 1) => Header::default(),
            (None, _) => return Err(ChunkError::NoStream(id)),
        };
        let mut end = at + [11, 7, 3, 0][usize::from(format)];
        let Some(mut fields) = self.input.get(at..end) else { return Ok(None) };
        if format < 3 {
            header.time = fields.get_uint(3) as u32;
            header.is_extended = header.time == EXTENDED;
        }
        if format < 2 {
            header.length = fields.get_uint(3) as usize;
            header.kind = fields.get_u8();
        }
        if format == 0 {
            header.stream = fields.get_u32_le();
        }
        let continues = known.is_some_and(|stream| stream.is_continued(format, &header));
        let before = known.map_or(0, |stream| stream.time);
        if header.is_extended && (format < 3 || self.repeats != Some(false)) {
            let Some(mut extended) = self.input.get(end..end + 4) else { return Ok(None) };
            let extended = extended.get_u32();
            if format < 3 {
                header.time = extended;
            }
            let told = [header.time, before, before.wrapping_add(header.time)];
            if format < 3 || *self.repeats.get_or_insert(told.contains(&extended)) {
                end += 4;
            }
        }
        let time = match (continues, format) {
            (true, _) => before,
            (false, 0) => header.time,
            (false, _) => before.wrapping_add(header.time),
        };
        Ok(Some(Parsed { id, header, time, continues, bytes: end }))
    }

    /// Begins a chunk. Returns a message that has no bytes.
    fn begin(&mut self, parsed: &Parsed) -> Result<Option<Message>, ChunkError> {
        self.input.advance(parsed.bytes);
        if self.streams.len() == STREAMS_MAX && !self.streams.contains_key(&parsed.id) {
            return Err(ChunkError::Streams);
        }
        let stream = self.streams.entry(parsed.id).or_default();
        if !parsed.continues {
            // What is unfinished can no longer come.
            self.unfinished -= stream.body.take().map_or(0, |body| body.len());
            if parsed.header.length > self.limit {
                return Err(ChunkError::Memory(parsed.header.length, self.limit));
            }
            (stream.header, stream.time) = (parsed.header, parsed.time);
        }
        let body = stream.body.get_or_insert_default();
        let missing = self.size.min(stream.header.length - body.len());
        if missing == 0 {
            return Ok(self.finish(parsed.id));
        }
        self.chunk = Some((parsed.id, missing));
        Ok(None)
    }

    /// Takes what has come of the open chunk. Returns the message that it completes.
    fn payload(&mut self, id: u32, missing: usize) -> Result<Option<Message>, ChunkError> {
        let taken = self.input.split_to(missing.min(self.input.len()));
        self.unfinished += taken.len();
        if self.unfinished > self.limit {
            return Err(ChunkError::Memory(self.unfinished, self.limit));
        }
        self.chunk = Some((id, missing - taken.len())).filter(|(_, missing)| *missing > 0);
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(None) };
        let body = stream.body.get_or_insert_default();
        body.extend_from_slice(&taken);
        Ok((body.len() == stream.header.length).then(|| self.finish(id)).flatten())
    }

    fn finish(&mut self, id: u32) -> Option<Message> {
        let ChunkStream { header, time, body } = self.streams.get_mut(&id)?;
        let body = body.take()?.freeze();
        self.unfinished -= body.len();
        Some(Message { kind: header.kind, stream: header.stream, time: *time, body })
    }

    /// Carries out what a message says about the chunk stream; any other is returned.
    fn steer(&mut self, message: Message) -> Result<Option<Message>, ChunkError> {
        let number = message.body.clone().try_get_u32();
        match (message.kind, number) {
            (kind::SET_CHUNK_SIZE, Ok(size)) => {
                if size == 0 || size > i32::MAX as u32 {
                    return Err(ChunkError::Size(size));
                }
                self.size = size as usize;
            }
            (kind::ABORT, Ok(id)) => {
                let aborted = self.streams.get_mut(&id).and_then(|stream| stream.body.take());
                self.unfinished -= aborted.map_or(0, |body| body.len());
            }
            (kind::SET_CHUNK_SIZE | kind::ABORT, Err(_)) => {}
            _ => return Ok(Some(message)),
        }
        Ok(None)
    }
}

impl ChunkStream {
    /// Whether a chunk with this header goes on with the open message. Some encoders send a header
    /// where none is due, which then says the same.
    fn is_continued(&self, format: u8, header: &Header) -> bool {
        let same = (header.length, header.kind) == (self.header.length, self.header.kind);
        self.body.is_some() && (format == 3 || format > 0 && same)
    }
}

/// Format, chunk stream and length of a basic header (5.3.1.1).
fn basic_header(bytes: &[u8]) -> Option<(u8, u32, usize)> {
    let first = *bytes.first()?;
    let byte = |at: usize| bytes.get(at).map(|byte| u32::from(*byte));
    let (id, length) = match first & 0x3f {
        0 => (64 + byte(1)?, 2),
        1 => (64 + byte(1)? + 256 * byte(2)?, 3),
        small => (u32::from(small), 1),
    };
    Some((first >> 6, id, length))
}

/// Appends a message in chunks of up to `size` bytes on a chunk stream below 64.
pub fn write(out: &mut BytesMut, chunk_stream: u8, size: usize, message: &Message) {
    out.put_u8(chunk_stream & 0x3f);
    out.put_uint(u64::from(message.time.min(EXTENDED)), 3);
    out.put_uint(message.body.len() as u64, 3);
    out.put_u8(message.kind);
    out.put_u32_le(message.stream);
    let extended = message.time.to_be_bytes();
    let extended = if message.time < EXTENDED { &[][..] } else { &extended };
    out.put_slice(extended);
    for (number, chunk) in message.body.chunks(size.max(1)).enumerate() {
        if number > 0 {
            out.put_u8(0xc0 | chunk_stream & 0x3f);
            out.put_slice(extended);
        }
        out.put_slice(chunk);
    }
}

/// All messages of a chunk stream that comes in pieces, and the fault at which they end.
pub fn read_all<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limit: usize,
) -> (Vec<Message>, Result<(), ChunkError>) {
    let (mut reader, mut messages) = (ChunkReader::new(limit), Vec::new());
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
    (messages, Ok(()))
}

#[cfg(test)]
mod tests;
