//! Content encoding of playlists (RFC 8216bis, appendix B): gzip for viewers who accept it.
//!
//! Whoever keeps an encoded body keeps it under a key that names the encoding, so a playlist is
//! compressed once for all viewers of a cohort. A viewer who did not name gzip gets none.

use std::cell::RefCell;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use crate::exchange::Request;
use crate::live::header;

/// Playlists are mostly repetition: the levels above take more than twice the time for one byte in
/// eight.
const LEVEL: u32 = 1;
/// The sum and the length after the compressed bytes.
const TRAILER_BYTES: usize = 8;
/// Room for the compressor to write into at a time.
const ROOM_BYTES: usize = 256;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Gzip where the viewer accepts it (RFC 9110, section 12.5.3).
    pub(crate) fn of(request: &Request) -> Self {
        let accepts = request.list("accept-encoding").any(is_accepted_gzip);
        if accepts { Self::Gzip } else { Self::Identity }
    }

    /// Its name in cache keys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
        }
    }

    /// The header that tells a viewer of it.
    pub(crate) fn header(self) -> Option<(String, String)> {
        (self == Self::Gzip).then(|| header("content-encoding", "gzip"))
    }

    /// The body in it.
    pub(crate) fn encode(self, body: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Identity => body,
            Self::Gzip => gzip(&body),
        }
    }
}

thread_local! {
    /// The compressor's tables, a few hundred kilobytes that need not be made for each playlist.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
}

/// One member (RFC 1952) whose header names neither a time nor a system: the same bytes at every
/// door.
fn gzip(body: &[u8]) -> Vec<u8> {
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut encoded = Vec::with_capacity(HEADER.len() + body.len() / 4 + TRAILER_BYTES);
    encoded.extend_from_slice(&HEADER);
    COMPRESSOR.with_borrow_mut(|compressor| {
        compressor.reset();
        let mut status = Status::Ok;
        while status != Status::StreamEnd {
            let read = usize::try_from(compressor.total_in()).unwrap_or(body.len());
            encoded.reserve(ROOM_BYTES);
            // Compressing into memory that is there does not fail.
            let finish = FlushCompress::Finish;
            status = compressor
                .compress_vec(&body[read..], &mut encoded, finish)
                .unwrap_or(Status::StreamEnd);
        }
    });
    let mut sum = Crc::new();
    sum.update(body);
    encoded.extend_from_slice(&sum.sum().to_le_bytes());
    encoded.extend_from_slice(&sum.amount().to_le_bytes());
    encoded
}

/// Whether one member of the list is gzip, with a weight that is not zero.
fn is_accepted_gzip(member: &str) -> bool {
    let mut fields = member.split(';').map(str::trim);
    let names_gzip = fields.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
    let is_refused = |field: &str| {
        let weight = field.strip_prefix("q=").or(field.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.bytes().all(|byte| matches!(byte, b'0' | b'.')))
    };
    names_gzip && !fields.any(is_refused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn gzip_is_for_those_who_accept_it() {
        let chosen = |value: &str| {
            Encoding::of(&Request {
                headers: vec![header("accept-encoding", value)],
                ..Request::default()
            })
        };
        for value in ["gzip", "br, GZIP", "gzip;q=0.5", "gzip ; q=1", "deflate,gzip;q=1.000"] {
            assert_eq!(chosen(value), Encoding::Gzip, "{value}");
        }
        for value in ["", "br", "gzip;q=0", "gzip; q=0.000", "*", "xgzip", "identity"] {
            assert_eq!(chosen(value), Encoding::Identity, "{value}");
        }
        assert_eq!(Encoding::of(&Request::default()), Encoding::Identity);
    }

    #[test]
    fn what_is_encoded_can_be_read() {
        let body = "#EXTM3U\n#EXT-X-PART:DURATION=0.33333\n".repeat(50).into_bytes();
        let decoded = |encoded: &[u8]| {
            let mut decoded = Vec::new();
            let mut decoder = GzDecoder::new(encoded);
            decoder.read_to_end(&mut decoded).unwrap();
            assert!(decoder.into_inner().is_empty());
            decoded
        };
        let encoded = Encoding::Gzip.encode(body.clone());
        assert!(encoded.len() < body.len() / 4);
        assert_eq!(decoded(&encoded), body);
        let noise: Vec<u8> =
            (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for body in [Vec::new(), b"a".to_vec(), noise] {
            assert_eq!(decoded(&Encoding::Gzip.encode(body.clone())), body);
        }
        assert_eq!(Encoding::Gzip.encode(body.clone()), encoded, "the state is clean again");
        assert_eq!(Encoding::Identity.encode(body.clone()), body);
    }
}
