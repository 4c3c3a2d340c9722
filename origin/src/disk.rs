//! Small files that are on disk whole or not at all: whatever is killed or loses power, a file that
//! was written here holds what it held before or what it was given, and once the call has returned,
//! what it was given.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Puts these bytes in the place of the file, and leaves it open for more.
///
/// # Errors
/// When the disk says no; what was there before stays, unless it was the very last step that
/// failed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<File> {
    let beside = beside(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let file = write_synced(&options, &beside, bytes)?;
    std::fs::rename(&beside, path)?;
    sync_folder(path)?;
    Ok(file)
}

/// Writes a file that is opened so, and returns when its bytes are on disk. Its name may not be.
pub(crate) fn write_synced(
    options: &OpenOptions,
    path: &Path,
    bytes: &[u8],
) -> std::io::Result<File> {
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(file)
}

/// Renames a folder, with all that is in it on disk first and its new name after. What was there by
/// that name goes.
pub(crate) fn rename_synced(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        File::open(entry?.path())?.sync_all()?;
    }
    File::open(from)?.sync_all()?;
    match std::fs::remove_dir_all(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => std::fs::rename(from, to)?,
    }
    sync_folder(to)
}

/// Length and time of change of a file, by which a change is seen.
pub(crate) type Mark = (u64, SystemTime);

/// The file's mark; `None` where it cannot be looked at.
pub(crate) fn mark(path: &Path) -> Option<Mark> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Makes the folder, and those above it that are missing. All are on disk when this returns, also
/// where they were made before and the maker was killed.
///
/// # Errors
/// When the disk says no.
pub(crate) fn make_folder(path: &Path) -> std::io::Result<()> {
    if !path.as_os_str().is_empty() && !path.is_dir() {
        path.parent().map_or(Ok(()), make_folder)?;
        match std::fs::create_dir(path) {
            // Another thread may have been faster.
            Err(error) if !path.is_dir() => return Err(error),
            _ => {}
        }
    }
    match sync_folder(path) {
        // One may make something in a folder that one may not read.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// A new file survives a power cut only when its folder entry is on disk too.
pub(crate) fn sync_folder(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Names the system's run: another one after each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Whether the system was booted since this was noted in a folder last: what was written before and
/// not synced may be lost then.
pub struct Boot {
    path: PathBuf,
    /// `None` where the system does not tell.
    id: Option<Vec<u8>>,
}

impl Boot {
    /// As noted in this folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join("boot"), id: std::fs::read(BOOT_ID).ok() }
    }

    /// Whether it was, or may have been.
    pub(crate) fn is_another(&self) -> bool {
        self.id.is_none() || std::fs::read(&self.path).ok() != self.id
    }

    /// What followed from it is done.
    pub(crate) fn note(&self) {
        let Some(id) = &self.id else { return };
        if let Err(error) = write_whole(&self.path, id) {
            let path = self.path.display();
            tracing::warn!(%path, %error, "not written: the next start takes media for lost");
        }
    }
}

/// The name with `.new` after it.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_the_place_of_another_whole() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| folder.path().join(name));
        for (path, file) in [(&old, "a"), (&new, "b")] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join(file), file).unwrap();
        }
        rename_synced(&new, &old).unwrap();
        assert!(!new.exists() && !old.join("a").exists());
        assert_eq!(std::fs::read(old.join("b")).unwrap(), b"b");
        assert!(rename_synced(&new, &old).is_err());
        assert!(old.join("b").exists());
    }

    #[test]
    fn a_folder_is_made_with_those_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c");
        for _ in 0..2 {
            make_folder(&path).unwrap();
            assert!(path.is_dir());
        }
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(make_folder(&folder.path().join("file")).is_err());
        assert!(make_folder(&folder.path().join("file/below")).is_err());
    }

    #[test]
    fn a_boot_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let boot = || Boot::of(folder.path());
        for _ in 0..2 {
            assert!(boot().is_another() && boot().is_another());
            boot().note();
            assert_eq!(boot().is_another(), !Path::new(BOOT_ID).exists());
            std::fs::write(folder.path().join("boot"), "another").unwrap();
        }
    }

    #[test]
    fn a_file_is_the_old_one_or_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_whole(&path, b"first, and longer").unwrap();
        // What a killed writer left.
        std::fs::write(beside(&path), b"left over from before, and much longer").unwrap();
        let mut file = write_whole(&path, b"second").unwrap();
        file.write_all(b" and more").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second and more");
        assert!(!beside(&path).exists());
        // A folder in its place stands for a disk that fails.
        std::fs::create_dir(beside(&path)).unwrap();
        assert!(write_whole(&path, b"third").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"second and more");
    }
}
