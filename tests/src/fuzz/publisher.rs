//! What must hold of a publisher's bytes at the origin.

use bytes::{Bytes, BytesMut};
use sightscreen_wire::amf::{self, Value};
use sightscreen_wire::chunks::read_all;
use sightscreen_wire::flv::{self, Tag, Unit};
use sightscreen_wire::rtp;
use sightscreen_wire::session::{Session, SessionEvent};
use sightscreen_wire::ts::{self, Demux, Packets};

/// Bytes of unfinished messages.
const LIMIT: usize = 4096;

/// A chunk stream, after a byte that says how it is split: wherever that is, the messages are the
/// same, none is above the limit, and a session goes through all of them.
pub(super) fn chunks(data: &[u8]) {
    let Some((split, bytes)) = data.split_first() else {
        return;
    };
    let whole = read_all([bytes], LIMIT);
    let pieces = bytes.chunks(usize::from(*split) + 1);
    assert_eq!(read_all(pieces, LIMIT), whole, "a split changes what is read");
    assert!(whole.0.iter().all(|message| message.body.len() <= LIMIT));
    let mut session = Session::new(LIMIT);
    for piece in bytes.chunks(usize::from(*split) + 1) {
        session.push(piece);
        while let Ok(Some(event)) = session.next() {
            if let SessionEvent::Publish(_) = event {
                session.accept();
            }
        }
        let _ = session.take_output();
    }
}

/// A transport stream, after a byte that says how it is split: the packets are the same, no unit is
/// above the limit, and each is read again as it was written.
pub(super) fn ts(data: &[u8]) {
    let Some((split, bytes)) = data.split_first() else {
        return;
    };
    let read = |size: usize| {
        let (mut packets, mut found) = (Packets::default(), Vec::new());
        for piece in bytes.chunks(size) {
            packets.push(piece);
            found.extend(std::iter::from_fn(|| packets.next()));
        }
        found
    };
    let within = rtp::read(bytes).is_none_or(|packet| packet.payload.len() < bytes.len());
    assert!(within, "a packet of RTP carries more than it has");
    let found = read(bytes.len().max(1));
    assert_eq!(read(usize::from(*split) + 1), found, "a split changes what is read");
    let mut demux = Demux::new(LIMIT);
    found.iter().for_each(|packet| demux.take(packet));
    demux.finish();
    let mut streams: Vec<ts::Stream> = Vec::new();
    while let Some(event) = demux.next_event() {
        match event {
            ts::DemuxEvent::Streams(all) => streams = all,
            ts::DemuxEvent::Clock { .. } => {}
            ts::DemuxEvent::Unit(unit) => {
                assert!(unit.data.len() <= LIMIT, "a unit is above the limit");
                let stream = streams.iter().find(|stream| stream.pid == unit.pid);
                let Some(stream) = stream.filter(|_| !unit.data.is_empty()) else { continue };
                let _ = (ts::start(stream.codec, &unit.data), ts::sound(stream.codec, &unit.data));
                same_again(stream, &unit);
            }
        }
    }
}

/// A unit, alone in a programme that is written and read.
fn same_again(stream: &ts::Stream, unit: &ts::Unit) {
    let mut mux = ts::Mux::new(vec![stream.clone()]);
    let (pts, dts) = (unit.pts.unwrap_or(0), unit.dts.unwrap_or(0));
    let written = mux.unit(0, pts, dts, &unit.data).into_iter();
    let (mut packets, mut demux) = (Packets::default(), Demux::new(LIMIT));
    [mux.head()].into_iter().chain(written).for_each(|bytes| packets.push(&bytes));
    while let Some(packet) = packets.next() {
        demux.take(&packet);
    }
    demux.finish();
    let mut again = std::iter::from_fn(|| demux.next_event());
    let again = again.find_map(|event| match event {
        ts::DemuxEvent::Unit(unit) => Some(unit),
        _ => None,
    });
    let again = again.map(|again| (again.data, again.pts.map(|time| time & ((1 << 33) - 1))));
    let is_told = stream.descriptors.len() < 1000;
    if is_told && !matches!(stream.codec, ts::Codec::Scte35) {
        assert_eq!(again, Some((unit.data.clone(), Some(pts & ((1 << 33) - 1)))), "{stream:?}");
    }
}

/// Values of AMF0: what was read of them is written in one way alone.
pub(super) fn amf(data: &[u8]) {
    let written = |values: &[Value]| {
        let mut out = BytesMut::new();
        amf::write(&mut out, values);
        out
    };
    let once = written(&amf::read(data));
    assert_eq!(written(&amf::read(&once)), once, "what was written is read as something else");
}

/// A tag, after a byte that says whether it is a picture: a plain one stays as it is, and its size
/// is the same on both sides.
pub(super) fn flv(data: &[u8]) {
    let Some((video, data)) = data.split_first() else {
        return;
    };
    let video = video & 1 == 1;
    let tag = Tag { video, time: 7, data: Bytes::copy_from_slice(data) };
    let plain = tag.clone().plain();
    assert_eq!(plain.clone().plain(), plain, "a plain tag is made plain");
    let unit = plain.unit();
    assert!(video || !matches!(unit, Unit::Picture { .. }), "sound is taken for a picture");
    assert!(!video || !matches!(unit, Unit::Sound { .. }), "a picture is taken for sound");
    assert!(plain.is_set_up_like(&plain));
    if let Some(bytes) = flv::tag(&plain, plain.time) {
        let size = plain.data.len() as u32;
        assert_eq!(bytes[1..4], size.to_be_bytes()[1..]);
        assert!(bytes.ends_with(&(size + 11).to_be_bytes()));
    }
}
