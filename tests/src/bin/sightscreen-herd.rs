//! Counts what many who wait for the same playlist cost the origin.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

use sightscreen_tests::herd::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("sightscreen-herd: {fault}");
            ExitCode::FAILURE
        }
    }
}
