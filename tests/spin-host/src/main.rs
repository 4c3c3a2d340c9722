//! `sightscreen-spin-host`: stands in for `spin up` where the Spin CLI is not to be had, as it is
//! in no package registry.
//!
//! Runs the same component that Spin runs, with what the door uses of Spin:
//! `wasi:http/handler@0.3.0`, variables, and one key-value store in a folder. Owns nothing of
//! Spin's beside that: no allow-list of hosts, no routes, no TLS. Invariant: an instance serves as
//! many requests, and as many at once, as Spin's own defaults say.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool")]

mod manifest;
mod outbound;
mod server;
mod spin;
mod workers;

use lexopt::prelude::*;
use manifest::Manifest;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: sightscreen-spin-host up [--from FILE] [--listen ADDR] [--variable NAME=VALUE]... [--state-dir DIR]

Stands in for `spin up`: runs the component of a spin.toml with its variables, the hosts that it may ask, and the
key-value store `default`. A variable may also be given as the environment variable SPIN_VARIABLE_NAME.";

/// What was asked for.
#[derive(Debug)]
struct Options {
    manifest: PathBuf,
    listen: SocketAddr,
    variables: HashMap<String, String>,
    state: PathBuf,
}

fn main() -> ExitCode {
    let outcome = Options::from_args(lexopt::Parser::from_env()).and_then(|options| run(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("sightscreen-spin-host: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let manifest = Manifest::read(&options.manifest, &options.variables)?;
    let settings = spin::Settings {
        variables: manifest.variables,
        data: options.state.join("key-value"),
        allowed_hosts: manifest.allowed_hosts,
        stores: manifest.stores,
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let serving = async {
        let handler = workers::handler(&manifest.source, settings)?;
        println!("sightscreen-spin-host stands in for `spin up` at http://{}", options.listen);
        server::serve(options.listen, handler).await
    };
    runtime.block_on(serving).map_err(|error| format!("{error:#}"))
}

impl Options {
    fn from_args(mut args: lexopt::Parser) -> Result<Self, String> {
        let usage = |error: lexopt::Error| format!("{error}\n{USAGE}");
        let mut options = Self {
            manifest: "spin.toml".into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            variables: from_environment(),
            state: ".spin".into(),
        };
        while let Some(arg) = args.next().map_err(usage)? {
            match arg {
                Value(command) if command == "up" => {}
                Long("from") => options.manifest = args.value().map_err(usage)?.into(),
                Long("listen") => {
                    options.listen = args.value().and_then(|value| value.parse()).map_err(usage)?;
                }
                Long("state-dir") => options.state = args.value().map_err(usage)?.into(),
                Long("variable") => {
                    let text = args.value().and_then(ValueExt::string).map_err(usage)?;
                    let (name, value) = text.split_once('=').ok_or(USAGE)?;
                    options.variables.insert(name.to_owned(), value.to_owned());
                }
                Short('h') | Long("help") => return Err(USAGE.to_owned()),
                _ => return Err(usage(arg.unexpected())),
            }
        }
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
