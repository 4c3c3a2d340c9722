//! The live check of all events at once, with a break in each.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Stage;
use crate::live::Follower;

/// Long enough for content, the break and content again.
const CHECK_S: &str = "60";
/// For which they see content before the break.
const BEFORE_BREAK: Duration = Duration::from_secs(8);
const BREAK_S: u64 = 12;

/// Follows every event through the edge; how many had nothing broken. Prints what was.
pub(super) fn run(check: &Command, stage: &Stage) -> Result<f64> {
    let mut followers = Vec::new();
    for event in &stage.events {
        let entry = stage.servers.signed_entry_of(&event.id)?;
        followers.push(Follower::begin(check, &event.id, &["--for", CHECK_S], &entry)?);
    }
    sleep(BEFORE_BREAK);
    for event in &stage.events {
        let path = format!("/control/events/{}/breaks", event.id);
        stage.servers.control(&path, &json!({"length_s": BREAK_S}))?;
    }
    let mut whole = 0.0;
    for follower in followers {
        let judged = follower.judge()?;
        println!("  {}", judged.count);
        if judged.is_whole {
            whole += 1.0;
        } else {
            print!("{}", judged.faults);
        }
    }
    Ok(whole)
}
