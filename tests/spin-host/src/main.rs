//! `sightscreen-spin-host`: stands in for `spin up` where the Spin CLI is not to be had, as it is in no package registry.
//!
//! Runs the same component that Spin runs, with what the door uses of Spin: `wasi:http/handler@0.3.0`, variables, and one key-value
//! store in a folder. Owns nothing of Spin's beside that: no manifest, no allow-list of hosts, no TLS. Invariant: an instance serves as many requests, and as many
//! at once, as Spin's own defaults say.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool")]

mod outbound;
mod server;
mod spin;
mod workers;

use lexopt::prelude::*;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: sightscreen-spin-host --component FILE [--listen ADDR] [--variable NAME=VALUE]... [--data DIR]

Stands in for `spin up`: runs a Spin component of wasi:http/handler@0.3.0 with variables and the key-value store `default`.
A variable may also be given as the environment variable SPIN_VARIABLE_NAME, as to Spin.";

/// What was asked for.
#[derive(Debug)]
struct Options {
    listen: SocketAddr,
    component: PathBuf,
    variables: HashMap<String, String>,
    data: PathBuf,
}

fn main() -> ExitCode {
    let outcome = Options::from_args(lexopt::Parser::from_env())
        .and_then(|options| run(&options).map_err(|error| format!("{error:#}")));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("sightscreen-spin-host: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> wasmtime::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let settings = spin::Settings {
            variables: options.variables.clone(),
            data: options.data.clone(),
        };
        let handler = workers::handler(&options.component, settings)?;
        println!(
            "sightscreen-spin-host stands in for `spin up` at http://{}",
            options.listen
        );
        server::serve(options.listen, handler).await
    })
}

impl Options {
    fn from_args(mut args: lexopt::Parser) -> Result<Self, String> {
        let usage = |error: lexopt::Error| format!("{error}\n{USAGE}");
        let mut component = None;
        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            component: PathBuf::new(),
            variables: from_environment(),
            data: std::env::temp_dir().join("sightscreen-spin-host"),
        };
        while let Some(arg) = args.next().map_err(usage)? {
            match arg {
                Long("listen") => {
                    options.listen = args
                        .value()
                        .and_then(|value| value.parse())
                        .map_err(usage)?;
                }
                Long("component") => component = Some(args.value().map_err(usage)?.into()),
                Long("data") => options.data = args.value().map_err(usage)?.into(),
                Long("variable") => {
                    let text = args.value().and_then(ValueExt::string).map_err(usage)?;
                    let (name, value) = text.split_once('=').ok_or(USAGE)?;
                    options.variables.insert(name.to_owned(), value.to_owned());
                }
                Short('h') | Long("help") => return Err(USAGE.to_owned()),
                _ => return Err(usage(arg.unexpected())),
            }
        }
        options.component = component.ok_or_else(|| format!("no --component\n{USAGE}"))?;
        Ok(options)
    }
}

fn from_environment() -> HashMap<String, String> {
    std::env::vars()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("SPIN_VARIABLE_")?.to_lowercase(), value))
        })
        .collect()
}
