//! Playlists in gzip (RFC 8216bis, appendix B), compared with the plain answer to the same
//! directives.
//!
//! A playlist may grow between the two requests, so only several differences in a row break the
//! rule.

use std::io::Read;

use flate2::read::GzDecoder;

use super::refusals::Tries;
use super::source::Source;
use crate::wire::{Reply, header};

/// Asks for `query` in both encodings, until they were equal once.
pub(super) fn check(source: Source<'_>, tries: &mut Tries, query: &str) {
    if tries.is_over() {
        return;
    }
    let url = source.rendition.url.with_query(query);
    let (Ok(plain), Ok(packed)) = (url.get(), url.get_packed()) else {
        return source
            .notes
            .must(false, "R0", 0, || format!("?{query}: no answer in one of two encodings"));
    };
    let unpacked = unpack(&packed);
    let equal = unpacked.as_ref().is_ok_and(|body| *body == plain.body);
    if let Some(holds) = tries.settle(equal) {
        let fault = unpacked.err().unwrap_or("it is another playlist".into());
        source.notes.must(holds, "L7", 0, || format!("?{query} in gzip: {fault}"));
    }
}

fn unpack(reply: &Reply) -> Result<Vec<u8>, String> {
    let encoding = header(&reply.headers, "content-encoding");
    if encoding != Some("gzip") {
        return Err(format!("content-encoding is {encoding:?}"));
    }
    let mut body = Vec::new();
    GzDecoder::new(reply.body.as_slice()).read_to_end(&mut body).map_err(|e| e.to_string())?;
    Ok(body)
}
