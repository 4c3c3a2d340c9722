//! Runs other programs, quietly into a log, with progress and a time limit.
//!
//! A failure shows the end of the log and what to type to repeat the command.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::children::{self, AtSignal, Group};
use crate::paths;

/// For a compiler on a small machine.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);
/// For everything else.
const LIMIT: Duration = Duration::from_secs(10 * 60);
const PROGRESS_EVERY: Duration = Duration::from_secs(20);
const TAIL_LINES: usize = 40;

/// Runs a command with its output in `target/xtask/logs/{name}.log`, printing progress while it
/// takes long.
pub(crate) fn logged(name: &str, command: &mut Command) -> Result<String> {
    limited(name, command, LIMIT)
}

/// The same for what compiles, which takes longer.
pub(crate) fn built(name: &str, command: &mut Command) -> Result<String> {
    limited(name, command, BUILD_LIMIT)
}

fn limited(name: &str, command: &mut Command, limit: Duration) -> Result<String> {
    let path = log_file(name)?;
    let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut group = Group::spawn(command, AtSignal::Stops)
        .with_context(|| format!("{name}: {}", shown(command)))?;
    let status = finish(&mut group, name, limit, |seconds| {
        println!("    {name}: {seconds} s, {}", last_line(&path).unwrap_or_default());
    })?;
    children::check()?;
    let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
    let how = match status {
        Some(status) if status.success() => return Ok(text),
        Some(status) => format!("failed ({status})"),
        None => format!("did not end within {} min and was stopped", limit.as_secs() / 60),
    };
    bail!(
        "{name} {how}; the end of {}:\n{}\nrepeat it with: {}",
        path.display(),
        tail(&text),
        shown(command)
    )
}

/// Where the output of that name is kept.
pub(crate) fn log_file(name: &str) -> Result<PathBuf> {
    Ok(paths::work("logs")?.join(format!("{}.log", name.replace([' ', '/'], "-"))))
}

/// Waits for a group, telling `progress` the seconds now and then. One that does not end in time is
/// ended, and there is no status.
pub(crate) fn finish(
    group: &mut Group,
    name: &str,
    limit: Duration,
    progress: impl Fn(u64),
) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    let mut said = started;
    loop {
        if let Some(status) = group.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            // Doors and a browser are in groups of their own, which only those who started them can
            // end.
            group.end(name);
            return Ok(None);
        }
        if said.elapsed() >= PROGRESS_EVERY {
            said = Instant::now();
            progress(started.elapsed().as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Standard output of a command, or nothing when it cannot be run.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `cargo`, as the one that runs us, in the repository.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    // What cargo set for xtask itself must not change the fingerprints of what it builds.
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || name == "CARGO_PRIMARY_PACKAGE"
        });
        if ours {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// The same command at the lowest priority: it gets the processor when nothing else wants it.
pub(crate) fn idle(command: &Command) -> Command {
    let mut idle = Command::new("nice");
    idle.args(["-n", "19"]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        idle.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => idle.env(name, value),
            None => idle.env_remove(name),
        };
    }
    idle
}

/// The command as a person would type it, with the environment that it is given.
fn shown(command: &Command) -> String {
    let given = command
        .get_envs()
        .filter_map(|(name, value)| Some(assigned(&name.to_string_lossy(), value?)));
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| quoted(&word.to_string_lossy()));
    let words: Vec<_> = given.chain(words).collect();
    let at = command
        .get_current_dir()
        .filter(|dir| *dir != paths::root())
        .map_or_else(String::new, |dir| format!("cd {} && ", dir.display()));
    format!("{at}{}", words.join(" "))
}

/// Of a search path only what comes before the person's own.
fn assigned(name: &str, value: &OsStr) -> String {
    let value = value.to_string_lossy();
    let own = std::env::var(name).unwrap_or_default();
    match value.strip_suffix(&own) {
        Some(before) if name == "PATH" => format!("PATH=\"{before}$PATH\""),
        _ => format!("{name}={}", quoted(&value)),
    }
}

fn quoted(word: &str) -> String {
    if word.contains(|letter: char| letter.is_ascii_control()) {
        let escaped: String = word.chars().map(escaped).collect();
        return format!("$'{escaped}'");
    }
    if word.contains([' ', '"', '\'', '$', '&', ';', '(', '*']) || word.is_empty() {
        format!("'{}'", word.replace('\'', "'\\''"))
    } else {
        word.to_owned()
    }
}

fn escaped(letter: char) -> String {
    match letter {
        '\'' | '\\' => format!("\\{letter}"),
        letter if letter.is_ascii_control() => format!("\\x{:02x}", u32::from(letter)),
        letter => letter.to_string(),
    }
}

fn last_line(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(400))).ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let end = String::from_utf8_lossy(&end);
    let line = end.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(100).collect())
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_with_what_it_needs_to_be_repeated() {
        let own = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("cases");
        command
            .arg("--filter=a b")
            .env("PATH", format!("/tools:{own}"))
            .env("FLAGS", "-a\u{1f}-b")
            .env_remove("GONE");
        let expected = r#"FLAGS=$'-a\x1f-b' PATH="/tools:$PATH" cases '--filter=a b'"#;
        assert_eq!(shown(&command), expected);
    }

    #[test]
    fn what_passes_its_limit_is_given_time_to_end_what_it_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ended");
        let script =
            format!("trap 'touch {}; exit' TERM; while :; do sleep 0.1; done", file.display());
        let mut group = Group::spawn(Command::new("sh").args(["-c", &script]), AtSignal::Stops)
            .expect("a shell");
        let status = finish(&mut group, "shell", Duration::from_secs(1), |_| {});
        assert!(status.expect("no error").is_none());
        assert!(file.is_file());
    }
}
