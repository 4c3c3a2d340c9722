//! Settings, from flags, the environment and a file.
//!
//! A flag wins over the environment, that over the file, and the file over the default. All that is
//! wrong is said at once, each with what to write instead and without a secret. A [`Config`] has
//! been checked as far as that is possible without opening a port.

mod admission;
mod creatives;
mod defaults;
mod differences;
mod edges;
mod encoding;
mod ingest;
mod origin;
mod reader;
mod secrets;
mod settings;
mod stream;
mod tables;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sightscreen_core::language::is_tag;
use sightscreen_core::route::is_identifier;
use tracing_subscriber::EnvFilter;

use crate::breaks::decision::Table;
use crate::creative::CreativeRules;
use crate::encode::budget::Budget;
use crate::encode::encoder::{Chosen, Encoder, Preset};
use crate::encode::graph::Deinterlace;
use crate::encode::ladder::{LadderLimits, RungRule};
use crate::encode::speed::Speed;
use crate::event::schedule::Schedule;
use crate::event::snapshots::SnapshotRule;
use crate::event::{self, LiveConfig};
use crate::ingest::{Entrances, Input, Limits, SrtLimits, TsLimits};
use crate::package::packager::Patience;
use crate::secret::Secret;
use crate::store::DiskLimits;
use crate::viewers::page::VIEWER;
pub use admission::Admission;
use defaults::defaults;
pub use edges::KnownEdge;
pub use origin::{StreamsConfig, WhenRemoved};
pub use reader::Fault;
use reader::{Field, Reader};
use secrets::{edge_secrets, secret};
use settings::Text;
pub use settings::{Settings, with_defaults};
pub use stream::{Latency, Template, fixed_differences, setting_at};

/// The longest break that may be allowed, in seconds.
const BREAK_S_MAX: u32 = 3600;

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
    /// What kind of event it is; may be empty.
    pub category: String,
    /// By which it is found.
    pub tags: Vec<String>,
    /// When it is to begin, in Unix milliseconds, as far as somebody said.
    pub starts_at_ms: Option<u64>,
    /// How far viewers are behind.
    pub latency: Latency,
    /// Where picture and sound come from.
    pub input: Input,
    /// Where publishers connect.
    pub rtmp: SocketAddr,
    /// What publishers may take.
    pub rtmp_limits: Limits,
    /// How transport streams are taken.
    pub ts_limits: TsLimits,
    /// Where publishers call in by SRT; none: not at all.
    pub srt: Option<SocketAddr>,
    /// The least time that packets lost on the way have to be sent again.
    pub srt_latency: Duration,
    /// What a publisher names; none where nobody publishes.
    pub stream_key: Option<Secret>,
    /// Whether the stream key was made here and has to be shown to the operator.
    pub stream_key_made: bool,
    /// Audio languages, the default first.
    pub languages: Vec<String>,
    /// Tallest rung in lines.
    pub max_height: u32,
    /// What encodes; none: what works.
    pub encoder: Option<Encoder>,
    /// The niceness at which encoders run.
    pub encoder_nice: u32,
    /// How x264 encodes.
    pub preset: Preset,
    /// Bits a second of every audio track.
    pub audio_bitrate: u32,
    /// The rungs that there may be.
    pub rungs: Vec<RungRule>,
    /// Share of the machine that encoding may take.
    pub cpu_share: f64,
    /// Frames a second; none: the source's.
    pub frame_rate: Option<(u32, u32)>,
    /// What interlaced pictures become.
    pub deinterlace: Deinterlace,
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
    /// How long a publisher may send sound alone before it is on the air without a picture.
    pub picture_wait: Duration,
    /// How the disk is treated.
    pub disk: DiskLimits,
    /// How creatives are made and kept.
    pub creatives: CreativeRules,
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
    /// Edges whose numbers the operator's page draws.
    pub edges: Vec<KnownEdge>,
    /// Whether `/api/events/{event}/playback` signs for whoever asks.
    pub open_playback: bool,
    /// Where streams are kept and how.
    pub streams: StreamsConfig,
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
        let latency = stream::latency(reader);
        let keyring = reader.optional(|s| &s.keyring);
        let (input, stream_key, stream_key_made) = ingest::input(reader);
        let (operator_token, operator_token_made) =
            secret(reader, "operator-token", |s| &s.operator_token);
        let admission = admission::admission(reader);
        let event = event(reader);
        let cpu_percent = reader.number("cpu-percent", |s| &s.cpu_percent, 1..=100);
        let config = Self {
            listen: address(reader, "listen", |s| &s.listen),
            control: address(reader, "control", |s| &s.control),
            title: stream::title(reader),
            category: stream::category(reader),
            tags: stream::tags(reader),
            starts_at_ms: stream::starts_at(reader),
            latency,
            input,
            rtmp: address(reader, "rtmp", |s| &s.rtmp),
            rtmp_limits: ingest::rtmp_limits(reader),
            ts_limits: ingest::ts_limits(reader),
            srt: ingest::srt(reader),
            srt_latency: ingest::srt_latency(reader),
            stream_key,
            stream_key_made,
            languages: languages(reader),
            max_height: reader.number("max-height", |s| &s.max_height, 144..=2160),
            cpu_share: f64::from(cpu_percent) / 100.0,
            encoder: encoding::encoder(reader),
            encoder_nice: reader.number("encoder-nice", |s| &s.encoder_nice, 0..=19),
            preset: encoding::preset(reader),
            audio_bitrate: encoding::audio_bitrate(reader),
            rungs: encoding::rungs(reader),
            frame_rate: encoding::frame_rate(reader),
            deinterlace: encoding::deinterlace(reader),
            segment_ms: reader.number("segment-ms", |s| &s.segment_ms, 1000..=10_000),
            part_ms: reader.number("part-ms", |s| &s.part_ms, 100..=2000),
            window_s: reader.number("window", |s| &s.window, 12..=14_400),
            dvr_s: reader.number("dvr", |s| &s.dvr, 12..=86_400),
            patience: patience(reader),
            picture_wait: ingest::picture_wait(reader),
            disk: disk(reader),
            creatives: creatives::rules(reader),
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
            edges: edges::edges(reader),
            open_playback: open_playback(reader),
            streams: origin::streams(reader, &data),
            log: log(reader),
            log_level: log_level(reader),
            data,
        };
        config.check_together(reader);
        config
    }

    /// Where publishers come in.
    #[must_use]
    pub fn entrances(&self) -> Entrances {
        let TsLimits { unfinished, udp_buffer, .. } = self.ts_limits;
        let (latency, common) = (self.srt_latency, self.rtmp_limits);
        Entrances {
            rtmp: self.rtmp,
            srt: self.srt,
            limits: common,
            srt_limits: SrtLimits { latency, unfinished, udp_buffer, common },
        }
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
                ladder: LadderLimits {
                    max_height: self.max_height,
                    rungs: self.rungs.clone(),
                    // Those of the process take their place.
                    budget: Budget::of_machine(self.cpu_share, Speed::default()),
                    encoder: Chosen::new(self.encoder.unwrap_or(Encoder::X264)),
                    preset: self.preset,
                    audio_bitrate: self.audio_bitrate,
                },
                frame_rate: self.frame_rate,
                deinterlace: self.deinterlace,
                segment_ms: self.segment_ms,
                part_ms: self.part_ms,
                window_s: self.window_s,
                dvr_s: self.dvr_s,
                patience: self.patience,
                picture_wait: self.picture_wait,
                ts: self.ts_limits,
                slate: self.slate.as_ref().map(PathBuf::from),
                disk: self.disk,
                creatives: self.creatives,
            },
            document: self.document(),
            starts_at_ms: self.starts_at_ms,
            playback_plan: self.admission.playback_plan.clone(),
            table: self.table.clone(),
            slate: self.slate.clone(),
            schedule: self.schedule,
            snapshots: self.snapshots.clone(),
            leads_site: false,
            low_latency: self.latency == Latency::Low,
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
            reader.fault(reader.together("the event's document"), &fault, remedy);
        }
        if self.dvr_s < self.window_s {
            let place = reader.place("dvr", |s| &s.dvr);
            let remedy = "keep at least as many seconds on disk as playlists list";
            reader.fault(place, "is shorter than window", remedy);
        }
        let Schedule { every_s, length_s, longest_s, .. } = self.schedule;
        if length_s > longest_s {
            let place = reader.place("break-length", |s| &s.break_length);
            reader.fault(place, "is longer than break-longest", "shorten it, or raise that");
        }
        let room_s = self.segment_ms.div_ceil(1000) * 3;
        if every_s > 0 && every_s < length_s + room_s {
            let place = reader.place("break-every", |s| &s.break_every);
            let remedy = format!(
                "set it to break-length plus {room_s} s or more, so that content stands between \
                 two breaks"
            );
            reader.fault(place, "leaves no content between two breaks", &remedy);
        }
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
        picture_hold_ms: number("picture-hold-ms", |s| &s.picture_hold_ms, 0..=3_600_000),
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
    if !page.join(VIEWER).join("index.html").is_file() {
        let place = reader.place("page", |s| &s.page);
        let remedy = "build the page first, or leave the setting out to serve none";
        let fault = format!("{} has no {VIEWER}/index.html", page.display());
        reader.fault(place, &fault, remedy);
    }
    Some(page)
}

fn schedule(reader: &mut Reader) -> Schedule {
    Schedule {
        first_s: reader.number("first-break", |s| &s.first_break, 0..=86_400),
        every_s: reader.number("break-every", |s| &s.break_every, 0..=86_400),
        length_s: reader.number("break-length", |s| &s.break_length, 2..=BREAK_S_MAX),
        longest_s: reader.number("break-longest", |s| &s.break_longest, 2..=BREAK_S_MAX),
        lead_s: reader.number("break-lead", |s| &s.break_lead, 1..=60),
    }
}

fn open_playback(reader: &mut Reader) -> bool {
    yes_or_no(reader, "open-playback", |s| &s.open_playback)
}

fn yes_or_no(reader: &mut Reader, name: &str, field: Field<Text>) -> bool {
    let (fault, remedy) = ("is neither true nor false", "write true or false");
    reader.value(name, field, fault, remedy).unwrap_or(false)
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
mod tests;
