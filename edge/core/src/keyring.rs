//! Keys, and the one way they are used: HMAC-SHA256 over length-prefixed fields.
//!
//! A keyring lists keys, has roots from which keys are derived by name, or both; see
//! `docs/keys.md`. A key serves one purpose. Comparison takes constant time, and no key is ever
//! printed.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::route::is_identifier;

/// Bytes of an HMAC-SHA256 tag.
pub const TAG_BYTES: usize = 32;
/// Fewest bytes that a key may have.
pub const KEY_BYTES_MIN: usize = 16;
/// Fewest bytes that a root may have: as many as what is derived from it.
pub const ROOT_BYTES_MIN: usize = 32;
/// Most bytes of a key's name; it travels in every pass.
const KID_BYTES_MAX: usize = 32;
/// Most bytes of a root's name, which leaves as many for what follows it in a key's name.
const ROOT_NAME_BYTES_MAX: usize = 15;
/// First field of what a root signs to derive a key; the number is the derivation's version.
const DERIVATION: &[u8] = b"sightscreen-key-1";
/// What follows the root in the name of the key that signs where nothing is listed.
const FIRST_NAME: &str = "1";
/// Most derived keys that are kept for each purpose. Two are in use during a rotation.
const DERIVED_MAX: usize = 8;

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
    roots: Vec<Key>,
    document: PurposeKeys,
    pass: PurposeKeys,
    url: PurposeKeys,
}

/// The keys of one purpose.
#[derive(Debug, Clone)]
struct PurposeKeys {
    /// As listed, else the first root's first. Never empty.
    listed: Vec<Key>,
    /// Filled from the front, and never emptied: what finds no room is derived each time.
    derived: [OnceLock<Key>; DERIVED_MAX],
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
    /// A key's name that no pass could carry: see [`is_kid`].
    Kid(String),
    /// The named key is not an even number of hex digits, or has fewer than 16 bytes.
    Key(String),
    /// A root's name is no name, or the root has fewer than 32 bytes.
    Root(String),
    /// Neither a root nor a key for this purpose.
    None(Purpose),
}

/// Why a tag was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// The keyring has no key of that purpose and name, and no root for it.
    UnknownKey,
    /// The key did not make the tag.
    Tag,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KeyringText {
    roots: Entries,
    document: Entries,
    pass: Entries,
    url: Entries,
}

/// Names and hex keys in the order of the text, which a map would lose: the first key is the one
/// that signs.
#[derive(Default)]
struct Entries(Vec<(String, String)>);

impl Keyring {
    /// Reads `{"roots":{NAME:HEX,...},"document":{KID:HEX,...},"pass":{...},"url":{...}}`, of which
    /// either `roots` or the three others may be left out.
    ///
    /// # Errors
    /// [`KeyringError`], without any key material in it.
    pub fn parse(text: &[u8]) -> Result<Self, KeyringError> {
        let text: KeyringText = serde_json::from_slice(text)
            .map_err(|e| KeyringError::Malformed { line: e.line(), column: e.column() })?;
        let roots: Result<Vec<Key>, _> =
            text.roots.0.into_iter().map(|(name, hex)| Key::root(name, &hex)).collect();
        let roots = roots?;
        Ok(Self {
            document: PurposeKeys::new(text.document, Purpose::Document, &roots)?,
            pass: PurposeKeys::new(text.pass, Purpose::Pass, &roots)?,
            url: PurposeKeys::new(text.url, Purpose::Url, &roots)?,
            roots,
        })
    }

    /// The key of that purpose and name: listed, or derived from the root that the name begins
    /// with.
    #[must_use]
    pub fn find(&self, purpose: Purpose, kid: &str) -> Option<Cow<'_, Key>> {
        let known = self.of(purpose).known(kid).map(Cow::Borrowed);
        known.or_else(|| derive(&self.roots, purpose, kid).map(Cow::Owned))
    }

    /// Whether the key of that purpose and name made `tag` over `fields`.
    ///
    /// A key that was derived for this is kept once the tag held: names that a stranger makes up
    /// take no room.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn verify(
        &self,
        purpose: Purpose,
        kid: &str,
        fields: &[&[u8]],
        tag: &[u8],
    ) -> Result<(), Mismatch> {
        let key = self.find(purpose, kid).ok_or(Mismatch::UnknownKey)?;
        if !key.verify(fields, tag) {
            return Err(Mismatch::Tag);
        }
        if let Cow::Owned(key) = key {
            self.of(purpose).keep(key);
        }
        Ok(())
    }

    /// The key that signs when nothing else is said: the first that is listed for the purpose,
    /// else the first root's `1`.
    #[must_use]
    pub fn first(&self, purpose: Purpose) -> &Key {
        // `PurposeKeys::new` lets no purpose be empty.
        &self.of(purpose).listed[0]
    }

    /// Names of the keys that are listed for the purpose; where none is, of the one that signs.
    pub fn kids(&self, purpose: Purpose) -> impl Iterator<Item = &str> {
        self.of(purpose).listed.iter().map(Key::kid)
    }

    fn of(&self, purpose: Purpose) -> &PurposeKeys {
        match purpose {
            Purpose::Document => &self.document,
            Purpose::Pass => &self.pass,
            Purpose::Url => &self.url,
        }
    }
}

impl PurposeKeys {
    fn new(entries: Entries, purpose: Purpose, roots: &[Key]) -> Result<Self, KeyringError> {
        let listed: Result<Vec<Key>, _> =
            entries.0.into_iter().map(|(kid, hex)| Key::from_hex(kid, &hex)).collect();
        let mut listed = listed?;
        if listed.is_empty() {
            let root = roots.first().ok_or(KeyringError::None(purpose))?;
            let kid = format!("{}.{FIRST_NAME}", root.kid);
            listed.extend(derive(roots, purpose, &kid));
        }
        if listed.is_empty() {
            return Err(KeyringError::None(purpose));
        }
        Ok(Self { listed, derived: Default::default() })
    }

    fn known(&self, kid: &str) -> Option<&Key> {
        let derived = self.derived.iter().map_while(OnceLock::get);
        self.listed.iter().chain(derived).find(|key| key.kid == kid)
    }

    /// Keeps a derived key while there is room. One that finds none is derived each time.
    fn keep(&self, mut key: Key) {
        for slot in &self.derived {
            match slot.set(key) {
                Ok(()) => return,
                Err(not_kept) => key = not_kept,
            }
        }
    }
}

/// The key of that name from the root that the name begins with.
fn derive(roots: &[Key], purpose: Purpose, kid: &str) -> Option<Key> {
    let (root, name) = kid.split_once('.')?;
    if name.is_empty() || !is_kid(kid) {
        return None;
    }
    let root = roots.iter().find(|known| known.kid == root)?;
    let key = root.tag(&[DERIVATION, purpose.name().as_bytes(), kid.as_bytes()]);
    Key::from_bytes(kid.to_owned(), &key)
}

/// Whether `text` may name a key: an identifier, as every other field of a pass, of at most 32
/// bytes.
#[must_use]
pub fn is_kid(text: &str) -> bool {
    text.len() <= KID_BYTES_MAX && is_identifier(text)
}

impl Purpose {
    /// Its name in the keyring and in the derivation of keys.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Pass => "pass",
            Self::Url => "url",
        }
    }
}

impl Key {
    /// A key from its name and hex digits.
    ///
    /// # Errors
    /// [`KeyringError::Kid`] or [`KeyringError::Key`], naming the key.
    pub fn from_hex(kid: String, hex: &str) -> Result<Self, KeyringError> {
        if !is_kid(&kid) {
            return Err(KeyringError::Kid(kid));
        }
        let bytes = from_hex(hex).filter(|bytes| bytes.len() >= KEY_BYTES_MIN);
        let key = bytes.and_then(|bytes| Self::from_bytes(kid.clone(), &bytes));
        key.ok_or(KeyringError::Key(kid))
    }

    fn root(name: String, hex: &str) -> Result<Self, KeyringError> {
        let is_name =
            is_identifier(&name) && name.len() <= ROOT_NAME_BYTES_MAX && !name.contains('.');
        let bytes = from_hex(hex).filter(|bytes| is_name && bytes.len() >= ROOT_BYTES_MIN);
        let root = bytes.and_then(|bytes| Self::from_bytes(name.clone(), &bytes));
        root.ok_or(KeyringError::Root(name))
    }

    /// HMAC takes a key of any length.
    fn from_bytes(kid: String, bytes: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(bytes).ok().map(|mac| Self { kid, mac })
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
        const NAME: &str = "of a-z 0-9 - ., the first a letter or digit, no two dots together";
        match self {
            Self::Malformed { line, column } => write!(
                f,
                "the keyring is not {{\"roots\":{{NAME:HEX}}}} or \
                 {{\"document\":{{KID:HEX}},\"pass\":{{...}},\"url\":{{...}}}} (line {line}, \
                 column {column})"
            ),
            Self::Kid(kid) => write!(f, "key name {kid:?}: expected 1 to {KID_BYTES_MAX} {NAME}"),
            Self::Key(kid) => {
                write!(f, "key {kid:?}: expected hex digits of at least {KEY_BYTES_MIN} bytes")
            }
            Self::Root(name) => write!(
                f,
                "root {name:?}: expected a name of 1 to {ROOT_NAME_BYTES_MAX} of a-z 0-9 -, the \
                 first a letter or digit, and hex digits of at least {ROOT_BYTES_MIN} bytes"
            ),
            Self::None(purpose) => {
                write!(f, "the keyring has no root, and no key for {}", purpose.name())
            }
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

    const ROOT: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn rooted() -> Keyring {
        Keyring::parse(format!(r#"{{"roots":{{"r1":"{ROOT}"}}}}"#).as_bytes()).unwrap()
    }

    #[test]
    fn first_key_of_the_text_signs_and_purposes_do_not_mix() {
        let keyring = Keyring::parse(KEYRING.as_bytes()).unwrap();
        assert_eq!(keyring.first(Purpose::Pass).kid(), "k2");
        assert!(keyring.find(Purpose::Pass, "k1").is_some());
        assert!(keyring.find(Purpose::Url, "k1").is_none());
        assert!(keyring.kids(Purpose::Pass).eq(["k2", "k1"]));
    }

    /// The vectors of docs/keys.md. They were computed with Python's hmac.
    #[test]
    fn keys_are_derived_as_documented() {
        for (purpose, kid, hex) in [
            (
                Purpose::Document,
                "r1.1",
                "bfc6f96978a92e494e1dc2b54ba6b4dfc30ce8b545e58727dfa59328361651f0",
            ),
            (
                Purpose::Pass,
                "r1.1",
                "89c1667571fa639acd92b9afbc82d4842af5c861e0c9944b653af4e3b69f35cc",
            ),
            (
                Purpose::Url,
                "r1.2027-final",
                "29aea1a044f5b044a32609617cd4dabb5f1f938e68f1ed8eb71f7f0649ee9b1e",
            ),
        ] {
            let expected = Key::from_hex(kid.to_owned(), hex).unwrap();
            let derived = rooted().find(purpose, kid).unwrap().into_owned();
            assert_eq!(derived.tag(&[b"x"]), expected.tag(&[b"x"]), "{purpose:?} {kid}");
            assert_eq!(derived.kid(), kid);
        }
    }

    #[test]
    fn a_root_alone_signs_with_its_first_keys() {
        let keyring = rooted();
        for purpose in [Purpose::Document, Purpose::Pass, Purpose::Url] {
            assert_eq!(keyring.first(purpose).kid(), "r1.1");
            assert!(keyring.kids(purpose).eq(["r1.1"]));
        }
    }

    #[test]
    fn a_listed_key_comes_before_a_derived_one_of_its_name() {
        let listed =
            r#"{"roots":{"r1":"ROOT"},"pass":{"r1.1":"00112233445566778899aabbccddeeff"}}"#;
        let keyring = Keyring::parse(listed.replace("ROOT", ROOT).as_bytes()).unwrap();
        let tag = |keyring: &Keyring, kid| keyring.find(Purpose::Pass, kid).unwrap().tag(&[]);
        assert_ne!(tag(&keyring, "r1.1"), tag(&rooted(), "r1.1"));
        assert_eq!(tag(&keyring, "r1.2"), tag(&rooted(), "r1.2"));
        assert_eq!(keyring.first(Purpose::Url).kid(), "r1.1");
    }

    #[test]
    fn only_names_of_a_root_s_are_derived() {
        let long = format!("r1.{}", "a".repeat(KID_BYTES_MAX));
        for kid in ["r1", "r1.", "r2.1", "R1.1", "r1..1", "r1.A", ".1", "", long.as_str()] {
            assert!(rooted().find(Purpose::Pass, kid).is_none(), "{kid}");
        }
    }

    #[test]
    fn what_is_kept_of_derived_keys_is_bounded_and_no_stranger_s() {
        let keyring = rooted();
        let kept = || keyring.pass.derived.iter().filter(|slot| slot.get().is_some()).count();
        for n in 2..100 {
            let kid = format!("r1.{n}");
            let forged = keyring.verify(Purpose::Pass, &kid, &[b"a"], &[0; TAG_BYTES]);
            assert_eq!(forged, Err(Mismatch::Tag));
        }
        assert_eq!(kept(), 0);
        let genuine = |kid: &str| {
            let tag = keyring.find(Purpose::Pass, kid).unwrap().tag(&[b"a"]);
            keyring.verify(Purpose::Pass, kid, &[b"a"], &tag)
        };
        assert_eq!((genuine("r1.2"), genuine("r1.2"), kept()), (Ok(()), Ok(()), 1));
        for n in 3..100 {
            assert_eq!(genuine(&format!("r1.{n}")), Ok(()));
        }
        assert_eq!(kept(), DERIVED_MAX);
        let stranger = keyring.verify(Purpose::Pass, "r2.1", &[b"a"], &[0; TAG_BYTES]);
        assert_eq!(stranger, Err(Mismatch::UnknownKey));
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
        assert_eq!(error("{}"), "the keyring has no root, and no key for document");
        assert!(error("[").contains("line 1"));
        let short = KEYRING.replace("202122232425262728292a2b2c2d2e2f", "2021");
        assert_eq!(error(&short), "key \"u1\": expected hex digits of at least 16 bytes");
        let twice = KEYRING.replace("k1", "k2");
        assert!(error(&twice).contains("not {"));
        assert!(!format!("{:?}", Keyring::parse(KEYRING.as_bytes())).contains("0011"));
        assert!(!format!("{:?}", rooted()).contains("0001"));
    }

    #[test]
    fn names_that_no_pass_could_carry_are_refused() {
        for kid in ["-k", "", "k..1", ".k", "K1", "k_1", &"k".repeat(KID_BYTES_MAX + 1)] {
            let text = KEYRING.replace("k2", kid);
            let error = Keyring::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, KeyringError::Kid(kid.to_owned()));
        }
        for (name, hex) in [("r.1", ROOT), ("-r", ROOT), ("", ROOT), ("r1", &ROOT[2..])] {
            let text = format!(r#"{{"roots":{{"{name}":"{hex}"}}}}"#);
            let error = Keyring::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error, KeyringError::Root(name.to_owned()));
        }
    }

    #[test]
    fn base64url_has_one_spelling() {
        assert_eq!(from_base64url("AQ"), Some(vec![1]));
        assert_eq!(from_base64url("AR"), None);
        assert_eq!(from_base64url("AQ=="), None);
    }
}
