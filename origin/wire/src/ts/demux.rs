//! From packets to units of pictures and sound.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};

use super::packet::Packet;
use super::section::{self, Entry, Sections};
use super::{Unwrap, pes};

/// Stream of the programme association.
const ASSOCIATION: u16 = 0;

/// Streams of a programme.
const STREAMS_MAX: usize = 64;

/// How a stream is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// MPEG-2 or MPEG-1 pictures.
    Mpeg2,
    /// H.264.
    H264,
    /// H.265.
    H265,
    /// MPEG sound of layers I to III.
    MpegAudio,
    /// AAC with ADTS headers.
    Aac,
    /// AAC in LATM.
    AacLatm,
    /// AC-3.
    Ac3,
    /// E-AC-3.
    Eac3,
    /// Splice information; it has no units.
    Scte35,
    /// Something else, of this type.
    Other(u8),
}

impl Codec {
    /// Whether it codes pictures.
    #[must_use]
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Mpeg2 | Self::H264 | Self::H265)
    }

    /// Whether it codes sound.
    #[must_use]
    pub fn is_sound(self) -> bool {
        use Codec::{Aac, AacLatm, Ac3, Eac3, MpegAudio};
        matches!(self, MpegAudio | Aac | AacLatm | Ac3 | Eac3)
    }
}

/// A stream of a programme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its number.
    pub pid: u16,
    /// Its type, as the map of the programme has it.
    pub kind: u8,
    /// How it is coded.
    pub codec: Codec,
    /// What the map says of it besides.
    pub descriptors: Bytes,
    /// Its language, as ISO 639-2 has it.
    pub language: Option<String>,
}

/// What is in one piece of a stream: a picture, or some sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its stream.
    pub pid: u16,
    /// When it is shown, in ticks that do not wrap.
    pub pts: Option<i64>,
    /// When it is decoded, in ticks that do not wrap.
    pub dts: Option<i64>,
    /// Whether some of it is missing.
    pub is_damaged: bool,
    /// What is coded.
    pub data: Bytes,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DemuxEvent {
    /// The programme consists of these from now on.
    Streams(Vec<Stream>),
    /// The programme's clock, in ticks that do not wrap, and whether it begins anew.
    Clock {
        /// Ticks.
        ticks: i64,
        /// Whether the stream says that it goes on from somewhere else.
        is_new: bool,
    },
    /// Picture or sound.
    Unit(Unit),
}

/// One stream's unit as it comes in.
#[derive(Debug, Default)]
struct Assembly {
    bytes: BytesMut,
    is_open: bool,
    is_damaged: bool,
}

/// Takes the packets of one stream apart: the first programme in it.
#[derive(Debug)]
pub struct Demux {
    counters: BTreeMap<u16, u8>,
    association: Sections,
    map: Option<(u16, Sections)>,
    map_section: Vec<u8>,
    clock_pid: Option<u16>,
    assemblies: BTreeMap<u16, Assembly>,
    times: Unwrap,
    held: usize,
    limit: usize,
    losses: Losses,
    events: VecDeque<DemuxEvent>,
}

/// What cannot be read, counted in packets and holes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Holes, each of one packet or more of the programme.
    pub holes: u64,
    /// Packets that are damaged or scrambled.
    pub unreadable: u64,
}

impl Demux {
    /// For a stream whose unfinished units may take up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            counters: BTreeMap::new(),
            association: Sections::default(),
            map: None,
            map_section: Vec::new(),
            clock_pid: None,
            assemblies: BTreeMap::new(),
            times: Unwrap::default(),
            held: 0,
            limit,
            losses: Losses::default(),
            events: VecDeque::new(),
        }
    }

    /// What came out of the packets so far.
    pub fn next_event(&mut self) -> Option<DemuxEvent> {
        self.events.pop_front()
    }

    /// What could not be read so far.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// The stream ends: what is unfinished is as complete as it will be.
    pub fn finish(&mut self) {
        let pids: Vec<u16> = self.assemblies.keys().copied().collect();
        for pid in pids {
            self.close(pid);
        }
    }

    /// Takes the next packet.
    pub fn take(&mut self, packet: &Packet) {
        let pid = packet.pid();
        let is_of_map = self.map.as_ref().is_some_and(|(of_map, _)| *of_map == pid);
        let is_of_unit = self.assemblies.contains_key(&pid);
        if self.clock_pid == Some(pid) && packet.is_readable() {
            self.take_clock(packet);
        }
        if !(pid == ASSOCIATION || is_of_map || is_of_unit) {
            return;
        }
        let Some(payload) = packet.payload() else { return };
        let before = self.counters.insert(pid, packet.counter());
        if before == Some(packet.counter()) && !packet.is_discontinuous() {
            // Packets may be sent twice.
            return;
        }
        let follows = before.is_none_or(|before| (before + 1) & 0x0f == packet.counter());
        let is_hole = !(follows || packet.is_discontinuous());
        self.losses.holes += u64::from(is_hole);
        if !packet.is_readable() || is_hole {
            self.lose(pid);
        }
        if !packet.is_readable() {
            self.losses.unreadable += 1;
            return;
        }
        match pid {
            ASSOCIATION => {
                for section in self.association.take(payload, packet.starts()) {
                    self.associate(&section);
                }
            }
            _ if is_of_map => {
                let Some((_, sections)) = &mut self.map else { return };
                for section in sections.take(payload, packet.starts()) {
                    self.follow_map(section);
                }
            }
            _ => self.assemble(pid, payload, packet.starts()),
        }
    }

    fn take_clock(&mut self, packet: &Packet) {
        let Some(clock) = packet.clock() else { return };
        let is_new = packet.is_discontinuous();
        if is_new {
            self.times = Unwrap::default();
        }
        self.events.push_back(DemuxEvent::Clock { ticks: self.times.take(clock), is_new });
    }

    /// A packet of this stream is missing.
    fn lose(&mut self, pid: u16) {
        match (pid, &mut self.map) {
            (ASSOCIATION, _) => self.association.lose(),
            (_, Some((of_map, sections))) if *of_map == pid => sections.lose(),
            _ => {
                if let Some(assembly) = self.assemblies.get_mut(&pid) {
                    assembly.is_damaged = true;
                }
            }
        }
    }

    fn associate(&mut self, section: &[u8]) {
        let Some(pid) = section::first_programme(section) else { return };
        if self.map.as_ref().is_none_or(|(of_map, _)| *of_map != pid) {
            self.map = Some((pid, Sections::default()));
            self.map_section.clear();
        }
    }

    fn follow_map(&mut self, section: Vec<u8>) {
        if section == self.map_section {
            return;
        }
        let Some((clock_pid, entries)) = section::programme(&section) else { return };
        self.finish();
        let streams: Vec<Stream> = entries.iter().take(STREAMS_MAX).map(stream).collect();
        let units = streams.iter().filter(|stream| stream.codec != Codec::Scte35);
        self.assemblies = units.map(|stream| (stream.pid, Assembly::default())).collect();
        self.counters.retain(|pid, _| *pid == ASSOCIATION);
        self.clock_pid = Some(clock_pid);
        self.events.push_back(DemuxEvent::Streams(streams));
        self.map_section = section;
    }

    fn assemble(&mut self, pid: u16, payload: &[u8], starts: bool) {
        if starts {
            self.close(pid);
        }
        let Some(assembly) = self.assemblies.get_mut(&pid) else { return };
        assembly.is_open |= starts;
        if !assembly.is_open {
            return;
        }
        if self.held + payload.len() > self.limit {
            assembly.is_damaged = true;
            return;
        }
        assembly.bytes.extend_from_slice(payload);
        self.held += payload.len();
        if pes::length(&assembly.bytes).is_some_and(|length| assembly.bytes.len() >= length) {
            self.close(pid);
        }
    }

    /// Ends the open unit of a stream.
    fn close(&mut self, pid: u16) {
        let Some(assembly) = self.assemblies.get_mut(&pid) else { return };
        let Assembly { mut bytes, is_open, is_damaged } = std::mem::take(assembly);
        self.held -= bytes.len();
        let length = pes::length(&bytes);
        if let Some(length) = length {
            bytes.truncate(length);
        }
        let Some(([pts, dts], body)) = pes::read(&bytes).filter(|_| is_open) else { return };
        // In the order of decoding, times are near to each other.
        let dts = dts.map(|dts| self.times.take(dts));
        let pts = pts.map(|pts| self.times.take(pts));
        self.events.push_back(DemuxEvent::Unit(Unit {
            pid,
            pts,
            dts: dts.or(pts),
            is_damaged: is_damaged || length.is_some_and(|length| bytes.len() < length),
            data: bytes.freeze().slice(body..),
        }));
    }
}

fn stream(entry: &Entry<'_>) -> Stream {
    let descriptors = || section::descriptors(entry.descriptors);
    let has = |tag: u8, content: &[u8]| {
        descriptors().any(|(known, bytes)| known == tag && bytes.starts_with(content))
    };
    let codec = match entry.kind {
        0x01 | 0x02 => Codec::Mpeg2,
        0x03 | 0x04 => Codec::MpegAudio,
        0x0f => Codec::Aac,
        0x11 => Codec::AacLatm,
        0x1b => Codec::H264,
        0x24 => Codec::H265,
        0x81 => Codec::Ac3,
        0x86 => Codec::Scte35,
        0x87 => Codec::Eac3,
        // Private data says what it is in a descriptor (registration; DVB, EN 300 468).
        0x06 if has(0x6a, b"") || has(5, b"AC-3") => Codec::Ac3,
        0x06 if has(0x7a, b"") || has(5, b"EAC3") => Codec::Eac3,
        0x06 if has(5, b"HEVC") => Codec::H265,
        kind => Codec::Other(kind),
    };
    let language = descriptors().find(|(tag, _)| *tag == 0x0a).and_then(|(_, bytes)| {
        let language = bytes.get(..3)?.to_ascii_lowercase();
        String::from_utf8(language).ok().filter(|text| text.bytes().all(|b| b.is_ascii_lowercase()))
    });
    let (kind, descriptors) = (entry.kind, Bytes::copy_from_slice(entry.descriptors));
    Stream { pid: entry.pid, kind, codec, descriptors, language }
}
