//! Follows a running event through a break and reports every rule of HLS that it breaks.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

use sightscreen_tests::live::command::{Options, run};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("sightscreen-live-check: {fault}");
            ExitCode::from(2)
        }
    }
}
