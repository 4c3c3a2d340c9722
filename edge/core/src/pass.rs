//! The pass: what a viewer was admitted to, as one path segment.
//!
//! Owns the pass's layout, minting and checking. Invariant: no field is looked at before the MAC
//! over all of them held, and a pass has one spelling.
//!
//! Layout before base64url: version (1), then `kid`, `event`, `cohort`, `plan`, `session` and
//! `language`, each with its length in one byte; flags; `nbf`, `exp`, `end` as 32-bit big-endian
//! Unix seconds; HMAC-SHA256 over the label and all bytes before it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keyring::{Key, Keyring, Mismatch, Purpose, TAG_BYTES, to_base64url};
use crate::problem::Problem;
use crate::route::is_identifier;

const LABEL: &[u8] = b"sightscreen-pass-1";
const VERSION: u8 = 1;
const FLAG_LOW_LATENCY: u8 = 1;
/// Longest pass as text; keeps hostile ones off the decoder.
const TEXT_BYTES_MAX: usize = 512;
const BYTES_MAX: usize = TEXT_BYTES_MAX / 4 * 3;
/// The longest language tag that RFC 5646 asks implementations to take (section 4.4.1).
const LANGUAGE_BYTES_MAX: usize = 35;
/// Seconds by which another edge's clock may be behind the one that minted.
const CLOCK_SKEW_S: u64 = 60;

/// What a pass says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass<'a> {
    /// Name of the key.
    pub kid: &'a str,
    /// Event it admits to.
    pub event: &'a str,
    /// Cohort for as long as the session lasts.
    pub cohort: &'a str,
    /// Plan.
    pub plan: &'a str,
    /// Random name of the session; of use to logs and counts, never part of a cache key.
    pub session: &'a str,
    /// Whether the session's playlists are low-latency ones. Pinned at entry: a player may not see
    /// part tags come or go.
    pub low_latency: bool,
    /// The language that was asked for at entry, so that a renewed session keeps it.
    pub language: Option<&'a str>,
    /// Unix seconds from which it is valid.
    pub nbf: u32,
    /// Unix seconds from which it is not valid any more.
    pub exp: u32,
    /// Unix seconds past which no renewal goes.
    pub end: u32,
}

/// The bytes of a pass, taken off base64url.
#[derive(Debug)]
pub struct PassBytes {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl PassBytes {
    /// Decodes a path segment.
    ///
    /// # Errors
    /// [`Problem::PassMalformed`] for anything but canonical base64url of a bounded length.
    pub fn decode(text: &str) -> Result<Self, Problem> {
        let mut bytes = [0; BYTES_MAX];
        if text.len() > TEXT_BYTES_MAX {
            return Err(Problem::PassMalformed);
        }
        // Strict: no padding, and no bits to spare that another spelling could set.
        let len =
            URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| Problem::PassMalformed)?;
        Ok(Self { bytes, len })
    }

    /// What the pass says, its signature not checked: for people who look at one, not for
    /// admission.
    ///
    /// # Errors
    /// [`Problem::PassMalformed`].
    pub fn unverified(&self) -> Result<Pass<'_>, Problem> {
        let (body, _) = self.split()?;
        parse(body).ok_or(Problem::PassMalformed)
    }

    /// What the pass says, once its key's MAC over it held.
    ///
    /// # Errors
    /// [`Problem::PassMalformed`], [`Problem::PassKeyUnknown`] or [`Problem::PassSignature`].
    pub fn authenticate(&self, keyring: &Keyring) -> Result<Pass<'_>, Problem> {
        let (body, tag) = self.split()?;
        let pass = parse(body).ok_or(Problem::PassMalformed)?;
        match keyring.verify(Purpose::Pass, pass.kid, &[LABEL, body], tag) {
            Ok(()) => Ok(pass),
            Err(Mismatch::UnknownKey) => Err(Problem::PassKeyUnknown),
            Err(Mismatch::Tag) => Err(Problem::PassSignature),
        }
    }

    fn split(&self) -> Result<(&[u8], &[u8]), Problem> {
        let end = self.len.checked_sub(TAG_BYTES).ok_or(Problem::PassMalformed)?;
        Ok(self.bytes[..self.len].split_at(end))
    }
}

impl Pass<'_> {
    /// Whether the pass admits to `event` now, by a key that is in force.
    ///
    /// # Errors
    /// [`Problem::PassEvent`], [`Problem::PassKeyUnknown`], [`Problem::PassNotYetValid`] or
    /// [`Problem::PassExpired`].
    pub fn admits(&self, event: &str, kids: &[String], now_ms: u64) -> Result<(), Problem> {
        let now_s = now_ms / 1000;
        if self.event != event {
            return Err(Problem::PassEvent);
        }
        if !kids.iter().any(|kid| kid == self.kid) {
            return Err(Problem::PassKeyUnknown);
        }
        if now_s < u64::from(self.nbf) {
            return Err(Problem::PassNotYetValid);
        }
        if now_s >= u64::from(self.exp) {
            return Err(Problem::PassExpired);
        }
        Ok(())
    }

    /// The pass as a path segment, signed by `key`, whose name takes the place of [`Pass::kid`].
    #[must_use]
    pub fn mint(&self, key: &Key) -> String {
        let mut body = Vec::with_capacity(192);
        body.push(VERSION);
        let language = self.language.unwrap_or_default();
        for field in [key.kid(), self.event, self.cohort, self.plan, self.session, language] {
            // Identifiers are at most 64 bytes, see `route::is_identifier`.
            let len = u8::try_from(field.len()).unwrap_or(u8::MAX);
            body.push(len);
            body.extend_from_slice(&field.as_bytes()[..usize::from(len)]);
        }
        body.push(if self.low_latency { FLAG_LOW_LATENCY } else { 0 });
        for time in [self.nbf, self.exp, self.end] {
            body.extend_from_slice(&time.to_be_bytes());
        }
        let tag = key.tag(&[LABEL, &body]);
        body.extend_from_slice(&tag);
        to_base64url(&body)
    }
}

/// Unix seconds of `nbf` for a pass minted at `now_ms`.
#[must_use]
pub fn not_before(now_ms: u64) -> u32 {
    seconds((now_ms / 1000).saturating_sub(CLOCK_SKEW_S))
}

/// Unix seconds, `seconds_on` after `now_ms`.
#[must_use]
pub fn after(now_ms: u64, seconds_on: u32) -> u32 {
    seconds((now_ms / 1000).saturating_add(u64::from(seconds_on)))
}

fn seconds(unix_s: u64) -> u32 {
    u32::try_from(unix_s).unwrap_or(u32::MAX)
}

fn parse(body: &[u8]) -> Option<Pass<'_>> {
    let mut rest = body.strip_prefix(&[VERSION])?;
    let mut text = || {
        let (&len, after) = rest.split_first()?;
        let (field, after) = after.split_at_checked(usize::from(len))?;
        rest = after;
        std::str::from_utf8(field).ok()
    };
    let (kid, event, cohort, plan, session) = (text()?, text()?, text()?, text()?, text()?);
    let language = Some(text()?).filter(|language| !language.is_empty());
    let are_plain = [kid, event, cohort, plan, session].iter().all(|id| is_identifier(id));
    if !are_plain || !language.is_none_or(is_language) {
        return None;
    }
    let (&flags, times) = rest.split_first()?;
    let time =
        |at: usize| times.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
    let whole = times.len() == 12 && flags & !FLAG_LOW_LATENCY == 0;
    let low_latency = flags & FLAG_LOW_LATENCY != 0;
    whole.then_some(Pass {
        kid,
        event,
        cohort,
        plan,
        session,
        low_latency,
        language,
        nbf: time(0)?,
        exp: time(4)?,
        end: time(8)?,
    })
}

/// Whether a pass can carry the language: a tag (RFC 5646), as far as a pass cares.
pub(crate) fn is_language(text: &str) -> bool {
    text.len() <= LANGUAGE_BYTES_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn keyring() -> Keyring {
        let text = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},"url":{"u1":"00112233445566778899aabbccddeeff"},
            "pass":{"k1":"101112131415161718191a1b1c1d1e1f","k2":"202122232425262728292a2b2c2d2e2f"}}"#;
        Keyring::parse(text.as_bytes()).unwrap()
    }

    fn pass() -> Pass<'static> {
        let (nbf, exp, end) = (not_before(NOW_MS), after(NOW_MS, 600), after(NOW_MS, 6000));
        Pass {
            kid: "k1",
            event: "final",
            cohort: "18-34.f.metro.mobile.hi",
            plan: "free",
            session: "0a1b",
            low_latency: true,
            language: Some("hi-IN"),
            nbf,
            exp,
            end,
        }
    }

    #[test]
    fn a_minted_pass_admits_and_says_what_was_minted() {
        let text = pass().mint(keyring().first(Purpose::Pass));
        let bytes = PassBytes::decode(&text).unwrap();
        assert_eq!(bytes.authenticate(&keyring()).unwrap(), pass());
        assert_eq!(pass().admits("final", &["k1".into()], NOW_MS), Ok(()));
        let without = Pass { language: None, ..pass() };
        let text = without.mint(keyring().first(Purpose::Pass));
        let bytes = PassBytes::decode(&text).unwrap();
        assert_eq!(bytes.authenticate(&keyring()).unwrap(), without);
    }

    #[test]
    fn refusals_say_why() {
        let kids = ["k1".to_owned()];
        assert_eq!(pass().admits("fina", &kids, NOW_MS), Err(Problem::PassEvent));
        assert_eq!(pass().admits("final", &["k2".into()], NOW_MS), Err(Problem::PassKeyUnknown));
        assert_eq!(pass().admits("final", &kids, NOW_MS + 600_000), Err(Problem::PassExpired));
        assert_eq!(pass().admits("final", &kids, NOW_MS - 61_000), Err(Problem::PassNotYetValid));
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let text = pass().mint(keyring().first(Purpose::Pass));
        let bytes = crate::keyring::from_base64url(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let text = to_base64url(&changed);
            assert!(
                PassBytes::decode(&text).unwrap().authenticate(&keyring()).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn hostile_texts_are_malformed() {
        for text in ["", "A", "AAAA", "!!!!", "AAAA=", &"A".repeat(513), &"A".repeat(200)] {
            let result = PassBytes::decode(text).and_then(|bytes| bytes.unverified().map(|_| ()));
            assert_eq!(result, Err(Problem::PassMalformed), "{text:?}");
        }
    }
}
