//! Checks the RTMP chunk stream of a publisher before the session sees it.
//!
//! The session would overflow, grow or recurse on a hostile stream. What passes here has one
//! message open at a time, of the length that was announced, and commands short enough to be read
//! by recursion. Of the messages only the one that sets the chunk size is looked at.

use std::collections::HashMap;

/// Bytes of a chunk's payload until the peer says otherwise.
const SIZE: u32 = 128;

/// Largest command or metadata: far above what encoders send, and nested no deeper than a thread's
/// stack bears.
pub(super) const COMMAND_BYTES_MAX: u32 = 4 << 10;

/// Streams of chunks at a time; publishers use a handful.
const STREAMS_MAX: usize = 64;

/// Message that sets the chunk size.
const SET_CHUNK_SIZE: u8 = 1;

/// Messages of nested values: data and commands, in both encodings.
const NESTED: [u8; 4] = [15, 17, 18, 20];

/// A time that says that the real one follows.
const EXTENDED: u32 = 0x00ff_ffff;

/// Why a connection's chunks are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    /// A short header without one before it.
    #[error("a chunk continues a stream that never began")]
    NoStream,
    /// More streams than anyone needs.
    #[error("more than {STREAMS_MAX} chunk streams are open")]
    Streams,
    /// A message begins while another is open, or the open one changes.
    #[error("messages are interleaved, expected one after another")]
    Interleaved,
    /// A time that runs backwards by its encoding.
    #[error("a chunk has an extended time that would have fitted without one")]
    Time,
    /// A command of this length.
    #[error("a command of {0} bytes, expected at most {COMMAND_BYTES_MAX}")]
    Command(u32),
    /// A chunk size that cannot be.
    #[error("the chunk size is out of bounds")]
    Size,
}

/// What a stream's last header said.
#[derive(Debug, Clone, Copy)]
struct Header {
    time: u32,
    length: u32,
    kind: u8,
}

/// The message that is being received.
#[derive(Debug, Clone, Copy)]
struct Open {
    stream: u32,
    header: Header,
    left: u32,
}

/// Follows one connection.
#[derive(Debug)]
pub(super) struct Chunks {
    size: u32,
    streams: HashMap<u32, Header>,
    /// The header that is being received.
    head: Vec<u8>,
    open: Option<Open>,
    /// Payload that is left of the chunk.
    chunk: u32,
    new_size: u32,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            size: SIZE,
            streams: HashMap::new(),
            head: Vec::new(),
            open: None,
            chunk: 0,
            new_size: 0,
        }
    }
}

impl Chunks {
    /// Follows the next bytes.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) -> Result<(), ChunkError> {
        while let Some((first, rest)) = bytes.split_first() {
            if self.chunk > 0 {
                bytes = self.payload(bytes)?;
                continue;
            }
            self.head.push(*first);
            bytes = rest;
            if let Some((stream, header, fresh)) = self.header()? {
                self.head.clear();
                self.begin(stream, header, fresh)?;
            }
        }
        Ok(())
    }

    /// Takes what belongs to the chunk, and returns the rest.
    fn payload<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ChunkError> {
        let Some(open) = &mut self.open else {
            return Ok(&[]);
        };
        let taken = bytes.len().min(self.chunk as usize);
        let (mine, rest) = bytes.split_at(taken);
        self.chunk -= taken as u32;
        open.left -= taken as u32;
        if open.header.kind == SET_CHUNK_SIZE {
            let append = |size: u32, byte: &u8| size << 8 | u32::from(*byte);
            self.new_size = mine.iter().fold(self.new_size, append);
        }
        if open.left == 0 {
            self.end()?;
        }
        Ok(rest)
    }

    fn end(&mut self) -> Result<(), ChunkError> {
        let open = self.open.take();
        if open.is_some_and(|open| open.header.kind == SET_CHUNK_SIZE) {
            if self.new_size == 0 || self.new_size > i32::MAX as u32 {
                return Err(ChunkError::Size);
            }
            self.size = self.new_size;
        }
        Ok(())
    }

    /// Stream and header of the chunk that begins, and whether its time is told by itself; `None`
    /// while bytes are missing.
    fn header(&self) -> Result<Option<(u32, Header, bool)>, ChunkError> {
        let number = |range: std::ops::Range<usize>| {
            let bytes = self.head.get(range)?;
            Some(bytes.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
        };
        let byte = |at: usize| self.head.get(at).copied();
        let Some(first) = byte(0) else {
            return Ok(None);
        };
        let (stream, at) = match (first & 0x3f, byte(1), byte(2)) {
            (0, Some(low), _) => (64 + u32::from(low), 2),
            (1, Some(low), Some(high)) => (64 + u32::from(low) + 256 * u32::from(high), 3),
            (0 | 1, ..) => return Ok(None),
            (small, ..) => (u32::from(small), 1),
        };
        let format = first >> 6;
        let before = self.streams.get(&stream).copied();
        if format > 0 && before.is_none() {
            return Err(ChunkError::NoStream);
        }
        let end = at + [11, 7, 3, 0][usize::from(format)];
        if self.head.len() < end {
            return Ok(None);
        }
        let told = |old: fn(Header) -> u32, range: std::ops::Range<usize>, formats: u8| {
            let kept = before.map(old);
            if format < formats { number(range) } else { kept }.unwrap_or(0)
        };
        let header = Header {
            time: told(|header| header.time, at..at + 3, 3),
            length: told(|header| header.length, at + 3..at + 6, 2),
            kind: told(|header| u32::from(header.kind), at + 6..at + 7, 2) as u8,
        };
        if header.time == EXTENDED {
            let Some(time) = number(end..end + 4) else {
                return Ok(None);
            };
            if format > 0 && self.open.is_none() && time < EXTENDED {
                return Err(ChunkError::Time);
            }
        }
        Ok(Some((stream, header, format == 0)))
    }

    fn begin(&mut self, stream: u32, header: Header, fresh: bool) -> Result<(), ChunkError> {
        self.streams.insert(stream, header);
        if self.streams.len() > STREAMS_MAX {
            return Err(ChunkError::Streams);
        }
        let open = match self.open {
            None => {
                if NESTED.contains(&header.kind) && header.length > COMMAND_BYTES_MAX {
                    return Err(ChunkError::Command(header.length));
                }
                if header.kind == SET_CHUNK_SIZE && header.length != 4 {
                    return Err(ChunkError::Size);
                }
                self.new_size = 0;
                Open { stream, header, left: header.length }
            }
            Some(open) => {
                let same = (open.header.length, open.header.kind) == (header.length, header.kind);
                if open.stream != stream || !same || fresh {
                    return Err(ChunkError::Interleaved);
                }
                open
            }
        };
        self.chunk = open.left.min(self.size);
        self.open = Some(open);
        if open.left == 0 {
            self.end()?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use rml_rtmp::sessions::{ServerSession, ServerSessionConfig};

    /// A chunk with a full header.
    pub(in crate::ingest) fn full(stream: u8, length: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut chunk = vec![stream, 0, 0, 0];
        chunk.extend(&length.to_be_bytes()[1..]);
        chunk.extend([kind, 0, 0, 0, 0]);
        chunk.extend(payload);
        chunk
    }

    fn follow(bytes: &[u8]) -> Result<(), ChunkError> {
        let whole = Chunks::default().follow(bytes);
        let mut chunks = Chunks::default();
        let pieces = bytes.iter().try_for_each(|byte| chunks.follow(&[*byte]));
        assert_eq!(whole, pieces);
        whole
    }

    #[test]
    fn a_message_in_several_chunks_and_another_size() {
        let mut bytes = full(4, 300, 9, &[7; 128]);
        bytes.push(0xc4);
        bytes.extend([7; 128]);
        bytes.push(0xc4);
        bytes.extend([7; 44]);
        bytes.extend(full(2, 4, 1, &4096_u32.to_be_bytes()));
        bytes.extend(full(4, 4000, 9, &[7; 4000]));
        // A stream number in two bytes, and one in three.
        bytes.extend([0, 9, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, 7]);
        bytes.extend([1, 9, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0]);
        // The time of the next one needs four more bytes, and so does that of the one after it.
        bytes.extend([4, 255, 255, 255, 0, 0, 1, 9, 0, 0, 0, 0, 1, 0, 0, 0, 7]);
        bytes.extend([0xc4, 1, 0, 0, 0, 7]);
        bytes.extend(full(3, 3, 20, &[0; 3]));
        assert_eq!(follow(&bytes), Ok(()));
    }

    #[test]
    fn what_the_session_cannot_bear_is_refused() {
        let open = full(4, 300, 9, &[7; 128]);
        let after = |more: Vec<u8>| follow(&[open.clone(), more].concat());
        let interleaved = Err(ChunkError::Interleaved);
        assert_eq!(after(full(5, 10, 9, &[])), interleaved);
        assert_eq!(after(full(4, 10, 9, &[])), interleaved);
        assert_eq!(follow(&[0xc4]), Err(ChunkError::NoStream));
        let command = full(3, COMMAND_BYTES_MAX + 1, 18, &[]);
        assert_eq!(follow(&command), Err(ChunkError::Command(COMMAND_BYTES_MAX + 1)));
        for size in [0, u32::MAX] {
            let set = full(2, 4, 1, &size.to_be_bytes());
            assert_eq!(follow(&set), Err(ChunkError::Size));
        }
        let many: Vec<u8> = (0..=STREAMS_MAX as u8)
            .flat_map(|stream| [&[0, stream][..], &[0; 11]].concat())
            .collect();
        assert_eq!(follow(&many), Err(ChunkError::Streams));
    }

    /// Chunks that are nearly right.
    fn chunk() -> impl Strategy<Value = Vec<u8>> {
        let kind = prop_oneof![Just(1_u8), Just(8), Just(9), Just(18), Just(20), any::<u8>()];
        let length = prop_oneof![Just(4_u32), 0_u32..600];
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        (0_u8..4, 2_u8..5, any::<bool>(), length, kind, bytes).prop_map(
            |(format, stream, extended, length, kind, bytes)| {
                let mut chunk = vec![format << 6 | stream];
                let time = if extended { [255; 3] } else { [0, 0, 1] };
                let mut rest = time.to_vec();
                rest.extend(&length.to_be_bytes()[1..]);
                rest.extend([kind, 1, 0, 0, 0]);
                chunk.extend(&rest[..[11, 7, 3, 0][usize::from(format)]]);
                chunk.extend(bytes);
                chunk
            },
        )
    }

    proptest! {
        #[test]
        fn what_passes_never_panics_the_session(chunks in prop::collection::vec(chunk(), 1..8)) {
            let bytes = chunks.concat();
            if follow(&bytes).is_ok() {
                let (mut session, _) = ServerSession::new(ServerSessionConfig::new()).unwrap();
                let _ = session.handle_input(&bytes);
            }
        }
    }
}
