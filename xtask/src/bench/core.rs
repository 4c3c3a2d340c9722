//! The core's own microbenchmarks: a program that prints one JSON line for each.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Figure;
use crate::run;

/// Allocations of one decision.
const A_HANDFUL: f64 = 8.0;

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("core, native:");
    let log = run::built(
        "bench core",
        run::cargo().args(["bench", "--package", "sightscreen-core", "--bench", "core"]),
    )?;
    let figures: Vec<_> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .flat_map(|line| figures(&line))
        .collect();
    if figures.is_empty() {
        return Err(anyhow::anyhow!("{log}")).context("the core's benchmark printed no JSON line");
    }
    Ok(figures)
}

fn figures(line: &Value) -> Vec<Figure> {
    let Some(name) = line["name"].as_str() else {
        return Vec::new();
    };
    if line["anew_ns"].is_number() {
        return ways_to_wait(name, line);
    }
    let mut figures = Vec::new();
    if let Some(ns) = line["ns"].as_f64() {
        let time = Figure::new(name, ns / 1000.0, "us");
        figures.push(match name {
            "pass_verify" => time.at_most(1.5),
            "stitch_30_segments_in_break" => time.at_most(12.0),
            _ => time,
        });
    }
    if let Some(count) = line["allocations"].as_f64() {
        let allocations = Figure::new(format!("{name}, allocations"), count, "");
        figures.push(match name {
            "pass_verify" | "stitch_30_segments_in_break" => allocations.at_most(A_HANDFUL),
            _ => allocations,
        });
    }
    figures
}

/// Of an exchange that is kept while it waits, and of one that is begun anew whenever something
/// came. Who keeps none must give it every body once more.
fn ways_to_wait(name: &str, line: &Value) -> Vec<Figure> {
    let number = |key: &str| line[key].as_f64().unwrap_or_default();
    let (resumed, anew) = (number("resumed_ns"), number("anew_ns"));
    vec![
        Figure::new(format!("{name}, exchange kept"), resumed / 1000.0, "us"),
        Figure::new(format!("{name}, begun anew"), anew / 1000.0, "us"),
        Figure::new(format!("{name}, ratio"), anew / resumed, ""),
        Figure::new(format!("{name}, given again"), number("bytes_again") / 1024.0, "KiB"),
    ]
}
