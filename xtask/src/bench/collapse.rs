//! What viewers who wait for the same playlist cost the origin, where the door's processes and
//! instances share nothing while they wait: at Cloudflare through several processes of workerd,
//! each with one isolate and a cache of its own, and at Spin through the instances of its pool.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Figure;
use crate::{artifacts, cases, run};

const VIEWERS: u32 = 200;

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("origin requests for a playlist that {VIEWERS} viewers wait for, worst of five:");
    let mut figures = Vec::new();
    for processes in [1, 2, 4] {
        let most = herd("cloudflare", processes, &[])?;
        let figure = Figure::new(format!("Cloudflare, {processes} workerd"), most, "requests");
        figures.push(figure.at_most(f64::from(processes)));
    }
    // Named as if it were Spin, the stand-in has the limits of Spin's instances.
    let spin = artifacts::spin_host()?.into_os_string();
    let most = herd("spin", 1, &["--spin".into(), spin])?;
    figures.push(Figure::new("Spin, one process", most, "requests"));
    Ok(figures)
}

/// The most requests of a round.
fn herd(door: &str, processes: u32, more: &[std::ffi::OsString]) -> Result<f64> {
    let mut herd = cases::herd(door)?;
    herd.args(["--processes", &processes.to_string(), "--viewers", &VIEWERS.to_string()]);
    let log = run::logged(&format!("herd {door} {processes}"), herd.args(more))?;
    let last = log.lines().last().unwrap_or_default();
    let figures: Value =
        serde_json::from_str(last).with_context(|| format!("the herd wrote no figures: {last}"))?;
    let rounds = figures["requests"].as_array().context("the herd told no requests")?;
    let most = rounds.iter().filter_map(Value::as_f64).reduce(f64::max);
    most.context("the herd waited for nothing")
}
