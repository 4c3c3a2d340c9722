//! The settings of both programs: what `--help` says of them, and what the documents do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::{Document, find};
use crate::{artifacts, run};

/// Flags that are no settings.
const NO_SETTINGS: [&str; 3] = ["help", "version", "config"];
/// Settings of a TOML table, which no flag can be.
const FILE_ONLY: [&str; 5] = ["cohorts", "plans", "pods", "rungs", "snapshots"];
const SETTINGS: &str = "docs/settings.md";

/// Names with their defaults.
type Settings = BTreeMap<String, Option<String>>;

/// Builds both programs, and compares.
pub(super) fn faults(documents: &[Document]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (program, sub) in [("sightscreen-origin", Some("serve")), ("sightscreen-edge", None)] {
        let help = help(&artifacts::native(program)?, sub)?;
        faults.extend(faults_of(documents, program, sub, &flags_of(&help))?);
    }
    Ok(faults)
}

fn help(program: &Path, sub: Option<&str>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(sub).arg("--help");
    run::output(&mut command).with_context(|| format!("{} --help failed", program.display()))
}

/// The long flags that a help text explains, each with its default where it has one.
fn flags_of(help: &str) -> Settings {
    let mut flags = Settings::new();
    let mut last = None;
    for line in help.lines() {
        if line.trim_start().starts_with('-') {
            last = flags_in(line).next();
            flags.extend(last.clone().map(|flag| (flag, None)));
        }
        let default = line.split("[default: ").nth(1).and_then(|rest| rest.split(']').next());
        if let (Some(flag), Some(default)) = (&last, default) {
            flags.insert(flag.clone(), Some(default.to_owned()));
        }
    }
    flags
}

/// The long flags of a line.
fn flags_in(line: &str) -> impl Iterator<Item = String> {
    let words = line.split([' ', '=', ',', '`', '[', ']', '\t']);
    words.filter_map(|word| word.strip_prefix("--")).filter(|name| !name.is_empty()).map(|name| {
        let of_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        String::from_utf8_lossy(&name.bytes().take_while(of_name).collect::<Vec<_>>()).into_owned()
    })
}

/// Settings that are not explained, explained ones that do not exist, and flags in commands that
/// the program does not take.
fn faults_of(
    documents: &[Document],
    program: &str,
    sub: Option<&str>,
    flags: &Settings,
) -> Result<Vec<String>> {
    let command = sub.map_or(program.to_owned(), |sub| format!("{program} {sub}"));
    let section = find(documents, SETTINGS)?.section(&command)?;
    let mut faults = differences(flags, &explained(&section), &command);
    for document in documents {
        for line in document.commands().filter(|line| is_of(line, program, sub)) {
            let unknown = flags_in(&line).filter(|flag| !flags.contains_key(flag));
            faults.extend(
                unknown.map(|flag| {
                    format!("{}: {command} takes no --{flag}", document.path.display())
                }),
            );
        }
    }
    Ok(faults)
}

/// Whether a command starts the program, by whatever path.
fn is_of(line: &str, program: &str, sub: Option<&str>) -> bool {
    let mut words = line.split_whitespace();
    let starts = words.next().and_then(|word| word.rsplit('/').next()) == Some(program);
    starts && sub.is_none_or(|sub| words.next() == Some(sub))
}

fn differences(flags: &Settings, explained: &Settings, command: &str) -> Vec<String> {
    let missing = flags
        .keys()
        .filter(|name| !NO_SETTINGS.contains(&name.as_str()) && !explained.contains_key(*name))
        .map(|name| format!("{SETTINGS}: does not explain {name} of {command}"));
    let wrong = explained
        .iter()
        .filter(|(name, _)| !FILE_ONLY.contains(&name.as_str()))
        .filter_map(|(name, default)| match flags.get(name) {
            None => Some(format!("{SETTINGS}: {command} has no setting {name}")),
            Some(is) if default.is_some() && default != is => {
                let is = is.as_deref().unwrap_or("no default");
                Some(format!("{SETTINGS}: {command} --help says {is} for {name}"))
            }
            Some(_) => None,
        });
    missing.chain(wrong).collect()
}

/// The settings that the items of a list begin with, with their defaults:
/// "- `name`, `other` (`1`, `2`): what they say".
fn explained(section: &[&str]) -> Settings {
    let mut explained = Settings::new();
    for item in section.iter().filter_map(|line| line.strip_prefix("- ")) {
        let (names, rest) = code_list(item);
        let defaults = rest.strip_prefix(" (").map(|rest| code_list(rest).0).unwrap_or_default();
        let mut defaults = defaults.into_iter();
        let of_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        explained.extend(
            names
                .into_iter()
                .map(|name| name.trim_matches(['[', ']']))
                .filter(|name| name.bytes().all(of_name))
                .map(|name| (name.to_owned(), defaults.next().map(str::to_owned))),
        );
    }
    explained
}

/// Pieces of code with commas between that a text begins with, and what follows them.
fn code_list(text: &str) -> (Vec<&str>, &str) {
    let (mut list, mut rest) = (Vec::new(), text);
    while let Some((code, after)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        list.push(code);
        rest = after;
        match rest.strip_prefix(", ") {
            Some(next) if next.starts_with('`') => rest = next,
            _ => break,
        }
    }
    (list, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(settings: &[(&str, Option<&str>)]) -> Settings {
        let owned = |(name, default): &(&str, Option<&str>)| {
            ((*name).to_owned(), default.map(str::to_owned))
        };
        settings.iter().map(owned).collect()
    }

    #[test]
    fn a_command_is_of_the_program_that_it_starts() {
        assert!(is_of("dist/sightscreen-edge --data x", "sightscreen-edge", None));
        assert!(is_of("sightscreen-origin serve", "sightscreen-origin", Some("serve")));
        assert!(!is_of("sightscreen-origin sign", "sightscreen-origin", Some("serve")));
        assert!(!is_of("useradd --shell x sightscreen-edge", "sightscreen-edge", None));
    }

    #[test]
    fn settings_are_explained_both_ways_with_their_defaults() {
        let help = "Options:\n      --listen <ADDR>  Listen, as --other does [default: a:1]\n\
            \x20     --log\n          How [default: plain]\n  -h, --help\n";
        let flags = flags_of(help);
        let expected = [("help", None), ("listen", Some("a:1")), ("log", Some("plain"))];
        assert_eq!(flags, settings(&expected));
        let section =
            ["- `listen`, `h264-rate` (`a:1`, `6`): so", "- `[[pods]]`: a", "- `A_B`: no"];
        let explained = explained(&section);
        let expected = [("listen", Some("a:1")), ("h264-rate", Some("6")), ("pods", None)];
        assert_eq!(explained, settings(&expected));
        // One is not there, one is not explained, and one has another default.
        assert_eq!(differences(&flags, &explained, "x").len(), 2);
        let other = settings(&[("listen", Some("b:1")), ("log", None)]);
        assert_eq!(differences(&flags, &other, "x").len(), 1);
    }
}
