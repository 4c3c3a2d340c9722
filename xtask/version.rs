//! A part of build scripts: tells a program its version and the commit that it is built from.

use std::process::Command;

/// Sets `SIGHTSCREEN_VERSION` for the package that is built.
pub(crate) fn tell() {
    println!("cargo::rustc-env=SIGHTSCREEN_VERSION={} ({})", env!("CARGO_PKG_VERSION"), commit());
}

/// The commit of the checkout, or `unknown` outside of one.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output =
            Command::new("git").args(args).output().ok().filter(|out| out.status.success());
        output.and_then(|output| String::from_utf8(output.stdout).ok())
    };
    // Every commit and every change of branch adds a line to this file.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", log.trim());
    }
    git(&["rev-parse", "--short=12", "HEAD"])
        .map_or_else(|| "unknown".to_owned(), |commit| commit.trim().to_owned())
}
