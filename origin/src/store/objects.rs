//! Where objects are kept: files now, and whatever puts, adds, gets, deletes and lists.

use std::fs::OpenOptions;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;

use crate::disk::{sync_folder, write_synced};

/// What an operation comes to.
pub type Outcome<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// When an object outlasts a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Some time after it was put. It outlasts the process at once.
    Soon,
    /// When [`Objects::put`] returns.
    Now,
}

/// Keeps objects by name. A name has folders, with `/` between. What was put is there whole or not
/// at all, but for what [`Lasts::Soon`] after a power cut.
pub trait Objects: Send + Sync + 'static {
    /// Puts an object there, in place of one of its name.
    fn put<'a>(&'a self, name: &'a str, bytes: Bytes, lasts: Lasts) -> Outcome<'a, ()>;

    /// Writes at byte `at`, where the object ends, and returns where it ends now. Bytes behind `at`
    /// are left from a failed attempt and are cut off. An object that is shorter goes on where it
    /// ends. What was added outlasts the process, and a power cut [`Lasts::Soon`].
    fn append<'a>(&'a self, name: &'a str, at: u64, bytes: Bytes) -> Outcome<'a, u64>;

    /// The object of that name; `None` when there is none.
    fn get<'a>(&'a self, name: &'a str) -> Outcome<'a, Option<Bytes>>;

    /// Removes an object; one that is not there is no error.
    fn delete<'a>(&'a self, name: &'a str) -> Outcome<'a, ()>;

    /// The names of the objects directly in a folder, without it.
    fn list<'a>(&'a self, folder: &'a str) -> Outcome<'a, Vec<String>>;
}

/// Objects as files of a folder. Whoever appends waits for it on its own thread: there are some
/// forty parts in a second, and a change of threads costs more than a write. That thread is the
/// store's. While one write of its hangs, all tracks wait, and publishers no longer than
/// [`DiskLimits::wait`](super::DiskLimits). All else is done on another thread.
#[derive(Debug, Clone)]
pub struct Files(PathBuf);

impl Files {
    /// Objects as files of this folder, which is made with the first.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Does what may wait for the disk on a thread that may.
    fn apart<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Outcome<'static, T> {
        let path = self.0.join(name);
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(move || work(&path)).await;
            done.unwrap_or_else(|error| Err(io::Error::other(error)))
        })
    }
}

/// `None` where there is nothing.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Objects for Files {
    fn put<'a>(&'a self, name: &'a str, bytes: Bytes, lasts: Lasts) -> Outcome<'a, ()> {
        self.apart(name, move |path| {
            let beside = path.with_extension("new");
            match lasts {
                Lasts::Soon => std::fs::write(&beside, &bytes)?,
                Lasts::Now => {
                    let mut options = OpenOptions::new();
                    options.write(true).create(true).truncate(true);
                    write_synced(&options, &beside, &bytes)?;
                }
            }
            std::fs::rename(&beside, path)?;
            if lasts == Lasts::Now { sync_folder(path) } else { Ok(()) }
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Outcome<'a, Option<Bytes>> {
        self.apart(name, |path| Ok(if_there(std::fs::read(path))?.map(Bytes::from)))
    }

    fn append<'a>(&'a self, name: &'a str, at: u64, bytes: Bytes) -> Outcome<'a, u64> {
        Box::pin(async move {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).open(self.0.join(name))?;
            let length = file.metadata()?.len();
            if length > at {
                file.set_len(at)?;
            }
            let at = at.min(length);
            file.write_all_at(&bytes, at)?;
            Ok(at + bytes.len() as u64)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> Outcome<'a, ()> {
        self.apart(name, |path| if_there(std::fs::remove_file(path)).map(drop))
    }

    fn list<'a>(&'a self, folder: &'a str) -> Outcome<'a, Vec<String>> {
        self.apart(folder, |path| {
            let mut names = Vec::new();
            for entry in if_there(std::fs::read_dir(path))?.into_iter().flatten() {
                names.extend(entry?.file_name().into_string());
            }
            Ok(names)
        })
    }
}
