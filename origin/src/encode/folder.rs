//! Folders of runs: short-lived, and removed when a killed process could not.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

/// A short-lived folder whose path is short enough for a socket.
#[derive(Debug)]
pub struct RunFolder(PathBuf);

static RUNS: AtomicU64 = AtomicU64::new(0);

impl RunFolder {
    /// Makes a folder of its own.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written.
    pub fn new() -> std::io::Result<Self> {
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sightscreen-{}-{run}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Removes what killed processes left.
    pub fn sweep() {
        let entries = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let run = name.to_str().and_then(|name| name.strip_prefix("sightscreen-"));
            let Some((pid, number)) = run.and_then(|run| run.split_once('-')) else {
                continue;
            };
            let ours = pid.parse::<u32>().is_ok() && number.parse::<u64>().is_ok();
            let processes = std::path::Path::new("/proc");
            if ours && processes.join("self").exists() && !processes.join(pid).exists() {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
