//! Content encoding of playlists (RFC 8216bis, appendix B): gzip for those who accept it.
//!
//! Owns the choice and the compression. Whoever keeps an encoded body keeps it under a key that names the encoding, so a playlist is compressed
//! once for all viewers of a cohort. Invariant: a viewer who did not name gzip gets none.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::exchange::Request;
use crate::live::header;

/// Playlists are mostly repetition: the level above costs half as much time again and saves one byte in a hundred.
const LEVEL: u32 = 4;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Gzip where the viewer accepts it (RFC 9110, section 12.5.3).
    pub(crate) fn of(request: &Request) -> Self {
        let accepts = request
            .header("accept-encoding")
            .is_some_and(|value| value.split(',').any(is_accepted_gzip));
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

/// The same bytes at every door: the header names neither a time nor a file.
fn gzip(body: &[u8]) -> Vec<u8> {
    let room = Vec::with_capacity(body.len() / 4);
    let mut encoder = GzEncoder::new(room, Compression::new(LEVEL));
    // Writing to memory does not fail.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// Whether one member of the list is gzip, with a weight that is not zero.
fn is_accepted_gzip(member: &str) -> bool {
    let mut fields = member.split(';').map(str::trim);
    let names_gzip = fields
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
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
        for value in [
            "gzip",
            "br, GZIP",
            "gzip;q=0.5",
            "gzip ; q=1",
            "deflate,gzip;q=1.000",
        ] {
            assert_eq!(chosen(value), Encoding::Gzip, "{value}");
        }
        for value in [
            "",
            "br",
            "gzip;q=0",
            "gzip; q=0.000",
            "*",
            "xgzip",
            "identity",
        ] {
            assert_eq!(chosen(value), Encoding::Identity, "{value}");
        }
        assert_eq!(Encoding::of(&Request::default()), Encoding::Identity);
    }

    #[test]
    fn what_is_encoded_can_be_read() {
        let body = "#EXTM3U\n#EXT-X-PART:DURATION=0.33333\n"
            .repeat(50)
            .into_bytes();
        let encoded = Encoding::Gzip.encode(body.clone());
        assert!(encoded.len() < body.len() / 4);
        let mut decoded = Vec::new();
        GzDecoder::new(encoded.as_slice())
            .read_to_end(&mut decoded)
            .unwrap();
        assert_eq!(decoded, body);
        assert_eq!(Encoding::Identity.encode(body.clone()), body);
    }
}
