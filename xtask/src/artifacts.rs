//! Builds: the servers for this machine, the core for each door, and the page.
//!
//! `fastly.toml`, `wrangler.toml` and `spin.toml` call these, and expect each result in its place.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::{paths, run, tools};

/// What runs on this machine, and its tests. One choice for building and for testing, so that both
/// share what is compiled.
pub(crate) const PACKAGES: [&str; 6] = [
    "sightscreen-core",
    "sightscreen-door",
    "sightscreen-host",
    "sightscreen-origin",
    "sightscreen-tests",
    "sightscreen-wire",
];

type Build = fn() -> Result<PathBuf>;

/// The folder of the page for viewers.
const VIEWER: &str = "viewer";
const PAGES: [&str; 2] = [VIEWER, "operator"];

const BUILDS: [(&str, Build); 7] = [
    ("page", page),
    ("component", component),
    ("host", host),
    ("origin", origin),
    ("fastly", fastly),
    ("cloudflare", cloudflare),
    ("spin", spin),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to build.
    #[arg(default_value = "all", value_parser = names())]
    what: String,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(BUILDS.iter().map(|(name, _)| *name).chain(["all"]))
}

/// `cargo xtask build [WHAT]`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let what = options.what.as_str();
    for (name, build) in BUILDS.iter().filter(|(name, _)| what == "all" || what == *name) {
        timed(name, *build)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds with a line that says what came out and how large it is.
pub(crate) fn timed(name: &str, build: Build) -> Result<PathBuf> {
    let started = Instant::now();
    let file = build()?;
    let size = std::fs::metadata(&file).map_or(0, |meta| meta.len());
    println!(
        "  built {name}: {} ({} KiB, {:.1} s)",
        shown(&file),
        size.div_ceil(1024),
        started.elapsed().as_secs_f32()
    );
    Ok(file)
}

/// The core behind `wit/`, as the component that the host embeds: the host's build makes it, this
/// shows it.
pub(crate) fn component() -> Result<PathBuf> {
    tools::targets()?;
    let messages =
        run::built("build component", native_build().args(["--message-format", "json"]))?;
    let out = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "build-script-executed")
        .filter(|message| message["package_id"].as_str().is_some_and(|id| id.contains("/host#")))
        .find_map(|message| message["out_dir"].as_str().map(PathBuf::from))
        .context("cargo did not say where the host's build left the component")?;
    copied(&out.join("edge.wasm"), &built("component.wasm")?)
}

/// `sightscreen-edge`.
pub(crate) fn host() -> Result<PathBuf> {
    native("sightscreen-edge")
}

/// The same as it is shipped, which takes minutes.
pub(crate) fn shipped_host() -> Result<PathBuf> {
    tools::targets()?;
    let mut build = run::cargo();
    build.args(["build", "--profile", "dist", "--bins", "--package", "sightscreen-host"]);
    run::built("build sightscreen-edge, linked as one", &mut build)?;
    Ok(paths::dist("sightscreen-edge"))
}

/// `sightscreen-origin`.
pub(crate) fn origin() -> Result<PathBuf> {
    native("sightscreen-origin")
}

/// The package's program at Fastly, where `fastly compute build` looks for it.
pub(crate) fn fastly() -> Result<PathBuf> {
    let built = wasm("sightscreen-fastly", "wasm32-wasip1")?;
    let bin = paths::root().join("bin");
    std::fs::create_dir_all(&bin)?;
    copied(&built, &bin.join("main.wasm"))
}

/// The Spin component, where `spin.toml` looks for it.
pub(crate) fn spin() -> Result<PathBuf> {
    let module = wasm("sightscreen-spin", "wasm32-wasip2")?;
    copied(&module, &built("spin.wasm")?)
}

/// The Worker: JavaScript entry and Wasm, where `wrangler.toml` looks for them.
pub(crate) fn cloudflare() -> Result<PathBuf> {
    // The bundler does not know what is up to date, and two at once would write the same files.
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    match &*built {
        Some(folder) => Ok(folder.clone()),
        None => Ok(built.insert(worker()?).clone()),
    }
}

fn worker() -> Result<PathBuf> {
    tools::targets()?;
    let packages = tools::packages()?;
    let folder = paths::root().join("edge/cloudflare");
    let mut build = Command::new(tools::worker_build()?);
    // A path that is set keeps worker-build from fetching a tool of its own.
    build
        .current_dir(&folder)
        .arg("--release")
        .env("WASM_BINDGEN_BIN", tools::wasm_bindgen()?)
        .env("ESBUILD_BIN", packages.program("esbuild"))
        .env("WASM_OPT_BIN", packages.program("wasm-opt"));
    run::built("build cloudflare", &mut build)?;
    Ok(folder.join("build"))
}

/// The pages, bundled, each in a folder of its own. Once in a run: steps that run at the same time
/// serve its files.
pub(crate) fn page() -> Result<PathBuf> {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(built) = &*built {
        return Ok(built.clone());
    }
    Ok(built.insert(bundled()?).clone())
}

fn bundled() -> Result<PathBuf> {
    let packages = tools::packages()?;
    let source = paths::root().join("origin/page");
    let out = source.join("dist");
    if out.exists() {
        std::fs::remove_dir_all(&out)?;
    }
    for page in PAGES {
        let (from, to) = (source.join(page), out.join(page));
        std::fs::create_dir_all(&to)?;
        let mut bundle = Command::new(packages.program("esbuild"));
        bundle
            .current_dir(&from)
            .args(["page.js", "page.css", "--bundle", "--minify"])
            .args(["--format=esm", "--target=es2022", "--entry-names=[name]"])
            .arg(format!("--outdir={}", to.display()))
            .env("NODE_PATH", packages.folder().join("node_modules"));
        run::logged(&format!("build page of the {page}"), &mut bundle)?;
        std::fs::copy(from.join("index.html"), to.join("index.html"))?;
        std::fs::copy(source.join("mark.svg"), to.join("mark.svg"))?;
    }
    let worker = "hls.worker.js";
    let from = packages.file("hls.js/dist").join(worker);
    std::fs::copy(from, out.join(VIEWER).join(worker))?;
    Ok(out)
}

/// A program of this machine's own: all are built by one command, since cargo would compile what
/// they share anew for each choice of packages.
pub(crate) fn native(program: &str) -> Result<PathBuf> {
    // The host's build makes the component that it embeds.
    tools::targets()?;
    run::built(&format!("build {program}"), &mut native_build())?;
    Ok(paths::release(program))
}

fn native_build() -> Command {
    let mut build = native_cargo("build");
    build.arg("--bins");
    build
}

/// Cargo for the native packages, always all of them: another selection would compile wasmtime once
/// more.
pub(crate) fn native_cargo(what: &str) -> Command {
    let mut cargo = run::cargo();
    cargo.args([what, "--release"]);
    cargo.args(PACKAGES.map(|package| format!("--package={package}")));
    cargo
}

/// What runs the Spin component where there is no `spin`; a package apart, for it brings a WASI
/// host of its own.
pub(crate) fn spin_host() -> Result<PathBuf> {
    run::built("build sightscreen-spin-host", spin_host_cargo("build").arg("--release"))?;
    Ok(paths::release("sightscreen-spin-host"))
}

/// Cargo for the Spin host. It has wasmtime with features that the product does without, so all of
/// that is compiled once more: as a tool, not as a product.
pub(crate) fn spin_host_cargo(what: &str) -> Command {
    let mut cargo = run::cargo();
    cargo.args([what, "--package", "sightscreen-spin-host"]).envs(tools::TOOL_PROFILE);
    cargo
}

fn wasm(package: &str, target: &str) -> Result<PathBuf> {
    tools::targets()?;
    run::built(
        &format!("build {package}"),
        run::cargo().args(["build", "--profile", "edge", "--package", package, "--target", target]),
    )?;
    let folder = paths::target().join(target).join("edge");
    // A program keeps its name; a library's hyphens become underscores.
    [package.to_owned(), package.replace('-', "_")]
        .iter()
        .map(|name| folder.join(format!("{name}.wasm")))
        .find(|file| file.is_file())
        .with_context(|| format!("cargo built {package} but left no Wasm in {}", folder.display()))
}

/// A file in the repository's `build` folder, which is made.
fn built(name: &str) -> Result<PathBuf> {
    let folder = paths::root().join("build");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

/// Replaced as a whole: a server that starts meanwhile reads the old file or the new one.
fn copied(from: &Path, to: &Path) -> Result<PathBuf> {
    let partial = to.with_extension(format!("partial-{}", std::process::id()));
    std::fs::copy(from, &partial)
        .and_then(|_| std::fs::rename(&partial, to))
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to.to_path_buf())
}

fn shown(file: &Path) -> String {
    let file = file.strip_prefix(paths::root()).unwrap_or(file);
    file.display().to_string()
}
