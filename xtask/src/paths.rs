//! Where things are: the repository, what cargo builds, and the cache of tools.
//!
//! Nothing is written outside of these.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    // cargo says where the running package is; the compiled-in folder serves a binary that is
    // started by hand.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || root().join("target"),
        |dir| std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(&dir)),
    )
}

/// A file that cargo built for this machine with `--release`.
pub(crate) fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// The same with the profile of what is shipped.
pub(crate) fn dist(name: &str) -> PathBuf {
    target().join("dist").join(name)
}

/// A folder of xtask's own under `target`, made.
pub(crate) fn work(name: &str) -> Result<PathBuf> {
    made(target().join("xtask").join(name))
}

/// The cache of tools, made: `SIGHTSCREEN_CACHE`, else `~/.cache/sightscreen`.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = match std::env::var_os("SIGHTSCREEN_CACHE") {
        Some(dir) => PathBuf::from(dir),
        None => std::env::home_dir()
            .context("there is no home folder: set SIGHTSCREEN_CACHE to a folder for the tools")?
            .join(".cache/sightscreen"),
    };
    made(std::path::absolute(dir)?)
}

/// The program that a bare name starts, if any.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Servers such as nginx lie where a user's own path does not always look.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn made(dir: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
