//! Secrets: in memory, and those that were made here and are kept with the data.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::disk::{make_folder, sync_folder, write_synced};

/// A secret that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// The secret that was kept in that file at an earlier start. Else this one, and it is kept
    /// there, readable by its owner alone.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn or_kept(self, path: &Path) -> io::Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(kept) if !kept.trim().is_empty() => Ok(Self(kept.trim().to_owned())),
            Ok(_) => self.keep(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.keep(path),
            Err(error) => Err(error),
        }
    }

    fn keep(self, path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        write_synced(&options, path, self.0.as_bytes())?;
        sync_folder(path)?;
        Ok(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_made_secret_is_the_same_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events/a/stream-key");
        let secret = |text: &str| Secret(text.to_owned());
        assert_eq!(secret("first").or_kept(&path).unwrap(), secret("first"));
        assert_eq!(secret("second").or_kept(&path).unwrap(), secret("first"));
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        std::fs::write(&path, "").unwrap();
        assert_eq!(secret("third").or_kept(&path).unwrap(), secret("third"));
    }
}
