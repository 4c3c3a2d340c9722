//! A programme of its own: streams of another one, with other times and no holes in what is
//! counted.

use bytes::{BufMut, Bytes, BytesMut};

use super::demux::Stream;
use super::packet::{SIZE, SYNC};
use super::{pes, section};

/// Streams of the tables.
const ASSOCIATION: u16 = 0;
const MAP: u16 = 0x1000;

/// The first of the programme's streams; the others follow.
const FIRST: u16 = 0x100;

/// No stream carries the clock: what reads this goes by the times of the units.
const NO_CLOCK: u16 = 0x1fff;

/// Bytes that a packet carries at most.
const PAYLOAD: usize = SIZE - 4;

/// Writes one programme.
#[derive(Debug)]
pub struct Mux {
    streams: Vec<Stream>,
    counters: Vec<u8>,
    /// Packets of each table so far.
    association: u8,
    map: u8,
}

impl Mux {
    /// Of these streams, which are numbered anew.
    #[must_use]
    pub fn new(streams: Vec<Stream>) -> Self {
        let counters = vec![0; streams.len()];
        Self { streams, counters, association: 0, map: 0 }
    }

    /// The tables, which come first, and may come again. What descriptors leave no room for is left
    /// out.
    pub fn head(&mut self) -> Bytes {
        let mut out = BytesMut::with_capacity(2 * SIZE);
        table(
            &mut out,
            ASSOCIATION,
            self.association,
            0x00,
            &[0, 1, 0xe0 | (MAP >> 8) as u8, MAP as u8],
        );
        let mut map = vec![0xe0 | (NO_CLOCK >> 8) as u8, NO_CLOCK as u8, 0xf0, 0];
        for (pid, stream) in (FIRST..).zip(&self.streams) {
            let descriptors = &stream.descriptors;
            if map.len() + 5 + descriptors.len() > section::SIZE_MAX - 12 {
                break;
            }
            map.extend([stream.kind, 0xe0 | (pid >> 8) as u8, pid as u8]);
            map.extend([0xf0 | (descriptors.len() >> 8) as u8, descriptors.len() as u8]);
            map.extend_from_slice(descriptors);
        }
        let packets = table(&mut out, MAP, self.map, 0x02, &map);
        self.association = self.association.wrapping_add(1);
        self.map = self.map.wrapping_add(packets);
        out.freeze()
    }

    /// A unit of one of the streams, by its place among them. Times are in ticks, of which 33 bits
    /// are written. `None` where there is no such stream.
    pub fn unit(&mut self, at: usize, pts: i64, dts: i64, data: &[u8]) -> Option<Bytes> {
        let (stream, counter) = (self.streams.get(at)?, self.counters.get_mut(at)?);
        let pid = FIRST.checked_add(u16::try_from(at).ok()?)?;
        let header = pes::header_of(stream.codec.is_picture(), data.len(), pts, dts);
        let size = header.len() + data.len();
        let mut out = BytesMut::with_capacity(size.div_ceil(PAYLOAD) * SIZE);
        let mut whole = BytesMut::with_capacity(size);
        whole.put_slice(&header);
        whole.put_slice(data);
        for (number, payload) in whole.chunks(PAYLOAD).enumerate() {
            packet(&mut out, pid, number == 0, *counter, payload);
            *counter = (*counter + 1) & 0x0f;
        }
        Some(out.freeze())
    }
}

/// A packet; where its payload is short, what is missing is filled up before it (2.4.3.5).
fn packet(out: &mut BytesMut, pid: u16, starts: bool, counter: u8, payload: &[u8]) {
    let start = if starts { 0x40 } else { 0 };
    out.put_slice(&[SYNC, start | (pid >> 8) as u8, pid as u8]);
    let missing = PAYLOAD - payload.len();
    if missing == 0 {
        out.put_u8(0x10 | counter);
    } else {
        out.put_u8(0x30 | counter);
        out.put_u8((missing - 1) as u8);
        if missing > 1 {
            out.put_u8(0);
            out.put_bytes(0xff, missing - 2);
        }
    }
    out.put_slice(payload);
}

/// A table of one section, in as many packets as it takes, counted from `first` on. Returns how
/// many.
fn table(out: &mut BytesMut, pid: u16, first: u8, id: u8, body: &[u8]) -> u8 {
    let length = 5 + body.len() + 4;
    // The pointer, and the head with the number 1, version 0 and one section.
    let mut bytes = vec![0, id, 0xb0 | (length >> 8) as u8, length as u8, 0, 1, 0xc1, 0, 0];
    bytes.extend_from_slice(body);
    let sum = section::crc(&bytes[1..]);
    bytes.extend(sum.to_be_bytes());
    let mut packets = 0_u8;
    for piece in bytes.chunks(PAYLOAD) {
        let counter = first.wrapping_add(packets) & 0x0f;
        // What follows a section is ones.
        let mut payload = [0xff; PAYLOAD];
        payload[..piece.len()].copy_from_slice(piece);
        packet(out, pid, packets == 0, counter, &payload);
        packets += 1;
    }
    packets
}
