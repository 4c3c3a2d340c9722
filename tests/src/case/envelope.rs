//! Signed documents, written by the contract's text and not by the core's code, so that a change in
//! the core is noticed; and the flaws that cases ask for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::ring::hex_of;
use super::token::tag;

/// What is wrong with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// One bit of the signature is another.
    WrongSignature,
    /// Signed by a key that no keyring has, under the name of one that it has.
    WrongKey,
    /// Names a key that the keyring does not have.
    UnknownKid,
    /// The payload is not what was hashed.
    WrongHash,
    /// Signed for another name.
    WrongName,
    /// No header line at all.
    Bare,
    /// Ends in the middle of the header line.
    Torn,
}

/// The document `name` as it travels, signed by `kid`.
#[must_use]
pub fn envelope(
    name: &str,
    version: u64,
    payload: &[u8],
    kid: &str,
    flaw: Option<Flaw>,
) -> Vec<u8> {
    let signer = if flaw == Some(Flaw::WrongKey) { "stranger" } else { kid };
    let key = hex_of("document", signer).unwrap_or_default();
    let kid = if flaw == Some(Flaw::UnknownKid) { "d9" } else { kid };
    let signed_name = if flaw == Some(Flaw::WrongName) { "events/another" } else { name };
    let hash = hex(&Sha256::digest(payload));
    let decimal = version.to_string();
    let fields = ["sightscreen-document-1", signed_name, &decimal, &hash].map(str::as_bytes);
    let mut sig = tag(&key, &fields);
    if flaw == Some(Flaw::WrongSignature) {
        sig[0] ^= 1;
    }
    let sig = URL_SAFE_NO_PAD.encode(sig);
    let header =
        format!("sightscreen-document 1 kid={kid} version={decimal} sha256={hash} sig={sig}\n");
    match flaw {
        Some(Flaw::Bare) => payload.to_vec(),
        Some(Flaw::Torn) => header.as_bytes()[..40].to_vec(),
        Some(Flaw::WrongHash) => [header.as_bytes(), payload, b" "].concat(),
        _ => [header.as_bytes(), payload].concat(),
    }
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
