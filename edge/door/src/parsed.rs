//! A keyring that is parsed anew only where its bytes have changed.

use std::sync::Arc;

use sightscreen_core::keyring::{Keyring, KeyringError};

/// The keyring that was parsed last. A door reads its secret whenever it did before: what is saved
/// is the parsing, for each document that comes.
#[derive(Default)]
pub struct Parsed(Option<(Vec<u8>, Arc<Keyring>)>);

impl Parsed {
    /// The keyring of `text`. One that cannot be parsed leaves the last one.
    ///
    /// # Errors
    /// Why it cannot be parsed.
    pub fn read(&mut self, text: &[u8]) -> Result<Arc<Keyring>, KeyringError> {
        if let Some((last, keyring)) = &self.0
            && last == text
        {
            return Ok(Arc::clone(keyring));
        }
        let keyring = Arc::new(Keyring::parse(text)?);
        self.0 = Some((text.to_vec(), Arc::clone(&keyring)));
        Ok(keyring)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use sightscreen_core::keyring::Purpose;

    fn text(kid: &str) -> String {
        let key = "00112233445566778899aabbccddeeff";
        format!(
            r#"{{"document":{{"{kid}":"{key}"}},"pass":{{"k":"{key}"}},"url":{{"u":"{key}"}}}}"#
        )
    }

    #[test]
    fn the_same_bytes_are_parsed_once_and_others_are_seen_at_once() {
        let mut parsed = Parsed::default();
        let first = parsed.read(text("d1").as_bytes()).unwrap();
        let again = parsed.read(text("d1").as_bytes()).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(parsed.read(b"{}").is_err());
        let changed = parsed.read(text("d2").as_bytes()).unwrap();
        assert_eq!(changed.first(Purpose::Document).kid(), "d2");
        let back = parsed.read(text("d1").as_bytes()).unwrap();
        assert_eq!(back.first(Purpose::Document).kid(), "d1");
    }
}
