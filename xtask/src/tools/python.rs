//! Programs from PyPI, each in an environment of its own in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{install, lock, says, tools_dir};

/// A program at this version. Its environment is made in its final place, because programs in it
/// name that place; it counts once the program runs.
pub(super) fn program(name: &str, version: &str) -> Result<PathBuf> {
    let folder = tools_dir()?.join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if says(&program, version) {
        return Ok(program);
    }
    let _lock = lock(name)?;
    if !says(&program, version) {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&folder);
        install(&format!("environment of {name}"), &mut venv)
            .context("it needs Python 3.10 or newer: on Debian, apt-get install -y python3-venv")?;
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--disable-pip-version-check", &format!("{name}=={version}")]);
        install(name, &mut pip)?;
    }
    Ok(program)
}
