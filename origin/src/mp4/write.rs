//! Writes init segments and fragments (CMAF) of one track from the encoder's sample entry and
//! samples.
//!
//! The same samples at the same place give the same bytes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::grid::Kind;

/// What an init segment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitTrack {
    /// Picture or sound.
    pub kind: Kind,
    /// Units of decode time a second.
    pub timescale: u32,
    /// The `stsd` box, whole, as the encoder wrote it.
    pub stsd: Bytes,
    /// Pixels, 0 for audio.
    pub width: u16,
    /// Lines, 0 for audio.
    pub height: u16,
}

/// Sample flags: depends on no other sample.
const SYNC: u32 = 0x0200_0000;
/// Sample flags: depends on others, and decoding cannot start here.
const NON_SYNC: u32 = 0x0101_0000;
/// The unity matrix of `mvhd` and `tkhd`.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The init segment: `ftyp` and `moov`.
#[must_use]
pub fn init(track: &InitTrack) -> Vec<u8> {
    let mut out = BytesMut::with_capacity(1024);
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6\0\0\0\0iso6cmfcmp41");
    });
    boxed(&mut out, b"moov", |out| {
        boxed(out, b"mvhd", |out| movie_header(out, track.timescale));
        boxed(out, b"trak", |out| {
            boxed(out, b"tkhd", |out| track_header(out, track));
            boxed(out, b"mdia", |out| media(out, track));
        });
        boxed(out, b"mvex", |out| {
            boxed(out, b"trex", |out| words(out, &[0, 1, 1, 0, 0, 0]));
        });
    });
    out.to_vec()
}

/// One fragment: `moof` and `mdat`, whose first sample decodes at `time`, all samples equally long.
#[must_use]
pub fn fragment(
    sequence: u32,
    time: u64,
    duration: u32,
    kind: Kind,
    samples: &[(bool, Bytes)],
) -> Bytes {
    let payload: usize = samples.iter().map(|(_, data)| data.len()).sum();
    let mut out = BytesMut::with_capacity(payload + 128 + samples.len() * 8);
    boxed(&mut out, b"moof", |out| {
        boxed(out, b"mfhd", |out| words(out, &[0, sequence]));
        boxed(out, b"traf", |out| {
            // default-base-is-moof, and the duration that all samples have
            boxed(out, b"tfhd", |out| words(out, &[0x02_0008, 1, duration]));
            boxed(out, b"tfdt", |out| {
                out.put_u32(0x0100_0000);
                out.put_u64(time);
            });
            boxed(out, b"trun", |out| run(out, kind, samples));
        });
    });
    let offset = (out.len() + 8) as u32;
    let at = out.len() - samples.len() * 8;
    if let Some(field) = out.get_mut(at - 4..at) {
        // The data offset stands in front of the samples' fields; see `run`.
        field.copy_from_slice(&offset.to_be_bytes());
    }
    boxed(&mut out, b"mdat", |out| {
        samples.iter().for_each(|(_, data)| out.put_slice(data));
    });
    out.freeze()
}

/// `trun` with a data offset to be filled in, and size and flags of each sample.
fn run(out: &mut BytesMut, kind: Kind, samples: &[(bool, Bytes)]) {
    words(out, &[0x0601, samples.len() as u32, 0]);
    for (sync, data) in samples {
        let flags = if *sync || kind == Kind::Audio { SYNC } else { NON_SYNC };
        words(out, &[data.len() as u32, flags]);
    }
}

fn movie_header(out: &mut BytesMut, timescale: u32) {
    words(out, &[0, 0, 0, timescale, 0, 0x1_0000, 0x0100_0000, 0, 0]);
    words(out, &MATRIX);
    words(out, &[0; 6]);
    words(out, &[2]);
}

fn track_header(out: &mut BytesMut, track: &InitTrack) {
    let volume = if track.kind == Kind::Audio { 0x0100_0000 } else { 0 };
    words(out, &[0x0000_0003, 0, 0, 1, 0, 0, 0, 0, 0, volume]);
    words(out, &MATRIX);
    words(out, &[u32::from(track.width) << 16, u32::from(track.height) << 16]);
}

fn media(out: &mut BytesMut, track: &InitTrack) {
    // The language is "und": a rendition's language is the playlist's to say.
    boxed(out, b"mdhd", |out| {
        words(out, &[0, 0, 0, track.timescale, 0, 0x55c4_0000]);
    });
    boxed(out, b"hdlr", |out| {
        words(out, &[0, 0]);
        out.put_slice(if track.kind.is_picture() { b"vide" } else { b"soun" });
        words(out, &[0, 0, 0]);
        out.put_u8(0);
    });
    boxed(out, b"minf", |out| {
        match track.kind {
            Kind::Video | Kind::HalfVideo => boxed(out, b"vmhd", |out| words(out, &[1, 0, 0])),
            Kind::Audio => boxed(out, b"smhd", |out| words(out, &[0, 0])),
        }
        boxed(out, b"dinf", |out| {
            boxed(out, b"dref", |out| {
                words(out, &[0, 1]);
                boxed(out, b"url ", |out| words(out, &[1]));
            });
        });
        boxed(out, b"stbl", |out| {
            out.put_slice(&track.stsd);
            boxed(out, b"stts", |out| words(out, &[0, 0]));
            boxed(out, b"stsc", |out| words(out, &[0, 0]));
            boxed(out, b"stsz", |out| words(out, &[0, 0, 0]));
            boxed(out, b"stco", |out| words(out, &[0, 0]));
        });
    });
}

fn words(out: &mut BytesMut, words: &[u32]) {
    words.iter().for_each(|word| out.put_u32(*word));
}

fn boxed(out: &mut BytesMut, name: &[u8; 4], body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(name);
    body(out);
    let size = (out.len() - start) as u32;
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
}

/// The RFC 6381 codec of a sample entry (`avc1.64001f`, `mp4a.40.2`).
#[must_use]
pub fn codec(stsd: &[u8]) -> Option<String> {
    let find = |name: &[u8]| stsd.windows(4).position(|four| four == name).map(|at| at + 4);
    if let Some(at) = find(b"avcC") {
        let [profile, compatible, level] = stsd.get(at + 1..at + 4)?.try_into().ok()?;
        return Some(format!("avc1.{profile:02x}{compatible:02x}{level:02x}"));
    }
    find(b"mp4a").map(|_| "mp4a.40.2".to_owned())
}
