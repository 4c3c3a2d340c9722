//! `cargo xtask bench`: the core, the host beside nginx, idle connections, sizes, cold starts, and
//! latency in a browser.
//!
//! Owns what is measured and against which number it is shown. Invariant: a number that is printed
//! was measured in this run.

mod browser;
mod cold;
mod core;
mod descriptors;
mod host;
mod idle;
mod nginx;
mod recording;
pub(crate) mod sizes;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use lexopt::prelude::*;
use serde_json::{Value, json};

use crate::tools;

/// One measured number.
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it should be, in words and as a test; absent where there is only something to know.
    goal: Option<(&'static str, f64)>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, goal: None }
    }

    pub(crate) fn at_least(mut self, goal: f64) -> Self {
        self.goal = Some(("at least", goal));
        self
    }

    pub(crate) fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(("at most", goal));
        self
    }

    fn met(&self) -> Option<bool> {
        self.goal.map(
            |(words, goal)| {
                if words == "at least" { self.value >= goal } else { self.value <= goal }
            },
        )
    }

    fn print(&self) {
        let goal = self.goal.map_or_else(String::new, |(words, goal)| {
            let met = if self.met() == Some(true) { "met" } else { "MISSED" };
            format!("{words} {goal}: {met}")
        });
        println!("  {:<44} {:>12} {:<12} {goal}", self.name, short(self.value), self.unit);
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "value": self.value, "unit": self.unit,
            "goal": self.goal.map(|(words, goal)| format!("{words} {goal}")), "met": self.met(),
        })
    }
}

type Measure = fn() -> Result<Vec<Figure>>;

const SECTIONS: [(&str, Measure); 5] = [
    ("core", core::measure),
    ("host", host::measure),
    ("sizes", sizes::measure),
    ("cold", cold::measure),
    ("browser", browser::measure),
];

/// `cargo xtask bench [--json FILE] [--only core|host|sizes|cold|browser]`.
pub(crate) fn command(mut args: lexopt::Parser) -> Result<ExitCode> {
    let mut file: Option<PathBuf> = None;
    let mut only = String::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long("json") => file = Some(args.value()?.into()),
            Long("only") => only = args.value()?.string()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    tools::need(tools::LIVE)?;
    tools::need(tools::BENCH)?;
    let mut figures = Vec::new();
    let mut ran = false;
    for (_, measure) in SECTIONS.iter().filter(|(name, _)| name.contains(&only)) {
        ran = true;
        let measured = measure()?;
        measured.iter().for_each(Figure::print);
        figures.extend(measured);
    }
    anyhow::ensure!(ran, "no section's name contains {only:?}");
    if let Some(file) = file {
        let all: Vec<_> = figures.iter().map(Figure::json).collect();
        std::fs::write(&file, format!("{:#}\n", Value::from(all)))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn short(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
