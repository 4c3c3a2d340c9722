//! Transport packets (2.4.3): found in a stream of bytes, and read.

use bytes::{Buf, BytesMut};

/// Bytes of a packet.
pub(super) const SIZE: usize = 188;

/// First byte of each packet.
pub(super) const SYNC: u8 = 0x47;

/// Packets in a row that begin with it before they are taken for packets.
const CONFIRMED_BY: usize = 3;

/// Finds packets in a stream of bytes.
#[derive(Debug, Default)]
pub struct Packets {
    input: BytesMut,
    is_in_step: bool,
    lost: u64,
}

impl Packets {
    /// Takes the next bytes. Call [`Self::next`] until there is no packet left.
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next packet. What is none is left out.
    #[expect(clippy::should_implement_trait, reason = "there may be more after None")]
    pub fn next(&mut self) -> Option<Packet> {
        loop {
            let first = self.input.first()?;
            if self.is_in_step && *first == SYNC {
                let bytes = self.input.first_chunk::<SIZE>().copied()?;
                self.input.advance(SIZE);
                return Some(Packet { bytes });
            }
            self.is_in_step = false;
            match self.next_start() {
                Ok(at) => {
                    self.is_in_step = true;
                    self.skip(at);
                }
                Err(none_before) => {
                    self.skip(none_before);
                    return None;
                }
            }
        }
    }

    /// Bytes that were no packets.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn skip(&mut self, bytes: usize) {
        self.lost += bytes as u64;
        self.input.advance(bytes);
    }

    /// Where packets start; an error is where they may start once more bytes have come.
    fn next_start(&self) -> Result<usize, usize> {
        for at in 0..self.input.len() {
            let mut starts = self.input.iter().skip(at).step_by(SIZE).take(CONFIRMED_BY);
            if starts.all(|byte| *byte == SYNC) {
                let is_confirmed = at + (CONFIRMED_BY - 1) * SIZE < self.input.len();
                return if is_confirmed { Ok(at) } else { Err(at) };
            }
        }
        Err(self.input.len())
    }
}

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    bytes: [u8; SIZE],
}

impl Packet {
    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of the stream that it belongs to.
    #[must_use]
    pub fn pid(&self) -> u16 {
        u16::from_be_bytes([self.bytes[1] & 0x1f, self.bytes[2]])
    }

    /// Whether something begins in it.
    pub(super) fn starts(&self) -> bool {
        self.bytes[1] & 0x40 != 0
    }

    /// Whether what is in it can be read: it is neither damaged nor scrambled.
    pub(super) fn is_readable(&self) -> bool {
        self.bytes[1] & 0x80 == 0 && self.bytes[3] & 0xc0 == 0
    }

    /// Counts the packets with a payload of one stream, from 0 to 15.
    pub(super) fn counter(&self) -> u8 {
        self.bytes[3] & 0x0f
    }

    fn adaptation(&self) -> Option<&[u8]> {
        let length = usize::from(self.bytes[4]);
        (self.bytes[3] & 0x20 != 0).then(|| self.bytes.get(5..5 + length))?
    }

    /// What it carries; `None` where there is nothing.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.bytes.get(self.payload_at()?..)
    }

    fn payload_at(&self) -> Option<usize> {
        let at = match self.bytes[3] & 0x20 {
            0 => 4,
            _ => 5 + usize::from(self.bytes[4]),
        };
        (self.bytes[3] & 0x10 != 0 && at < SIZE).then_some(at)
    }

    /// Whether it says that counter and clock begin anew with it.
    pub(super) fn is_discontinuous(&self) -> bool {
        self.adaptation().and_then(|field| field.first()).is_some_and(|flags| flags & 0x80 != 0)
    }

    /// The programme's clock in it, in ticks; what is finer is left out.
    pub(super) fn clock(&self) -> Option<u64> {
        match self.adaptation()? {
            [flags, a, b, c, d, e, _, ..] if flags & 0x10 != 0 => {
                let high = u32::from_be_bytes([*a, *b, *c, *d]);
                Some(u64::from(high) << 1 | u64::from(e >> 7))
            }
            _ => None,
        }
    }
}
