//! Reads what the encoder writes: one fragmented MP4 with one track, as a stream of samples.
//!
//! A box is read once it is whole, and one that claims more than [`MAX_BOX`] bytes is an error.
//! Boxes that have nothing to say about samples are skipped.

use bytes::{Buf, Bytes, BytesMut};

/// Largest box that is read; an encoder's fragment of one picture is far below.
pub const MAX_BOX: usize = 16 << 20;

/// Most samples that one fragment may have.
const MAX_SAMPLES: u32 = 10_000;

/// Set in sample flags when a decoder cannot start here.
const NON_SYNC: u32 = 0x0001_0000;

/// Why the stream is not a fragmented MP4 of one track.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A box claims a size that it cannot have.
    #[error("the encoder's box {name} claims {size} bytes, expected 8 to {MAX_BOX}")]
    Size {
        /// Four-character code.
        name: String,
        /// Claimed size.
        size: u64,
    },
    /// A box ends before its fields do.
    #[error("the encoder's box {0} is cut short")]
    Short(&'static str),
    /// A box that must come first did not come.
    #[error("the encoder sent no {0} before its media")]
    Missing(&'static str),
    /// More samples than a fragment may have, or sizes past the data.
    #[error("the encoder's fragment lists samples that it does not hold")]
    Samples,
}

/// What the stream has next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// How samples are decoded; comes once, first.
    Header(Header),
    /// One sample.
    Sample(Sample),
}

/// How a track's samples are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Units of time a second.
    pub timescale: u32,
    /// The `stsd` box, whole.
    pub stsd: Bytes,
    /// Pixels, 0 for audio.
    pub width: u16,
    /// Lines, 0 for audio.
    pub height: u16,
}

/// One coded frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Decode time in units of the header's timescale.
    pub time: u64,
    /// Whether decoding can start here.
    pub sync: bool,
    /// Coded bytes.
    pub data: Bytes,
}

/// Reads a stream piece by piece.
#[derive(Debug, Default)]
pub struct Reader {
    pending: BytesMut,
    defaults: Defaults,
    header: bool,
    fragment: Option<Fragment>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

#[derive(Debug, Default)]
struct Fragment {
    time: u64,
    samples: Vec<(u32, u32, u32)>,
}

impl Reader {
    /// Takes the next bytes and returns what they complete.
    ///
    /// # Errors
    /// When they are not what an encoder writes; the reader is of no use afterwards.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Item>, ReadError> {
        self.pending.extend_from_slice(bytes);
        let mut items = Vec::new();
        while let Some((name, body)) = self.next_box()? {
            self.take_box(name, body, &mut items)?;
        }
        Ok(items)
    }

    fn next_box(&mut self) -> Result<Option<([u8; 4], Bytes)>, ReadError> {
        let Some((size, name)) =
            self.pending.get(..8).and_then(|head| head.split_first_chunk::<4>())
        else {
            return Ok(None);
        };
        let size = u32::from_be_bytes(*size) as usize;
        let name = <[u8; 4]>::try_from(name).map_err(|_| ReadError::Short("header"))?;
        if !(8..=MAX_BOX).contains(&size) {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(ReadError::Size { name, size: size as u64 });
        }
        if self.pending.len() < size {
            return Ok(None);
        }
        let mut whole = self.pending.split_to(size).freeze();
        whole.advance(8);
        Ok(Some((name, whole)))
    }

    fn take_box(
        &mut self,
        name: [u8; 4],
        body: Bytes,
        items: &mut Vec<Item>,
    ) -> Result<(), ReadError> {
        match &name {
            b"moov" if !self.header => {
                let (header, defaults) = read_moov(&body)?;
                self.header = true;
                self.defaults = defaults;
                items.push(Item::Header(header));
            }
            b"moof" => self.fragment = Some(read_moof(&body, self.defaults)?),
            b"mdat" => {
                if !self.header {
                    return Err(ReadError::Missing("moov"));
                }
                let fragment = self.fragment.take().ok_or(ReadError::Missing("moof"))?;
                split_samples(fragment, body, items)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn split_samples(
    fragment: Fragment,
    mut data: Bytes,
    items: &mut Vec<Item>,
) -> Result<(), ReadError> {
    let mut time = fragment.time;
    for (duration, size, flags) in fragment.samples {
        let size = size as usize;
        if size > data.len() {
            return Err(ReadError::Samples);
        }
        let sync = flags & NON_SYNC == 0;
        items.push(Item::Sample(Sample { time, sync, data: data.split_to(size) }));
        time = time.saturating_add(u64::from(duration));
    }
    Ok(())
}

fn read_moov(moov: &Bytes) -> Result<(Header, Defaults), ReadError> {
    let trak = child(moov, b"trak")?.ok_or(ReadError::Missing("trak"))?;
    let mdia = child(&trak, b"mdia")?.ok_or(ReadError::Missing("mdia"))?;
    let mut mdhd = child(&mdia, b"mdhd")?.ok_or(ReadError::Missing("mdhd"))?;
    let version = full_box(&mut mdhd, "mdhd")?.0;
    skip(&mut mdhd, if version == 1 { 16 } else { 8 }, "mdhd")?;
    let timescale = u32_of(&mut mdhd, "mdhd")?;
    if timescale == 0 {
        return Err(ReadError::Short("mdhd"));
    }
    let minf = child(&mdia, b"minf")?.ok_or(ReadError::Missing("minf"))?;
    let stbl = child(&minf, b"stbl")?.ok_or(ReadError::Missing("stbl"))?;
    let stsd = whole_child(&stbl, b"stsd")?.ok_or(ReadError::Missing("stsd"))?;
    let (width, height) = match child(&trak, b"tkhd")? {
        Some(tkhd) if tkhd.len() >= 8 => {
            let mut size = tkhd.slice(tkhd.len() - 8..);
            ((size.get_u32() >> 16) as u16, (size.get_u32() >> 16) as u16)
        }
        _ => (0, 0),
    };
    let defaults = match child(moov, b"mvex")? {
        Some(mvex) => child(&mvex, b"trex")?.map(|mut trex| read_trex(&mut trex)).transpose()?,
        None => None,
    };
    Ok((Header { timescale, stsd, width, height }, defaults.unwrap_or_default()))
}

fn read_trex(trex: &mut Bytes) -> Result<Defaults, ReadError> {
    skip(trex, 12, "trex")?;
    Ok(Defaults {
        duration: u32_of(trex, "trex")?,
        size: u32_of(trex, "trex")?,
        flags: u32_of(trex, "trex")?,
    })
}

fn read_moof(moof: &Bytes, defaults: Defaults) -> Result<Fragment, ReadError> {
    let traf = child(moof, b"traf")?.ok_or(ReadError::Missing("traf"))?;
    let mut tfhd = child(&traf, b"tfhd")?.ok_or(ReadError::Missing("tfhd"))?;
    let defaults = read_tfhd(&mut tfhd, defaults)?;
    let mut tfdt = child(&traf, b"tfdt")?.ok_or(ReadError::Missing("tfdt"))?;
    let time = match full_box(&mut tfdt, "tfdt")?.0 {
        1 => (u64::from(u32_of(&mut tfdt, "tfdt")?) << 32) | u64::from(u32_of(&mut tfdt, "tfdt")?),
        _ => u64::from(u32_of(&mut tfdt, "tfdt")?),
    };
    let mut samples = Vec::new();
    let mut rest = traf;
    while let Some((name, _, body)) = split_box(&mut rest)? {
        if &name == b"trun" {
            let mut trun = body;
            read_trun(&mut trun, defaults, &mut samples)?;
        }
    }
    Ok(Fragment { time, samples })
}

fn read_tfhd(tfhd: &mut Bytes, mut defaults: Defaults) -> Result<Defaults, ReadError> {
    let (_, flags) = full_box(tfhd, "tfhd")?;
    skip(tfhd, 4, "tfhd")?;
    if flags & 0x01 != 0 {
        skip(tfhd, 8, "tfhd")?;
    }
    if flags & 0x02 != 0 {
        skip(tfhd, 4, "tfhd")?;
    }
    for (bit, field) in
        [(0x08, &mut defaults.duration), (0x10, &mut defaults.size), (0x20, &mut defaults.flags)]
    {
        if flags & bit != 0 {
            *field = u32_of(tfhd, "tfhd")?;
        }
    }
    Ok(defaults)
}

fn read_trun(
    trun: &mut Bytes,
    defaults: Defaults,
    samples: &mut Vec<(u32, u32, u32)>,
) -> Result<(), ReadError> {
    let (_, flags) = full_box(trun, "trun")?;
    let count = u32_of(trun, "trun")?;
    if count > MAX_SAMPLES || samples.len() as u32 + count > MAX_SAMPLES {
        return Err(ReadError::Samples);
    }
    if flags & 0x01 != 0 {
        skip(trun, 4, "trun")?;
    }
    let first = if flags & 0x04 != 0 { Some(u32_of(trun, "trun")?) } else { None };
    for i in 0..count {
        let mut field = |bit: u32, default: u32| {
            if flags & bit != 0 { u32_of(trun, "trun") } else { Ok(default) }
        };
        let duration = field(0x100, defaults.duration)?;
        let size = field(0x200, defaults.size)?;
        let own = field(0x400, defaults.flags)?;
        field(0x800, 0)?;
        let flags = first.filter(|_| i == 0).unwrap_or(own);
        samples.push((duration, size, flags));
    }
    Ok(())
}

/// The body of the first child box of this name.
fn child(parent: &Bytes, name: &[u8; 4]) -> Result<Option<Bytes>, ReadError> {
    let mut rest = parent.clone();
    while let Some((found, _, body)) = split_box(&mut rest)? {
        if &found == name {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

/// The first child box of this name, with its header.
pub(crate) fn whole_child(parent: &Bytes, name: &[u8; 4]) -> Result<Option<Bytes>, ReadError> {
    let mut rest = parent.clone();
    while let Some((found, whole, _)) = split_box(&mut rest)? {
        if &found == name {
            return Ok(Some(whole));
        }
    }
    Ok(None)
}

type Split = ([u8; 4], Bytes, Bytes);

fn split_box(rest: &mut Bytes) -> Result<Option<Split>, ReadError> {
    let Some((size, tail)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let Some(name) = tail.first_chunk::<4>().copied() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size) as usize;
    if size < 8 || size > rest.len() {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(ReadError::Size { name, size: size as u64 });
    }
    let whole = rest.split_to(size);
    let body = whole.slice(8..);
    Ok(Some((name, whole, body)))
}

fn full_box(body: &mut Bytes, name: &'static str) -> Result<(u8, u32), ReadError> {
    let word = u32_of(body, name)?;
    Ok(((word >> 24) as u8, word & 0x00ff_ffff))
}

fn u32_of(body: &mut Bytes, name: &'static str) -> Result<u32, ReadError> {
    body.try_get_u32().map_err(|_| ReadError::Short(name))
}

fn skip(body: &mut Bytes, count: usize, name: &'static str) -> Result<(), ReadError> {
    if body.len() < count {
        return Err(ReadError::Short(name));
    }
    body.advance(count);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::grid::Kind;
    use crate::mp4::write::{InitTrack, fragment, init};

    fn stream() -> Vec<u8> {
        let stsd = Bytes::from_static(b"\0\0\0\x10stsd\0\0\0\0\0\0\0\0");
        let track =
            InitTrack { kind: Kind::Video, timescale: 25_000, stsd, width: 640, height: 360 };
        let mut bytes = init(&track);
        let samples = [(true, Bytes::from_static(b"one")), (false, Bytes::from_static(b"twoo"))];
        bytes.extend_from_slice(&fragment(7, 5_000_000_000, 1000, Kind::Video, &samples));
        bytes
    }

    #[test]
    fn reads_back_what_the_writer_writes_in_any_pieces() {
        let stream = stream();
        let whole = Reader::default().push(&stream).unwrap();
        let Item::Header(header) = &whole[0] else { panic!("no header") };
        assert_eq!((header.timescale, header.width, header.height), (25_000, 640, 360));
        let Item::Sample(second) = &whole[2] else { panic!("no sample") };
        assert_eq!(
            (second.time, second.sync, &second.data[..]),
            (5_000_001_000, false, &b"twoo"[..])
        );
        for size in [1, 3, 7, 64] {
            let mut reader = Reader::default();
            let pieces: Vec<Item> =
                stream.chunks(size).flat_map(|piece| reader.push(piece).unwrap()).collect();
            assert_eq!(pieces, whole);
        }
    }

    #[test]
    fn hostile_bytes_are_errors_or_nothing_and_never_a_panic() {
        let good = stream();
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = Reader::default().push(&bad);
                let _ = Reader::default().push(&bad[..at]);
            }
        }
    }

    #[test]
    fn a_claimed_size_is_not_believed() {
        let huge = [0xff, 0xff, 0xff, 0xff, b'm', b'd', b'a', b't'];
        assert!(matches!(Reader::default().push(&huge), Err(ReadError::Size { .. })));
        let tiny = [0, 0, 0, 1, b'm', b'd', b'a', b't'];
        assert!(matches!(Reader::default().push(&tiny), Err(ReadError::Size { .. })));
        let early = [0, 0, 0, 8, b'm', b'd', b'a', b't'];
        assert_eq!(Reader::default().push(&early), Err(ReadError::Missing("moov")));
    }
}
