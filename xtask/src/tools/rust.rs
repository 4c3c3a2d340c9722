//! Tools that cargo builds, and the targets that rustup adds.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{install, lock, says, tools_dir};
use crate::{paths, run};

const TARGETS: [&str; 3] = ["wasm32-unknown-unknown", "wasm32-wasip1", "wasm32-wasip2"];

/// Tools are built to be used here, not shipped: half the time of their own release profiles.
pub(crate) const TOOL_PROFILE: [(&str, &str); 4] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "0"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
];

/// Adds the Wasm targets that are missing.
pub(crate) fn targets() -> Result<()> {
    if let Some(wanting) = wanting() {
        bail!(wanting);
    }
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add"]).args(missing).current_dir(paths::root());
    install("rust targets", &mut add)
}

/// What is wanting of Rust and cannot be installed from here, in words.
pub(super) fn wanting() -> Option<String> {
    match missing() {
        Err(error) => Some(format!("{error:#}")),
        Ok(missing) if missing.is_empty() || paths::on_path("rustup").is_some() => None,
        Ok(missing) => Some(format!(
            "the Wasm targets {missing:?} are missing and rustup is not on PATH: install them with \
             this machine's Rust"
        )),
    }
}

fn missing() -> Result<Vec<&'static str>> {
    let sysroot =
        run::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(paths::root()))
            .context("rustc does not run: install Rust by https://rustup.rs")?;
    let libraries = PathBuf::from(sysroot).join("lib/rustlib");
    let missing = TARGETS.into_iter().filter(|target| !libraries.join(target).join("lib").is_dir());
    Ok(missing.collect())
}

/// The program of a crate at a version, built once into the cache.
pub(crate) fn installed(
    package: &str,
    program: &str,
    version: &str,
    locked: bool,
) -> Result<PathBuf> {
    let root = tools_dir()?.join(format!("{package}-{version}"));
    let file = root.join("bin").join(program);
    if says(&file, version) {
        return Ok(file);
    }
    let _lock = lock("cargo")?;
    if says(&file, version) {
        return Ok(file);
    }
    let mut build = run::cargo();
    build
        // Outside of the repository, so that its settings and toolchain file have no say.
        .current_dir(tools_dir()?)
        .args(["install", "--force", "--version", version, "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", build_dir()?)
        .envs(TOOL_PROFILE);
    if locked {
        build.arg("--locked");
    }
    build.arg(package);
    install(&format!("{program} {version}"), &mut build)?;
    if !says(&file, version) {
        bail!("{} does not say that it is {version}", file.display());
    }
    Ok(file)
}

/// Removes what building the tools left.
pub(crate) fn clean() -> Result<()> {
    let _lock = lock("cargo")?;
    match std::fs::remove_dir_all(build_dir()?) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The version of a dependency in `Cargo.lock`.
pub(crate) fn locked_version(package: &str) -> Result<String> {
    let path = paths::root().join("Cargo.lock");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let name = format!("name = \"{package}\"");
    text.lines()
        .skip_while(|line| *line != name)
        .nth(1)
        .and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .with_context(|| format!("Cargo.lock names no {package}"))
}

fn build_dir() -> Result<PathBuf> {
    Ok(paths::cache()?.join("build"))
}
