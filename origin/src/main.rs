//! `sightscreen-origin`: the command line. Everything else is the library's.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool prints its answer")]

mod cli;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use cli::{doctor, inspect, rotate, sign};
use sightscreen_origin::config::{Config, Fault, LogFormat, Settings, Template, with_defaults};
use sightscreen_origin::process::run;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Live sport at the edge: the origin
#[derive(Parser)]
#[command(name = "sightscreen-origin", version = env!("SIGHTSCREEN_VERSION"))]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ingests, transcodes, packages and serves events
    Serve(Box<Serve>),
    /// Prints a signed entry URL
    Sign(sign::Sign),
    /// Explains a pass or a signed URL
    Inspect(inspect::Inspect),
    /// Says what this machine can encode, and what it lacks
    Doctor(doctor::Doctor),
    /// Shows or changes which keys are in force at a running origin
    Keys(rotate::Rotate),
}

#[derive(Args)]
struct Serve {
    /// File of settings by these names; flags win
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let command = CommandLine::command().mut_subcommand("serve", with_defaults);
    let line = CommandLine::from_arg_matches(&command.get_matches());
    let result = match line.unwrap_or_else(|error| error.exit()).command {
        Command::Serve(serve) => serve_events(&serve),
        Command::Sign(sign) => sign.print(),
        Command::Inspect(inspect) => inspect.print(),
        Command::Doctor(doctor) => doctor.print(),
        Command::Keys(rotate) => rotate.print(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sightscreen-origin: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve_events(serve: &Serve) -> Result<(), String> {
    let (settings, file) = (serve.settings.clone(), serve.config.clone());
    let load = move || {
        let mut configs = Config::read(&settings, file.as_deref())?;
        for config in &mut configs {
            config.keep_secrets().map_err(|fault| vec![fault])?;
        }
        Ok((configs, Template::new(&settings, file.as_deref())))
    };
    let (configs, template) = load().map_err(|faults: Vec<Fault>| {
        let list: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        format!("the configuration has {} fault(s):{}", faults.len(), list.concat())
    })?;
    configs.first().into_iter().for_each(log_as);
    print_made_secrets(&configs);
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| format!("the runtime cannot start: {e}"))?;
    let result = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(stop_at_a_signal(stop));
        let run = run(configs, template, Box::new(load), stopped);
        Box::pin(run).await.map_err(|error| error.to_string())
    });
    // What still blocks (a disk that hangs) must not keep the process.
    runtime.shutdown_background();
    result
}

/// The first signal ends the origin in order, the second at once.
async fn stop_at_a_signal(stop: watch::Sender<bool>) {
    let ends = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt)] = ends else {
        tracing::error!("signals cannot be watched: end this process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    stop.send_replace(true);
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    tracing::warn!("a second signal: ending at once");
    std::process::exit(1);
}

fn log_as(config: &Config) {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.log {
        LogFormat::Plain => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// Once, on standard output, and never in the log.
fn print_made_secrets(configs: &[Config]) {
    if let Some(config) = configs.first().filter(|config| config.operator_token_made) {
        println!("operator token: {}", config.operator_token.0);
    }
    for config in configs {
        if let (true, Some(key)) = (config.stream_key_made, &config.stream_key) {
            let (event, rtmp) = (&config.event, config.rtmp);
            println!("publish {event} to: rtmp://{rtmp}/live with stream key {}", key.0);
        }
    }
}
