//! The origin killed twenty times while two publishers send, and the power cut as often: how long
//! after its start both events have new parts, and how many segments became gaps. The tests that
//! this runs compare every published byte.

use anyhow::{Context, Result};

use super::Figure;
use crate::{artifacts, run};

const TIMES: &str = "20";

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("{TIMES} kills of the origin and as many power cuts, two publishers:");
    let mut test = artifacts::native_cargo("test");
    test.args(["--test", "kills", "--", "--nocapture", "--test-threads=1"])
        .env("SIGHTSCREEN_KILLS", TIMES);
    let log = run::logged("kills", &mut test)?;
    let kills = figures(&log, "kill", 1.0)?;
    let cuts = figures(&log, "power cut", 3.0)?;
    Ok(kills.into_iter().chain(cuts).collect())
}

/// What the lines that have this in them tell.
fn figures(log: &str, end: &str, most_gaps: f64) -> Result<[Figure; 2]> {
    let begins = format!("{end} ");
    let lines = log.lines().filter_map(|line| told(line, &begins));
    let most = lines.reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)));
    let (back_ms, gaps) = most.with_context(|| format!("the tests told of no {end}"))?;
    let back = format!("{end}: from the start to new parts, longest");
    let gap = format!("{end}: segments that became gaps, most");
    Ok([
        Figure::new(back, back_ms / 1000.0, "s").at_most(3.0),
        Figure::new(gap, gaps, "").at_most(most_gaps),
    ])
}

/// Milliseconds and gaps of a line `kill 3: back after 1620 ms, 1 gaps`, which may have more at
/// both ends.
fn told(line: &str, end: &str) -> Option<(f64, f64)> {
    let (_, rest) = line.split_once(end)?.1.split_once(": back after ")?;
    let (back_ms, rest) = rest.split_once(" ms, ")?;
    let (gaps, _) = rest.split_once(" gaps")?;
    Some((back_ms.parse().ok()?, gaps.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_of_a_kill_or_of_a_power_cut() {
        let kill = "test a ... kill 1: back after 1283 ms, 0 gaps";
        let cut = "power cut 20: back after 1910 ms, 2 gaps, 1 lost";
        assert_eq!(told(kill, "kill "), Some((1283.0, 0.0)));
        assert_eq!(told(cut, "power cut "), Some((1910.0, 2.0)));
        assert_eq!((told(cut, "kill "), told(kill, "power cut ")), (None, None));
    }
}
