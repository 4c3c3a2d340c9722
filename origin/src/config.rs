//! Settings, from flags, the environment and a file.
//!
//! A flag wins over the environment, that over the file, and the file over the default. All that is
//! wrong is said at once, each with what to write instead and without a secret. A [`Config`] has
//! been checked as far as that is possible without opening a port.

mod admission;
mod reader;
mod settings;
mod tables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sightscreen_core::language::is_tag;
use sightscreen_core::route::is_identifier;
use tracing_subscriber::EnvFilter;

use crate::breaks::decision::Table;
use crate::encode::ladder::LadderLimits;
use crate::event::schedule::Schedule;
use crate::event::snapshots::SnapshotRule;
use crate::event::{self, LiveConfig};
use crate::ingest::Input;
use crate::package::packager::Patience;
use crate::secret::Secret;
use crate::store::DiskLimits;
pub use admission::Admission;
pub use reader::Fault;
use reader::{Field, Reader};
use settings::Text;
pub use settings::{Settings, with_defaults};

/// All of `serve`'s settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of media, documents, API and page.
    pub listen: SocketAddr,
    /// Address of the operator's interface.
    pub control: SocketAddr,
    /// Folder for all that is kept.
    pub data: PathBuf,
    /// Identifier of the event.
    pub event: String,
    /// The event's name, for people.
    pub title: String,
    /// Where picture and sound come from.
    pub input: Input,
    /// Where publishers connect.
    pub rtmp: SocketAddr,
    /// Whether the stream key was made here and has to be shown to the operator.
    pub stream_key_made: bool,
    /// Audio languages, the default first.
    pub languages: Vec<String>,
    /// Tallest rung in lines.
    pub max_height: u32,
    /// Share of the machine that encoding may take.
    pub cpu_share: f64,
    /// Segment duration asked for, in milliseconds.
    pub segment_ms: u32,
    /// Part target asked for, in milliseconds.
    pub part_ms: u32,
    /// Seconds that a playlist lists.
    pub window_s: u32,
    /// Seconds that stay on disk.
    pub dvr_s: u32,
    /// How long parts are waited for.
    pub patience: Patience,
    /// How the disk is treated.
    pub disk: DiskLimits,
    /// Bytes of creatives in memory.
    pub creative_bytes: usize,
    /// The keyring's file; made when absent.
    pub keyring: PathBuf,
    /// Folder of the page; none: no page.
    pub page: Option<PathBuf>,
    /// Token of the operator.
    pub operator_token: Secret,
    /// Whether the token was made here and has to be shown to the operator.
    pub operator_token_made: bool,
    /// When breaks come by themselves.
    pub schedule: Schedule,
    /// Who is let in and as what.
    pub admission: Admission,
    /// Which cohorts see what.
    pub table: Table,
    /// A clip in place of the built-in slate.
    pub slate: Option<String>,
    /// Which API answers are stored.
    pub snapshots: Vec<SnapshotRule>,
    /// Seconds between two takes of the snapshots.
    pub snapshot_every_s: u32,
    /// Where edges fetch segments and parts, if not here.
    pub media_url: Option<String>,
    /// Of these an edge names one with every request for media or documents; none: all may ask.
    pub edge_secrets: Vec<Secret>,
    /// Whether `/api/events/{event}/playback` signs for whoever asks.
    pub open_playback: bool,
    /// Shape of log lines.
    pub log: LogFormat,
    /// Directives of the log's filter, such as `info`.
    pub log_level: String,
}

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Plain,
}

impl Config {
    /// Checks the settings of flags and environment, and of the file, if one is named. There is one
    /// for each event, the file's `[[events]]` or the only one; what is the origin's is the same in
    /// all.
    ///
    /// # Errors
    /// Every fault found, each with its remedy.
    pub fn read(flags: &Settings, file: Option<&Path>) -> Result<Vec<Self>, Vec<Fault>> {
        let (mut configs, mut faults) = (Vec::new(), Vec::new());
        for mut reader in Reader::of_each_event(flags, file) {
            configs.push(Self::from_reader(&mut reader));
            // What is the origin's is wrong in each of them.
            let new = reader.finish().into_iter().filter(|fault| !faults.contains(fault));
            let new: Vec<Fault> = new.collect();
            faults.extend(new);
        }
        let names = configs.iter().enumerate();
        for (at, config) in
            names.filter(|(at, c)| configs[..*at].iter().any(|b| b.event == c.event))
        {
            faults.push(Fault {
                place: format!("event in [[events]] {}", at + 1),
                fault: format!("{:?} is there twice", config.event),
                remedy: "give each event a name of its own".to_owned(),
            });
        }
        if faults.is_empty() { Ok(configs) } else { Err(faults) }
    }

    fn from_reader(reader: &mut Reader) -> Self {
        let data = PathBuf::from(reader.text(|s| &s.data));
        let keyring = reader.optional(|s| &s.keyring);
        let (input, stream_key_made) = input(reader);
        let (operator_token, operator_token_made) =
            secret(reader, "operator-token", |s| &s.operator_token);
        let admission = admission::admission(reader);
        let event = event(reader);
        let cpu_percent = reader.number("cpu-percent", |s| &s.cpu_percent, 1..=100);
        let config = Self {
            listen: address(reader, "listen", |s| &s.listen),
            control: address(reader, "control", |s| &s.control),
            title: reader.text(|s| &s.title),
            input,
            rtmp: address(reader, "rtmp", |s| &s.rtmp),
            stream_key_made,
            languages: languages(reader),
            max_height: reader.number("max-height", |s| &s.max_height, 144..=2160),
            cpu_share: f64::from(cpu_percent) / 100.0,
            segment_ms: reader.number("segment-ms", |s| &s.segment_ms, 1000..=10_000),
            part_ms: reader.number("part-ms", |s| &s.part_ms, 100..=2000),
            window_s: reader.number("window", |s| &s.window, 12..=14_400),
            dvr_s: reader.number("dvr", |s| &s.dvr, 12..=86_400),
            patience: patience(reader),
            disk: disk(reader),
            creative_bytes: megabytes(reader.number(
                "creative-memory-mb",
                |s| &s.creative_memory_mb,
                8..=65_536,
            )),
            keyring: keyring.map_or_else(|| data.join("keyring.json"), PathBuf::from),
            page: page(reader),
            operator_token: Secret(operator_token),
            operator_token_made,
            schedule: schedule(reader),
            table: tables::pods(reader, &admission.schema),
            admission,
            slate: reader.optional(|s| &s.slate),
            snapshots: tables::snapshots(reader, &event),
            event,
            snapshot_every_s: reader.number("snapshot-every", |s| &s.snapshot_every, 1..=3600),
            media_url: reader.optional(|s| &s.media_url),
            edge_secrets: edge_secrets(reader),
            open_playback: open_playback(reader),
            log: log(reader),
            log_level: log_level(reader),
            data,
        };
        config.check_together(reader);
        config
    }

    /// The made secrets of an earlier start in place of those that were made now: an operator and an
    /// encoder go on with what they have. They are kept in the data folder.
    ///
    /// # Errors
    /// When they can be neither read nor kept, with the file.
    pub fn keep_secrets(&mut self) -> Result<(), Fault> {
        let kept = |secret: Secret, path: PathBuf| {
            let fault = |fault: String| Fault {
                place: path.display().to_string(),
                fault,
                remedy: "mend the file, or remove it and a new secret is made".to_owned(),
            };
            let secret = secret.or_kept(&path).map_err(|error| fault(error.to_string()))?;
            if is_secret(&secret.0, SECRET_BYTES_MIN) {
                return Ok(secret);
            }
            Err(fault(format!("is not at least {SECRET_BYTES_MIN} of A-Z a-z 0-9 - _")))
        };
        if self.operator_token_made {
            let path = self.data.join("operator-token");
            self.operator_token = kept(self.operator_token.clone(), path)?;
        }
        if let (true, Input::Publisher(key)) = (self.stream_key_made, &self.input) {
            let path = self.data.join("events").join(&self.event).join("stream-key");
            self.input = Input::Publisher(kept(key.clone(), path)?);
        }
        Ok(())
    }

    /// What the event is started with.
    #[must_use]
    pub fn event_settings(&self) -> event::Settings {
        let folder = self.data.join("events").join(&self.event);
        event::Settings {
            live: LiveConfig {
                event: self.event.clone(),
                data: folder.join("media"),
                input: self.input.clone(),
                languages: self.languages.clone(),
                ladder: LadderLimits { max_height: self.max_height, cpu_share: self.cpu_share },
                frame_rate: None,
                segment_ms: self.segment_ms,
                part_ms: self.part_ms,
                window_s: self.window_s,
                dvr_s: self.dvr_s,
                patience: self.patience,
                slate: self.slate.as_ref().map(PathBuf::from),
                disk: self.disk,
                creative_bytes: self.creative_bytes,
            },
            document: self.document(),
            playback_plan: self.admission.playback_plan.clone(),
            table: self.table.clone(),
            slate: self.slate.clone(),
            schedule: self.schedule,
            snapshots: self.snapshots.clone(),
            snapshot_every_s: self.snapshot_every_s,
        }
    }

    /// What no setting shows alone.
    fn check_together(&self, reader: &mut Reader) {
        if self.listen == self.control && self.listen.port() != 0 {
            let place = reader.place("control", |s| &s.control);
            let remedy = "give the control port another number";
            reader.fault(place, "is the same address as listen", remedy);
        }
        let plan = self.admission.playback_plan.as_ref();
        if plan.is_some_and(|plan| !self.admission.plans.iter().any(|known| known.id == *plan)) {
            let place = reader.place("playback-plan", |s| &s.playback_plan);
            reader.fault(place, "is none of the plans", "name one that [[plans]] has");
        }
        // That of the event's name was told already.
        let fault = self.document().fault().filter(|_| is_identifier(&self.event));
        if let Some(fault) = fault {
            let remedy = "change the setting that it comes from; edges would refuse the event";
            reader.fault("the event's document".to_owned(), &fault, remedy);
        }
        if self.dvr_s < self.window_s {
            let place = reader.place("dvr", |s| &s.dvr);
            let remedy = "keep at least as many seconds on disk as playlists list";
            reader.fault(place, "is shorter than window", remedy);
        }
        let Schedule { every_s, length_s, .. } = self.schedule;
        let room_s = self.segment_ms.div_ceil(1000) * 3;
        if every_s > 0 && every_s < length_s + room_s {
            let place = reader.place("break-every", |s| &s.break_every);
            let remedy = format!(
                "set it to break-length plus {room_s} s or more, so that content stands between two breaks"
            );
            reader.fault(place, "leaves no content between two breaks", &remedy);
        }
    }
}

/// What holds where nothing is set.
fn defaults() -> Settings {
    let text = |text: &str| Some(Text::from(text));
    Settings {
        listen: text("127.0.0.1:9080"),
        control: text("127.0.0.1:9081"),
        data: text("var/origin"),
        event: text("demo"),
        title: text("Sightscreen test match"),
        input: text("test"),
        rtmp: text("127.0.0.1:1935"),
        languages: Some("en,hi".into()),
        max_height: text("720"),
        cpu_percent: text("25"),
        segment_ms: text("2000"),
        part_ms: text("200"),
        window: text("60"),
        dvr: text("600"),
        slate_after_ms: text("500"),
        lateness_ms: text("4000"),
        track_lateness_ms: text("2000"),
        disk_wait_ms: text("100"),
        disk_backlog_mb: text("256"),
        creative_memory_mb: text("128"),
        open_playback: text("false"),
        consent: text("required"),
        session: text("43200"),
        pass_ttl: text("0"),
        territories_unknown: text("deny"),
        snapshot_every: text("15"),
        first_break: text("0"),
        break_every: text("0"),
        break_length: text("20"),
        log: text("plain"),
        log_level: text("info"),
        ..Settings::default()
    }
}

fn address(reader: &mut Reader, name: &str, field: Field<Text>) -> SocketAddr {
    let fault = format!("{:?} is not an address and port", reader.text(field));
    let address = reader.value(name, field, &fault, "write it as 127.0.0.1:9080 or [::]:9080");
    address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// An encoder that gives nothing for ten seconds is ended, so that nobody is waited for longer.
fn patience(reader: &mut Reader) -> Patience {
    let mut number = |name, field, range| u64::from(reader.number(name, field, range));
    Patience {
        gone_ms: number("slate-after-ms", |s| &s.slate_after_ms, 0..=8000),
        silent_ms: number("lateness-ms", |s| &s.lateness_ms, 0..=8000),
        track_ms: number("track-lateness-ms", |s| &s.track_lateness_ms, 500..=8000),
    }
}

fn disk(reader: &mut Reader) -> DiskLimits {
    let wait_ms = reader.number("disk-wait-ms", |s| &s.disk_wait_ms, 0..=5000);
    let backlog_mb = reader.number("disk-backlog-mb", |s| &s.disk_backlog_mb, 16..=65_536);
    DiskLimits {
        wait: Duration::from_millis(u64::from(wait_ms)),
        backlog_bytes: megabytes(backlog_mb),
    }
}

fn megabytes(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(1 << 20)
}

fn event(reader: &mut Reader) -> String {
    let event = reader.text(|s| &s.event);
    if !is_identifier(&event) || event == "site" {
        let place = reader.place("event", |s| &s.event);
        let remedy = "use a-z, 0-9, . and -, at most 64 of them, and not the word site";
        reader.fault(place, &format!("{event:?} is not an identifier"), remedy);
    }
    event
}

fn input(reader: &mut Reader) -> (Input, bool) {
    let text = reader.text(|s| &s.input);
    let (stream_key, made) = secret(reader, "stream-key", |s| &s.stream_key);
    let place = reader.place("input", |s| &s.input);
    let input = match (text.as_str(), text.strip_prefix("file:")) {
        ("test", _) => Input::TestMatch,
        ("rtmp", _) => Input::Publisher(Secret(stream_key)),
        (_, Some(file)) => {
            let path = PathBuf::from(file);
            if !path.is_file() {
                let fault = format!("there is no file {file:?}");
                reader.fault(place, &fault, "name a media file that exists");
            }
            Input::File(path)
        }
        _ => {
            let fault = format!("{text:?} is not an input");
            reader.fault(place, &fault, "use test, rtmp or file:PATH");
            Input::TestMatch
        }
    };
    let shown = made && matches!(input, Input::Publisher(_));
    (input, shown)
}

/// One, or two while they change from one to the other.
fn edge_secrets(reader: &mut Reader) -> Vec<Secret> {
    const BYTES_MIN: usize = 16;
    let secrets = reader.found(|s| &s.edge_secret).map(|list| list.0).unwrap_or_default();
    if secrets.len() > 2 || !secrets.iter().all(|secret| is_secret(secret, BYTES_MIN)) {
        let place = reader.place("edge-secret", |s| &s.edge_secret);
        let remedy =
            format!("use at least {BYTES_MIN} of A-Z a-z 0-9 - _, and a comma between two");
        reader.fault(place, "is too short, has other characters, or is too many", &remedy);
    }
    secrets.into_iter().map(Secret).collect()
}

/// An operator's token and a stream key are at least as long.
const SECRET_BYTES_MIN: usize = 8;

/// Whether it can be typed anywhere and is hard to guess.
fn is_secret(text: &str, bytes_min: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() >= bytes_min && text.bytes().all(plain)
}

/// A secret, and whether it was made because none was given.
fn secret(reader: &mut Reader, name: &str, field: Field<Text>) -> (String, bool) {
    let Some(given) = reader.optional(field) else {
        return (crate::documents::keys::random_hex(16), true);
    };
    if !is_secret(&given, SECRET_BYTES_MIN) {
        let place = reader.place(name, field);
        let remedy = format!(
            "use at least {SECRET_BYTES_MIN} of A-Z a-z 0-9 - _, or leave it out and one is made"
        );
        reader.fault(place, "is too short or has other characters", &remedy);
    }
    (given, false)
}

fn languages(reader: &mut Reader) -> Vec<String> {
    let languages = reader.found(|s| &s.languages).map(|list| list.0).unwrap_or_default();
    // Names of renditions are made of them in lower case.
    let same = |one: &String, other: &String| one.eq_ignore_ascii_case(other);
    let mut pairs = languages.iter().enumerate();
    let distinct = pairs.all(|(at, one)| !languages[..at].iter().any(|other| same(one, other)));
    let tags = languages.iter().all(|language| is_tag(language));
    if languages.is_empty() || languages.len() > 16 || !tags || !distinct {
        let place = reader.place("languages", |s| &s.languages);
        let remedy = "list 1 to 16 different tags, such as en,hi,pt-BR";
        reader.fault(place, "is not a list of language tags", remedy);
    }
    languages
}

fn page(reader: &mut Reader) -> Option<PathBuf> {
    let page = PathBuf::from(reader.optional(|s| &s.page)?);
    if !page.join("index.html").is_file() {
        let place = reader.place("page", |s| &s.page);
        let remedy = "build the page first, or leave the setting out to serve none";
        reader.fault(place, &format!("{} has no index.html", page.display()), remedy);
    }
    Some(page)
}

fn schedule(reader: &mut Reader) -> Schedule {
    Schedule {
        first_s: reader.number("first-break", |s| &s.first_break, 0..=86_400),
        every_s: reader.number("break-every", |s| &s.break_every, 0..=86_400),
        length_s: reader.number("break-length", |s| &s.break_length, 2..=600),
    }
}

fn open_playback(reader: &mut Reader) -> bool {
    let (fault, remedy) = ("is neither true nor false", "write true or false");
    reader.value("open-playback", |s| &s.open_playback, fault, remedy).unwrap_or(false)
}

fn log(reader: &mut Reader) -> LogFormat {
    match reader.text(|s| &s.log).as_str() {
        "plain" => LogFormat::Plain,
        "json" => LogFormat::Json,
        other => {
            let place = reader.place("log", |s| &s.log);
            reader.fault(place, &format!("{other:?} is no shape of lines"), "write plain or json");
            LogFormat::Plain
        }
    }
}

fn log_level(reader: &mut Reader) -> String {
    let remedy =
        "write error, warn, info, debug, trace or off, or MODULE=LEVEL with commas between";
    let field: Field<Text> = |s| &s.log_level;
    let _: Option<EnvFilter> = reader.value("log-level", field, "is no level", remedy);
    reader.text(field)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        settings: Settings,
    }

    pub(super) fn read(toml: &str, flags: &[&str]) -> Result<Config, Vec<Fault>> {
        read_all(toml, flags).map(|mut configs| configs.remove(0))
    }

    fn read_all(toml: &str, flags: &[&str]) -> Result<Vec<Config>, Vec<Fault>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("origin.toml");
        std::fs::write(&file, toml).unwrap();
        let line = CommandLine::parse_from([&["origin"], flags].concat());
        Config::read(&line.settings, Some(&file))
    }

    #[test]
    fn each_event_has_its_own_settings_over_those_of_the_file() {
        let toml = "title = \"The final\"\nwindow = 30\nlisten = \"127.0.0.1:1\"\n\
            [[pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:bank\"]\n\
            [[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\nwindow = 60\n\
            title = \"The other\"\n[[events.pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:car\"]\n";
        let configs = read_all(toml, &[]).unwrap();
        let told = |config: &Config| {
            let (event, title) = (config.event.clone(), config.title.clone());
            format!("{event} {title} {} {:?}", config.window_s, config.table.creatives())
        };
        let told: Vec<String> = configs.iter().map(told).collect();
        assert_eq!(
            told,
            ["a The final 30 [\"built-in:bank\"]", "b The other 60 [\"built-in:car\"]",]
        );
        assert!(configs.iter().all(|config| config.listen.port() == 1));
    }

    #[test]
    fn what_is_wrong_with_one_of_several_events_names_it() {
        let faults = |toml: &str| -> String {
            let faults = read_all(toml, &[]).unwrap_err();
            faults.iter().map(|fault| format!("{fault}\n")).collect()
        };
        let told = faults("[[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\nwindow = 1\n");
        assert!(told.contains("window in [[events]] 2 of"), "{told}");
        let told = faults("[[events]]\nevent = \"a\"\nlisten = \"127.0.0.1:1\"\n");
        assert!(told.contains("listen is the origin's"), "{told}");
        let told = faults("[[events]]\nevent = \"a\"\n[[events]]\nevent = \"a\"\n");
        assert!(told.contains("\"a\" is there twice"), "{told}");
        let told = faults("part-ms = 1\n[[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\n");
        assert!(told.contains("part-ms in"), "{told}");
        for wrong in ["events = 1", "events = []", "events = [1]"] {
            assert!(faults(wrong).contains("[[events]]"), "{wrong}");
        }
    }

    #[test]
    fn defaults_file_and_flags_in_this_order() {
        let config = read(
            "event = \"final\"\nbreak-every = 90\nlisten = \"127.0.0.1:1\"\nlanguages = [\"ta\"]",
            &["--listen", "127.0.0.1:2"],
        )
        .unwrap();
        assert_eq!(
            (config.event.as_str(), config.listen.port(), config.control.port()),
            ("final", 2, 9081)
        );
        assert_eq!(
            (config.schedule.every_s, config.schedule.length_s, config.table.rules.len()),
            (90, 20, 4)
        );
        assert_eq!(
            (config.languages.as_slice(), config.log),
            (&["ta".into()][..], LogFormat::Plain)
        );
        assert_eq!(config.snapshots[2].path, "/api/events/final/score");
        assert!(config.operator_token_made && config.operator_token.0.len() == 32);
        assert!(!config.open_playback);
        let two = read("languages = [\"ta\"]", &["--languages", "en, hi"]).unwrap();
        assert_eq!(two.languages, ["en", "hi"]);
    }

    #[test]
    fn all_faults_come_at_once_each_with_its_place_and_remedy() {
        let toml = "listen = \"here\"\nevent = \"../x\"\ncolour = \"red\"\noperator-token = \"hunter2\"\n\
            open-playback = 1\ntitle = [\"a\"]\n\
            [[pods]]\ncohort = \"18-34.x.*.*.*\"\ncreatives = [\"built-in:nothing\"]\n";
        let faults = read(
            toml,
            &["--input=file:/nowhere", "--break-every=21", "--window=many", "--log-level=a=b"],
        )
        .unwrap_err();
        let places: Vec<&str> =
            faults.iter().map(|fault| fault.place.split(' ').next().unwrap()).collect();
        for setting in [
            "listen",
            "event",
            "operator-token",
            "open-playback",
            "pods",
            "--input",
            "--break-every",
            "--window",
            "--log-level",
        ] {
            assert!(places.contains(&setting), "{setting} is not in {places:?}");
        }
        assert_eq!(faults.iter().filter(|fault| fault.place.starts_with("pods")).count(), 2);
        assert!(faults.iter().any(|fault| fault.fault.contains("colour")));
        let text: String = faults.iter().map(ToString::to_string).collect();
        assert!(!text.contains("hunter2"), "{text}");
    }

    /// The names of the settings in a file.
    fn of_a_file() -> BTreeSet<String> {
        let all = toml::Table::try_from(Settings {
            stream_key: Some("".into()),
            keyring: Some("".into()),
            operator_token: Some("".into()),
            edge_secret: Some("".into()),
            playback_plan: Some("".into()),
            territories_allow: Some("".into()),
            territories_deny: Some("".into()),
            media_url: Some("".into()),
            page: Some("".into()),
            slate: Some("".into()),
            ..defaults()
        });
        all.unwrap().keys().cloned().collect()
    }

    #[test]
    fn every_setting_is_a_flag_and_is_in_the_file() {
        let command = <CommandLine as clap::CommandFactory>::command();
        let flags = command.get_arguments().filter_map(clap::Arg::get_long).map(str::to_owned);
        assert_eq!(flags.collect::<BTreeSet<_>>(), of_a_file());
    }

    #[test]
    fn help_says_every_default() {
        let command = <CommandLine as clap::CommandFactory>::command();
        let help = with_defaults(command).render_long_help().to_string();
        for default in ["127.0.0.1:9081", "var/origin", "en,hi", "720", "false", "plain"] {
            assert!(help.contains(&format!("[default: {default}]")), "{default}: {help}");
        }
    }

    #[test]
    fn one_or_two_edges_secrets() {
        let secrets = |toml: &str| -> Result<usize, String> {
            let config = read(toml, &[]).map_err(|faults| faults[0].to_string())?;
            Ok(config.edge_secrets.len())
        };
        let (one, other) = ("0123456789abcdef", "the-next-one-to-come");
        assert_eq!(secrets(""), Ok(0));
        assert_eq!(secrets(&format!("edge-secret = \"{one}\"")), Ok(1));
        assert_eq!(secrets(&format!("edge-secret = \"{one},{other}\"")), Ok(2));
        assert_eq!(secrets(&format!("edge-secret = [\"{one}\", \"{other}\"]")), Ok(2));
        for bad in
            ["short", "", &format!("{one},"), &format!("{one},{other},{one}x"), "0123456789 abcdef"]
        {
            let fault = secrets(&format!("edge-secret = \"{bad}\"")).unwrap_err();
            assert!(fault.contains("edge-secret") && !fault.contains(one), "{fault}");
        }
    }

    #[test]
    fn a_media_url_that_edges_would_refuse_is_a_fault() {
        let config = read("media-url = \"https://media.example.com/sport\"", &[]).unwrap();
        let url = config.document().media.map(|media| media.url);
        assert_eq!(url.as_deref(), Some("https://media.example.com/sport"));
        for bad in ["media.example.com", "https://media.example.com/", "https://a@b", ""] {
            let faults = read(&format!("media-url = \"{bad}\""), &[]).unwrap_err();
            assert!(faults[0].fault.contains("media: expected a URL"), "{bad}: {faults:?}");
        }
    }

    #[test]
    fn fields_of_tables_are_what_they_should_be() {
        let toml = "[[pods]]\ncohort = \"generic\"\ncreatives = \"built-in:bank\"\n\
            [[pods]]\ncreatives = [\"built-in:bank\", 7]\ncolour = 1\n\
            [[snapshots]]\npath = \"/api/events\"\nfresh_s = \"30\"\nstale_s = -1\n";
        let faults = read(toml, &[]).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        for part in [
            "pods in",
            "table 1: creatives is",
            "table 2: creatives is",
            "table 2: cohort is missing",
            "\"colour\"",
            "snapshots in",
            "table 1: fresh_s is",
            "table 1: stale_s is",
        ] {
            assert!(told.iter().any(|fault| fault.contains(part)), "{part} is not in {told:#?}");
        }
        assert_eq!(told.len(), 6, "{told:#?}");
    }

    #[test]
    fn a_file_that_is_no_toml_names_its_line_and_not_its_content() {
        let faults = read("event = \"demo\"\nstream-key = secret-key-1\n", &[]).unwrap_err();
        assert!(
            faults[0].fault.contains("line 2") && !faults[0].to_string().contains("secret-key-1"),
            "{}",
            faults[0]
        );
    }

    #[test]
    fn a_table_of_ones_own() {
        let toml = "[[pods]]\ncohort = \"*.*.*.mobile.hi\"\ncreatives = [\"built-in:car\", \"ads/shoe.mp4\"]\n\
            [[pods]]\ncohort = \"generic\"\ncreatives = [\"built-in:bank\"]\n";
        let table = read(toml, &[]).unwrap().table;
        assert!(table.rules[0].pattern.matches("18-34.f.metro.mobile.hi"));
        assert_eq!(table.creatives(), ["built-in:car", "ads/shoe.mp4", "built-in:bank"]);
    }
}
