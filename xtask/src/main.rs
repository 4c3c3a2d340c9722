//! `cargo xtask`: sets up the tools, builds, runs, tests, measures and releases Sightscreen.
//!
//! Nothing here runs in production. A command that prints success has seen it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod artifacts;
mod bench;
mod browser;
mod cases;
mod children;
mod clip;
mod live;
mod paths;
mod ports;
mod release;
mod run;
mod servers;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Sets up the tools, builds, runs, tests, measures and releases Sightscreen.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds, starts the origin and an edge node, and prints the URLs.
    Up(up::Options),
    /// Runs every check.
    Test(test::Options),
    /// Runs the cases of a folder at a door.
    Cases(cases::Options),
    /// Measures the core, the host beside nginx, sizes, cold starts, what waiting viewers cost,
    /// kills, events, the ladder, and latency in a browser.
    Bench(bench::Options),
    /// Builds one thing or everything.
    Build(artifacts::Options),
    /// Builds what is deployed, into dist/ with SHA256SUMS.
    Release(release::Options),
    /// Follows a running event and reports every broken rule of HLS.
    #[command(disable_help_flag = true)]
    LiveCheck(live::Options),
    /// Installs what the other commands need, without running them.
    Setup,
}

fn main() -> ExitCode {
    match children::watch().and_then(|()| dispatch()) {
        Ok(code) => code,
        Err(_) if children::stopped() => ExitCode::from(children::EXIT_STOPPED),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> anyhow::Result<ExitCode> {
    let Some(command) = CommandLine::parse().command else {
        CommandLine::command().print_help()?;
        return Ok(ExitCode::SUCCESS);
    };
    match command {
        Command::Up(options) => up::command(&options),
        Command::Test(options) => test::command(&options),
        Command::Cases(options) => cases::command(&options),
        Command::Bench(options) => bench::command(&options),
        Command::Build(options) => artifacts::command(&options),
        Command::Release(options) => release::command(&options),
        Command::LiveCheck(options) => live::command(&options),
        Command::Setup => tools::command(),
    }
}
