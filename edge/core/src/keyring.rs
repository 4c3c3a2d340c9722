//! Keys and the one way they are used: HMAC-SHA256 over length-prefixed fields.
//!
//! Owns the keyring's format and every MAC in the project. Invariant: a key serves one purpose,
//! comparison takes constant time, and no key is ever printed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Bytes of an HMAC-SHA256 tag.
pub const TAG_BYTES: usize = 32;
/// Fewest bytes that a key may have.
pub const KEY_BYTES_MIN: usize = 16;
/// Most bytes of a key's name; it travels in every pass.
const KID_BYTES_MAX: usize = 16;

/// What a key is for. A key of one purpose is unknown to every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signs documents, from the origin to the edges.
    Document,
    /// Signs passes, from an edge to itself.
    Pass,
    /// Signs entry URLs, from whoever sells access to the edges.
    Url,
}

/// One named key, ready for use.
#[derive(Clone)]
pub struct Key {
    kid: String,
    mac: Hmac<Sha256>,
}

/// All keys of a deployment, by purpose, in the order of the keyring.
#[derive(Debug, Clone)]
pub struct Keyring {
    document: Vec<Key>,
    pass: Vec<Key>,
    url: Vec<Key>,
}

/// Why a keyring was not accepted. Always the operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringError {
    /// Not the JSON object that was expected; the text says where, and quotes nothing.
    Malformed {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// A key's name is empty, longer than 16 bytes or has other characters than `a-z 0-9 -`.
    Kid(String),
    /// The named key is not an even number of hex digits, or has fewer than 16 bytes.
    Key(String),
    /// No key for this purpose.
    None(Purpose),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyringText {
    document: Entries,
    pass: Entries,
    url: Entries,
}

/// Names and hex keys in the order of the text, which a map would lose: the first key is the one
/// that signs.
struct Entries(Vec<(String, String)>);

impl Keyring {
    /// Reads `{"document":{KID:HEX,...},"pass":{...},"url":{...}}`.
    ///
    /// # Errors
    /// [`KeyringError`], without any key material in it.
    pub fn parse(text: &[u8]) -> Result<Self, KeyringError> {
        let text: KeyringText = serde_json::from_slice(text)
            .map_err(|e| KeyringError::Malformed { line: e.line(), column: e.column() })?;
        Ok(Self {
            document: keys(text.document, Purpose::Document)?,
            pass: keys(text.pass, Purpose::Pass)?,
            url: keys(text.url, Purpose::Url)?,
        })
    }

    /// The key of that purpose and name.
    #[must_use]
    pub fn find(&self, purpose: Purpose, kid: &str) -> Option<&Key> {
        self.of(purpose).iter().find(|key| key.kid == kid)
    }

    /// The key that signs when nothing else is said: the first of its purpose.
    #[must_use]
    pub fn first(&self, purpose: Purpose) -> &Key {
        // `parse` lets no purpose be empty.
        &self.of(purpose)[0]
    }

    fn of(&self, purpose: Purpose) -> &[Key] {
        match purpose {
            Purpose::Document => &self.document,
            Purpose::Pass => &self.pass,
            Purpose::Url => &self.url,
        }
    }
}

fn keys(entries: Entries, purpose: Purpose) -> Result<Vec<Key>, KeyringError> {
    if entries.0.is_empty() {
        return Err(KeyringError::None(purpose));
    }
    entries.0.into_iter().map(|(kid, hex)| Key::from_hex(kid, &hex)).collect()
}

impl Key {
    /// A key from its name and hex digits.
    ///
    /// # Errors
    /// [`KeyringError::Kid`] or [`KeyringError::Key`], naming the key.
    pub fn from_hex(kid: String, hex: &str) -> Result<Self, KeyringError> {
        let named = (1..=KID_BYTES_MAX).contains(&kid.len())
            && kid.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named {
            return Err(KeyringError::Kid(kid));
        }
        let bytes = from_hex(hex).filter(|bytes| bytes.len() >= KEY_BYTES_MIN);
        match bytes.map(|bytes| Hmac::new_from_slice(&bytes)) {
            Some(Ok(mac)) => Ok(Self { kid, mac }),
            _ => Err(KeyringError::Key(kid)),
        }
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The tag over `fields`, each preceded by its length as a 32-bit big-endian number: no two
    /// lists of fields are the same bytes.
    #[must_use]
    pub fn tag(&self, fields: &[&[u8]]) -> [u8; TAG_BYTES] {
        self.over(fields).finalize().into_bytes().into()
    }

    /// Whether `tag` is the tag over `fields`, in constant time.
    #[must_use]
    pub fn verify(&self, fields: &[&[u8]], tag: &[u8]) -> bool {
        self.over(fields).verify_slice(tag).is_ok()
    }

    fn over(&self, fields: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        for field in fields {
            // A field of 4 GiB cannot come from a request or a document: both are bounded far
            // below.
            mac.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
            mac.update(field);
        }
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { line, column } => write!(
                f,
                "the keyring is not {{\"document\":{{KID:HEX}},\"pass\":{{...}},\"url\":{{...}}}} (line {line}, column {column})"
            ),
            Self::Kid(kid) => {
                write!(f, "key name {kid:?}: expected 1 to {KID_BYTES_MAX} of a-z 0-9 -")
            }
            Self::Key(kid) => {
                write!(f, "key {kid:?}: expected hex digits of at least {KEY_BYTES_MIN} bytes")
            }
            Self::None(purpose) => write!(f, "the keyring has no {purpose:?} key"),
        }
    }
}

impl std::error::Error for KeyringError {}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of key names and hex digits")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Entries, A::Error> {
                let mut entries: Vec<(String, String)> = Vec::new();
                while let Some((kid, hex)) = map.next_entry::<String, String>()? {
                    if entries.iter().any(|(known, _)| *known == kid) {
                        return Err(serde::de::Error::custom("a key name stands twice"));
                    }
                    entries.push((kid, hex));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// SHA-256 of `bytes` in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    to_hex(&Sha256::digest(bytes))
}

/// Lower-case hex digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|d| char::from(DIGITS[usize::from(d)]))
        .collect()
}

/// The bytes of an even number of hex digits of either case.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

/// Base64url without padding.
#[must_use]
pub fn to_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of canonical base64url without padding: one text for one value, so that a token cannot
/// be respelt.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    // Strict: no padding, and no bits to spare that another spelling could set.
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    const KEYRING: &str = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},
        "pass":{"k2":"101112131415161718191a1b1c1d1e1f","k1":"00112233445566778899aabbccddeeff"},
        "url":{"u1":"202122232425262728292a2b2c2d2e2f"}}"#;

    #[test]
    fn first_key_of_the_text_signs_and_purposes_do_not_mix() {
        let keyring = Keyring::parse(KEYRING.as_bytes()).unwrap();
        assert_eq!(keyring.first(Purpose::Pass).kid(), "k2");
        assert!(keyring.find(Purpose::Pass, "k1").is_some());
        assert!(keyring.find(Purpose::Url, "k1").is_none());
    }

    #[test]
    fn fields_do_not_run_together() {
        let keyring = Keyring::parse(KEYRING.as_bytes()).unwrap();
        let key = keyring.first(Purpose::Url);
        let tag = key.tag(&[b"/a1", b"1700003600"]);
        assert!(key.verify(&[b"/a1", b"1700003600"], &tag));
        assert!(!key.verify(&[b"/a", b"11700003600"], &tag));
        assert!(!key.verify(&[b"/a1", b"1700003600"], &tag[..31]));
    }

    #[test]
    fn faults_are_named_without_key_material() {
        let error = |text: &str| Keyring::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error("{}").contains("line 1"));
        let short = KEYRING.replace("202122232425262728292a2b2c2d2e2f", "2021");
        assert_eq!(error(&short), "key \"u1\": expected hex digits of at least 16 bytes");
        let twice = KEYRING.replace("k1", "k2");
        assert!(error(&twice).contains("not {"));
        assert!(!format!("{:?}", Keyring::parse(KEYRING.as_bytes())).contains("0011"));
    }

    #[test]
    fn base64url_has_one_spelling() {
        assert_eq!(from_base64url("AQ"), Some(vec![1]));
        assert_eq!(from_base64url("AR"), None);
        assert_eq!(from_base64url("AQ=="), None);
    }
}
