//! Runs the cases of a folder at one door or at all of them.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

use sightscreen_tests::command::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("sightscreen-cases: {fault}");
            ExitCode::from(2)
        }
    }
}
