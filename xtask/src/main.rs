//! `cargo xtask`: sets up the tools, builds, runs, tests and measures Sightscreen.
//!
//! Owns the commands that people type and what stands between them and the platforms' own tools.
//! Owns nothing that runs in production: the product is built by it and never needs it. Invariant:
//! a command that prints success has seen it.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod artifacts;
mod bench;
mod browser;
mod cases;
mod children;
mod live;
mod paths;
mod ports;
mod run;
mod servers;
mod test;
mod tools;
mod up;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  up [--input test|rtmp|FILE] [--port N] [--fresh] [--for SECONDS --headless [--screenshot FILE]]
                          build, start the origin and an edge node, print the URLs; with --for, play and judge
  test [--quick] [--only TEXT]
                          everything; --quick: what needs no platform tool; --only: the steps so named
  cases --door native|host|fastly|cloudflare|spin|all [--cases DIR] [--filter TEXT] [--bless] [--spin PATH]
                          run the cases of a folder at a door
  bench [--json FILE] [--only core|host|sizes|cold|browser]
                          measure the core, the host beside nginx, sizes, cold starts and latency in a browser
  build [component|host|origin|fastly|cloudflare|spin|page|all]
  live-check URL          follow a running event and report every broken rule of HLS
  setup                   install what the other commands need, without running them
";

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
    let mut args = lexopt::Parser::from_env();
    let Some(lexopt::Arg::Value(command)) = args.next()? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    match command.to_str() {
        Some("up") => up::command(args),
        Some("test") => test::command(args),
        Some("cases") => cases::command(args),
        Some("bench") => bench::command(args),
        Some("build") => artifacts::command(args),
        Some("live-check") => live::command(args),
        Some("setup") => tools::command(args),
        _ => {
            eprint!("xtask: there is no command {command:?}\n\n{USAGE}");
            Ok(ExitCode::FAILURE)
        }
    }
}
