//! `sightscreen-origin`: the command line.
//!
//! Owns flags, logs, signals and what is printed. Everything else is the library's.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command line tool prints its answer")]

mod inspect;
mod sign;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sightscreen_origin::config::Config;
use sightscreen_origin::live::Input;
use sightscreen_origin::run::run;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Live sport at the edge: the origin.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ingests, transcodes, packages and serves one event.
    Serve(Box<Serve>),
    /// Prints a signed entry URL.
    Sign(sign::Sign),
    /// Explains a pass or a signed URL.
    Inspect(inspect::Inspect),
}

#[derive(Args)]
struct Serve {
    /// TOML file with the same settings; flags override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How logs are written.
    #[arg(long, value_enum, default_value = "plain")]
    log: LogFormat,
    /// Address of media, documents, API and page [127.0.0.1:9080].
    #[arg(long)]
    listen: Option<String>,
    /// Address of the operator's interface [127.0.0.1:9081].
    #[arg(long)]
    control: Option<String>,
    /// Folder for all that is kept [var/origin].
    #[arg(long)]
    data: Option<String>,
    /// Identifier of the event [demo].
    #[arg(long)]
    event: Option<String>,
    /// The event's name, for people.
    #[arg(long)]
    title: Option<String>,
    /// test, rtmp or file:PATH [test].
    #[arg(long)]
    input: Option<String>,
    /// Address for a publisher [127.0.0.1:1935].
    #[arg(long)]
    rtmp: Option<String>,
    /// Secret that a publisher names; made and printed when left out.
    #[arg(long, env = "SIGHTSCREEN_STREAM_KEY", hide_env_values = true)]
    stream_key: Option<String>,
    /// Keyring file, made when absent [DATA/keyring.json].
    #[arg(long)]
    keyring: Option<String>,
    /// Folder of the page.
    #[arg(long)]
    page: Option<String>,
    /// Token of the operator; made and printed when left out.
    #[arg(long, env = "SIGHTSCREEN_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: Option<String>,
    /// Seconds from the first segments to the first break of the schedule; 0 is none.
    #[arg(long)]
    first_break: Option<String>,
    /// Seconds from one break of the schedule to the next; 0 is none.
    #[arg(long)]
    break_every: Option<String>,
    /// Seconds that a break of the schedule lasts [20].
    #[arg(long)]
    break_length: Option<String>,
    /// Audio languages, separated by commas, the default first [en,hi].
    #[arg(long)]
    languages: Option<String>,
    /// Tallest rung in lines [720].
    #[arg(long)]
    max_height: Option<String>,
    /// Percent of the machine that encoding may take [25].
    #[arg(long)]
    cpu_percent: Option<String>,
    /// Segment duration asked for, in milliseconds [2000].
    #[arg(long)]
    segment_ms: Option<String>,
    /// Part target asked for, in milliseconds [200].
    #[arg(long)]
    part_ms: Option<String>,
    /// Seconds that a playlist lists [60].
    #[arg(long)]
    window: Option<String>,
    /// Seconds that stay on disk [600].
    #[arg(long)]
    dvr: Option<String>,
    /// A clip that fills what a pod leaves [built in].
    #[arg(long)]
    slate: Option<String>,
    /// Secret that edges name, or two with a comma between; none: all may ask for media.
    #[arg(long, env = "SIGHTSCREEN_EDGE_SECRET", hide_env_values = true)]
    edge_secret: Option<String>,
    /// Whether the API signs playback URLs for whoever asks: for demonstrations [false].
    #[arg(long, value_name = "true|false")]
    open_playback: Option<String>,
    /// Seconds between two takes of the snapshots [15].
    #[arg(long)]
    snapshot_every: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(serve) => serve_event(*serve),
        Command::Sign(sign) => sign.print(),
        Command::Inspect(inspect) => inspect.print(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("sightscreen-origin: {message}");
            ExitCode::FAILURE
        }
    }
}

fn serve_event(serve: Serve) -> Result<(), String> {
    log_as(serve.log);
    let file = serve.config.clone();
    let config = Config::read(file.as_deref(), serve.settings()).map_err(|faults| {
        let list: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
        format!("the configuration has {} fault(s):{}", faults.len(), list.concat())
    })?;
    print_made_secrets(&config);
    let runtime =
        tokio::runtime::Runtime::new().map_err(|e| format!("the runtime cannot start: {e}"))?;
    let result = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(stop_at_a_signal(stop));
        run(config, stopped).await.map_err(|error| error.to_string())
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

impl Serve {
    /// The settings that were given, by their name in the file.
    fn settings(self) -> Vec<(&'static str, String)> {
        let all = [
            ("listen", self.listen),
            ("control", self.control),
            ("data", self.data),
            ("event", self.event),
            ("title", self.title),
            ("input", self.input),
            ("rtmp", self.rtmp),
            ("stream-key", self.stream_key),
            ("keyring", self.keyring),
            ("page", self.page),
            ("operator-token", self.operator_token),
            ("first-break", self.first_break),
            ("break-every", self.break_every),
            ("break-length", self.break_length),
            ("languages", self.languages),
            ("max-height", self.max_height),
            ("cpu-percent", self.cpu_percent),
            ("segment-ms", self.segment_ms),
            ("part-ms", self.part_ms),
            ("window", self.window),
            ("dvr", self.dvr),
            ("slate", self.slate),
            ("edge-secret", self.edge_secret),
            ("open-playback", self.open_playback),
            ("snapshot-every", self.snapshot_every),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn log_as(format: LogFormat) {
    let filter =
        EnvFilter::try_from_env("SIGHTSCREEN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Plain => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// Once, on standard output, and never in the log.
fn print_made_secrets(config: &Config) {
    if config.operator_token_made {
        println!("operator token: {}", config.operator_token.0);
    }
    if let (true, Input::Rtmp { listen, stream_key }) = (config.stream_key_made, &config.input) {
        println!("publish to: rtmp://{listen}/live with stream key {}", stream_key.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    const FLAG_ONLY: [&str; 2] = ["config", "log"];
    const FILE_ONLY: [&str; 2] = ["pods", "snapshots"];

    type Names = BTreeSet<String>;

    fn flags() -> Names {
        let command = Arguments::command();
        let serve = command.find_subcommand("serve").unwrap();
        let long = serve.get_arguments().filter_map(clap::Arg::get_long);
        long.map(str::to_owned).collect()
    }

    /// What the remedy for a setting that does not exist lists.
    fn of_the_file() -> Names {
        let file =
            std::env::temp_dir().join(format!("sightscreen-settings-{}", std::process::id()));
        std::fs::write(&file, "colour = 1").unwrap();
        let faults = Config::read(Some(&file), Vec::new()).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        let (_, list) = faults[0].remedy.split_once("the settings are ").unwrap();
        list.split(", ").map(str::to_owned).collect()
    }

    /// The first column of the first table.
    fn of_the_readme() -> Names {
        let readme = include_str!("../../README.md");
        let (_, section) = readme.split_once("**sightscreen-origin serve**").unwrap();
        let (table, _) = section.split_once("**sightscreen-edge**").unwrap();
        let column = table.lines().filter_map(|line| line.split('|').nth(1));
        let names = column.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        names.map(|name| name.trim_matches(['[', ']']).to_owned()).collect()
    }

    fn with(names: Names, more: &[&str]) -> Names {
        names.into_iter().chain(more.iter().map(ToString::to_string)).collect()
    }

    #[test]
    fn every_setting_is_a_flag_is_in_the_file_and_is_in_the_readme() {
        let all = with(flags(), &FILE_ONLY);
        assert_eq!(with(of_the_file(), &FLAG_ONLY), all);
        assert_eq!(with(of_the_readme(), &["config"]), all);
    }

    #[test]
    fn every_flag_reaches_its_setting() {
        let given = flags();
        let given = given.iter().filter(|name| !FLAG_ONLY.contains(&name.as_str()));
        let mut line = vec!["sightscreen-origin".to_owned(), "serve".to_owned()];
        line.extend(given.clone().map(|name| format!("--{name}=of {name}")));
        let Command::Serve(serve) = Arguments::parse_from(line).command else {
            panic!("another command")
        };
        let settings = serve.settings().into_iter().map(|(name, value)| {
            assert_eq!(value, format!("of {name}"));
            name.to_owned()
        });
        assert_eq!(settings.collect::<Names>(), given.cloned().collect());
    }
}
