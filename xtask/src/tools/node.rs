//! The npm packages of `xtask/node`, installed once per lock file.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{install, lock, tools_dir};
use crate::{paths, run};

/// wrangler asks for it.
const NODE: (u32, u32) = (20, 3);

/// A folder with `node_modules`.
pub(crate) struct Packages(PathBuf);

impl Packages {
    /// The folder whose `node_modules` it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// A file of a package.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.0.join("node_modules").join(path)
    }

    /// A package's program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.file(".bin").join(name)
    }
}

/// The packages, installed when this lock file's are not there.
pub(crate) fn packages() -> Result<Packages> {
    if let Some(wanting) = wanting() {
        bail!("needed on PATH: {wanting}");
    }
    let source = paths::root().join("xtask/node");
    let lock_file = source.join("package-lock.json");
    let bytes = std::fs::read(&lock_file)
        .with_context(|| format!("cannot read {}", lock_file.display()))?;
    let hash: String =
        Sha256::digest(&bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = tools_dir()?.join(format!("node-{hash}"));
    if folder.is_dir() {
        return Ok(Packages(folder));
    }
    let _lock = lock("node")?;
    if !folder.is_dir() {
        fill(&source, &folder)?;
    }
    Ok(Packages(folder))
}

/// Installs beside, then renames: a folder of the final name is whole.
fn fill(source: &Path, folder: &Path) -> Result<()> {
    let partial = folder.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir_all(&partial)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(name), partial.join(name))?;
    }
    let mut ci = Command::new("npm");
    // No install scripts: every package used here carries its program ready made.
    ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&partial);
    install("npm packages", &mut ci)
        .context("the npm packages come from the npm registry, once: is there a network?")?;
    std::fs::rename(&partial, folder)?;
    Ok(())
}

/// What is wanting of Node.js, in words.
pub(super) fn wanting() -> Option<String> {
    let version = run::output(Command::new("node").arg("--version"));
    let mut parts = version
        .as_deref()
        .unwrap_or_default()
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    (found < NODE || paths::on_path("npm").is_none()).then(|| {
        format!(
            "Node.js {}.{} or later with npm (found {}): get it at https://nodejs.org",
            NODE.0,
            NODE.1,
            version.as_deref().unwrap_or("none")
        )
    })
}
