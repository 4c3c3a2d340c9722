//! Debian's packages, recognised by what they install, so that any other source of the same will
//! do.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::install;
use crate::{paths, run};

/// One Debian package and how to tell that what it brings is there.
pub(crate) struct Package {
    name: &'static str,
    /// Any of these programs on PATH, or absolute files.
    any_of: &'static [&'static str],
}

/// Names that Chromium goes by.
pub(crate) const CHROMIUM_NAMES: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

const FFMPEG: Package = Package { name: "ffmpeg", any_of: &["ffmpeg"] };
const FONTS: Package = Package {
    name: "fonts-dejavu-core",
    any_of: &["/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"],
};

/// A server of its own for each test that needs one.
const POSTGRESQL: Package = Package {
    name: "postgresql",
    any_of: &["/usr/lib/postgresql/15/bin/initdb", "/usr/lib/postgresql/17/bin/initdb"],
};

/// What the origin's own tests run.
pub(crate) const TESTS: &[Package] = &[FFMPEG, FONTS, POSTGRESQL];

/// What playing a live event needs.
pub(crate) const LIVE: &[Package] =
    &[FFMPEG, Package { name: "chromium", any_of: CHROMIUM_NAMES }, FONTS];

/// What `cargo xtask bench` needs besides.
pub(crate) const BENCH: &[Package] = &[
    Package { name: "nginx", any_of: &["nginx"] },
    Package {
        name: "libnginx-mod-http-js",
        any_of: &["/usr/lib/nginx/modules/ngx_http_js_module.so"],
    },
    Package { name: "wrk", any_of: &["wrk"] },
];

/// Installs what is missing where we may, else says the command.
pub(crate) fn need(packages: &[Package]) -> Result<()> {
    if let Some(wanting) = wanting(packages) {
        bail!(wanting);
    }
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    install("apt lists", Command::new("apt-get").arg("update"))?;
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    install(&list, &mut apt)
}

/// What is missing and cannot be installed from here, in words.
pub(super) fn wanting(packages: &[Package]) -> Option<String> {
    let missing = missing(packages);
    if missing.is_empty() || installs() {
        return None;
    }
    let list = missing.join(" ");
    Some(format!("missing: {list}. Install with: sudo apt-get install -y {list}"))
}

fn installs() -> bool {
    let root = run::output(Command::new("id").arg("-u")).as_deref() == Some("0");
    root && paths::on_path("apt-get").is_some()
}

/// An error that names what is missing; installs nothing.
pub(crate) fn present(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    bail!(
        "missing: {list}. Install with: sudo apt-get install -y {list} (or cargo xtask setup, \
         which installs all)"
    )
}

fn missing(packages: &[Package]) -> Vec<&'static str> {
    let present = |thing: &str| {
        if thing.starts_with('/') {
            Path::new(thing).exists()
        } else {
            paths::on_path(thing).is_some()
        }
    };
    packages
        .iter()
        .filter(|package| !package.any_of.iter().any(|thing| present(thing)))
        .map(|package| package.name)
        .collect()
}
