//! The tests' programs, compiled together and run where they fit.
//!
//! Those that start an origin wait for real time most of the while: they run beside the doors'
//! cases.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{fs, iter, thread};

use anyhow::{Result, bail};
use serde_json::Value;

use super::Outcome;
use super::steps::counted;
use crate::{artifacts, run};

/// A compiled program with tests in it.
struct Program {
    name: String,
    path: PathBuf,
    /// Its package's, in which it runs.
    folder: PathBuf,
    /// Whether it starts an origin.
    is_of_the_origin: bool,
}

impl Program {
    fn step(&self) -> String {
        format!("tests {}", self.name)
    }

    /// Seconds that it took the last time. One that never ran may be the longest.
    fn took(&self) -> f32 {
        let log = run::log_file(&self.step()).and_then(|path| Ok(fs::read_to_string(path)?));
        log.ok().and_then(|log| seconds(&log)).unwrap_or(f32::MAX)
    }
}

/// How long a run took, of what it printed.
fn seconds(log: &str) -> Option<f32> {
    let (_, rest) = log.rsplit_once("finished in ")?;
    rest.split_once('s')?.0.parse().ok()
}

/// What needs no origin: modules, properties, documents' examples, and xtask itself.
pub(super) fn units() -> Result<Outcome> {
    let others = compiled()?.into_iter().filter(|program| !program.is_of_the_origin);
    // Most of those that are long wait.
    let mut log = passed_in_two(others)?;
    log.push_str(&run::built("tests of documents", artifacts::native_cargo("test").arg("--doc"))?);
    // As it runs: nothing of it is for production.
    let xtask = run::built("tests of xtask", run::cargo().args(["test", "--package", "xtask"]))?;
    log.push_str(&xtask);
    Ok(Outcome::Passed(counted(&log)))
}

/// Real origins with real publishers. Whoever runs this takes the next program until none is left,
/// so that those who run it at the same time end at about the same time.
pub(super) fn origins() -> Result<Outcome> {
    static LEFT: OnceLock<Mutex<Vec<Program>>> = OnceLock::new();
    let of_the_origin = |program: &Program| program.is_of_the_origin;
    if LEFT.get().is_none() {
        let left = compiled()?.into_iter().filter(of_the_origin).collect();
        // Another lane may have been first.
        let _ = LEFT.set(Mutex::new(left));
    }
    let next = || LEFT.get()?.lock().unwrap_or_else(PoisonError::into_inner).pop();
    Ok(Outcome::Passed(counted(&passed(iter::from_fn(next))?)))
}

/// [`passed`], two at a time.
fn passed_in_two(programs: impl Iterator<Item = Program> + Send) -> Result<String> {
    let left = Mutex::new(programs);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(|| passed(iter::from_fn(next)));
        (passed(iter::from_fn(next)), other.join())
    });
    let other = other.unwrap_or_else(|_| bail!("a thread of the tests panicked"))?;
    Ok(one? + &other)
}

/// What all of these programs print. Those after one that fails run too.
fn passed(programs: impl Iterator<Item = Program>) -> Result<String> {
    let (mut log, mut failures) = (String::new(), Vec::new());
    for program in programs {
        match run::logged(&program.step(), Command::new(&program.path).current_dir(&program.folder))
        {
            Ok(text) => log.push_str(&text),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    if failures.is_empty() { Ok(log) } else { bail!(failures.join("\n")) }
}

fn compiled() -> Result<Vec<Program>> {
    run::built("tests", artifacts::native_cargo("test").arg("--no-run"))?;
    // All is fresh now, and what it says is for programs.
    let said =
        artifacts::native_cargo("test").args(["--no-run", "--message-format=json"]).output()?;
    let said = String::from_utf8(said.stdout)?;
    let mut programs: Vec<Program> = said.lines().filter_map(program).collect();
    // The last is taken first: the longest, so that none ends alone.
    programs.sort_by(|one, other| other.name.cmp(&one.name));
    programs.sort_by(|one, other| one.took().total_cmp(&other.took()));
    if programs.is_empty() {
        bail!("cargo names no program with tests");
    }
    Ok(programs)
}

/// The program that a line of cargo's tells of.
fn program(line: &str) -> Option<Program> {
    let told: Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(told["executable"].as_str()?);
    let is_test = told["profile"]["test"].as_bool()?;
    let folder = Path::new(told["manifest_path"].as_str()?).parent()?.to_owned();
    let package = folder.file_name()?.to_str()?;
    let target = told["target"]["name"].as_str()?;
    let is_apart = told["target"]["kind"][0] == "test";
    is_test.then(|| Program {
        name: format!("{package} {target}"),
        is_of_the_origin: is_apart && package == "origin",
        path,
        folder: folder.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_tells_how_long_its_run_took() {
        let log = "running 2 tests\n\ntest result: ok. 2 passed; finished in 27.51s\n\n";
        assert_eq!((seconds(log), seconds("killed")), (Some(27.51), None));
    }

    #[test]
    fn cargos_lines_name_programs_and_where_they_run() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/a/origin/Cargo.toml",
            "target":{"kind":["test"],"name":"kill"},"profile":{"test":true},
            "executable":"/a/target/kill-1"}"#;
        let program = program(line).expect("a program");
        assert_eq!((program.name.as_str(), program.is_of_the_origin), ("origin kill", true));
        assert_eq!(program.folder, Path::new("/a/origin"));
        for other in [
            line.replace("\"test\":true", "\"test\":false"),
            line.replace("\"/a/target/kill-1\"", "null"),
            "not JSON".to_owned(),
        ] {
            assert!(super::program(&other).is_none(), "{other}");
        }
    }
}
