//! `sightscreen-edge`: reads settings, starts the node, and ends it on SIGTERM or SIGINT.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use sightscreen_host::{Config, VERSION, start, start_logs};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let config = match Config::from_args(std::env::args_os()) {
        Ok(config) => config,
        Err(errors) => {
            eprint!("{errors}");
            return ExitCode::from(2);
        }
    };
    start_logs(config.log, config.log_level);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: &Config) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _guard = runtime.enter();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = start(config)?;
    let tls = running.tls_listen.map(|address| address.to_string());
    tracing::info!(
        listen = %running.listen, tls, admin = %running.admin, origin = config.origin.url,
        version = VERSION, "serving"
    );
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    tracing::info!("stopping: requests under way may end");
    running.stop();
    Ok(())
}
