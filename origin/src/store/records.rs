//! How the parts of an unfinished segment lie in their object: as records, one after the other, in
//! the order in which they were published.
//!
//! A record has four bytes of length and four of the part's index, one of flags, sixteen of SHA-256
//! over all of these and the part, and then the part. Numbers are big-endian. Records are read up
//! to the first that is not what was written: a kill or a power cut tears the end.

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

/// Bytes of the digest.
const DIGEST: usize = 16;

/// Bytes before the digest.
const FIELDS: usize = 9;

/// Bytes before the part.
const HEAD: usize = FIELDS + DIGEST;

/// A decoder can start here.
const INDEPENDENT: u8 = 1;

/// A part as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Index in the segment.
    pub index: u64,
    /// Whether a decoder can start there.
    pub independent: bool,
    /// The fragment.
    pub data: Bytes,
}

/// The record of a part.
#[must_use]
pub fn record(index: u64, independent: bool, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + data.len());
    out.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
    out.put_u32(u32::try_from(index).unwrap_or(u32::MAX));
    out.put_u8(if independent { INDEPENDENT } else { 0 });
    let digest = digest(&out, data);
    out.put_slice(&digest);
    out.put_slice(data);
    out.freeze()
}

/// The parts of all records that are as they were written, and the bytes that these take.
#[must_use]
pub fn read(object: &Bytes) -> (Vec<Recorded>, usize) {
    let (mut parts, mut end) = (Vec::new(), 0);
    while let Some((part, length)) = object.get(end..).and_then(|rest| first(object, rest)) {
        parts.push(part);
        end += length;
    }
    (parts, end)
}

/// The part of this index, if its record is as it was written. No other is checked.
#[must_use]
pub fn find(object: &Bytes, index: u64) -> Option<Bytes> {
    let mut rest: &[u8] = object;
    loop {
        let (fields, _) = rest.split_first_chunk::<FIELDS>()?;
        let (length, of) = length_and_index(fields)?;
        if of == index {
            return first(object, rest).map(|(part, _)| part.data);
        }
        rest = rest.get(length..)?;
    }
}

/// The record at the start of `rest`, which is a piece of `object`, and its length.
fn first(object: &Bytes, rest: &[u8]) -> Option<(Recorded, usize)> {
    let (fields, _) = rest.split_first_chunk::<FIELDS>()?;
    let (length, index) = length_and_index(fields)?;
    let data = rest.get(HEAD..length)?;
    if rest.get(FIELDS..HEAD)? != digest(fields, data) {
        return None;
    }
    let independent = fields.last() == Some(&INDEPENDENT);
    Some((Recorded { index, independent, data: object.slice_ref(data) }, length))
}

/// The length of a whole record, and the index of its part.
fn length_and_index(fields: &[u8; FIELDS]) -> Option<(usize, u64)> {
    let [a, b, c, d, e, f, g, h, _] = *fields;
    let length = HEAD.checked_add(u32::from_be_bytes([a, b, c, d]) as usize)?;
    Some((length, u64::from(u32::from_be_bytes([e, f, g, h]))))
}

fn digest(fields: &[u8], data: &[u8]) -> [u8; DIGEST] {
    let whole = Sha256::new().chain_update(fields).chain_update(data).finalize();
    std::array::from_fn(|at| whole.get(at).copied().unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARTS: [(u64, bool, &[u8]); 3] =
        [(0, true, b"first"), (1, false, b""), (7, false, b"third and last")];

    fn object() -> (Vec<u8>, [usize; 3]) {
        let mut object = Vec::new();
        let ends = PARTS.map(|(index, independent, data)| {
            object.extend_from_slice(&record(index, independent, data));
            object.len()
        });
        (object, ends)
    }

    fn parts(count: usize) -> Vec<Recorded> {
        let of = |(index, independent, data)| Recorded {
            index,
            independent,
            data: Bytes::from_static(data),
        };
        PARTS.into_iter().take(count).map(of).collect()
    }

    #[test]
    fn parts_come_back_as_they_were_up_to_where_the_object_is_torn() {
        let (whole, ends) = object();
        for length in 0..=whole.len() {
            let count = ends.iter().filter(|end| **end <= length).count();
            let end = ends[..count].last().copied().unwrap_or(0);
            let cut = Bytes::copy_from_slice(&whole[..length]);
            assert_eq!(read(&cut), (parts(count), end), "{length}");
            let mut zeros = whole.clone();
            zeros[length..].fill(0);
            assert_eq!(read(&zeros.into()), (parts(count), end), "{length}");
        }
    }

    #[test]
    fn one_part_is_found_though_another_is_damaged() {
        let (whole, ends) = object();
        let found = |object: &Bytes| [0, 1, 7, 9].map(|index| find(object, index));
        let [first, second, third] = PARTS.map(|(.., data)| Some(Bytes::from_static(data)));
        assert_eq!(found(&whole.clone().into()), [first, second.clone(), third.clone(), None]);
        let mut damaged = whole;
        damaged[ends[0] - 1] ^= 1;
        assert_eq!(found(&damaged.into()), [None, second, third, None]);
    }

    #[test]
    fn one_bit_that_differs_ends_it() {
        let (whole, ends) = object();
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0x10;
            let count = ends.iter().filter(|end| **end <= at).count();
            assert_eq!(read(&other.into()).0, parts(count), "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let object = Bytes::from(bytes.clone());
            let (parts, end) = read(&object);
            let _ = find(&object, 0);
            prop_assert!(parts.is_empty() == (end == 0) && end <= bytes.len());
        }
    }
}
