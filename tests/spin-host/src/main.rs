//! Runs the Spin door where there is no Spin, which is in no package registry.
//!
//! It takes the arguments of `spin up` and gives the component what the door uses of Spin: requests
//! by `wasi:http/handler@0.3.0`, variables, the origins that the manifest allows, and one key-value
//! store in a folder. It has no routes and no TLS.
//!
//! How requests are spread over instances is Spin's default (`pool.rs`), or with `--one-instance`
//! all go to one (`single.rs`), so that a test can see what the requests of an instance share.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool")]

mod component;
mod manifest;
mod outbound;
mod pool;
mod server;
mod single;
mod spin;

use clap::{Args, Parser, Subcommand};
use component::Component;
use manifest::Manifest;
use server::Instances;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// Stands in for `spin up`.
#[derive(Debug, Parser)]
#[command(name = "sightscreen-spin-host")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(Up),
}

/// Runs the component of a spin.toml with its variables, the origins that it may ask, and the
/// key-value store `default`.
///
/// A variable may also be given as the environment variable SPIN_VARIABLE_NAME.
#[derive(Debug, Args)]
struct Up {
    /// The manifest.
    #[arg(long, value_name = "FILE", default_value = "spin.toml")]
    from: PathBuf,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// An application variable.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = name_and_value)]
    variables: Vec<(String, String)>,
    /// Folder of the key-value store.
    #[arg(long, value_name = "DIR", default_value = ".spin")]
    state_dir: PathBuf,
    /// Send every request to the same instance, which Spin never promises.
    #[arg(long)]
    one_instance: bool,
}

fn main() -> ExitCode {
    let Command::Up(options) = CommandLine::parse().command;
    match up(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("sightscreen-spin-host: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn up(options: Up) -> Result<(), String> {
    let mut variables = from_environment();
    variables.extend(options.variables);
    let manifest = Manifest::read(&options.from, &variables)?;
    let settings = spin::Settings {
        variables: manifest.variables,
        data: options.state_dir.join("key-value"),
        allowed_hosts: manifest.allowed_hosts,
        stores: manifest.stores,
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let serving = async {
        let component = Component::compile(&manifest.source, settings)?;
        let instances = if options.one_instance {
            Instances::One(single::start(component))
        } else {
            Instances::Pool(pool::of(component))
        };
        println!("sightscreen-spin-host stands in for `spin up` at http://{}", options.listen);
        server::serve(options.listen, instances).await
    };
    runtime.block_on(serving).map_err(|error| format!("{error:#}"))
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn from_environment() -> HashMap<String, String> {
    std::env::vars()
        .filter_map(|(name, value)| {
            Some((name.strip_prefix("SPIN_VARIABLE_")?.to_lowercase(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn parsed(args: &[&str]) -> Result<Up, clap::Error> {
        let args = ["sightscreen-spin-host", "up"].iter().chain(args);
        let Command::Up(up) = CommandLine::try_parse_from(args)?.command;
        Ok(up)
    }

    #[test]
    fn instances_are_spread_as_by_spin_unless_one_is_asked_for() {
        let plain = parsed(&[]).expect("good");
        assert!(!plain.one_instance);
        assert_eq!(plain.from, PathBuf::from("spin.toml"));
        let one = parsed(&["--one-instance", "--listen=127.0.0.1:8080"]).expect("good");
        assert!(one.one_instance);
        assert_eq!(one.listen.port(), 8080);
    }

    #[test]
    fn a_variable_is_a_name_and_a_value_which_may_hold_the_sign() {
        let up = parsed(&["--variable", "origin=http://a/?b=c", "--variable=x="]).expect("good");
        let expected = [("origin", "http://a/?b=c"), ("x", "")];
        assert_eq!(up.variables, expected.map(|(name, value)| (name.into(), value.into())));
        let fault = parsed(&["--variable", "origin"]).expect_err("no value");
        assert_eq!(fault.kind(), ErrorKind::ValueValidation);
    }
}
