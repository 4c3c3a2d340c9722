//! A live check that runs beside others.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::children::{AtSignal, Group};
use crate::run::{finish, log_file};

const LIMIT: Duration = Duration::from_secs(180);

/// A running check.
pub(crate) struct Follower {
    group: Group,
    name: String,
    log: PathBuf,
}

/// What a check said.
pub(crate) struct Judged {
    /// Whether nothing was broken, and everything seen.
    pub(crate) is_whole: bool,
    /// How many rules held.
    pub(crate) count: String,
    /// What is to be read where it is not whole.
    pub(crate) faults: String,
}

impl Follower {
    /// Follows an event from its entry URL, by a check with these arguments.
    pub(crate) fn begin(check: &Command, event: &str, args: &[&str], url: &str) -> Result<Self> {
        let name = format!("live check {event}");
        let log = log_file(&name)?;
        let out = std::fs::File::create(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut check = Command::new(check.get_program());
        check.args(args).arg(url).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        Ok(Self { group: Group::spawn(&mut check, AtSignal::Stops)?, name, log })
    }

    /// Waits for its end.
    pub(crate) fn judge(mut self) -> Result<Judged> {
        let status = finish(&mut self.group, &self.name, LIMIT, |_| {})?;
        let said = std::fs::read_to_string(&self.log)?;
        let count = said.lines().last().unwrap_or("it said nothing");
        let is_fine = |line: &str| {
            ["ok ", "unseen ", "saw ", "following "].iter().any(|word| line.starts_with(word))
        };
        let faults = said.lines().filter(|line| !is_fine(line)).map(|line| format!("    {line}\n"));
        Ok(Judged {
            is_whole: status.is_some_and(|status| status.success()),
            count: format!("{}: {count}", self.name),
            faults: faults.collect(),
        })
    }
}
