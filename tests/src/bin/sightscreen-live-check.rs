//! Follows a running event through a break and reports every rule of HLS that it breaks.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match sightscreen_tests::live::command::run(lexopt::Parser::from_env()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("sightscreen-live-check: {fault}");
            ExitCode::from(2)
        }
    }
}
