//! The configuration: what the TOML file and the flags say, checked once, all faults together.
//!
//! Owns every setting's name, default and limits. Opens nothing but the configuration file.
//! Invariant: a [`Config`] that exists has been checked; a fault says what was expected and what to
//! do, and never repeats a secret.

mod pods;
mod reader;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use sightscreen_core::document::Dimension;
use sightscreen_core::route::is_identifier;

use crate::breaks::decision::Table;
use crate::cohorts;
use crate::live::Input;
pub use reader::Fault;
use reader::{Field, Reader};

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
    /// Cohort schema.
    pub schema: Vec<Dimension>,
    /// Which cohorts see what.
    pub table: Table,
    /// A clip in place of the built-in slate.
    pub slate: Option<String>,
    /// Which API answers are stored.
    pub snapshots: Vec<SnapshotRule>,
    /// Seconds between two takes of the snapshots.
    pub snapshot_every_s: u32,
    /// Of these an edge names one with every request for media or documents; none: all may ask.
    pub edge_secrets: Vec<Secret>,
    /// Whether `/api/events/{event}/playback` signs for whoever asks.
    pub open_playback: bool,
}

/// A secret that no log, error or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

/// When breaks come by themselves, in seconds. 0: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// From the first published segment to the first break.
    pub first_s: u32,
    /// From one break's start to the next.
    pub every_s: u32,
    /// Length of each.
    pub length_s: u32,
}

/// One API answer that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRule {
    /// API path.
    pub path: String,
    /// Seconds for which it is as good as the origin's.
    pub fresh_s: u32,
    /// Seconds after those for which it is stale but fine.
    pub stale_s: u32,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Config {
    /// Reads the file, if one is named, lets `flags` (setting and value) override it, and checks
    /// everything.
    ///
    /// # Errors
    /// Every fault found, each with its remedy.
    pub fn read(
        file: Option<&Path>,
        flags: Vec<(&'static str, String)>,
    ) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::open(file, flags);
        let config = Self::from_reader(&mut reader);
        let faults = reader.finish();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn from_reader(reader: &mut Reader) -> Self {
        let data = PathBuf::from(reader.text("data", "var/origin"));
        let keyring =
            reader.optional("keyring").map_or_else(|| data.join("keyring.json"), PathBuf::from);
        let (input, stream_key_made) = input(reader);
        let (operator_token, operator_token_made) = secret(reader, "operator-token");
        let schema = cohorts::schema();
        let event = event(reader);
        let config = Self {
            listen: address(reader, "listen", "127.0.0.1:9080"),
            control: address(reader, "control", "127.0.0.1:9081"),
            title: reader.text("title", "Sightscreen test match"),
            input,
            stream_key_made,
            languages: languages(reader),
            max_height: reader.number("max-height", 720, 144..=2160),
            cpu_share: f64::from(reader.number("cpu-percent", 25, 1..=100)) / 100.0,
            segment_ms: reader.number("segment-ms", 2000, 1000..=10_000),
            part_ms: reader.number("part-ms", 200, 100..=2000),
            window_s: reader.number("window", 60, 12..=14_400),
            dvr_s: reader.number("dvr", 600, 12..=86_400),
            keyring,
            page: page(reader),
            operator_token: Secret(operator_token),
            operator_token_made,
            schedule: schedule(reader),
            table: pods::table(reader, &schema),
            schema,
            slate: reader.optional("slate"),
            snapshots: snapshots(reader, &event),
            event,
            snapshot_every_s: reader.number("snapshot-every", 15, 1..=3600),
            edge_secrets: edge_secrets(reader),
            open_playback: reader.flag("open-playback", false),
            data,
        };
        config.check_together(reader);
        config
    }

    /// What no setting shows alone.
    fn check_together(&self, reader: &mut Reader) {
        if self.listen == self.control && self.listen.port() != 0 {
            reader.fault(
                "control",
                "is the same address as listen",
                "give the control port another number",
            );
        }
        if self.dvr_s < self.window_s {
            reader.fault(
                "dvr",
                "is shorter than window",
                "keep at least as many seconds on disk as playlists list",
            );
        }
        let Schedule { every_s, length_s, .. } = self.schedule;
        let room_s = self.segment_ms.div_ceil(1000) * 3;
        if every_s > 0 && every_s < length_s + room_s {
            let remedy = format!(
                "set it to break-length plus {room_s} s or more, so that content stands between two breaks"
            );
            reader.fault("break-every", "leaves no content between two breaks", &remedy);
        }
    }
}

fn address(reader: &mut Reader, key: &'static str, default: &str) -> SocketAddr {
    let text = reader.text(key, default);
    text.parse().unwrap_or_else(|_| {
        reader.fault(
            key,
            &format!("{text:?} is not an address and port"),
            &format!("write it as {default}"),
        );
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn event(reader: &mut Reader) -> String {
    let event = reader.text("event", "demo");
    if !is_identifier(&event) || event == "site" {
        let remedy = "use a-z, 0-9, . and -, at most 64 of them, and not the word site";
        reader.fault("event", &format!("{event:?} is not an identifier"), remedy);
    }
    event
}

fn input(reader: &mut Reader) -> (Input, bool) {
    let text = reader.text("input", "test");
    let listen = address(reader, "rtmp", "127.0.0.1:1935");
    let (stream_key, made) = secret(reader, "stream-key");
    let input = match (text.as_str(), text.strip_prefix("file:")) {
        ("test", _) => Input::TestMatch,
        ("rtmp", _) => Input::Rtmp { listen, stream_key: Secret(stream_key) },
        (_, Some(file)) => {
            let path = PathBuf::from(file);
            if !path.is_file() {
                reader.fault(
                    "input",
                    &format!("there is no file {file:?}"),
                    "name a media file that exists",
                );
            }
            Input::File(path)
        }
        _ => {
            reader.fault(
                "input",
                &format!("{text:?} is not an input"),
                "use test, rtmp or file:PATH",
            );
            Input::TestMatch
        }
    };
    let shown = made && matches!(input, Input::Rtmp { .. });
    (input, shown)
}

/// One, or two while they change from one to the other.
fn edge_secrets(reader: &mut Reader) -> Vec<Secret> {
    const BYTES_MIN: usize = 16;
    let secrets = reader.list("edge-secret", &[]);
    if secrets.len() > 2 || !secrets.iter().all(|secret| is_secret(secret, BYTES_MIN)) {
        let remedy = format!(
            "give one, or two with a comma between, each at least {BYTES_MIN} of A-Z a-z 0-9 - _"
        );
        reader.fault("edge-secret", "is too short, has other characters, or is too many", &remedy);
    }
    secrets.into_iter().map(Secret).collect()
}

/// Whether it can be typed anywhere and is hard to guess.
fn is_secret(text: &str, bytes_min: usize) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    text.len() >= bytes_min && text.bytes().all(plain)
}

/// A secret, and whether it was made because none was given.
fn secret(reader: &mut Reader, key: &'static str) -> (String, bool) {
    const BYTES_MIN: usize = 8;
    let Some(given) = reader.optional(key) else {
        return (crate::keys::random_hex(16), true);
    };
    if !is_secret(&given, BYTES_MIN) {
        let remedy =
            format!("use at least {BYTES_MIN} of A-Z a-z 0-9 - _, or leave it out and one is made");
        reader.fault(key, "is too short or has other characters", &remedy);
    }
    (given, false)
}

fn languages(reader: &mut Reader) -> Vec<String> {
    let languages = reader.list("languages", &["en", "hi"]);
    let tag = |text: &String| {
        (2..=12).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let distinct = languages.iter().enumerate().all(|(at, one)| !languages[..at].contains(one));
    if languages.is_empty() || languages.len() > 16 || !languages.iter().all(tag) || !distinct {
        reader.fault(
            "languages",
            "is not a list of language tags",
            "list 1 to 16 different tags in lower case, such as en,hi,ta",
        );
    }
    languages
}

fn page(reader: &mut Reader) -> Option<PathBuf> {
    let page = PathBuf::from(reader.optional("page")?);
    if !page.join("index.html").is_file() {
        let remedy = "build the page first, or leave the setting out to serve none";
        reader.fault("page", &format!("{} has no index.html", page.display()), remedy);
    }
    Some(page)
}

fn schedule(reader: &mut Reader) -> Schedule {
    Schedule {
        first_s: reader.number("first-break", 0, 0..=86_400),
        every_s: reader.number("break-every", 0, 0..=86_400),
        length_s: reader.number("break-length", 20, 2..=600),
    }
}

/// The stored API answers; without a list, all that one viewer's request does not shape.
fn snapshots(reader: &mut Reader, event: &str) -> Vec<SnapshotRule> {
    let rule = |path: String| SnapshotRule { path, fresh_s: 30, stale_s: 6 * 3600 };
    let rows = reader.tables(
        "snapshots",
        &[("path", Field::Text), ("fresh_s", Field::Number), ("stale_s", Field::Number)],
    );
    if rows.is_empty() {
        let below = |tail| format!("/api/events{tail}");
        return vec![
            rule(below(String::new())),
            rule(below(format!("/{event}"))),
            rule(below(format!("/{event}/score"))),
        ];
    }
    let mut rules = Vec::new();
    for row in rows {
        // Without one, that was said already.
        let Some(path) = row.text("path") else {
            continue;
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/.-".contains(&b);
        if !path.starts_with("/api/") || !path.bytes().all(plain) || path.contains("..") {
            reader.fault(
                "snapshots",
                &format!("{path:?} is not an API path"),
                "write a path such as /api/events, of a-z 0-9 / . -",
            );
        }
        let usual = rule(path);
        let fresh_s = row.number("fresh_s").unwrap_or(usual.fresh_s);
        rules.push(SnapshotRule {
            fresh_s,
            stale_s: row.number("stale_s").unwrap_or(usual.stale_s),
            ..usual
        });
    }
    rules
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn read(toml: &str, flags: &[(&'static str, &str)]) -> Result<Config, Vec<Fault>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("origin.toml");
        std::fs::write(&file, toml).unwrap();
        Config::read(
            Some(&file),
            flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        )
    }

    #[test]
    fn defaults_file_and_flags_in_this_order() {
        let config = read(
            "event = \"final\"\nbreak-every = 90\nlisten = \"127.0.0.1:1\"",
            &[("listen", "127.0.0.1:2")],
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
        assert_eq!(config.snapshots[2].path, "/api/events/final/score");
        assert!(config.operator_token_made && config.operator_token.0.len() == 32);
        assert!(!config.open_playback);
    }

    #[test]
    fn all_faults_come_at_once_each_with_its_place_and_remedy() {
        let toml = "listen = \"here\"\nevent = \"../x\"\ncolour = \"red\"\noperator-token = \"hunter2\"\n\
            [[pods]]\ncohort = \"18-34.x.*.*.*\"\ncreatives = [\"built-in:nothing\"]\n";
        let faults =
            read(toml, &[("input", "file:/nowhere"), ("break-every", "21"), ("window", "many")])
                .unwrap_err();
        let places: Vec<&str> =
            faults.iter().map(|fault| fault.place.split(' ').next().unwrap()).collect();
        for setting in
            ["listen", "event", "operator-token", "pods", "--input", "--break-every", "--window"]
        {
            assert!(places.contains(&setting), "{setting} is not in {places:?}");
        }
        assert_eq!(faults.iter().filter(|fault| fault.place.starts_with("pods")).count(), 2);
        assert!(faults.iter().any(|fault| fault.fault.contains("colour")));
        let text: String = faults.iter().map(ToString::to_string).collect();
        assert!(!text.contains("hunter2"), "{text}");
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
        for bad in ["short", "", &format!("{one},"), &format!("{one},{other},{one}x")] {
            let fault = secrets(&format!("edge-secret = \"{bad}\"")).unwrap_err();
            assert!(fault.contains("edge-secret") && !fault.contains(one), "{fault}");
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
