#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;

/// A new empty folder of this test's.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("sightscreen-host-{name}-{:016x}", fastrand::u64(..)));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
