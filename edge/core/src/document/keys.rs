//! `keys/{event}`: which keys are in force. It names keys; their bytes are in the keyring alone.

use std::borrow::Cow;
use std::iter::once;

use serde::{Deserialize, Serialize};

use crate::keyring::{Key, Keyring, Purpose, is_kid};

/// Payload of `keys/{event}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keys {
    /// The pass key that mints; one of `pass`.
    pub mint: String,
    /// Pass keys that are accepted; two during a rotation.
    pub pass: Vec<String>,
    /// URL keys that are accepted.
    pub url: Vec<String>,
}

impl Keys {
    /// The key that mints, or, where the keyring does not have it, any other that is accepted:
    /// every edge that lets viewers in accepts it. `None` where the keyring has none of them.
    #[must_use]
    pub fn minting<'k>(&self, keyring: &'k Keyring) -> Option<Cow<'k, Key>> {
        once(&self.mint).chain(&self.pass).find_map(|kid| keyring.find(Purpose::Pass, kid))
    }

    /// What is wrong with the document, in words; `None` when it can be put in force.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let bad = self.pass.iter().chain(&self.url).find(|kid| !is_kid(kid));
        if let Some(kid) = bad {
            return Some(format!("{kid:?} cannot name a key"));
        }
        let accepted = self.pass.contains(&self.mint);
        (!accepted).then(|| format!("mint {:?} is not one of pass", self.mint))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    fn keys(mint: &str, pass: &[&str]) -> Keys {
        let owned = |kids: &[&str]| kids.iter().map(|kid| (*kid).to_owned()).collect();
        Keys { mint: mint.to_owned(), pass: owned(pass), url: owned(&["u1"]) }
    }

    #[test]
    fn any_accepted_key_that_is_held_mints() {
        let hex = "00112233445566778899aabbccddeeff";
        let text = format!(
            r#"{{"document":{{"d1":"{hex}"}},"pass":{{"k1":"{hex}"}},"url":{{"u1":"{hex}"}}}}"#
        );
        let keyring = Keyring::parse(text.as_bytes()).unwrap();
        let minting = |keys: &Keys| keys.minting(&keyring).map(|key| key.kid().to_owned());
        assert_eq!(minting(&keys("k1", &["k0", "k1"])).as_deref(), Some("k1"));
        assert_eq!(minting(&keys("k2", &["k2", "k1"])).as_deref(), Some("k1"));
        assert_eq!(minting(&keys("k2", &["k2"])), None);
    }

    #[test]
    fn what_would_mint_passes_that_nobody_reads_is_refused() {
        assert_eq!(keys("k1", &["k1", "r1.2"]).fault(), None);
        for (mint, pass) in [("-k", vec!["-k"]), ("k2", vec!["k1"]), ("k1", vec!["k1", "K"])] {
            assert!(keys(mint, &pass).fault().is_some(), "{mint}");
        }
    }
}
