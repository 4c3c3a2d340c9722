//! `cargo xtask cases`: builds what a door needs, then hands over to the tests' own runner.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::children::{self, AtSignal, Group};
use crate::{artifacts, paths, tools};

/// `cargo xtask cases ...`: the same arguments as `sightscreen-cases`.
pub(crate) fn command(mut args: lexopt::Parser) -> Result<ExitCode> {
    let args: Vec<OsString> = args.raw_args()?.collect();
    let mut cases = runner(&doors(&args))?;
    let status = Group::spawn(cases.args(args), AtSignal::Stops)?.wait()?;
    children::check()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The cases of the repository at one door.
pub(crate) fn at(door: &str) -> Result<Command> {
    let mut cases = runner(&[door.to_owned()])?;
    cases.args(["--door", door]);
    Ok(cases)
}

/// The tests' program, with what these doors run built and their tools before all else on PATH.
fn runner(doors: &[String]) -> Result<Command> {
    let mut folders = Vec::new();
    for door in doors {
        folders.extend(prepare(door)?);
    }
    let program = artifacts::native("sightscreen-cases")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let mut cases = Command::new(program);
    cases
        .current_dir(paths::root())
        .env("PATH", std::env::join_paths(folders)?);
    Ok(cases)
}

/// Builds what a door runs; the answer is where its platform's tool lies.
fn prepare(door: &str) -> Result<Option<PathBuf>> {
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
            if paths::on_path("spin").is_none() {
                artifacts::timed("spin-host", artifacts::spin_host)?;
            }
            Ok(None)
        }
        // The native door is inside of the runner; a name that is none is the runner's to refuse.
        _ => Ok(None),
    }
}

fn doors(args: &[OsString]) -> Vec<String> {
    let named = args
        .windows(2)
        .filter(|pair| pair[0] == "--door")
        .map(|pair| pair[1].to_string_lossy().into_owned());
    named
        .flat_map(|name| {
            if name == "all" {
                ["host", "fastly", "cloudflare", "spin"]
                    .map(str::to_owned)
                    .to_vec()
            } else {
                vec![name]
            }
        })
        .collect()
}
