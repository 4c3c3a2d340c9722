//! `cargo xtask cases`: builds what a door needs, then hands over to the tests' own runner.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Args;

use crate::children::{self, AtSignal, Group};
use crate::{artifacts, paths, tools};

const CASES: &str = "sightscreen-cases";

/// What `sightscreen-cases` takes, which judges the values; here it must only be known which doors
/// to build.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// native, host, fastly, cloudflare, spin or all; may be given several times.
    #[arg(long = "door", value_name = "DOOR", required = true)]
    doors: Vec<String>,
    /// Folder of the cases, in place of tests/cases.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// Run only cases with this in their name.
    #[arg(long, value_name = "TEXT")]
    filter: Option<OsString>,
    /// Write golden files rather than compare with them.
    #[arg(long)]
    bless: bool,
    /// The `spin` to use, in place of the one on PATH or the stand-in.
    #[arg(long, value_name = "PATH")]
    spin: Option<PathBuf>,
    /// The repository, in place of this one.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

/// `cargo xtask cases ...`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let mut cases = runner(CASES, &options.each_door(), options.spin.is_some())?;
    let status = Group::spawn(cases.args(options.args()?), AtSignal::Stops)?.wait()?;
    children::check()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn each_door(&self) -> Vec<String> {
        let all = ["host", "fastly", "cloudflare", "spin"];
        let doors = self.doors.iter().map(String::as_str);
        doors
            .flat_map(|door| if door == "all" { all.to_vec() } else { vec![door] })
            .map(str::to_owned)
            .collect()
    }

    /// The same for the runner. Paths become absolute, because it works in the repository.
    fn args(&self) -> Result<Vec<OsString>> {
        let mut args = Vec::new();
        for door in &self.doors {
            args.extend(["--door".into(), door.into()]);
        }
        for (name, path) in
            [("--cases", &self.cases), ("--spin", &self.spin), ("--root", &self.root)]
        {
            if let Some(path) = path {
                args.extend([name.into(), std::path::absolute(path)?.into()]);
            }
        }
        if let Some(filter) = &self.filter {
            args.extend(["--filter".into(), filter.clone()]);
        }
        if self.bless {
            args.push("--bless".into());
        }
        Ok(args)
    }
}

/// The cases of the repository at one door.
pub(crate) fn at(door: &str) -> Result<Command> {
    let mut cases = runner(CASES, &[door.to_owned()], false)?;
    cases.args(["--door", door]);
    Ok(cases)
}

/// What counts the requests that many viewers cost at one door.
pub(crate) fn herd(door: &str) -> Result<Command> {
    let mut herd = runner("sightscreen-herd", &[door.to_owned()], false)?;
    herd.args(["--door", door]);
    Ok(herd)
}

/// A program of the tests, with what these doors run built and their tools before all else on PATH.
fn runner(program: &str, doors: &[String], spin: bool) -> Result<Command> {
    let mut folders = Vec::new();
    for door in doors {
        folders.extend(prepare(door, spin)?);
    }
    let program = artifacts::native(program)?;
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
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(args: &[&str]) -> Result<Options, clap::Error> {
        let args = ["cases"].iter().chain(args);
        CommandLine::try_parse_from(args).map(|line| line.options)
    }

    #[test]
    fn every_spelling_of_an_argument_is_understood_and_paths_are_the_callers() {
        let good = |args: &[&str]| parsed(args).expect("good");
        assert_eq!(good(&["--door=host"]).each_door(), ["host"]);
        assert_eq!(good(&["--door", "host"]).each_door(), ["host"]);
        assert_eq!(good(&["--door=all"]).each_door().len(), 4);
        let given =
            good(&["--door=spin", "--cases", "some", "--spin=bin/spin", "--filter=x", "--bless"]);
        let here = std::env::current_dir().expect("a folder");
        let (cases, spin) = (here.join("some"), here.join("bin/spin"));
        let expected: [OsString; 9] = [
            "--door".into(),
            "spin".into(),
            "--cases".into(),
            cases.into(),
            "--spin".into(),
            spin.into(),
            "--filter".into(),
            "x".into(),
            "--bless".into(),
        ];
        assert_eq!(given.args().expect("paths"), expected);
        assert!(parsed(&["--dor=host"]).is_err());
        assert!(parsed(&[]).is_err());
    }
}
