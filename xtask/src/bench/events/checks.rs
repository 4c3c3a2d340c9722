//! The live check of all events at once, with a break in each.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Stage;
use crate::children::{AtSignal, Group};
use crate::run::{finish, log_file};

/// Long enough for content, the break and content again.
const CHECK_S: &str = "60";
const LIMIT: Duration = Duration::from_secs(180);
/// For which they see content before the break.
const BEFORE_BREAK: Duration = Duration::from_secs(8);
const BREAK_S: u64 = 12;

/// A running check.
struct Follower {
    group: Group,
    name: String,
    log: PathBuf,
}

/// Follows every event through the edge; how many had nothing broken. Prints what was.
pub(super) fn run(check: &Command, stage: &Stage) -> Result<f64> {
    let mut followers = Vec::new();
    for event in &stage.events {
        followers.push(follow(check, stage, &event.id)?);
    }
    sleep(BEFORE_BREAK);
    for event in &stage.events {
        let path = format!("/control/events/{}/breaks", event.id);
        stage.servers.control(&path, &json!({"length_s": BREAK_S}))?;
    }
    let mut whole = 0.0;
    for follower in followers {
        if judge(follower)? {
            whole += 1.0;
        }
    }
    Ok(whole)
}

fn follow(check: &Command, stage: &Stage, id: &str) -> Result<Follower> {
    let name = format!("live check {id}");
    let log = log_file(&name)?;
    let out =
        std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut check = Command::new(check.get_program());
    check
        .args(["--for", CHECK_S])
        .arg(stage.servers.signed_entry_of(id)?)
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out);
    Ok(Follower { group: Group::spawn(&mut check, AtSignal::Stops)?, name, log })
}

/// Whether nothing was broken, and everything seen. Prints the count, and what failed.
fn judge(mut follower: Follower) -> Result<bool> {
    let status = finish(&mut follower.group, &follower.name, LIMIT, |_| {})?;
    let said = std::fs::read_to_string(&follower.log)?;
    println!("  {}: {}", follower.name, said.lines().last().unwrap_or("it said nothing"));
    let fine = |line: &&str| {
        ["ok ", "unseen ", "saw ", "following "].iter().all(|word| !line.starts_with(word))
    };
    let passed = status.is_some_and(|status| status.success());
    if !passed {
        said.lines().filter(fine).for_each(|line| println!("    {line}"));
    }
    Ok(passed)
}
