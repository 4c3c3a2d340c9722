//! Builds `edge/component` for Wasm and encodes it as the component that the host embeds, so that a
//! plain `cargo build` of the host is enough. The nested cargo has a target folder of its own: no
//! lock is waited for. Says also which commit this is.

#[path = "../xtask/version.rs"]
mod version;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for path in ["edge/core", "edge/component", "wit", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    version::tell();
    let module = build_module(&root.join("edge/component"), &out.join("edge"))?;
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&fs::read(module)?)?
        .encode()?;
    fs::write(out.join("edge.wasm"), component)?;
    Ok(())
}

fn build_module(package: &Path, target: &Path) -> Outcome<PathBuf> {
    let mut cargo = Command::new(env::var("CARGO")?);
    // What the outer cargo set for this build (flags, wrappers such as clippy's, its own target) is
    // not for the nested one.
    for (name, _) in env::vars().filter(|(name, _)| is_of_outer_build(name)) {
        cargo.env_remove(name);
    }
    let status = cargo
        .current_dir(package)
        // Vectors for SHA-256 and copies; wasmtime has both everywhere.
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+simd128,+bulk-memory")
        .args(["build", "--lib", "--target", "wasm32-unknown-unknown", "--profile", "edge"])
        .arg("--target-dir")
        .arg(target)
        .status()?;
    if !status.success() {
        return Err("edge/component did not build for wasm32-unknown-unknown; \
                    if the target is missing: rustup target add wasm32-unknown-unknown"
            .into());
    }
    Ok(target.join("wasm32-unknown-unknown/edge/sightscreen_component.wasm"))
}

fn is_of_outer_build(name: &str) -> bool {
    let rustc = name.starts_with("RUSTC") || name.contains("RUSTFLAGS");
    let cargo = name.starts_with("CARGO_FEATURE")
        || name.starts_with("CARGO_CFG")
        || name.starts_with("CARGO_PKG");
    rustc
        || cargo
        || name.starts_with("CARGO_PROFILE")
        || name == "CARGO_BUILD_TARGET"
        || name == "CARGO_TARGET_DIR"
}
