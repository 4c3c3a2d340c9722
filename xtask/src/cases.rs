//! `cargo xtask cases`: builds what a door needs, then hands over to the tests' own runner.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;
use lexopt::prelude::*;

use crate::children::{self, AtSignal, Group};
use crate::{artifacts, paths, tools};

/// What the runner is given.
#[derive(Default)]
struct Options {
    doors: Vec<String>,
    /// Whether a `spin` was named, so that none is needed from here.
    spin: bool,
    args: Vec<OsString>,
}

/// `cargo xtask cases ...`: the same arguments as `sightscreen-cases`.
pub(crate) fn command(args: lexopt::Parser) -> Result<ExitCode> {
    let options = options(args)?;
    let mut cases = runner(&options.doors, options.spin)?;
    let status = Group::spawn(cases.args(options.args), AtSignal::Stops)?.wait()?;
    children::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn options(mut args: lexopt::Parser) -> Result<Options> {
    let mut options = Options::default();
    while let Some(arg) = args.next()? {
        match arg {
            Long("door") => {
                let door = args.value()?.string()?;
                options.args.extend(["--door".into(), door.clone().into()]);
                options.doors.extend(each(door));
            }
            Long(name @ ("cases" | "spin" | "root")) => {
                options.spin |= name == "spin";
                let name = format!("--{name}");
                // The runner works in the repository, whoever named this did not.
                let path = std::path::absolute(args.value()?)?;
                options.args.extend([name.into(), path.into()]);
            }
            Long("filter") => options.args.extend(["--filter".into(), args.value()?]),
            Long("bless") => options.args.push("--bless".into()),
            _ => return Err(arg.unexpected().into()),
        }
    }
    Ok(options)
}

fn each(door: String) -> Vec<String> {
    match door.as_str() {
        "all" => ["host", "fastly", "cloudflare", "spin"].map(str::to_owned).to_vec(),
        _ => vec![door],
    }
}

/// The cases of the repository at one door.
pub(crate) fn at(door: &str) -> Result<Command> {
    let mut cases = runner(&[door.to_owned()], false)?;
    cases.args(["--door", door]);
    Ok(cases)
}

/// The tests' program, with what these doors run built and their tools before all else on PATH.
fn runner(doors: &[String], spin: bool) -> Result<Command> {
    let mut folders = Vec::new();
    for door in doors {
        folders.extend(prepare(door, spin)?);
    }
    let program = artifacts::native("sightscreen-cases")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let mut cases = Command::new(program);
    cases.current_dir(paths::root()).env("PATH", std::env::join_paths(folders)?);
    Ok(cases)
}

/// Builds what a door runs; the answer is where its platform's tool lies.
fn prepare(door: &str, spin: bool) -> Result<Option<PathBuf>> {
    match door {
        "host" => {
            artifacts::timed("host", artifacts::host)?;
            Ok(None)
        }
        "fastly" => {
            artifacts::timed("fastly", artifacts::fastly)?;
            Ok(tools::viceroy()?.parent().map(Path::to_path_buf))
        }
        "cloudflare" => {
            artifacts::timed("cloudflare", artifacts::cloudflare)?;
            Ok(Some(tools::packages()?.file(".bin")))
        }
        "spin" => {
            artifacts::timed("spin", artifacts::spin)?;
            if !spin && paths::on_path("spin").is_none() {
                artifacts::timed("spin-host", artifacts::spin_host)?;
            }
            Ok(None)
        }
        // The native door is inside of the runner; a name that is none is the runner's to refuse.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_argument_is_understood_and_paths_are_the_callers() {
        let parsed = |args: &[&str]| options(lexopt::Parser::from_args(args)).expect("good");
        assert_eq!(parsed(&["--door=host"]).doors, ["host"]);
        assert_eq!(parsed(&["--door", "host"]).doors, ["host"]);
        assert_eq!(parsed(&["--door=all"]).doors.len(), 4);
        let named = parsed(&["--cases", "some", "--spin=bin/spin", "--filter=x"]);
        assert!(named.spin);
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(named.args[1], here.join("some"));
        assert_eq!(named.args[3], here.join("bin/spin"));
        assert_eq!(named.args[5], "x");
        assert!(options(lexopt::Parser::from_args(["--dor=host"])).is_err());
    }
}
