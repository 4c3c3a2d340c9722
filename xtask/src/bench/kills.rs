//! The origin killed twenty times while two publishers send: how long after its start both events
//! have new parts, and how many segments became gaps. The test that this runs compares every
//! published byte.

use anyhow::{Context, Result};

use super::Figure;
use crate::{artifacts, run};

const KILLS: &str = "20";

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("{KILLS} kills of the origin, two publishers:");
    let mut test = artifacts::native_cargo("test");
    test.args(["--test", "kills", "--", "--nocapture"]).env("SIGHTSCREEN_KILLS", KILLS);
    let log = run::logged("kills", &mut test)?;
    let lines = log.lines().filter_map(told);
    let most = lines.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)));
    let (back_ms, gaps) = most.context("the test told of no kill")?;
    Ok(vec![
        Figure::new("from the start to new parts, longest", back_ms / 1000.0, "s").at_most(3.0),
        Figure::new("segments that became gaps, most of a kill", gaps, "").at_most(1.0),
    ])
}

/// Milliseconds and gaps of a line `kill 3: back after 1620 ms, 1 gaps`.
fn told(line: &str) -> Option<(f64, f64)> {
    let (_, rest) = line.strip_prefix("kill ")?.split_once(": back after ")?;
    let (back_ms, gaps) = rest.strip_suffix(" gaps")?.split_once(" ms, ")?;
    Some((back_ms.parse().ok()?, gaps.parse().ok()?))
}
