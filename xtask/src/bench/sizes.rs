//! Sizes of what is deployed.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Figure;
use crate::{artifacts, paths};

const KIB: f64 = 1024.0;

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("sizes:");
    let mut figures = Vec::new();
    for (name, build) in [
        ("component", artifacts::component as fn() -> _),
        ("Fastly program", artifacts::fastly),
        ("Spin component", artifacts::spin),
    ] {
        let file = build()?;
        let bytes = fs::read(&file)?;
        figures.push(Figure::new(name, float(bytes.len()) / KIB, "KiB"));
        figures.push(Figure::new(format!("{name}, gzip"), float(gzip(&bytes)?) / KIB, "KiB"));
    }
    if let Some(package) = crate::test::deploy::pack()? {
        let bytes = fs::metadata(&package)?.len();
        figures.push(Figure::new("Fastly package", float(usize::try_from(bytes)?) / KIB, "KiB"));
    }
    let out = tempfile::tempdir()?;
    crate::test::deploy::bundle(&paths::root(), out.path())?;
    let bytes = gzip_of_folder(out.path())?;
    figures.push(Figure::new("Worker bundle, gzip", float(bytes) / KIB, "KiB").at_most(1000.0));
    Ok(figures)
}

/// Bytes of a Worker's files, each compressed: modules and Wasm, without maps and notes.
pub(crate) fn gzip_of_folder(folder: &Path) -> Result<usize> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let counts = path
            .extension()
            .is_some_and(|ending| ["js", "mjs", "wasm"].iter().any(|one| ending == *one));
        if counts {
            sum += gzip(&fs::read(&path)?)?;
        }
    }
    Ok(sum)
}

fn gzip(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn float(bytes: usize) -> f64 {
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from)
}
