//! The doors, each launched for real, and the one table of what they can do.
//!
//! Every door is given the same origin, edge secret, keyring and geo header, and nothing else.

mod cloudflare;
mod fastly;
mod host;
mod native;
mod process;
mod spin;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use process::Process;

use crate::case::DoorSpec;

/// Every door, in the order of `--door all`.
pub const NAMES: [&str; 5] = ["native", "host", "fastly", "cloudflare", "spin"];
/// The header in which cases say where a viewer is.
pub const GEO_HEADER: &str = "x-geo";
/// The header in which an edge proves itself to the origin, and the secret that doors are given for
/// it.
pub const EDGE_SECRET: (&str, &str) = ("sightscreen-edge-secret", "edge-secret-of-the-run-4d07e1");
/// A cold start with a compiler in it, on a busy machine.
const START: Duration = Duration::from_secs(90);

/// A kind of door.
#[derive(Debug)]
pub struct Door {
    /// Its name on the command line and in `not_at`.
    pub name: &'static str,
    /// What it can do; cases name these in `without`.
    pub has: &'static [&'static str],
    start: fn(&Surroundings) -> Result<Running, String>,
}

/// What a door may be able to do. `cache`: it keeps answers of the origin. `collapse`: it asks once
/// for many. `results`: it keeps whole responses. `relay-cache`: it keeps relayed objects and asks
/// for them once.
pub(crate) const CAPABILITIES: [&str; 4] = ["cache", "collapse", "results", "relay-cache"];

/// The one table.
static DOORS: [Door; 5] = [
    Door { name: "native", has: &["cache", "collapse", "results"], start: start_native },
    Door {
        name: "host",
        has: &["cache", "collapse", "results", "relay-cache"],
        start: host::start,
    },
    Door {
        name: "fastly",
        has: &["cache", "collapse", "results", "relay-cache"],
        start: fastly::start,
    },
    Door { name: "cloudflare", has: &["cache", "collapse", "results"], start: cloudflare::start },
    // As one instance: see `Surroundings::one_instance`.
    Door { name: "spin", has: &["cache", "collapse", "results"], start: spin::start },
];

/// `spin` with several instances. Each can do the same, but a request may come to any of them, so
/// that none of it can be counted on.
static SPIN_SPREAD: Door = Door { name: "spin", has: &[], start: spin::start };

/// What a door is started with.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Root of the repository.
    pub root: PathBuf,
    /// The scripted origin.
    pub origin: SocketAddr,
    /// The keyring's JSON.
    pub keyring: String,
    /// Whether the door is told of [`GEO_HEADER`].
    pub geo_header: bool,
    /// Whether the door is given the value of [`EDGE_SECRET`].
    pub edge_secret: bool,
    /// The `spin` to use in place of the one on PATH.
    pub spin: Option<PathBuf>,
    /// Whether all requests at the Spin door go to one instance. Spin itself cannot do that.
    pub one_instance: bool,
}

/// A door that serves; it is stopped when dropped.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    process: Option<Process>,
}

impl Surroundings {
    /// As one case wants them.
    #[must_use]
    pub fn of(&self, door: &DoorSpec) -> Self {
        Self {
            keyring: door.keyring.clone().unwrap_or_else(|| self.keyring.clone()),
            geo_header: door.geo_header,
            edge_secret: door.edge_secret,
            one_instance: door.one_instance,
            ..self.clone()
        }
    }

    /// The setting; empty is none.
    fn geo_header(&self) -> &'static str {
        if self.geo_header { GEO_HEADER } else { "" }
    }

    /// What the door proves itself by.
    #[must_use]
    pub fn edge_secret(&self) -> Option<&'static str> {
        self.edge_secret.then_some(EDGE_SECRET.1)
    }
}

impl Door {
    /// The door of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        DOORS.iter().find(|door| door.name == name)
    }

    /// The door as it is in these surroundings.
    #[must_use]
    pub fn within(&'static self, with: &Surroundings) -> &'static Self {
        let spread = !with.one_instance || spin::itself(with).is_some();
        if self.name == SPIN_SPREAD.name && spread { &SPIN_SPREAD } else { self }
    }

    /// What of `needs` it cannot do.
    #[must_use]
    pub fn lacks<'a>(&self, needs: &'a [String]) -> Option<&'a str> {
        needs.iter().map(String::as_str).find(|need| !self.has.contains(need))
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// What is missing and what to run, or what the door's process said.
    pub fn start(&self, with: &Surroundings) -> Result<Running, String> {
        (self.start)(with)
    }
}

impl Running {
    /// The last lines that the door's process wrote.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        self.process.as_ref().map(|process| process.log_tail(lines)).unwrap_or_default()
    }
}

fn start_native(with: &Surroundings) -> Result<Running, String> {
    let addr = native::start(with.origin, &with.keyring, with.edge_secret())
        .map_err(|e| format!("native door: {e}"))?;
    Ok(Running { addr, process: None })
}

/// The file where it exists, else what to run.
fn built(file: PathBuf, build: &str) -> Result<PathBuf, String> {
    if file.is_file() {
        return Ok(file);
    }
    let looked = file.display();
    Err(format!("not built: looked for {looked}; run `{build}`"))
}

/// `$CARGO_TARGET_DIR`, else `target` below the root.
fn target_dir(with: &Surroundings) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| with.root.join("target"), PathBuf::from)
}

/// The folder in which tools are kept between builds.
fn tools_dir() -> PathBuf {
    let cache = std::env::var_os("SIGHTSCREEN_CACHE").map(PathBuf::from);
    let home =
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/sightscreen");
    cache.unwrap_or_else(home).join("tools")
}

/// The program on PATH, else below the tools folder.
fn tool(name: &str, kept: &str) -> Option<PathBuf> {
    on_path(name).or_else(|| Some(tools_dir().join(kept)).filter(|path| path.is_file()))
}

fn on_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
}
