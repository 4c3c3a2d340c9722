//! The keyring's file: read, or made on the first start.
//!
//! Owns the file. The format and all use of keys are the core's. Invariant: a file that is made here can be read by its owner alone.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sightscreen_core::keyring::{Keyring, KeyringError, to_hex};

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// The file cannot be read or made.
    #[error(
        "keyring {path}: {source}: name a file that can be read, or a place where one can be made"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a keyring.
    #[error("keyring {path}: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, without key material.
        source: KeyringError,
    },
}

/// Reads the keyring.
///
/// # Errors
/// See [`KeyringFileError`].
pub fn read(path: &Path) -> Result<Keyring, KeyringFileError> {
    let text = std::fs::read(path).map_err(|source| KeyringFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    Keyring::parse(&text).map_err(|source| KeyringFileError::Content {
        path: path.to_owned(),
        source,
    })
}

/// Reads the keyring, or makes one with random keys where there is no file.
///
/// # Errors
/// See [`KeyringFileError`].
pub fn read_or_make(path: &Path) -> Result<Keyring, KeyringFileError> {
    let io = |source| KeyringFileError::Io {
        path: path.to_owned(),
        source,
    };
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(mut file) => {
            let key = || random_hex(32);
            let text = serde_json::json!({"document": {"d1": key()}, "pass": {"k1": key()}, "url": {"u1": key()}});
            writeln!(file, "{text}")
                .and_then(|()| file.sync_all())
                .map_err(io)?;
            tracing::info!(path = %path.display(), "keyring made");
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(io(error)),
    }
    read(path)
}

/// Random bytes from the system, in hex.
///
/// # Panics
/// When the system has no randomness to give: nothing secret can be made then.
#[must_use]
pub fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    #[allow(
        clippy::expect_used,
        reason = "without randomness no secret can be made, and the system always has some after boot"
    )]
    getrandom::fill(&mut random).expect("the system gives random bytes");
    to_hex(&random)
}

/// Names of the keys that viewers' tokens are checked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Pass keys.
    pub pass: Vec<String>,
    /// URL keys.
    pub url: Vec<String>,
}

/// The names in a keyring that [`read`] accepts.
///
/// # Errors
/// See [`KeyringFileError`].
pub fn names(path: &Path) -> Result<Names, KeyringFileError> {
    let text = std::fs::read(path).map_err(|source| KeyringFileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let malformed = |e: serde_json::Error| KeyringFileError::Content {
        path: path.to_owned(),
        source: KeyringError::Malformed {
            line: e.line(),
            column: e.column(),
        },
    };
    let keyring: serde_json::Value = serde_json::from_slice(&text).map_err(malformed)?;
    let of = |purpose: &str| {
        keyring[purpose]
            .as_object()
            .map_or_else(Vec::new, |keys| keys.keys().cloned().collect())
    };
    Ok(Names {
        pass: of("pass"),
        url: of("url"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_keyring_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.json");
        read_or_make(&path).unwrap();
        let text = std::fs::read(&path).unwrap();
        read_or_make(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            names(&path).unwrap(),
            Names {
                pass: vec!["k1".into()],
                url: vec!["u1".into()]
            }
        );
    }

    #[test]
    fn a_fault_names_the_file_and_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.json");
        std::fs::write(&path, r#"{"document":{"d1":"c0ffee"}}"#).unwrap();
        let error = read_or_make(&path).unwrap_err().to_string();
        assert!(
            error.contains("keyring.json") && !error.contains("c0ffee"),
            "{error}"
        );
    }
}
