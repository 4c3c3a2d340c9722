//! `cargo xtask bench`: the core, the host beside nginx, idle connections, viewers who do not read,
//! sizes, cold starts, what waiting viewers cost the origin, requests that it holds, how soon it is
//! back after a kill, how many events it holds, its ladder beside bare ffmpeg, and latency in a
//! browser.
//!
//! Every number that is printed was measured in this run.

mod browser;
mod cold;
mod collapse;
mod core;
mod descriptors;
mod events;
mod held;
mod host;
mod idle;
mod kills;
mod ladder;
mod nginx;
mod process;
mod recording;
pub(crate) mod sizes;
mod slow;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
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

const SECTIONS: [(&str, Measure); 11] = [
    ("core", core::measure),
    ("host", host::measure),
    ("slow-readers", slow::measure),
    ("sizes", sizes::measure),
    ("cold", cold::measure),
    ("collapse", collapse::measure),
    ("held", held::measure),
    ("kills", kills::measure),
    ("events", events::measure),
    ("ladder", ladder::measure),
    ("browser", browser::measure),
];

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also write the figures here.
    #[arg(long = "json", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Measure only this.
    #[arg(long, value_name = "SECTION", value_parser = SECTIONS.map(|(name, _)| name))]
    only: Option<String>,
}

/// `cargo xtask bench ...`.
pub(crate) fn command(options: &Options) -> Result<ExitCode> {
    let Options { file, only } = options;
    tools::need(tools::LIVE)?;
    tools::need(tools::BENCH)?;
    let mut figures = Vec::new();
    let chosen = |name: &str| only.as_deref().is_none_or(|only| only == name);
    for (_, measure) in SECTIONS.iter().filter(|(name, _)| chosen(name)) {
        let measured = measure()?;
        measured.iter().for_each(Figure::print);
        figures.extend(measured);
    }
    if let Some(file) = file {
        let all: Vec<_> = figures.iter().map(Figure::json).collect();
        std::fs::write(file, format!("{:#}\n", Value::from(all)))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The middle one, or halfway between the two in the middle; 0 of none.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = |at: usize| values.get(at).copied().unwrap_or_default();
    f64::midpoint(middle(values.len().saturating_sub(1) / 2), middle(values.len() / 2))
}

fn short(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
