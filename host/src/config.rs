//! Settings, from flags, the environment and a file.
//!
//! A flag wins over the environment, that over the file, and the file over the default. All that is
//! wrong is said at once, each with what to write instead. A [`Config`] has been checked as far as
//! that is possible without opening a port.

mod settings;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use sightscreen_core::keyring::Keyring;
use tracing_subscriber::filter::LevelFilter;

use settings::{CommandLine, Settings, Text};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person.
    Plain,
}

/// Where a line for each response goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `None` is standard output.
    pub file: Option<PathBuf>,
    /// Whether lines have the viewer's address.
    pub address: bool,
}

/// The origin, and how node and origin know each other.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Scheme and authority, such as `http://127.0.0.1:9080`.
    pub url: String,
    /// Sent with every request, and marked sensitive, so that nothing prints it.
    pub secret: Option<HeaderValue>,
    /// Authorities that may sign its certificate; without it those that the machine trusts.
    pub ca: Option<PathBuf>,
    /// Certificate chain and private key that the node shows it.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

/// What the node may take of the machine, of its origin, and of its viewers' patience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the cache.
    pub cache_bytes: u64,
    /// Bytes of bodies outside of the cache: arriving, or kept for readers that are slow.
    pub unread_bytes: u64,
    /// Connections of viewers.
    pub connections: usize,
    /// Requests under way on one HTTP/2 connection.
    pub streams: u32,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// For a handshake of TLS.
    pub handshake: Duration,
    /// For a request's head, idle time between two requests included.
    pub head: Duration,
    /// Longest that a connection may take no byte of a response.
    pub unread: Duration,
    /// Longest silence of an HTTP/2 connection before it is asked for a sign of life, and longest
    /// wait for that.
    pub ping: Duration,
    /// Longest that requests under way may take after a stop.
    pub drain: Duration,
    /// Processor time that the component may take at a time.
    pub compute: Duration,
    /// Bytes of memory of one instance of the component.
    pub instance_bytes: usize,
    /// Requests under way at the origin.
    pub requests: Budgets,
    /// To connect to the origin.
    pub connect: Duration,
    /// Longest that a body of the origin may stand still.
    pub stall: Duration,
    /// Longest that a segment or part may take to arrive whole.
    pub object: Duration,
    /// Longest that an idle connection to the origin is kept.
    pub idle: Duration,
    /// Longest that an object goes on arriving when all its viewers have left.
    pub abandoned: Duration,
}

/// Requests under way at the origin, for each class of want: none takes another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets {
    /// Media playlists.
    pub playlist: usize,
    /// Segments, parts and inits.
    pub object: usize,
    /// Signed documents.
    pub document: usize,
    /// API requests that viewers share.
    pub api: usize,
    /// API requests of one viewer's own.
    pub personal: usize,
    /// Files of the page.
    pub page: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            unread_bytes: 256 << 20,
            connections: 65_536,
            streams: 128,
            head_bytes: 32 << 10,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(60),
            unread: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            drain: Duration::from_secs(10),
            compute: Duration::from_millis(250),
            instance_bytes: 64 << 20,
            requests: Budgets {
                playlist: 512,
                object: 512,
                document: 256,
                api: 128,
                personal: 128,
                page: 64,
            },
            connect: Duration::from_secs(2),
            stall: Duration::from_secs(10),
            object: Duration::from_secs(60),
            // Below the ten seconds after which the origin closes it.
            idle: Duration::from_secs(8),
            abandoned: Duration::from_secs(10),
        }
    }
}

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// HTTP/1.1 and HTTP/2 without TLS.
    pub listen: SocketAddr,
    /// HTTP/1.1 and HTTP/2 with TLS.
    pub tls_listen: Option<SocketAddr>,
    /// Metrics, health and purge.
    pub admin: SocketAddr,
    /// Where answers come from.
    pub origin: Origin,
    /// File of the keyring.
    pub keyring: PathBuf,
    /// Folder of documents, compiled component and certificate.
    pub data: PathBuf,
    /// Header in which a trusted balancer says country or country-region.
    pub geo_header: Option<HeaderName>,
    /// Component in place of the embedded one.
    pub component: Option<PathBuf>,
    /// Threads that serve.
    pub threads: usize,
    /// Log lines.
    pub log: LogFormat,
    /// The least level of a log line.
    pub log_level: LevelFilter,
    /// A line for each response.
    pub access_log: Option<AccessLog>,
    /// Memory, connections, times.
    pub limits: Limits,
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

impl Config {
    /// Reads flags, the environment, and the file that `--config` names.
    ///
    /// # Errors
    /// All settings that are wrong. A flag that there is not, `--help` and `--version` end the
    /// process, as command lines do.
    pub fn from_args(
        args: impl IntoIterator<Item = std::ffi::OsString>,
    ) -> Result<Self, ConfigErrors> {
        let defaults = defaults();
        let line = CommandLine::read(args, &defaults);
        let mut reader = Reader { flags: line.flags, defaults, ..Reader::default() };
        if let Some(file) = &line.config {
            reader.read_file(file);
        }
        let config = reader.config();
        match config {
            Some(config) if reader.errors.is_empty() => Ok(config),
            _ => Err(ConfigErrors(reader.errors)),
        }
    }
}

/// What holds where nothing is set.
fn defaults() -> Settings {
    let limits = Limits::default();
    let text = |value: &dyn ToString| Some(Text(value.to_string()));
    let seconds = |value: Duration| text(&value.as_secs());
    Settings {
        listen: text(&"127.0.0.1:8080"),
        admin: text(&"127.0.0.1:8081"),
        log: text(&"plain"),
        log_level: text(&"info"),
        access_log_address: text(&false),
        cache_bytes: text(&limits.cache_bytes),
        unread_bytes: text(&limits.unread_bytes),
        connections: text(&limits.connections),
        streams: text(&limits.streams),
        head_bytes: text(&limits.head_bytes),
        handshake_seconds: seconds(limits.handshake),
        head_seconds: seconds(limits.head),
        unread_seconds: seconds(limits.unread),
        ping_seconds: seconds(limits.ping),
        drain_seconds: seconds(limits.drain),
        compute_ms: text(&limits.compute.as_millis()),
        instance_bytes: text(&limits.instance_bytes),
        playlist_requests: text(&limits.requests.playlist),
        object_requests: text(&limits.requests.object),
        document_requests: text(&limits.requests.document),
        api_requests: text(&limits.requests.api),
        personal_requests: text(&limits.requests.personal),
        page_requests: text(&limits.requests.page),
        origin_connect_seconds: seconds(limits.connect),
        origin_stall_seconds: seconds(limits.stall),
        origin_object_seconds: seconds(limits.object),
        origin_idle_seconds: seconds(limits.idle),
        abandoned_seconds: seconds(limits.abandoned),
        ..Settings::default()
    }
}

/// Reads settings and collects what is wrong with them.
#[derive(Default)]
struct Reader {
    flags: Settings,
    file: Settings,
    /// The file's name, for messages.
    file_name: String,
    defaults: Settings,
    errors: Vec<String>,
}

/// A setting in [`Settings`].
type Field = fn(&Settings) -> &Option<Text>;

const ADDRESS: &str = "write an address and a port, such as 127.0.0.1:8080 or [::]:8080";
const SECRET_BYTES_MIN: usize = 16;
/// No viewer waits for longer, so nothing may be computed for longer.
const COMPUTE_MAX_MS: u64 = 5000;

impl Reader {
    fn read_file(&mut self, file: &Path) {
        self.file_name = file.display().to_string();
        let name = &self.file_name;
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                self.errors.push(format!("--config {name}: {error}; name a file that can be read"));
                return;
            }
        };
        match toml::from_str::<Settings>(&text) {
            Ok(settings) => self.file = settings,
            Err(error) => self.errors.push(format!("{name} is not TOML: {error}")),
        }
        for unknown in self.file.unknown.keys() {
            self.errors
                .push(format!("{name}: there is no setting `{unknown}`; see --help for all"));
        }
    }

    /// Every setting, so that every mistake is found; `None` where one of them is missing or
    /// wrong.
    fn config(&mut self) -> Option<Config> {
        let listen = self.value("listen", |s| &s.listen, ADDRESS, parsed);
        let tls_listen = self.value("tls-listen", |s| &s.tls_listen, ADDRESS, parsed);
        let admin = self.value("admin", |s| &s.admin, ADDRESS, parsed);
        let origin = self.origin();
        let keyring = self.required("keyring", |s| &s.keyring, "keyring.json", readable);
        if let Some(path) = &keyring
            && let Err(error) = parsed_keyring(path)
        {
            self.errors.push(format!(
                "keyring {}: {error}; the origin writes one to keyring.json in its data folder",
                path.display()
            ));
        }
        let data = self.required("data", |s| &s.data, "var/edge", folder);
        let remedy = "write a header's name, such as x-geo";
        let geo_header = self.value("geo-header", |s| &s.geo_header, remedy, parsed);
        let remedy = "name a component that can be read";
        let component = self.value("component", |s| &s.component, remedy, readable);
        let threads = self.number("threads", |s| &s.threads, 1..=1024);
        let log = self.value(
            "log",
            |s| &s.log,
            "write json or plain",
            |text| match text {
                "json" => Some(LogFormat::Json),
                "plain" => Some(LogFormat::Plain),
                _ => None,
            },
        );
        let levels = "write error, warn, info, debug, trace or off";
        let log_level = self.value("log-level", |s| &s.log_level, levels, parsed);
        let access_log = self.access_log();
        let limits = self.limits();
        Some(Config {
            listen: listen?,
            tls_listen,
            admin: admin?,
            origin: origin?,
            keyring: keyring?,
            data: data?,
            geo_header,
            component,
            threads: threads
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            log: log?,
            log_level: log_level?,
            access_log,
            limits: limits?,
        })
    }

    fn origin(&mut self) -> Option<Origin> {
        let url = self.required("origin", |s| &s.origin, "https://origin.example.com", origin_url);
        let secret = self.secret();
        let file = "name a PEM file that can be read";
        let ca = self.value("origin-ca", |s| &s.origin_ca, file, readable);
        let chain = self.value("origin-cert", |s| &s.origin_cert, file, readable);
        let key = self.value("origin-key", |s| &s.origin_key, file, readable);
        if chain.is_some() != key.is_some() {
            self.errors.push("--origin-cert and --origin-key go together; write both".to_owned());
        }
        let url = url?;
        if !url.starts_with("https://") && (ca.is_some() || chain.is_some()) {
            self.errors.push(format!(
                "--origin {url}: --origin-ca, --origin-cert and --origin-key need an https origin"
            ));
        }
        Some(Origin { url, secret, ca, certificate: chain.zip(key) })
    }

    /// Never part of a message.
    fn secret(&mut self) -> Option<HeaderValue> {
        let (text, place) = self.text("origin-secret", |s| &s.origin_secret)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_secret = text.len() >= SECRET_BYTES_MIN && text.bytes().all(plain);
        let mut secret = HeaderValue::from_str(&text).ok().filter(|_| is_secret);
        match &mut secret {
            Some(secret) => secret.set_sensitive(true),
            None => self.errors.push(format!(
                "{place} cannot be used; write at least {SECRET_BYTES_MIN} of A-Z a-z 0-9 - _"
            )),
        }
        secret
    }

    fn access_log(&mut self) -> Option<AccessLog> {
        let remedy = "name a file in a folder that can be written, or - for standard output";
        let file = self.value(
            "access-log",
            |s| &s.access_log,
            remedy,
            |text| match text {
                "-" => Some(None),
                file => appendable(file).map(Some),
            },
        );
        let remedy = "write true or false";
        let address = self.value("access-log-address", |s| &s.access_log_address, remedy, parsed);
        Some(AccessLog { file: file?, address: address? })
    }

    fn limits(&mut self) -> Option<Limits> {
        const MIB: u64 = 1 << 20;
        let cache_bytes = self.number("cache-bytes", |s| &s.cache_bytes, MIB..=u64::MAX);
        let unread_bytes = self.number("unread-bytes", |s| &s.unread_bytes, MIB..=u64::MAX);
        let connections = self.number("connections", |s| &s.connections, 1..=1 << 24);
        let streams = self.number("streams", |s| &s.streams, 1..=1 << 16);
        // hyper reads into no smaller buffer.
        let head_bytes = self.number("head-bytes", |s| &s.head_bytes, 8192..=1 << 20);
        let handshake = self.seconds("handshake-seconds", |s| &s.handshake_seconds);
        let head = self.seconds("head-seconds", |s| &s.head_seconds);
        let unread = self.seconds("unread-seconds", |s| &s.unread_seconds);
        let ping = self.seconds("ping-seconds", |s| &s.ping_seconds);
        let drain = self.seconds("drain-seconds", |s| &s.drain_seconds);
        let compute = self.number("compute-ms", |s| &s.compute_ms, 10..=COMPUTE_MAX_MS);
        let memory = 8 << 20..=1 << 30;
        let instance_bytes = self.number("instance-bytes", |s| &s.instance_bytes, memory);
        let requests = self.budgets();
        let connect = self.seconds("origin-connect-seconds", |s| &s.origin_connect_seconds);
        let stall = self.seconds("origin-stall-seconds", |s| &s.origin_stall_seconds);
        let object = self.seconds("origin-object-seconds", |s| &s.origin_object_seconds);
        let idle = self.seconds("origin-idle-seconds", |s| &s.origin_idle_seconds);
        let abandoned = self.seconds("abandoned-seconds", |s| &s.abandoned_seconds);
        Some(Limits {
            cache_bytes: cache_bytes?,
            unread_bytes: unread_bytes?,
            connections: connections?,
            streams: streams?,
            head_bytes: head_bytes?,
            handshake: handshake?,
            head: head?,
            unread: unread?,
            ping: ping?,
            drain: drain?,
            compute: Duration::from_millis(compute?),
            instance_bytes: instance_bytes?,
            requests: requests?,
            connect: connect?,
            stall: stall?,
            object: object?,
            idle: idle?,
            abandoned: abandoned?,
        })
    }

    fn budgets(&mut self) -> Option<Budgets> {
        let mut budget = |name, field| self.number(name, field, 1..=65_536);
        let playlist = budget("playlist-requests", |s| &s.playlist_requests);
        let object = budget("object-requests", |s| &s.object_requests);
        let document = budget("document-requests", |s| &s.document_requests);
        let api = budget("api-requests", |s| &s.api_requests);
        let personal = budget("personal-requests", |s| &s.personal_requests);
        let page = budget("page-requests", |s| &s.page_requests);
        Some(Budgets {
            playlist: playlist?,
            object: object?,
            document: document?,
            api: api?,
            personal: personal?,
            page: page?,
        })
    }

    /// What is set, and where it was set.
    fn text(&self, name: &str, field: Field) -> Option<(String, String)> {
        let found = |settings| field(settings).as_ref().map(|text| text.0.clone());
        let flag = || Some((found(&self.flags)?, format!("--{name}")));
        let file = || Some((found(&self.file)?, format!("{name} in {}", self.file_name)));
        let default = || Some((found(&self.defaults)?, format!("the default of {name}")));
        flag().or_else(file).or_else(default)
    }

    /// The value as `parse` reads it; an error with the remedy where it cannot.
    fn value<T>(
        &mut self,
        name: &str,
        field: Field,
        remedy: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (text, place) = self.text(name, field)?;
        let value = parse(&text);
        if value.is_none() {
            self.errors.push(format!("{place}: `{text}` cannot be used; {remedy}"));
        }
        value
    }

    fn required<T>(
        &mut self,
        name: &str,
        field: Field,
        example: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        if self.text(name, field).is_none() {
            self.errors.push(format!("--{name} is required; write for example --{name} {example}"));
        }
        self.value(name, field, &format!("write for example {example}"), parse)
    }

    fn number<T: FromStr + PartialOrd + std::fmt::Display>(
        &mut self,
        name: &str,
        field: Field,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let remedy = format!("write a number from {} to {}", range.start(), range.end());
        self.value(name, field, &remedy, |text| parsed(text).filter(|n| range.contains(n)))
    }

    fn seconds(&mut self, name: &str, field: Field) -> Option<Duration> {
        self.number(name, field, 1..=3600).map(Duration::from_secs)
    }
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn origin_url(text: &str) -> Option<String> {
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

fn appendable(text: &str) -> Option<PathBuf> {
    std::fs::File::options().append(true).create(true).open(text).ok().map(|_| text.into())
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
        std::fs::write(
            &file,
            "thread = 2\nstreem = 1\ncache-bytes = 12\nlisten = \"nowhere\"\nstreams = [1]\n\
             origin-secret = \"hunter2\"\norigin-cert = \"/nothing\"\n",
        )
        .unwrap();
        let errors = args(&[
            "--config",
            file.to_str().unwrap(),
            "--origin",
            "ftp://x",
            "--keyring",
            "/nothing",
            "--log-level",
            "loud",
        ]);
        let ConfigErrors(errors) = errors.unwrap_err();
        for part in [
            "`thread`",
            "`streem`",
            "cache-bytes in",
            "listen in",
            "streams in",
            "origin-secret in",
            "origin-cert in",
            "--origin:",
            "--keyring:",
            "--log-level:",
            "--data is required",
        ] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:#?}");
        }
        assert_eq!(errors.len(), 11, "{errors:#?}");
        assert!(!errors.iter().any(|error| error.contains("hunter2")), "{errors:#?}");
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let folder = crate::testing::folder("config-wins");
        let (file, keyring) = (folder.join("edge.toml"), folder.join("keyring.json"));
        let key = "00112233445566778899aabbccddeeff";
        let ring = format!(
            r#"{{"document":{{"d1":"{key}"}},"pass":{{"k1":"{key}"}},"url":{{"u1":"{key}"}}}}"#
        );
        std::fs::write(&keyring, ring).unwrap();
        let text = format!(
            "origin = \"http://a\"\nthreads = 3\nkeyring = {keyring:?}\ndata = {folder:?}\n\
             unread-seconds = 5\naccess-log = \"-\"\naccess-log-address = true\n\
             origin-secret = \"0123456789-abcdef\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let config =
            args(&["--config", file.to_str().unwrap(), "--origin", "http://127.0.0.1:1/"]).unwrap();
        assert_eq!((config.origin.url.as_str(), config.threads), ("http://127.0.0.1:1", 3));
        assert_eq!(config.access_log, Some(AccessLog { file: None, address: true }));
        let limits = Limits { unread: Duration::from_secs(5), ..Limits::default() };
        assert_eq!(config.limits, limits, "the rest is as the defaults are");
        assert!(!format!("{config:?}").contains("0123456789"), "a secret is not printed");
    }

    #[test]
    fn half_of_an_identity_and_one_without_tls_are_refused() {
        let file = crate::testing::folder("config-tls").join("any.pem");
        std::fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        let ConfigErrors(errors) =
            args(&["--origin", "http://a", "--origin-cert", file]).unwrap_err();
        for part in ["go together", "need an https origin"] {
            assert!(errors.iter().any(|error| error.contains(part)), "{part}: {errors:#?}");
        }
    }
}
