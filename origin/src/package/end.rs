//! The end of an event: the segment before which every rendition stops.
//!
//! It is on disk, in the file `end`, before anything is published with it in mind, and it never
//! moves.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::disk::write_whole;
use crate::store::Cursor;

/// Where an event ends, if that is known.
#[derive(Debug)]
pub struct End {
    path: PathBuf,
    msn: OnceLock<u64>,
    write: Write,
}

/// Puts bytes in the place of a file, for good.
type Write = fn(&Path, &[u8]) -> io::Result<File>;

/// Why an event does not end; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// An event ends after its first segments.
    #[error("nothing is published yet: wait for the event's first segments")]
    NothingYet,
    /// Nothing is packaged any more.
    #[error("the packager has failed: restart the origin, then end the event again")]
    Gone,
    /// The end cannot be kept.
    #[error("{path}: {source}: check that the folder is writable and the disk is not full")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn damaged(error: std::num::ParseIntError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl End {
    /// What the event's folder says.
    ///
    /// # Errors
    /// When the file is there and cannot be read; of the kind `InvalidData` when it holds something
    /// else.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("end");
        let msn = match std::fs::read_to_string(&path) {
            Ok(text) => OnceLock::from(text.trim().parse::<u64>().map_err(damaged)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => OnceLock::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, msn, write: write_whole })
    }

    /// The first segment that will never be.
    #[must_use]
    pub fn msn(&self) -> Option<u64> {
        self.msn.get().copied()
    }

    /// The segment itself, or the end where that comes first.
    #[must_use]
    pub fn before_end(&self, msn: u64) -> u64 {
        self.msn().map_or(msn, |end| msn.min(end))
    }

    /// Whether a track with this cursor has all that it will ever have.
    #[must_use]
    pub fn is_reached(&self, cursor: Cursor) -> bool {
        self.msn().is_some_and(|end| cursor.msn >= end)
    }

    /// Ends the event before segment `msn`, or where it was ended before, and returns which. Blocks
    /// until it is on disk.
    ///
    /// # Errors
    /// [`EndError::Disk`]: the event goes on.
    pub fn settle(&self, msn: u64) -> Result<u64, EndError> {
        if self.msn().is_none() {
            let written = (self.write)(&self.path, format!("{msn}\n").as_bytes());
            written.map_err(|source| {
                // It may have got its name before the disk failed. Whoever asked is told that the
                // event goes on, and so it must after a restart.
                let _ = std::fs::remove_file(&self.path);
                EndError::Disk { path: self.path.clone(), source }
            })?;
        }
        Ok(*self.msn.get_or_init(|| msn))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_read_back_and_never_moves() {
        let folder = tempfile::tempdir().unwrap();
        let open = || End::open(folder.path()).unwrap();
        let end = open();
        let at = |msn| Cursor { msn, part: 0 };
        assert_eq!((end.msn(), end.is_reached(at(9))), (None, false));
        assert_eq!((end.settle(7).unwrap(), end.settle(9).unwrap()), (7, 7));
        assert_eq!(
            (open().msn(), open().is_reached(at(6)), open().is_reached(at(7))),
            (Some(7), false, true)
        );
        assert_eq!((end.before_end(5), end.before_end(9)), (5, 7));
        std::fs::write(folder.path().join("end"), "soon").unwrap();
        let error = End::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_end_that_cannot_be_kept_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let end = End::open(folder.path()).unwrap();
        // A folder in its place stands for a disk that fails.
        std::fs::create_dir(folder.path().join("end.new")).unwrap();
        assert!(matches!(end.settle(7), Err(EndError::Disk { .. })));
        assert_eq!(end.msn(), None);
    }

    #[test]
    fn an_end_that_was_renamed_and_not_synced_is_none_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut end = End::open(folder.path()).unwrap();
        end.write = |path, bytes| {
            std::fs::write(path, bytes)?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert!(matches!(end.settle(7), Err(EndError::Disk { .. })));
        assert_eq!(End::open(folder.path()).unwrap().msn(), None);
    }
}
