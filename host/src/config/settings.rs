//! Settings as they are written: one struct that flags, environment and file are read into.
//!
//! Every value is text here, so that one wrong value does not hide the next;
//! [`Config`](super::Config) reads them all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde::{Deserialize, Deserializer, Serialize};

/// An edge node of one's own: the core as Wasm between origin and viewers
#[derive(Parser)]
#[command(name = "sightscreen-edge", version = crate::VERSION)]
pub(super) struct CommandLine {
    /// File of settings by these names; flags win
    #[arg(long, value_name = "FILE.toml")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) flags: Settings,
}

/// One value, however it was written.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Text(pub(super) String);

/// All settings; `None` where nobody set one.
#[derive(Clone, Default, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Settings {
    /// Serve HTTP/1.1 and HTTP/2 (prior knowledge) here
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<Text>,
    /// Serve HTTPS here, with DATA/tls/cert.pem and key.pem (made for development where absent)
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) tls_listen: Option<Text>,
    /// Serve metrics, health and purge here; keep it private
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) admin: Option<Text>,
    /// Origin, such as https://origin.example.com
    #[arg(long, value_name = "URL")]
    pub(super) origin: Option<Text>,
    /// Secret sent to the origin with every request; better in the environment than in a flag
    #[arg(long, value_name = "SECRET", env = "SIGHTSCREEN_ORIGIN_SECRET", hide_env_values = true)]
    pub(super) origin_secret: Option<Text>,
    /// Authorities (PEM) that may sign the origin's certificate, in place of this machine's
    #[arg(long, value_name = "FILE")]
    pub(super) origin_ca: Option<Text>,
    /// Certificate chain (PEM) that this node shows the origin
    #[arg(long, value_name = "FILE")]
    pub(super) origin_cert: Option<Text>,
    /// Private key (PEM) of that certificate
    #[arg(long, value_name = "FILE")]
    pub(super) origin_key: Option<Text>,
    /// Keyring (secret); read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) keyring: Option<Text>,
    /// Folder for copies of documents, the compiled component and the certificate
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<Text>,
    /// Header in which a trusted balancer says country or country-region, such as IN-MH
    #[arg(long, value_name = "NAME")]
    pub(super) geo_header: Option<Text>,
    /// Component of the world sightscreen:edge/edge in place of the embedded one
    #[arg(long, value_name = "FILE")]
    pub(super) component: Option<Text>,
    /// Threads that serve [default: one for each core]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<Text>,

    /// Format of log lines: plain or json
    #[arg(long, value_name = "FORMAT")]
    pub(super) log: Option<Text>,
    /// Lowest level of log lines: error, warn, info, debug, trace or off
    #[arg(long, value_name = "LEVEL", env = "SIGHTSCREEN_LOG")]
    pub(super) log_level: Option<Text>,
    /// One JSON line for each response, to this file or, for -, to standard output
    #[arg(long, value_name = "FILE")]
    pub(super) access_log: Option<Text>,
    /// Whether those lines have the viewer's address
    #[arg(long, value_name = "true|false")]
    pub(super) access_log_address: Option<Text>,

    /// Bytes of the cache in memory
    #[arg(long, value_name = "N")]
    pub(super) cache_bytes: Option<Text>,
    /// Bytes of bodies outside of the cache, arriving or kept for slow readers; beyond it, the
    /// connections that have read nothing for longest are closed
    #[arg(long, value_name = "N")]
    pub(super) unread_bytes: Option<Text>,
    /// Connections of viewers; further ones are closed at once
    #[arg(long, value_name = "N")]
    pub(super) connections: Option<Text>,
    /// Requests under way on one HTTP/2 connection
    #[arg(long, value_name = "N")]
    pub(super) streams: Option<Text>,
    /// Bytes of a request's head; a longer one is answered 431
    #[arg(long, value_name = "N")]
    pub(super) head_bytes: Option<Text>,
    /// Seconds for a TLS handshake
    #[arg(long, value_name = "N")]
    pub(super) handshake_seconds: Option<Text>,
    /// Seconds for a request's head, including the idle time before it
    #[arg(long, value_name = "N")]
    pub(super) head_seconds: Option<Text>,
    /// Seconds after which a connection is closed if the viewer reads nothing of a response
    #[arg(long, value_name = "N")]
    pub(super) unread_seconds: Option<Text>,
    /// Seconds of silence after which an HTTP/2 connection is sent a ping; it is closed if no reply
    /// comes within the same time
    #[arg(long, value_name = "N")]
    pub(super) ping_seconds: Option<Text>,
    /// Seconds that requests under way may take after a stop
    #[arg(long, value_name = "N")]
    pub(super) drain_seconds: Option<Text>,
    /// Milliseconds of processor time that the component may take at a time; beyond it the request
    /// gets 503
    #[arg(long, value_name = "N")]
    pub(super) compute_ms: Option<Text>,
    /// Bytes of memory of one instance of the component; each thread has one
    #[arg(long, value_name = "N")]
    pub(super) instance_bytes: Option<Text>,

    /// Requests for playlists under way at the origin
    #[arg(long, value_name = "N")]
    pub(super) playlist_requests: Option<Text>,
    /// Requests for segments, parts and inits under way at the origin
    #[arg(long, value_name = "N")]
    pub(super) object_requests: Option<Text>,
    /// Requests for signed documents under way at the origin
    #[arg(long, value_name = "N")]
    pub(super) document_requests: Option<Text>,
    /// API requests under way at the origin that viewers share
    #[arg(long, value_name = "N")]
    pub(super) api_requests: Option<Text>,
    /// API requests under way at the origin that are one viewer's
    #[arg(long, value_name = "N")]
    pub(super) personal_requests: Option<Text>,
    /// Requests for the page's files under way at the origin
    #[arg(long, value_name = "N")]
    pub(super) page_requests: Option<Text>,
    /// Seconds to connect to the origin
    #[arg(long, value_name = "N")]
    pub(super) origin_connect_seconds: Option<Text>,
    /// Longest time without progress in a body from the origin, in seconds
    #[arg(long, value_name = "N")]
    pub(super) origin_stall_seconds: Option<Text>,
    /// Seconds that a segment or part may take to arrive whole
    #[arg(long, value_name = "N")]
    pub(super) origin_object_seconds: Option<Text>,
    /// Seconds that an idle connection to the origin is kept; must be less than the origin keeps it
    #[arg(long, value_name = "N")]
    pub(super) origin_idle_seconds: Option<Text>,
    /// Seconds that an object goes on arriving after all its viewers have left
    #[arg(long, value_name = "N")]
    pub(super) abandoned_seconds: Option<Text>,

    /// What a file has beside them.
    #[arg(skip)]
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, toml::Value>,
}

impl CommandLine {
    /// Reads flags and environment. A flag that there is not, `--help` and `--version` end the
    /// process.
    pub(super) fn read(
        args: impl IntoIterator<Item = std::ffi::OsString>,
        defaults: &Settings,
    ) -> Self {
        let matches = with_defaults(Self::command(), defaults).get_matches_from(args);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// `--help` says every default.
fn with_defaults(command: clap::Command, defaults: &Settings) -> clap::Command {
    let defaults = toml::Table::try_from(defaults).unwrap_or_default();
    command.mut_args(|arg| {
        let default = arg.get_long().and_then(|long| defaults.get(long)?.as_str());
        match (default, arg.get_help().map(ToString::to_string)) {
            (Some(default), Some(help)) => arg.help(format!("{help} [default: {default}]")),
            _ => arg,
        }
    })
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            // A list or a table is no setting's value: it is refused as text.
            other => other.to_string(),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn help_says_every_default() {
        let defaults = Settings { streams: Some("77".into()), ..Settings::default() };
        let help = with_defaults(CommandLine::command(), &defaults).render_help().to_string();
        assert!(help.contains("[default: 77]"), "{help}");
        CommandLine::command().debug_assert();
    }
}
