//! Whether the documents are true as far as a machine can tell: links lead somewhere, commands and
//! flags exist, every setting is explained, and lines fit the page.
//!
//! Examples of the control API are read here and tried by the step that has an operator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::CommandFactory;

use super::Outcome;
use crate::{CommandLine, artifacts, paths, run};

/// Characters of a line.
const COLUMNS: usize = 100;
/// What tools make, not people.
const NOT_OURS: [&str; 8] =
    ["target", "node_modules", "var", "dist", "build", "pkg", "corpus", "artifacts"];
/// Flags that are no settings.
const NO_SETTINGS: [&str; 3] = ["help", "version", "config"];
/// Settings of a TOML table, which no flag can be.
const FILE_ONLY: [&str; 2] = ["pods", "snapshots"];
const SETTINGS: &str = "docs/settings.md";
const CONTROL: &str = "docs/control-api.md";

/// A Markdown file.
struct Document {
    /// From the repository's root.
    path: PathBuf,
    text: String,
}

/// A request that a document shows as a `curl` command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Example {
    pub(super) method: String,
    /// With the shell's variables in it.
    pub(super) url: String,
    pub(super) body: Option<String>,
    /// Whether it carries the operator's token.
    pub(super) has_token: bool,
}

/// Names with their defaults.
type Settings = BTreeMap<String, Option<String>>;

/// The step: everything, which includes what needs the built programs.
pub(super) fn check() -> Result<Outcome> {
    let documents = documents()?;
    let mut faults = plain_faults(&documents);
    for (program, sub) in [("sightscreen-origin", Some("serve")), ("sightscreen-edge", None)] {
        let help = help(&artifacts::native(program)?, sub)?;
        faults.extend(settings_faults(&documents, program, sub, &flags_of(&help))?);
    }
    faults.extend(route_faults(&documents)?);
    ensure!(faults.is_empty(), "the documents and the code disagree:\n  {}", faults.join("\n  "));
    Ok(Outcome::Passed(format!("{} documents", documents.len())))
}

/// The control API's requests, in the order of the document.
pub(super) fn examples() -> Result<Vec<Example>> {
    let documents = documents()?;
    let document = find(&documents, CONTROL)?;
    document.commands().filter_map(|command| example(&command).transpose()).collect()
}

/// What can be told from the texts alone.
fn plain_faults(documents: &[Document]) -> Vec<String> {
    let mut faults = Vec::new();
    for document in documents {
        faults.extend(document.long_lines());
        faults.extend(document.dead_links(documents));
        faults.extend(document.unknown_commands());
    }
    faults
}

fn find<'a>(documents: &'a [Document], path: &str) -> Result<&'a Document> {
    let found = documents.iter().find(|document| document.path == Path::new(path));
    found.with_context(|| format!("there is no {path}"))
}

fn documents() -> Result<Vec<Document>> {
    let root = paths::root();
    let mut documents = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hidden = name.starts_with('.') && name != ".github";
            if path.is_dir() && !path.is_symlink() {
                if !hidden && !NOT_OURS.contains(&name) {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                let text = fs::read_to_string(&path)?;
                documents.push(Document { path: path.strip_prefix(&root)?.to_path_buf(), text });
            }
        }
    }
    documents.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(documents)
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
    fn commands(&self) -> impl Iterator<Item = String> {
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

    fn long_lines(&self) -> Vec<String> {
        let long = self.lines().filter(|(_, _, line)| is_too_long(line));
        long.map(|(at, ..)| format!("{}: is longer than {COLUMNS} columns", self.at(at))).collect()
    }

    fn dead_links(&self, documents: &[Document]) -> Vec<String> {
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

    fn headings(&self) -> impl Iterator<Item = (usize, &str)> {
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
    fn unknown_commands(&self) -> Vec<String> {
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

    /// The lines of the section that a heading of this text begins.
    fn section(&self, title: &str) -> Result<Vec<&str>> {
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
fn settings_faults(
    documents: &[Document],
    program: &str,
    sub: Option<&str>,
    flags: &Settings,
) -> Result<Vec<String>> {
    let command = sub.map_or(program.to_owned(), |sub| format!("{program} {sub}"));
    let section = find(documents, SETTINGS)?.section(&command)?;
    let mut faults = differences(flags, &explained(&section), &command);
    for document in documents {
        for line in document.commands().filter(|line| line.contains(&command)) {
            let after = line.split(&command).nth(1).unwrap_or_default();
            faults.extend(
                flags_in(after).filter(|flag| !flags.contains_key(flag)).map(|flag| {
                    format!("{}: {command} takes no --{flag}", document.path.display())
                }),
            );
        }
    }
    Ok(faults)
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
                Some(format!("{SETTINGS}: the default of {name} is {is:?} in --help of {command}"))
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
        let of_name = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
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

/// Routes of the control API without an example, and examples without a route.
fn route_faults(documents: &[Document]) -> Result<Vec<String>> {
    let document = find(documents, CONTROL)?;
    let routes: Vec<(&str, &str)> = document
        .headings()
        .filter_map(|(_, line)| line.split('`').nth(1)?.split_once(' '))
        .collect();
    ensure!(!routes.is_empty(), "{CONTROL} has no heading such as `GET /health`");
    let examples = examples()?;
    let shows = |example: &Example, (method, route): (&str, &str)| {
        example.method == method && fits(route, &example.url)
    };
    let without = routes
        .iter()
        .filter(|route| !examples.iter().any(|example| shows(example, **route)))
        .map(|(method, route)| format!("{CONTROL}: no example of {method} {route}"));
    let unknown = examples
        .iter()
        .filter(|example| !routes.iter().any(|route| shows(example, *route)))
        .map(|example| format!("{CONTROL}: no heading for {} {}", example.method, example.url));
    Ok(without.chain(unknown).collect())
}

/// Whether a URL such as `$CONTROL/control/events/demo` is of the route `/control/events/{event}`.
fn fits(route: &str, url: &str) -> bool {
    let path = url.split_once('/').map_or("", |(_, path)| path);
    let (route, path): (Vec<_>, Vec<_>) =
        (route.trim_start_matches('/').split('/').collect(), path.split('/').collect());
    route.len() == path.len()
        && route.iter().zip(path).all(|(one, other)| one.starts_with('{') || *one == other)
}

/// The request of a `curl` command; none of another command.
fn example(command: &str) -> Result<Option<Example>> {
    let words = words(command);
    let mut words = words.iter().map(String::as_str);
    if words.next() != Some("curl") {
        return Ok(None);
    }
    let mut example =
        Example { method: "GET".to_owned(), url: String::new(), body: None, has_token: false };
    let mut method = None;
    while let Some(word) = words.next() {
        match word {
            "-X" => method = words.next(),
            "-H" => {
                let header = words.next().unwrap_or_default();
                example.has_token |= header == "authorization: Bearer $TOKEN";
            }
            "-d" => example.body = words.next().map(str::to_owned),
            url if url.starts_with('$') => example.url = url.to_owned(),
            other => bail!("{CONTROL}: {other} in {command:?} is not understood by the test"),
        }
    }
    // As curl does.
    let posts = if example.body.is_some() { "POST" } else { "GET" };
    method.unwrap_or(posts).clone_into(&mut example.method);
    Ok(Some(example))
}

/// The words of a shell's command, quotes taken away.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (None::<String>, None);
    for letter in command.chars() {
        match (quote, letter) {
            (Some(open), letter) if open == letter => quote = None,
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (_, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { path: "docs/a.md".into(), text: text.to_owned() }
    }

    fn settings(settings: &[(&str, Option<&str>)]) -> Settings {
        let owned = |(name, default): &(&str, Option<&str>)| {
            ((*name).to_owned(), default.map(str::to_owned))
        };
        settings.iter().map(owned).collect()
    }

    #[test]
    fn the_documents_hold_as_far_as_their_texts_tell() {
        let documents = documents().expect("documents");
        let mut faults = plain_faults(&documents);
        faults.extend(route_faults(&documents).expect("the control API"));
        assert!(faults.is_empty(), "{faults:#?}");
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
    fn settings_are_explained_both_ways_with_their_defaults() {
        let help = "Options:\n      --listen <ADDR>  Listen, as --other does [default: a:1]\n\
            \x20     --log\n          How [default: plain]\n  -h, --help\n";
        let flags = flags_of(help);
        let expected = [("help", None), ("listen", Some("a:1")), ("log", Some("plain"))];
        assert_eq!(flags, settings(&expected));
        let section =
            ["- `listen`, `dvr` (`a:1`, `6`): seconds: many", "- `[[pods]]`: a", "- `A_B`: no"];
        let explained = explained(&section);
        let expected = [("listen", Some("a:1")), ("dvr", Some("6")), ("pods", None)];
        assert_eq!(explained, settings(&expected));
        // One is not there, one is not explained, and one has another default.
        assert_eq!(differences(&flags, &explained, "x").len(), 2);
        let other = settings(&[("listen", Some("b:1")), ("log", None)]);
        assert_eq!(differences(&flags, &other, "x").len(), 1);
    }

    #[test]
    fn a_curl_command_is_read_as_a_request() {
        let text = "```\ncurl -H \"authorization: Bearer $TOKEN\" \\\n  -d '{\"a\": 1}' $CONTROL/a/b\n\
            curl $ADMIN/healthz\nls -l\n```\n";
        let examples: Vec<Example> = document(text)
            .commands()
            .filter_map(|command| example(&command).expect("understood"))
            .collect();
        assert_eq!(examples.len(), 2);
        assert_eq!(
            (examples[0].method.as_str(), examples[0].url.as_str()),
            ("POST", "$CONTROL/a/b")
        );
        assert_eq!(examples[0].body.as_deref(), Some("{\"a\": 1}"));
        assert!(examples[0].has_token && !examples[1].has_token);
        assert_eq!(examples[1].method, "GET");
        assert!(fits("/a/{id}", "$CONTROL/a/b") && !fits("/a", "$CONTROL/a/b"));
        assert!(example("curl --proxy x $CONTROL/").is_err());
    }
}
