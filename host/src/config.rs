//! Settings, from flags and a file.
//!
//! A flag wins over the file. All that is wrong is said at once, each with what to do. Invariant: a
//! [`Config`] has been checked as far as that is possible without opening a port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use http::{HeaderName, Uri};
use sightscreen_core::keyring::Keyring;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person.
    Plain,
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// HTTP/1.1 and HTTP/2 without TLS.
    pub listen: SocketAddr,
    /// HTTP/1.1 and HTTP/2 with TLS.
    pub tls_listen: Option<SocketAddr>,
    /// Scheme and authority of the origin.
    pub origin: String,
    /// File of the keyring.
    pub keyring: PathBuf,
    /// Folder of documents, compiled component and certificate.
    pub data: PathBuf,
    /// Metrics and health.
    pub admin: SocketAddr,
    /// Header in which a trusted balancer says country or country-region.
    pub geo_header: Option<HeaderName>,
    /// Threads that serve.
    pub threads: usize,
    /// Bytes of the cache.
    pub cache_bytes: u64,
    /// Log lines.
    pub log: LogFormat,
    /// Component in place of the embedded one.
    pub component: Option<PathBuf>,
}

/// Everything that is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|error| writeln!(f, "error: {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

struct Setting {
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
}

const fn setting(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { name, value, default, help }
}

const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "ADDR:PORT",
        Some("127.0.0.1:8080"),
        "Serve HTTP/1.1 and HTTP/2 (prior knowledge) here",
    ),
    setting(
        "tls-listen",
        "ADDR:PORT",
        None,
        "Serve HTTPS here, with DATA/tls/cert.pem and key.pem (made for development where absent)",
    ),
    setting("origin", "URL", None, "Origin, such as http://127.0.0.1:9080"),
    setting("keyring", "FILE", None, "Keyring (secret); read again when it changes"),
    setting(
        "data",
        "DIR",
        None,
        "Folder for copies of documents, the compiled component and the certificate",
    ),
    setting(
        "admin",
        "ADDR:PORT",
        Some("127.0.0.1:8081"),
        "Serve /metrics and /healthz here; keep it private",
    ),
    setting(
        "geo-header",
        "NAME",
        None,
        "Header in which a trusted balancer says country or country-region, such as IN-MH",
    ),
    setting("threads", "N", None, "Threads that serve [default: one for each core]"),
    setting("cache-bytes", "N", Some("268435456"), "Bytes of the cache in memory"),
    setting(
        "log",
        "json|plain",
        Some("plain"),
        "Shape of log lines; SIGHTSCREEN_LOG=error|warn|info|debug chooses which",
    ),
    setting(
        "component",
        "FILE",
        None,
        "Component of the world sightscreen:edge/edge in place of the embedded one",
    ),
];

const CACHE_BYTES_MIN: u64 = 1024 * 1024;
const THREADS_MAX: usize = 1024;

impl Config {
    /// Reads flags, and the file that `--config` names.
    ///
    /// # Errors
    /// All settings that are wrong. A wrong flag and `--help` end the process, as command lines do.
    pub fn from_args(
        args: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Self, ConfigErrors> {
        let matches = command().get_matches_from(args);
        let mut errors = Vec::new();
        let mut values = matches
            .get_one::<String>("config")
            .map_or_else(BTreeMap::new, |file| read(file, &mut errors));
        for setting in SETTINGS {
            if let Some(value) = matches.get_one::<String>(setting.name) {
                values.insert(
                    setting.name.to_owned(),
                    (value.clone(), format!("--{}", setting.name)),
                );
            }
        }
        Checked { values, errors }.config()
    }
}

fn command() -> Command {
    let file = Arg::new("config")
        .long("config")
        .value_name("FILE.toml")
        .help("Settings by these names; flags win");
    let args = SETTINGS.iter().map(|setting| {
        let help = match setting.default {
            Some(default) => format!("{} [default: {default}]", setting.help),
            None => setting.help.to_owned(),
        };
        Arg::new(setting.name).long(setting.name).value_name(setting.value).help(help)
    });
    Command::new("sightscreen-edge")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An edge node of one's own: the core as Wasm between origin and viewers")
        .arg(file)
        .args(args)
}

type Values = BTreeMap<String, (String, String)>;

fn read(file: &str, errors: &mut Vec<String>) -> Values {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            errors.push(format!("--config {file}: {error}; name a file that can be read"));
            return Values::new();
        }
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            errors.push(format!("{file} is not TOML: {error}"));
            return Values::new();
        }
    };
    let mut values = Values::new();
    for (name, value) in table {
        let known = SETTINGS.iter().any(|setting| setting.name == name);
        let text = match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Integer(number) => Some(number.to_string()),
            _ => None,
        };
        match text {
            _ if !known => {
                errors.push(format!("{file}: there is no setting `{name}`; see --help for all"))
            }
            Some(text) => {
                let place = format!("{name} in {file}");
                values.insert(name, (text, place));
            }
            None => errors.push(format!("{file}: `{name}` must be a string or a number")),
        }
    }
    values
}

/// Values with where they came from, and what was wrong so far.
struct Checked {
    values: Values,
    errors: Vec<String>,
}

impl Checked {
    fn config(mut self) -> Result<Config, ConfigErrors> {
        let address = "write an address and a port, such as 127.0.0.1:8080 or [::]:8080";
        let listen = self.parsed("listen", address, |text| text.parse().ok());
        let tls_listen = self.parsed("tls-listen", address, |text| text.parse().ok());
        let admin = self.parsed("admin", address, |text| text.parse().ok());
        let origin = self.parsed(
            "origin",
            "write scheme and authority, such as http://127.0.0.1:9080",
            origin,
        );
        let keyring = self.parsed("keyring", "name a file that can be read", readable);
        if let Some(path) = &keyring
            && let Err(error) = parsed_keyring(path)
        {
            self.errors.push(format!(
                "keyring {}: {error}; the origin writes one to keyring.json in its data folder",
                path.display()
            ));
        }
        let data = self.parsed("data", "name a folder that can be made and written", folder);
        let geo_header =
            self.parsed("geo-header", "write a header's name, such as x-geo", |text| {
                text.parse().ok()
            });
        let threads = self.parsed("threads", "write a number from 1 to 1024", |text| {
            text.parse().ok().filter(|threads| (1..=THREADS_MAX).contains(threads))
        });
        let cache_bytes =
            self.parsed("cache-bytes", "write a number of at least 1048576", |text| {
                text.parse().ok().filter(|bytes| *bytes >= CACHE_BYTES_MIN)
            });
        let log = self.parsed("log", "write json or plain", |text| match text {
            "json" => Some(LogFormat::Json),
            "plain" => Some(LogFormat::Plain),
            _ => None,
        });
        let component = self.parsed("component", "name a component that can be read", readable);
        for (name, remedy) in
            [("origin", "http://127.0.0.1:9080"), ("keyring", "keyring.json"), ("data", "var/edge")]
        {
            if !self.values.contains_key(name) {
                self.errors
                    .push(format!("--{name} is required; write for example --{name} {remedy}"));
            }
        }
        let threads =
            threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        match (listen, admin, origin, keyring, data, cache_bytes, log) {
            (
                Some(listen),
                Some(admin),
                Some(origin),
                Some(keyring),
                Some(data),
                Some(cache_bytes),
                Some(log),
            ) if self.errors.is_empty() => Ok(Config {
                listen,
                tls_listen,
                origin,
                keyring,
                data,
                admin,
                geo_header,
                threads,
                cache_bytes,
                log,
                component,
            }),
            _ => Err(ConfigErrors(self.errors)),
        }
    }

    /// The value, or its default, read by `parse`; an error with the remedy where that is `None`.
    fn parsed<T>(
        &mut self,
        name: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let default = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .and_then(|setting| setting.default);
        let Some((text, place)) = self.values.get(name) else {
            return parse(default?);
        };
        let value = parse(text);
        if value.is_none() {
            self.errors.push(format!("{place}: `{text}` cannot be used; {remedy}"));
        }
        value
    }
}

fn origin(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = uri.path() == "/" && uri.query().is_none() && uri.authority().is_some();
    (web && bare).then(|| text.trim_end_matches('/').to_owned())
}

fn readable(text: &str) -> Option<PathBuf> {
    std::fs::File::open(text)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|data| data.is_file()))
        .map(|_| text.into())
}

fn parsed_keyring(path: &Path) -> Result<(), String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    Keyring::parse(&text).map(drop).map_err(|error| error.to_string())
}

fn folder(text: &str) -> Option<PathBuf> {
    let probe = PathBuf::from(text).join(".writable");
    std::fs::create_dir_all(text)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(probe))
        .ok()?;
    Some(text.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn args(args: &[&str]) -> Result<Config, ConfigErrors> {
        Config::from_args(std::iter::once("edge").chain(args.iter().copied()).map(Into::into))
    }

    #[test]
    fn all_errors_are_said_at_once() {
        let folder = crate::testing::folder("config");
        let file = folder.join("edge.toml");
        std::fs::write(&file, "thread = 2\ncache-bytes = 12\nlisten = \"nowhere\"\n").unwrap();
        let errors = args(&[
            "--config",
            file.to_str().unwrap(),
            "--origin",
            "ftp://x",
            "--keyring",
            "/nothing",
        ]);
        let ConfigErrors(errors) = errors.unwrap_err();
        for part in [
            "`thread`",
            "cache-bytes in",
            "listen in",
            "--origin:",
            "--keyring:",
            "--data is required",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:#?}");
        }
        assert_eq!(errors.len(), 6, "{errors:#?}");
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let folder = crate::testing::folder("config-wins");
        let (file, keyring) = (folder.join("edge.toml"), folder.join("keyring.json"));
        let key = "00112233445566778899aabbccddeeff";
        let ring = format!(
            r#"{{"document":{{"d1":"{key}"}},"pass":{{"k1":"{key}"}},"url":{{"u1":"{key}"}}}}"#
        );
        std::fs::write(&keyring, ring).unwrap();
        let text = format!(
            "origin = \"http://a\"\nthreads = 3\nkeyring = {keyring:?}\ndata = {folder:?}\n"
        );
        std::fs::write(&file, text).unwrap();
        let config =
            args(&["--config", file.to_str().unwrap(), "--origin", "http://127.0.0.1:1/"]).unwrap();
        assert_eq!((config.origin.as_str(), config.threads), ("http://127.0.0.1:1", 3));
    }
}
