//! The keyring's file: read, or made on the first start with one root.
//!
//! A file that is made here can be read by its owner alone, and is whole. The format and all use of
//! keys are the core's.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sightscreen_core::keyring::{Keyring, KeyringError, Purpose, ROOT_BYTES_MIN, to_hex};

use crate::disk::{sync_folder, write_synced};

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
    let text = std::fs::read(path)
        .map_err(|source| KeyringFileError::Io { path: path.to_owned(), source })?;
    Keyring::parse(&text)
        .map_err(|source| KeyringFileError::Content { path: path.to_owned(), source })
}

/// Reads the keyring, or makes one with a random root where there is no file.
///
/// # Errors
/// See [`KeyringFileError`].
pub fn read_or_make(path: &Path) -> Result<Keyring, KeyringFileError> {
    if !path.exists() {
        make(path).map_err(|source| KeyringFileError::Io { path: path.to_owned(), source })?;
    }
    read(path)
}

/// Writes it beside and links it into place, so that a kill leaves a whole keyring or none, and of
/// two that are made at once the first one counts.
fn make(path: &Path) -> std::io::Result<()> {
    let text = serde_json::json!({"roots": {"r1": random_hex(ROOT_BYTES_MIN)}});
    let beside = path.with_extension(format!("new-{}", random_hex(4)));
    let mut private = OpenOptions::new();
    private.write(true).create_new(true).mode(0o600);
    let made = write_synced(&private, &beside, format!("{text}\n").as_bytes())
        .and_then(|_| place(&beside, path));
    // Gone already where it was renamed.
    let _ = std::fs::remove_file(&beside);
    if made? {
        tracing::info!(path = %path.display(), "keyring made");
    }
    sync_folder(path)
}

/// Whether it took the place; another keyring that is there stays.
fn place(beside: &Path, path: &Path) -> std::io::Result<bool> {
    match std::fs::hard_link(beside, path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        // Not every file system has links.
        Err(_) => std::fs::rename(beside, path).map(|()| true),
    }
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

/// The names in a keyring that [`read`] accepts, in its order; of a purpose for which it lists no
/// key, the one that signs.
///
/// # Errors
/// See [`KeyringFileError`].
pub fn names(path: &Path) -> Result<Names, KeyringFileError> {
    let keyring = read(path)?;
    let of = |purpose| keyring.kids(purpose).map(str::to_owned).collect();
    Ok(Names { pass: of(Purpose::Pass), url: of(Purpose::Url) })
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
        let names_there = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names_there, 1, "what was written beside is still there");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            names(&path).unwrap(),
            Names { pass: vec!["r1.1".into()], url: vec!["r1.1".into()] }
        );
    }

    #[test]
    fn of_two_that_are_made_at_once_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.json");
        make(&path).unwrap();
        let text = std::fs::read(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text);
    }

    #[test]
    fn a_fault_names_the_file_and_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keyring.json");
        std::fs::write(&path, r#"{"document":{"d1":"c0ffee"}}"#).unwrap();
        let error = read_or_make(&path).unwrap_err().to_string();
        assert!(error.contains("keyring.json") && !error.contains("c0ffee"), "{error}");
    }
}
