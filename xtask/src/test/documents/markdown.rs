//! One Markdown file, and what can be wrong with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::{CommandLine, paths, release};

/// Characters of a line.
const COLUMNS: usize = 100;
/// Endings of files that are code, rather than an operator's own.
const CODE: [&str; 3] = [".rs", ".mjs", ".wit"];

/// A Markdown file.
pub(super) struct Document {
    /// From the repository's root.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Document {
    fn at(&self, line: usize) -> String {
        format!("{}:{}", self.path.display(), line + 1)
    }

    /// Lines by number, each with whether it is part of a block of code.
    fn lines(&self) -> impl Iterator<Item = (usize, bool, &str)> {
        let mut fenced = false;
        self.text.lines().enumerate().map(move |(at, line)| {
            let fence = line.trim_start().starts_with("```");
            let code = fenced || fence;
            fenced ^= fence;
            (at, code, line)
        })
    }

    fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(_, code, _)| !code).map(|(at, _, line)| (at, line))
    }

    /// Commands of the blocks of code, each whole where it goes over several lines.
    pub(super) fn commands(&self) -> impl Iterator<Item = String> {
        let code = self.lines().filter(|(_, code, _)| *code);
        let mut commands = vec![String::new()];
        for (_, _, line) in code {
            let (part, goes_on) = match line.strip_suffix('\\') {
                Some(part) => (part, true),
                None => (line, false),
            };
            if let Some(last) = commands.last_mut() {
                last.push_str(part);
            }
            if !goes_on {
                commands.push(String::new());
            }
        }
        commands.into_iter()
    }

    pub(super) fn long_lines(&self) -> Vec<String> {
        let long = self.lines().filter(|(_, _, line)| is_too_long(line));
        long.map(|(at, ..)| format!("{}: is longer than {COLUMNS} columns", self.at(at))).collect()
    }

    pub(super) fn dead_links(&self, documents: &[Document]) -> Vec<String> {
        let mut faults = Vec::new();
        for (at, line) in self.prose() {
            let links = line.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
            for link in links.filter(|link| !link.contains("://")) {
                if !self.leads_somewhere(link, documents) {
                    faults.push(format!("{}: there is nothing at {link}", self.at(at)));
                }
            }
        }
        faults
    }

    fn leads_somewhere(&self, link: &str, documents: &[Document]) -> bool {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let path = if file.is_empty() { self.path.clone() } else { plain(&folder.join(file)) };
        let target = documents.iter().find(|document| document.path == path);
        match target {
            Some(target) => anchor.is_empty() || target.anchors().any(|one| one == anchor),
            None => anchor.is_empty() && paths::root().join(&path).exists(),
        }
    }

    pub(super) fn headings(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose().filter(|(_, line)| line.starts_with('#'))
    }

    fn anchors(&self) -> impl Iterator<Item = String> {
        self.headings().map(|(_, line)| {
            let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
            let title: String = line.trim_start_matches('#').trim().chars().filter(kept).collect();
            title.to_lowercase().replace(' ', "-")
        })
    }

    /// Commands of xtask that it does not have, and flags that they do not take.
    pub(super) fn unknown_commands(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            for shown in line.split("cargo xtask ").skip(1) {
                let shown = shown.split(['`', '#', '|', ';', '&', ')']).next().unwrap_or_default();
                if let Some(fault) = command_fault(shown) {
                    faults.push(format!("{}: cargo xtask {fault}", self.at(at)));
                }
            }
        }
        faults
    }

    /// Files of code that are named and are not there: a whole path, or its end.
    pub(super) fn unknown_files(&self, files: &[PathBuf]) -> Vec<String> {
        let mut faults = Vec::new();
        for (at, line) in self.prose() {
            let code = line.split('`').skip(1).step_by(2);
            let named = code.filter(|code| CODE.iter().any(|ending| code.ends_with(ending)));
            for name in named.filter(|name| name.bytes().all(is_of_path)) {
                if !files.iter().any(|file| file.ends_with(name)) {
                    faults.push(format!("{}: there is no {name}", self.at(at)));
                }
            }
        }
        faults
    }

    /// Files that are taken from a release, below `dist`, and are not in it.
    pub(super) fn unreleased_files(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (at, line) in self.text.lines().enumerate() {
            let words = line.split(|letter: char| !letter.is_ascii() || !is_of_path(letter as u8));
            let taken = words.filter_map(|word| word.strip_prefix("dist/"));
            for path in taken.map(|path| path.trim_end_matches('.')) {
                let name = path.split('/').next().unwrap_or_default();
                if !name.is_empty() && !release::CONTENTS.contains(&name) {
                    faults.push(format!("{}: no release has {name}", self.at(at)));
                }
            }
        }
        faults
    }

    /// The lines of the section that a heading of this text begins.
    pub(super) fn section(&self, title: &str) -> Result<Vec<&str>> {
        let level = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
        let mut lines = self.text.lines().skip_while(|line| {
            !(line.starts_with('#') && line.trim_start_matches('#').trim() == title)
        });
        let head = lines
            .next()
            .with_context(|| format!("{} has no section {title}", self.path.display()))?;
        let ends = |line: &&str| !line.starts_with('#') || level(line) > level(head);
        Ok(lines.take_while(ends).collect())
    }
}

fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-".contains(&byte)
}

/// Whether a line is too long that could be broken. A signed URL or a key cannot.
fn is_too_long(line: &str) -> bool {
    let longest = line.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
    line.chars().count() > COLUMNS && longest < COLUMNS / 2
}

/// Without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What is wrong with what follows `cargo xtask`, if anything.
fn command_fault(shown: &str) -> Option<String> {
    let mut words = shown.split_whitespace();
    // A sentence may name the program alone.
    let name = words.next()?.trim_end_matches(['.', ',', ':']);
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
        return None;
    }
    let program = CommandLine::command();
    let Some(command) = program.find_subcommand(name) else {
        return Some(format!("{name} is no command"));
    };
    if command.get_arguments().any(clap::Arg::is_allow_hyphen_values_set) {
        return None;
    }
    let has = |flag: &str| command.get_arguments().any(|arg| arg.get_long() == Some(flag));
    let values: Vec<_> =
        command.get_positionals().flat_map(clap::Arg::get_possible_values).collect();
    let knows =
        |word: &str| values.is_empty() || values.iter().any(|value| value.matches(word, false));
    words.find_map(|word| match word.strip_prefix("--") {
        Some(flag) => (!has(flag)).then(|| format!("{name} has no --{flag}")),
        None => (!knows(word)).then(|| format!("{name} takes no {word}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { path: "docs/a.md".into(), text: text.to_owned() }
    }

    #[test]
    fn a_link_must_lead_to_a_file_and_to_a_heading() {
        let readme = Document { path: "README.md".into(), text: "# Two words\n".to_owned() };
        let good = "# Of `this`, mine\n[a](../README.md) [b](#of-this-mine) [c](https://a.b/c)\n\
            [d](../README.md#two-words)\n```\n[e](nowhere)\n```\n";
        let bad = "[a](README.md)\n[b](b.md#no)\n[c](../README.md#one-word)\n";
        assert_eq!(document(good).anchors().collect::<Vec<_>>(), ["of-this-mine"]);
        let both = [document(good), readme];
        assert!(both[0].dead_links(&both).is_empty());
        assert_eq!(document(bad).dead_links(&both).len(), 3);
    }

    #[test]
    fn commands_and_their_flags_are_those_that_xtask_has() {
        for good in ["up --input rtmp", "test --only TEXT", "cases --door all --filter a", "up"] {
            assert_eq!(command_fault(good), None, "{good}");
        }
        assert_eq!(command_fault("tets"), Some("tets is no command".to_owned()));
        assert_eq!(command_fault("up --door x"), Some("up has no --door".to_owned()));
        assert_eq!(command_fault("build moon"), Some("build takes no moon".to_owned()));
        let faults = document("a\n`cargo xtask fly`, or `cargo xtask up`").unknown_commands();
        assert_eq!(faults, ["docs/a.md:2: cargo xtask fly is no command"]);
    }

    #[test]
    fn long_lines_are_found_by_their_characters() {
        let text =
            format!("{}\n{}\nurl {}\n", "é é ".repeat(25), "é é é".repeat(21), "e".repeat(COLUMNS));
        assert_eq!(document(&text).long_lines(), ["docs/a.md:2: is longer than 100 columns"]);
    }

    #[test]
    fn what_is_taken_from_a_release_is_in_it() {
        let good = "In `dist/`.\n`dist/page/page.js`, dist/sightscreen-edge.service. /a/dist/b\n";
        assert!(document(good).unreleased_files().is_empty());
        let faults = document("```\ncp dist/edge.service /etc\n```\n").unreleased_files();
        assert_eq!(faults, ["docs/a.md:2: no release has edge.service"]);
    }

    #[test]
    fn files_of_code_are_named_by_a_whole_path_or_its_end() {
        let files = ["edge/core/src/lib.rs".into(), "README.md".into()];
        let good = "`lib.rs`, `core/src/lib.rs`, `keyring.json`, `fn a.rs()`\n";
        assert!(document(good).unknown_files(&files).is_empty());
        let faults = document("`b.rs` and `ib.rs`\n").unknown_files(&files);
        assert_eq!(faults, ["docs/a.md:1: there is no b.rs", "docs/a.md:1: there is no ib.rs"]);
    }
}
