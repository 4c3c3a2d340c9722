//! The demonstration in a real browser, through a break: how soon there is a picture, how far
//! behind the match a viewer is, and whether the picture stands.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Figure;
use crate::servers::{Plan, Servers};
use crate::{browser, up};

/// Long enough for the first break of the schedule and the content after it.
const PLAY_S: u64 = 60;
const REPEAT: &str = "cargo xtask bench --only browser";

pub(super) fn measure() -> Result<Vec<Figure>> {
    println!("browser, through a break:");
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = Servers::start(Plan::fresh(scratch.path(), "test")?)?;
    servers.ready()?;
    // An event that begins makes its creatives ready, which takes the whole machine.
    servers.prepared()?;
    let report = browser::play(&mut servers, PLAY_S, None)?;
    // Pace is what is measured here; anything else that is wrong makes the figures worthless.
    match browser::judge(&servers, &report)?.demand(REPEAT) {
        Err(error) if !error.is::<browser::TooSlow>() => return Err(error),
        _ => {}
    }
    figures(&report)
}

fn figures(report: &Value) -> Result<Vec<Figure>> {
    let reported = |name: &str, value: &Value| {
        value.as_f64().with_context(|| format!("the browser did not report {name}"))
    };
    let median = |name: &str| reported(name, &report[name]["median"]);
    let seconds = |name: &str| Ok::<_, anyhow::Error>(reported(name, &report[name])? / 1000.0);
    Ok(vec![
        Figure::new("first picture after the page was opened", seconds("firstPictureMs")?, "s")
            .at_most(1.0),
        Figure::new("longest task of the page", seconds("longestTaskMs")?, "s").at_most(0.1),
        Figure::new("latency by hls.js, median", median("latency")?, "s").at_most(2.5),
        Figure::new("latency read off the picture, median", median("pictureLatency")?, "s")
            .at_most(2.5),
        Figure::new("longest stall", browser::longest_stall(report), "s").at_most(browser::STALL),
    ])
}
