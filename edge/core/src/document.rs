//! Signed documents: the envelope, and the payloads that origin and edges agree on.
//!
//! Owns the wire form of all that the origin tells the edges. Invariant: a payload is parsed only
//! after its signature over name, version and hash held, so a document cannot stand in for another,
//! and any store on the way may be untrusted.

mod dimension;
mod event;
mod keys;
mod media;
mod pods;
mod snapshot;
mod territories;

use std::fmt;

use serde::de::DeserializeOwned;

use crate::keyring::{Key, Keyring, Mismatch, Purpose, from_base64url, sha256_hex, to_base64url};
use crate::route::is_identifier;

pub use dimension::{Dimension, GeoRule, Range};
pub use event::{Bound, Consent, Event, PassPolicy, Plan, Rendition, RenditionKind};
pub use keys::Keys;
pub use media::MediaOrigin;
pub use pods::{Break, Playing, Pods, Slot};
pub use snapshot::{Snapshot, SnapshotList};
pub use territories::{Territories, Unknown};

/// First word of the header line and of the signed fields; the number is the envelope's version.
const LABEL: &str = "sightscreen-document-1";
const MAGIC: &str = "sightscreen-document 1 ";
/// The header line is of known fields with bounded values.
const HEADER_BYTES_MAX: usize = 256;

/// A document whose signature held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document<'a> {
    /// Grows with every publication of the same name.
    pub version: u64,
    /// What was signed, byte for byte.
    pub payload: &'a [u8],
}

/// Why a document was not accepted. The publisher's fault, or that of whoever changed it on the
/// way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentError {
    /// The first line is not an envelope header.
    Envelope,
    /// No document key of that name.
    UnknownKey,
    /// The payload has another hash than the header says.
    Hash,
    /// The signature is not of this name, version and hash.
    Signature,
    /// The payload is not the JSON that the name calls for.
    Payload,
}

/// The envelope around `payload`.
#[must_use]
pub fn write(name: &str, version: u64, payload: &[u8], key: &Key) -> Vec<u8> {
    let hash = sha256_hex(payload);
    let decimal = version.to_string();
    let sig = key.tag(&[LABEL.as_bytes(), name.as_bytes(), decimal.as_bytes(), hash.as_bytes()]);
    let header = format!(
        "{MAGIC}kid={} version={decimal} sha256={hash} sig={}\n",
        key.kid(),
        to_base64url(&sig)
    );
    [header.as_bytes(), payload].concat()
}

/// Reads the envelope of the document `name`.
///
/// # Errors
/// [`DocumentError`]; the payload of a document that fails is not to be looked at.
pub fn read<'a>(
    name: &str,
    body: &'a [u8],
    keyring: &Keyring,
) -> Result<Document<'a>, DocumentError> {
    let (header, payload) = split(body).ok_or(DocumentError::Envelope)?;
    let mut fields = header.split(' ');
    let mut field = |prefix: &str| {
        fields.next().and_then(|f| f.strip_prefix(prefix)).ok_or(DocumentError::Envelope)
    };
    let (kid, decimal) = (field("kid=")?, field("version=")?);
    let (hash, sig) = (field("sha256=")?, field("sig=")?);
    let version: u64 = decimal.parse().map_err(|_| DocumentError::Envelope)?;
    if fields.next().is_some() || version.to_string() != decimal {
        return Err(DocumentError::Envelope);
    }
    let sig = from_base64url(sig).ok_or(DocumentError::Signature)?;
    let fields = [LABEL, name, decimal, hash].map(str::as_bytes);
    keyring.verify(Purpose::Document, kid, &fields, &sig).map_err(|mismatch| match mismatch {
        Mismatch::UnknownKey => DocumentError::UnknownKey,
        Mismatch::Tag => DocumentError::Signature,
    })?;
    if sha256_hex(payload) != hash {
        return Err(DocumentError::Hash);
    }
    Ok(Document { version, payload })
}

/// Reads the document `name` and its JSON payload.
///
/// # Errors
/// As [`read`], and [`DocumentError::Payload`].
pub fn read_json<T: DeserializeOwned>(
    name: &str,
    body: &[u8],
    keyring: &Keyring,
) -> Result<T, DocumentError> {
    let document = read(name, body, keyring)?;
    serde_json::from_slice(document.payload).map_err(|_| DocumentError::Payload)
}

/// Under what the document of that name is kept in a cache.
#[must_use]
pub fn key(name: &str) -> String {
    format!("document/{name}")
}

/// The event that the document of that name belongs to; `None` belongs to all.
#[must_use]
pub fn event_of(name: &str) -> Option<&str> {
    let (folder, id) = name.split_once('/')?;
    let event = match (folder, id.contains('/')) {
        // Of an answer of the API, or of a file of the page. The list of them has the event's name.
        ("snapshots", true) => return event_of_api(&name[folder.len()..]),
        ("flags", _) if id == "site" => return None,
        _ => id.split('/').next()?,
    };
    is_identifier(event).then_some(event)
}

/// The event that an API path is about.
pub(crate) fn event_of_api(path: &str) -> Option<&str> {
    let event = path.strip_prefix("/api/events/")?.split('/').next()?;
    is_identifier(event).then_some(event)
}

/// The name of the key that the document says it is signed by, not checked.
#[must_use]
pub fn kid(body: &[u8]) -> Option<&str> {
    split(body)?.0.split(' ').next()?.strip_prefix("kid=")
}

fn split(body: &[u8]) -> Option<(&str, &[u8])> {
    let body = body.strip_prefix(MAGIC.as_bytes())?;
    let end = body.iter().take(HEADER_BYTES_MAX).position(|&b| b == b'\n')?;
    let header = std::str::from_utf8(&body[..end]).ok()?;
    Some((header, &body[end + 1..]))
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Envelope => "the first line is not a document header of version 1",
            Self::UnknownKey => "signed by a key that the keyring does not have",
            Self::Hash => "the payload is not what was hashed",
            Self::Signature => "the signature is not of this name, version and hash",
            Self::Payload => "the payload is not the JSON of its kind",
        })
    }
}

impl std::error::Error for DocumentError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    fn keyring() -> Keyring {
        let key = "00112233445566778899aabbccddeeff";
        let text = format!(
            r#"{{"document":{{"d1":"{key}"}},"pass":{{"k1":"{key}"}},"url":{{"u1":"{key}"}}}}"#
        );
        Keyring::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_tells_its_event() {
        for name in [
            "events/final",
            "keys/final",
            "flags/final",
            "pods/final/17/18-34.f",
            "snapshots/final",
            "snapshots/api/events/final",
            "snapshots/api/events/final/score?lang=en",
        ] {
            assert_eq!(event_of(name), Some("final"), "{name}");
        }
        let all = ["flags/site", "snapshots/page/index.html", "snapshots/api/events", "x", "a/?b"];
        for name in all {
            assert_eq!(event_of(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let keyring = keyring();
        let body = write("events/demo", 7, b"{\"a\":1}\n", keyring.first(Purpose::Document));
        let document = read("events/demo", &body, &keyring).unwrap();
        assert_eq!((document.version, document.payload), (7, b"{\"a\":1}\n".as_slice()));
    }

    #[test]
    fn any_change_is_refused() {
        let keyring = keyring();
        let body = write("events/demo", 7, b"{}", keyring.first(Purpose::Document));
        let text = String::from_utf8(body.clone()).unwrap();
        let error = |text: &str| read("events/demo", text.as_bytes(), &keyring).unwrap_err();
        assert_eq!(read("events/other", &body, &keyring), Err(DocumentError::Signature));
        assert_eq!(error(&text.replace("version=7", "version=8")), DocumentError::Signature);
        assert_eq!(error(&text.replace("version=7", "version=07")), DocumentError::Envelope);
        assert_eq!(error(&text.replace("{}", "[]")), DocumentError::Hash);
        assert_eq!(error(&text.replace("kid=d1", "kid=k1")), DocumentError::UnknownKey);
        assert_eq!(error("{}"), DocumentError::Envelope);
        assert_eq!(error(&text.replace(" sig", "  sig")), DocumentError::Envelope);
    }
}
