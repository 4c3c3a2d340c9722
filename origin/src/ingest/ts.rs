//! From the bytes of a transport stream to pieces: the picture and the sounds of its first
//! programme.

use std::collections::VecDeque;

use bytes::Bytes;
use sightscreen_wire::ts::{self, Demux, DemuxEvent, Losses, Packets, Stream, Unit};

use super::piece::{Container, Piece, Setup, Track};
use super::publishers::Said;
use crate::told::Told;

/// Sounds of a programme that are taken.
const SOUNDS_MAX: usize = 16;

/// Bytes without a programme in them after which that is told.
const LOST_BYTES: u64 = 1 << 20;

/// The longest from decoding to showing, in ticks; what says more is damaged.
const SHOWN_AFTER_MAX: i64 = 10 * ts::TICKS;

/// One transport stream.
pub(crate) struct Pieces {
    /// Identifier of the event, for the log.
    event: String,
    packets: Packets,
    demux: Demux,
    /// The programme's picture, if it has one, and its sounds.
    streams: Vec<Known>,
    said: VecDeque<Said>,
    /// Bytes so far, until there is a programme.
    unknown: u64,
    losses: (u64, Losses),
    /// Of these, those that were counted.
    counted: u64,
    told: Told,
}

/// A stream of the programme.
struct Known {
    stream: Stream,
    /// What its decoder is set up by.
    decoder: Option<Bytes>,
    /// How often that changed.
    changes: u8,
    /// When it was decoded last, in ticks.
    time: Option<i64>,
}

impl Pieces {
    /// For an event. Unfinished pictures and sounds may take up to `limit` bytes.
    pub(crate) fn new(event: &str, limit: usize) -> Self {
        Self {
            event: event.to_owned(),
            packets: Packets::default(),
            demux: Demux::new(limit),
            streams: Vec::new(),
            said: VecDeque::new(),
            unknown: 0,
            losses: (0, Losses::default()),
            counted: 0,
            told: Told::default(),
        }
    }

    /// Takes the next bytes. Call [`Self::next`] until there is nothing left.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.packets.push(bytes);
        while let Some(packet) = self.packets.next() {
            self.demux.take(&packet);
            while let Some(event) = self.demux.next_event() {
                match event {
                    DemuxEvent::Streams(streams) => self.follow(&streams),
                    // How the clocks stand is found by when pictures arrive, as with all
                    // publishers.
                    DemuxEvent::Clock { .. } => {}
                    DemuxEvent::Unit(unit) => self.take(unit),
                }
            }
        }
        self.look_for_programme(bytes.len());
        self.count_losses();
        self.tell_losses();
    }

    /// What came out of the bytes so far.
    pub(crate) fn next(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// Takes the streams of a programme, or of one that changed.
    fn follow(&mut self, all: &[Stream]) {
        let codecs: Vec<_> = all.iter().map(|stream| (stream.pid, stream.codec)).collect();
        let of = |is_it: fn(ts::Codec) -> bool, most| {
            all.iter().filter(move |stream| is_it(stream.codec)).take(most).cloned()
        };
        let pictures = of(ts::Codec::is_picture, 1);
        let streams = pictures.chain(of(ts::Codec::is_sound, SOUNDS_MAX));
        let known = |stream| Known { stream, decoder: None, changes: 0, time: None };
        self.streams = streams.map(known).collect();
        self.unknown = 0;
        let event = &self.event;
        match self.streams.is_empty() {
            true => tracing::warn!(
                event,
                ?codecs,
                "the transport stream has neither picture nor sound that can be read"
            ),
            false => tracing::info!(event, ?codecs, "the transport stream's programme"),
        }
        self.set_up();
    }

    fn set_up(&mut self) {
        let streams = self.streams.iter().map(|known| known.stream.clone()).collect();
        let picture = self.streams.iter().find(|known| known.stream.codec.is_picture());
        let sounds = self.streams.iter().filter(|known| known.stream.codec.is_sound());
        self.said.push_back(Said::Setup(Setup {
            container: Container::Ts(streams),
            picture: picture.and_then(|known| known.decoder.clone()),
            sounds: sounds.map(|known| Bytes::copy_from_slice(&[known.changes])).collect(),
        }));
    }

    fn take(&mut self, unit: Unit) {
        let pictures = self.streams.iter().filter(|known| known.stream.codec.is_picture()).count();
        let of_unit = |known: &Known| known.stream.pid == unit.pid;
        let Some(at) = self.streams.iter().position(of_unit) else { return };
        let Some(known) = self.streams.get_mut(at) else { return };
        let Unit { pts, dts, is_damaged, data, .. } = unit;
        known.time = dts.or(known.time);
        let Some(time) = known.time.filter(|_| !data.is_empty()) else { return };
        let is_picture = known.stream.codec.is_picture();
        // A decoder hides what is missing in a picture, but not in sound.
        if is_damaged && !is_picture {
            return;
        }
        let is_key = !is_damaged && ts::start(known.stream.codec, &data).is_some();
        if !is_damaged && known.meets(&data) {
            self.set_up();
        }
        let shown_after = dts.zip(pts).map_or(0, |(dts, pts)| pts.saturating_sub(dts));
        self.said.push_back(Said::Piece(Piece {
            track: if is_picture { Track::Picture } else { Track::Sound(at - pictures) },
            // It wraps, as clocks of all publishers do.
            time: time.div_euclid(ts::TICKS / 1000) as u32,
            shown_after: shown_after.clamp(0, SHOWN_AFTER_MAX),
            is_key,
            data,
        }));
    }

    /// Tells that there is no programme in what comes.
    fn look_for_programme(&mut self, bytes: usize) {
        if !self.streams.is_empty() {
            return;
        }
        self.unknown += bytes as u64;
        if self.unknown >= LOST_BYTES {
            self.unknown = 0;
            tracing::warn!(
                event = self.event,
                "no programme is in what comes: a transport stream with its tables (PAT, PMT) is \
                 expected"
            );
        }
    }

    fn count_losses(&mut self) {
        let Losses { holes, unreadable } = self.demux.losses();
        let lost = holes + unreadable;
        let more = lost - std::mem::replace(&mut self.counted, lost);
        if more > 0 {
            self.said.push_back(Said::Lost(more));
        }
    }

    fn tell_losses(&mut self) {
        let losses = (self.packets.lost(), self.demux.losses());
        if losses == self.losses || !self.told.due() {
            return;
        }
        let (bytes, Losses { holes, unreadable }) = losses;
        let (bytes_before, before) = std::mem::replace(&mut self.losses, losses);
        tracing::warn!(
            event = self.event,
            holes = holes - before.holes,
            unreadable = unreadable - before.unreadable,
            garbage_bytes = bytes - bytes_before,
            "packets of the transport stream are missing, damaged or scrambled: look at the way it \
             takes"
        );
    }
}

impl Known {
    /// Looks at a unit; whether it has to be decoded otherwise than those before.
    fn meets(&mut self, data: &[u8]) -> bool {
        let codec = self.stream.codec;
        if codec.is_picture() {
            let Some(start) = ts::start(codec, data) else { return false };
            let is_new = self.decoder.as_deref() != Some(start);
            if is_new {
                self.decoder = Some(Bytes::copy_from_slice(start));
            }
            return is_new;
        }
        let Some(word) = ts::sound(codec, data) else { return false };
        let word = Bytes::copy_from_slice(&word.to_be_bytes());
        let before = self.decoder.replace(word.clone());
        let is_new = before.is_some_and(|before| before != word);
        self.changes = self.changes.wrapping_add(u8::from(is_new));
        is_new
    }
}
