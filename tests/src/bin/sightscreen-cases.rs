//! Runs the cases of a folder at one door or at all of them.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use sightscreen_tests::command::{Options, run};

fn main() -> ExitCode {
    match Options::from_args(lexopt::Parser::from_env()).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("sightscreen-cases: {fault}");
            ExitCode::from(2)
        }
    }
}
