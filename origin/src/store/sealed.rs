//! How parts lie in an object: one after the other, then a table of them, then a digest of it all.
//!
//! An object says by itself what is in it, and whether it is what was written. What a power cut
//! left of it, cut short or with zeros in it, is not taken for media.
//!
//! The table has four bytes of length and one of flags for each part; the end has sixteen bytes of
//! SHA-256 over parts and table, four of their number, and [`MARK`]. Numbers are big-endian.

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// The last bytes of every object, with the version of the format.
const MARK: &[u8; 8] = b"sightsg1";

/// Bytes of the digest.
const DIGEST: usize = 16;

/// Bytes behind the table.
const END: usize = DIGEST + 4 + MARK.len();

/// Bytes of the table for each part.
const ENTRY: usize = 5;

/// A decoder can start here.
const INDEPENDENT: u8 = 1;

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The parts one after the other.
    pub media: Bytes,
    /// Length of each, and whether a decoder can start there.
    pub parts: Vec<(u32, bool)>,
}

/// An object of these parts, each with whether a decoder can start there.
#[must_use]
pub fn seal(parts: &[(bool, Bytes)]) -> Bytes {
    let media: usize = parts.iter().map(|(_, data)| data.len()).sum();
    let mut out = BytesMut::with_capacity(media + parts.len() * ENTRY + END);
    parts.iter().for_each(|(_, data)| out.put_slice(data));
    for (independent, data) in parts {
        out.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
        out.put_u8(if *independent { INDEPENDENT } else { 0 });
    }
    let digest = Sha256::digest(&out);
    out.put_slice(digest.get(..DIGEST).unwrap_or_default());
    out.put_u32(u32::try_from(parts.len()).unwrap_or(u32::MAX));
    out.put_slice(MARK);
    out.freeze()
}

/// What an object holds; `None` when it is not what was written.
#[must_use]
pub fn open(object: &Bytes) -> Option<Opened> {
    let (rest, mark) = object.split_last_chunk::<8>()?;
    let (rest, count) = rest.split_last_chunk::<4>()?;
    let (body, digest) = rest.split_last_chunk::<DIGEST>()?;
    if mark != MARK || Sha256::digest(body).get(..DIGEST) != Some(digest.as_slice()) {
        return None;
    }
    let table = (u32::from_be_bytes(*count) as usize).checked_mul(ENTRY)?;
    let media = body.len().checked_sub(table)?;
    let entries = body.get(media..)?.chunks_exact(ENTRY);
    let entry = |entry: &[u8]| {
        let (length, flags) = entry.split_first_chunk::<4>()?;
        Some((u32::from_be_bytes(*length), flags == [INDEPENDENT]))
    };
    let parts: Vec<(u32, bool)> = entries.map(entry).collect::<Option<_>>()?;
    let lengths: u64 = parts.iter().map(|(length, _)| u64::from(*length)).sum();
    (lengths == media as u64).then(|| Opened { media: object.slice(..media), parts })
}

impl Opened {
    /// The bytes of one part.
    #[must_use]
    pub fn part(&self, index: usize) -> Option<Bytes> {
        let length = self.parts.get(index)?.0 as usize;
        let before: usize = self.parts.iter().take(index).map(|(length, _)| *length as usize).sum();
        let end = before.checked_add(length).filter(|end| *end <= self.media.len())?;
        Some(self.media.slice(before..end))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts() -> Vec<(bool, Bytes)> {
        let parts = [(true, &b"first"[..]), (false, b""), (false, b"third and last")];
        parts.map(|(independent, data)| (independent, Bytes::from_static(data))).into()
    }

    #[test]
    fn parts_come_back_as_they_were() {
        let opened = open(&seal(&parts())).unwrap();
        assert_eq!(opened.media, "firstthird and last");
        assert_eq!(opened.parts, [(5, true), (0, false), (14, false)]);
        assert_eq!(opened.part(2).unwrap(), "third and last");
        assert_eq!(opened.part(3), None);
        assert_eq!(open(&seal(&[])).unwrap().parts, []);
    }

    #[test]
    fn what_is_cut_short_or_has_zeros_in_it_is_nothing() {
        let whole = seal(&parts());
        for length in 0..whole.len() {
            assert_eq!(open(&whole.slice(..length)), None, "{length}");
            let mut torn = whole.to_vec();
            torn[length..].fill(0);
            assert_eq!(open(&torn.into()), None, "{length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let bytes = Bytes::from(bytes);
            let _ = open(&bytes);
            // With a right digest and a wrong table.
            let digest = Sha256::digest(&bytes);
            let end = [&bytes, &digest[..DIGEST], bytes.get(..4).unwrap_or(&[0; 4]), MARK];
            let _ = open(&end.concat().into());
        }
    }
}
