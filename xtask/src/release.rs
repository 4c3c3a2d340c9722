//! `cargo xtask release`: everything that is deployed, in one folder.
//!
//! What lies there needs nothing else of the repository: the manifests for Cloudflare and Spin name
//! files beside them and no build command. The folder is emptied first, so that `SHA256SUMS` never
//! covers a file of an earlier release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;
use sha2::{Digest, Sha256};

use crate::{artifacts, paths, test};

/// Checksums of every other file, as `sha256sum --check` reads them.
pub(crate) const SUMS: &str = "SHA256SUMS";

/// What lies in the folder when everything is released.
pub(crate) const CONTENTS: [&str; 14] = [
    "LICENSE-APACHE",
    "LICENSE-MIT",
    SUMS,
    "cloudflare",
    "edge.Containerfile",
    "origin.Containerfile",
    "page",
    "sightscreen-component.wasm",
    "sightscreen-edge",
    "sightscreen-edge.service",
    "sightscreen-fastly.tar.gz",
    "sightscreen-origin",
    "sightscreen-origin.service",
    "spin",
];

type Part = (&'static str, fn(&Path) -> Result<()>);

const PARTS: [Part; 6] = [
    ("origin", origin),
    ("edge", edge),
    ("fastly", fastly),
    ("cloudflare", cloudflare),
    ("spin", spin),
    ("component", component),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What to release; everything, unless something is named.
    #[arg(value_name = "PART", value_parser = names())]
    parts: Vec<String>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(PARTS.map(|(name, _)| name))
}

/// `cargo xtask release [PART...]`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let folder = paths::root().join("dist");
    into(&folder, &parts(&options.parts))?;
    println!("  released into dist; its {SUMS}:");
    print!("{}", fs::read_to_string(folder.join(SUMS))?);
    Ok(ExitCode::SUCCESS)
}

/// Every part for a test, the edge as all tests have it: to link it as one takes minutes.
pub(crate) fn for_test(folder: &Path) -> Result<()> {
    let mut parts = PARTS;
    for (name, part) in &mut parts {
        if *name == "edge" {
            *part = quick_edge;
        }
    }
    into(folder, &parts)
}

fn parts(named: &[String]) -> Vec<Part> {
    let chosen = |name: &str| named.is_empty() || named.iter().any(|one| one == name);
    PARTS.into_iter().filter(|(name, _)| chosen(name)).collect()
}

fn into(folder: &Path, parts: &[Part]) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        put(&paths::root().join(name), &folder.join(name))?;
    }
    for (_, part) in parts {
        part(folder)?;
    }
    fs::write(folder.join(SUMS), sums(folder)?)?;
    Ok(())
}

/// The program, the page that it serves, and what runs it.
fn origin(folder: &Path) -> Result<()> {
    let program = artifacts::timed("origin", artifacts::origin)?;
    put(&program, &folder.join("sightscreen-origin"))?;
    copy_tree(&artifacts::timed("page", artifacts::page)?, &folder.join("page"))?;
    put_runners("origin", folder)
}

fn edge(folder: &Path) -> Result<()> {
    put_edge(&artifacts::timed("host", artifacts::shipped_host)?, folder)
}

fn quick_edge(folder: &Path) -> Result<()> {
    put_edge(&artifacts::timed("host", artifacts::host)?, folder)
}

fn put_edge(program: &Path, folder: &Path) -> Result<()> {
    put(program, &folder.join("sightscreen-edge"))?;
    put_runners("edge", folder)
}

/// The unit and the container file of a program.
fn put_runners(program: &str, folder: &Path) -> Result<()> {
    let docs = paths::root().join("docs");
    let (unit, container) =
        (format!("sightscreen-{program}.service"), format!("{program}.Containerfile"));
    put(&docs.join("units").join(&unit), &folder.join(unit))?;
    put(&docs.join("containers").join(&container), &folder.join(container))
}

/// The package that `fastly compute deploy --package` uploads.
fn fastly(folder: &Path) -> Result<()> {
    let package = test::deploy::pack()?
        .context("the Fastly package needs the Fastly CLI on PATH: https://www.fastly.com/documentation/reference/cli/")?;
    put(&package, &folder.join("sightscreen-fastly.tar.gz"))
}

/// A folder in which `wrangler deploy` works.
fn cloudflare(folder: &Path) -> Result<()> {
    let folder = folder.join("cloudflare");
    let built = artifacts::timed("cloudflare", artifacts::cloudflare)?;
    copy_tree(&built, &folder.join("worker"))?;
    let manifest = read("wrangler.toml")?;
    let manifest = without_table(&manifest, "build")?;
    let manifest = replaced(&manifest, "edge/cloudflare/build/index.js", "worker/index.js")?;
    Ok(fs::write(folder.join("wrangler.toml"), manifest)?)
}

/// A folder in which `spin up` and `spin deploy` work.
fn spin(folder: &Path) -> Result<()> {
    let folder = folder.join("spin");
    put(&artifacts::timed("spin", artifacts::spin)?, &folder.join("sightscreen.wasm"))?;
    let manifest = read("spin.toml")?;
    let manifest = without_table(&manifest, "component.sightscreen.build")?;
    let manifest = replaced(&manifest, "build/spin.wasm", "sightscreen.wasm")?;
    Ok(fs::write(folder.join("spin.toml"), manifest)?)
}

/// The core as a component of the world in `wit/`, for hosts other than ours.
fn component(folder: &Path) -> Result<()> {
    let built = artifacts::timed("component", artifacts::component)?;
    put(&built, &folder.join("sightscreen-component.wasm"))
}

fn read(name: &str) -> Result<String> {
    fs::read_to_string(paths::root().join(name)).with_context(|| format!("cannot read {name}"))
}

/// The text of a TOML file without one table. Everything else stays as it is written, comments
/// included.
fn without_table(text: &str, name: &str) -> Result<String> {
    let head = format!("[{name}]");
    let mut inside = false;
    let mut found = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == head;
            found |= inside;
        }
        if !inside {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    ensure!(found, "expected a table {head} in the manifest");
    Ok(kept)
}

fn replaced(text: &str, old: &str, new: &str) -> Result<String> {
    let count = text.matches(old).count();
    ensure!(count == 1, "expected {old:?} once in the manifest, found it {count} times");
    Ok(text.replace(old, new))
}

fn put(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for file in files(from)? {
        put(&from.join(&file), &to.join(&file))?;
    }
    Ok(())
}

/// The checksum of every file in a folder, by its path from there.
pub(crate) fn sums(folder: &Path) -> Result<String> {
    let mut sums = String::new();
    for file in files(folder)?.into_iter().filter(|file| file != Path::new(SUMS)) {
        let digest = Sha256::digest(fs::read(folder.join(&file))?);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        sums.push_str(&format!("{hex}  {}\n", file.display()));
    }
    Ok(sums)
}

/// Every file below a folder, by its path from there, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let entry = entry?;
            // Such as the notes that the Worker's bundler leaves for git.
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_name_every_file_but_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("page")).expect("a folder");
        for (name, text) in [("page/a.js", "abc"), ("program", ""), (SUMS, "old")] {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        let sums = sums(dir.path()).expect("sums");
        // FIPS 180-4, "abc" and nothing.
        assert_eq!(
            sums,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  page/a.js\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  program\n"
        );
    }

    #[test]
    fn released_manifests_build_nothing_and_name_what_lies_beside_them() {
        let wrangler = read("wrangler.toml").expect("the manifest");
        let wrangler = without_table(&wrangler, "build").expect("a build table");
        let wrangler = replaced(&wrangler, "edge/cloudflare/build/index.js", "worker/index.js");
        let table: toml::Table = wrangler.expect("the main module").parse().expect("TOML");
        assert!(table.get("build").is_none() && table.get("vars").is_some());
        assert_eq!(table["main"].as_str(), Some("worker/index.js"));
        let spin = read("spin.toml").expect("the manifest");
        let spin = without_table(&spin, "component.sightscreen.build").expect("a build table");
        let spin = replaced(&spin, "build/spin.wasm", "sightscreen.wasm").expect("the source");
        let table: toml::Table = spin.parse().expect("TOML");
        let component = &table["component"]["sightscreen"];
        assert!(component.get("build").is_none() && component.get("variables").is_some());
        assert!(without_table("a = 1\n", "build").is_err());
        assert!(replaced("a a", "a", "b").is_err());
    }

    #[test]
    fn parts_are_named_or_all() {
        assert_eq!(parts(&[]).len(), PARTS.len());
        let named = ["edge".to_owned(), "origin".to_owned()];
        let names: Vec<_> = parts(&named).iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["origin", "edge"]);
    }
}
