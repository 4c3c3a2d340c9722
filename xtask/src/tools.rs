//! Set-up: which version of which tool is used, and how it is installed if it is missing.
//!
//! Everything goes into the cache, but for Debian packages and Rust targets, which belong to the
//! machine. A tool is handed out only after it has said that it has the expected version.

mod debian;
mod node;
mod python;
mod rust;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{paths, run};

use debian::Package;
pub(crate) use debian::{BENCH, LIVE, TESTS, need, present};
pub(crate) use node::Packages;
pub(crate) use rust::TOOL_PROFILE;

const VICEROY: &str = "0.22.0";
const WORKER_BUILD: &str = "0.8.7";
const CARGO_DENY: &str = "0.20.2";
const SCHEMATHESIS: &str = "4.32.5";

/// `cargo xtask setup`: everything, and a list of what there is.
pub(crate) fn command() -> Result<ExitCode> {
    prerequisites(&[LIVE, BENCH])?;
    all()?;
    need(BENCH)?;
    Ok(ExitCode::SUCCESS)
}

/// Sets up everything that a test needs: what is loaded beside what is compiled.
pub(crate) fn all() -> Result<()> {
    prerequisites(&[LIVE, TESTS])?;
    let loaded = std::thread::spawn(|| {
        need(LIVE)?;
        need(TESTS)?;
        schemathesis()?;
        node::packages()
    });
    let built = compiled();
    let packages = loaded.join().unwrap_or_else(|_| Err(anyhow::anyhow!("loading panicked")))?;
    println!("  tool  {}", packages.folder().display());
    for tool in built? {
        println!("  tool  {}", tool.display());
    }
    rust::clean()
}

fn compiled() -> Result<[PathBuf; 4]> {
    rust::targets()?;
    Ok([viceroy()?, worker_build()?, wasm_bindgen()?, cargo_deny()?])
}

/// What a person installs: everything that is missing is named at once, before anything takes its
/// time.
fn prerequisites(packages: &[&[Package]]) -> Result<()> {
    let mut missing = Vec::new();
    missing.extend(node::wanting());
    missing.extend(rust::wanting());
    missing.extend(packages.iter().filter_map(|some| debian::wanting(some)));
    let compilers = ["cc", "c++"].map(|name| (name, paths::on_path(name)));
    for (name, found) in compilers {
        if found.is_none() {
            missing.push(format!(
                "{name}, a C and C++ compiler: on Debian, apt-get install -y build-essential"
            ));
        }
    }
    if !missing.is_empty() {
        bail!("needed first:\n  {}", missing.join("\n  "));
    }
    Ok(())
}

/// What looks at licences and sources of all that is built in.
pub(crate) fn cargo_deny() -> Result<PathBuf> {
    rust::installed("cargo-deny", "cargo-deny", CARGO_DENY, true)
}

/// Fastly's local Compute server.
pub(crate) fn viceroy() -> Result<PathBuf> {
    rust::installed("viceroy", "viceroy", VICEROY, true)
}

/// The bundler of Rust Workers.
pub(crate) fn worker_build() -> Result<PathBuf> {
    rust::installed("worker-build", "worker-build", WORKER_BUILD, true)
}

/// `wasm-bindgen` at the version of the library in `Cargo.lock`: the two must be equal.
pub(crate) fn wasm_bindgen() -> Result<PathBuf> {
    let version = rust::locked_version("wasm-bindgen")?;
    // Its own lock file asks for a yanked dependency.
    rust::installed("wasm-bindgen-cli", "wasm-bindgen", &version, false)
}

/// What holds a running API to its description.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    python::program("schemathesis", SCHEMATHESIS)
}

/// The npm packages of `xtask/node`.
pub(crate) fn packages() -> Result<Packages> {
    node::packages()
}

/// The compilers' targets for Wasm.
pub(crate) fn targets() -> Result<()> {
    rust::targets()
}

/// A browser that plays H.264 and AAC.
pub(crate) fn chromium() -> Result<PathBuf> {
    need(LIVE)?;
    debian::CHROMIUM_NAMES
        .iter()
        .find_map(|name| paths::on_path(name))
        .context("Chromium is not on PATH: install Debian's package chromium")
}

fn tools_dir() -> Result<PathBuf> {
    let dir = paths::cache()?.join("tools");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// One installation of a kind at a time, whatever the number of commands that run.
fn lock(kind: &str) -> Result<File> {
    let path = tools_dir()?.join(format!(".lock-{kind}"));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if file.try_lock().is_err() {
        println!("  waiting for another command that installs ({})", path.display());
        file.lock()?;
    }
    Ok(file)
}

/// Installs with progress and says how long it took.
fn install(what: &str, command: &mut Command) -> Result<()> {
    println!("  install  {what}");
    let started = Instant::now();
    run::built(&format!("install {what}"), command)?;
    println!("  installed {what} in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Whether a program says this version.
fn says(program: &Path, version: &str) -> bool {
    run::output(Command::new(program).arg("--version"))
        .is_some_and(|text| text.split_whitespace().any(|word| word == version))
}
