use std::path::PathBuf;

use super::Config;
use super::reader::{Fault, Field, Reader};
use super::settings::Text;
use crate::documents::keys::random_hex;
use crate::ingest::{Input, StreamKey};
use crate::secret::Secret;

impl Config {
    /// The made secrets of an earlier start in place of those that were made now: an operator and
    /// an encoder go on with what they have. They are kept in the data folder.
    ///
    /// # Errors
    /// When they can be neither read nor kept, with the file.
    pub fn keep_secrets(&mut self) -> Result<(), Fault> {
        let kept = |secret: Secret, path: PathBuf| {
            let fault = |fault: String| Fault {
                place: path.display().to_string(),
                fault,
                remedy: "mend the file, or remove it and a new secret is made".to_owned(),
            };
            let secret = secret.or_kept(&path).map_err(|error| fault(error.to_string()))?;
            if is_secret(&secret.0, SECRET_BYTES_MIN) {
                return Ok(secret);
            }
            Err(fault(format!("is not at least {SECRET_BYTES_MIN} of A-Z a-z 0-9 - _")))
        };
        if self.operator_token_made {
            let path = self.data.join("operator-token");
            self.operator_token = kept(self.operator_token.clone(), path)?;
        }
        if let (true, Some(key)) = (self.stream_key_made, &self.stream_key) {
            let path = self.data.join("events").join(&self.event).join("stream-key");
            let key = kept(key.clone(), path)?;
            self.input = Input::Publisher(StreamKey::of(&key.0));
            self.stream_key = Some(key);
        }
        Ok(())
    }
}

/// One, or two while they change from one to the other.
pub(super) fn edge_secrets(reader: &mut Reader) -> Vec<Secret> {
    const BYTES_MIN: usize = 16;
    let secrets = reader.found(|s| &s.edge_secret).map(|list| list.0).unwrap_or_default();
    if secrets.len() > 2 || !secrets.iter().all(|secret| is_secret(secret, BYTES_MIN)) {
        let place = reader.place("edge-secret", |s| &s.edge_secret);
        let remedy =
            format!("use at least {BYTES_MIN} of A-Z a-z 0-9 - _, and a comma between two");
        reader.fault(place, "is too short, has other characters, or is too many", &remedy);
    }
    secrets.into_iter().map(Secret).collect()
}

/// An operator's token and a stream key are at least as long.
const SECRET_BYTES_MIN: usize = 8;

/// Whether it can be typed anywhere and is hard to guess.
fn is_secret(text: &str, bytes_min: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() >= bytes_min && text.bytes().all(plain)
}

/// A secret, and whether it was made because none was given.
pub(super) fn secret(reader: &mut Reader, name: &str, field: Field<Text>) -> (String, bool) {
    let Some(given) = reader.optional(field) else {
        return (random_hex(16), true);
    };
    if !is_secret(&given, SECRET_BYTES_MIN) {
        let place = reader.place(name, field);
        let remedy = format!(
            "use at least {SECRET_BYTES_MIN} of A-Z a-z 0-9 - _, or leave it out and one is made"
        );
        reader.fault(place, "is too short or has other characters", &remedy);
    }
    (given, false)
}
