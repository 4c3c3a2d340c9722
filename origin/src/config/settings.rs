//! Settings as they are written: one struct that flags, environment and file are read into.
//!
//! Every value is text here, so that one wrong value does not hide the next;
//! [`Config`](super::Config) reads them all.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use super::Fault;

/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// One value, however it was written.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(super) struct Text(pub(super) String);

/// Several values: in the file a list, elsewhere with commas between.
#[derive(Clone)]
pub(super) struct List(pub(super) Vec<String>);

/// All settings; `None` where nobody set one.
#[derive(Clone, Default, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// Media, documents, API and page, for the edges
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) listen: Option<Text>,
    /// The operator's interface; keep it private
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) control: Option<Text>,
    /// Folder for everything that the origin stores
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<Text>,
    /// Identifier of the event
    #[arg(long, value_name = "NAME")]
    pub(super) event: Option<Text>,
    /// The event's name, for people; its identifier, unless this is set
    #[arg(long, value_name = "TEXT")]
    pub(super) title: Option<Text>,
    /// What kind of event it is, such as football; the list of streams can be searched by it
    #[arg(long, value_name = "WORD")]
    pub(super) category: Option<Text>,
    /// Words by which the list of streams finds the event
    #[arg(long, value_name = "WORD,WORD")]
    pub(super) tags: Option<List>,
    /// When it is to begin, such as 2026-12-01T20:00:00+01:00; told to whoever comes before
    #[arg(long, value_name = "TIME")]
    pub(super) starts_at: Option<Text>,

    /// Where picture and sound come from: test, rtmp, file:PATH, pipe:PATH (a named pipe with a
    /// transport stream) or udp://[SOURCE@]ADDRESS:PORT[?interface=ADDRESS]
    #[arg(long, value_name = "INPUT")]
    pub(super) input: Option<Text>,
    /// Where a publisher connects
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) rtmp: Option<Text>,
    /// Seconds in which a connection must name a stream key
    #[arg(long, value_name = "N")]
    pub(super) rtmp_admission: Option<Text>,
    /// Seconds without picture and sound after which a publisher's connection is closed
    #[arg(long, value_name = "N")]
    pub(super) rtmp_idle: Option<Text>,
    /// Most open connections that have not named a stream key
    #[arg(long, value_name = "N")]
    pub(super) rtmp_strangers: Option<Text>,
    /// MiB that a publisher's unfinished messages may take
    #[arg(long, value_name = "N")]
    pub(super) rtmp_memory: Option<Text>,
    /// Seconds for which a publisher is refused after another with its key replaced it, doubling
    /// per retry; 0: the newest always wins
    #[arg(long, value_name = "N")]
    pub(super) rtmp_rival_pause: Option<Text>,
    /// Where publishers call in by SRT [default: SRT is off]
    #[arg(long, value_name = "ADDR:PORT")]
    pub(super) srt: Option<Text>,
    /// Milliseconds in which SRT can send lost packets again; the caller may ask for more
    #[arg(long, value_name = "N")]
    pub(super) srt_latency_ms: Option<Text>,
    /// Secret that a publisher gives [default: made and printed]; better in the environment,
    /// because every user of the machine can read flags
    #[arg(long, value_name = "SECRET", env = "SIGHTSCREEN_STREAM_KEY", hide_env_values = true)]
    pub(super) stream_key: Option<Text>,
    /// Audio languages, the default first
    #[arg(long, value_name = "TAG,TAG")]
    pub(super) languages: Option<List>,
    /// Tallest picture, in lines
    #[arg(long, value_name = "N")]
    pub(super) max_height: Option<Text>,
    /// Percent of the machine that encoding may take
    #[arg(long, value_name = "N")]
    pub(super) cpu_percent: Option<Text>,
    /// What encodes pictures: auto, nvenc, qsv, vaapi or x264
    #[arg(long, value_name = "WORD")]
    pub(super) encoder: Option<Text>,
    /// Niceness of encoders, by which they give way to all else
    #[arg(long, value_name = "N")]
    pub(super) encoder_nice: Option<Text>,
    /// Work that x264 puts into pictures: ultrafast, superfast, veryfast, faster, fast or medium
    #[arg(long, value_name = "WORD")]
    pub(super) x264_preset: Option<Text>,
    /// Bits a second of every audio track
    #[arg(long, value_name = "N")]
    pub(super) audio_bitrate: Option<Text>,
    /// How far viewers are behind: low (segments in parts) or standard (longer, whole segments)
    #[arg(long, value_name = "WORD")]
    pub(super) latency: Option<Text>,
    /// Frames a second: source, or 23.976, 24, 25, 29.97, 30, 50, 59.94 or 60
    #[arg(long, value_name = "RATE")]
    pub(super) frame_rate: Option<Text>,
    /// How interlaced pictures are converted: frame (one picture of two fields) or field (one of
    /// each field, at twice the rate)
    #[arg(long, value_name = "WORD")]
    pub(super) deinterlace: Option<Text>,
    /// Segment duration asked for, in milliseconds; rounded to whole frames [default: 2000 where
    /// latency is low, 4000 where it is standard]
    #[arg(long, value_name = "N")]
    pub(super) segment_ms: Option<Text>,
    /// Part target asked for, in milliseconds; rounded to whole frames [default: 200 where latency
    /// is low, 1000 where it is standard]
    #[arg(long, value_name = "N")]
    pub(super) part_ms: Option<Text>,
    /// Seconds that a playlist lists
    #[arg(long, value_name = "N")]
    pub(super) window: Option<Text>,
    /// Seconds that stay on disk
    #[arg(long, value_name = "N")]
    pub(super) dvr: Option<Text>,

    /// Milliseconds from the end of a part to the slate in its place while nobody publishes
    #[arg(long, value_name = "N")]
    pub(super) slate_after_ms: Option<Text>,
    /// Milliseconds to wait for a publisher that is connected and sends nothing
    #[arg(long, value_name = "N")]
    pub(super) lateness_ms: Option<Text>,
    /// Milliseconds of sound without any picture after which a publisher goes on the air with slate
    #[arg(long, value_name = "N")]
    pub(super) picture_wait_ms: Option<Text>,
    /// Milliseconds without a datagram after which their sender is considered gone
    #[arg(long, value_name = "N")]
    pub(super) ts_idle_ms: Option<Text>,
    /// MiB that a transport stream's unfinished pictures and sounds may take
    #[arg(long, value_name = "N")]
    pub(super) ts_memory: Option<Text>,
    /// KiB of the system's receive buffer for datagrams
    #[arg(long, value_name = "N")]
    pub(super) udp_buffer_kb: Option<Text>,
    /// Milliseconds that one track may be behind the others before slate or silence takes its place
    #[arg(long, value_name = "N")]
    pub(super) track_lateness_ms: Option<Text>,
    /// Milliseconds that a publisher's last picture is shown while its sound goes on, before slate
    #[arg(long, value_name = "N")]
    pub(super) picture_hold_ms: Option<Text>,

    /// Milliseconds that a part may wait for the disk before viewers get it from memory
    #[arg(long, value_name = "N")]
    pub(super) disk_wait_ms: Option<Text>,
    /// Megabytes of media that may wait in memory for a disk that is late or fails, for each event
    #[arg(long, value_name = "N")]
    pub(super) disk_backlog_mb: Option<Text>,
    /// Megabytes of creatives that stay in memory, for each event
    #[arg(long, value_name = "N")]
    pub(super) creative_memory_mb: Option<Text>,
    /// Gigabytes of creatives on disk past which no more are made, for each event
    #[arg(long, value_name = "N")]
    pub(super) creative_cache_gb: Option<Text>,
    /// Seconds that a creative may last
    #[arg(long, value_name = "N")]
    pub(super) creative_max: Option<Text>,
    /// Loudness of every creative in LUFS, such as -23, or keep
    #[arg(long, value_name = "LUFS", allow_negative_numbers = true)]
    pub(super) creative_loudness: Option<Text>,

    /// Keyring (secret) [default: DATA/keyring.json]; made when absent, read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) keyring: Option<Text>,
    /// Token of the operator [default: made and printed]; better in the environment
    #[arg(long, value_name = "SECRET", env = "SIGHTSCREEN_OPERATOR_TOKEN", hide_env_values = true)]
    pub(super) operator_token: Option<Text>,
    /// Secret that edges send, or two during a change; without one, whoever reaches the port gets
    /// media; better in the environment
    #[arg(
        long,
        value_name = "SECRET,SECRET",
        env = "SIGHTSCREEN_EDGE_SECRET",
        hide_env_values = true
    )]
    pub(super) edge_secret: Option<List>,
    /// Operator's ports of edges, each as URL or URL#TOKEN, whose numbers the operator's page draws
    #[arg(long, value_name = "URL,URL", env = "SIGHTSCREEN_EDGES", hide_env_values = true)]
    pub(super) edges: Option<List>,
    /// Whether the API signs entry URLs for whoever asks, without a plan: for demonstrations
    #[arg(long, value_name = "true|false")]
    pub(super) open_playback: Option<Text>,
    /// Plan of the entry URLs that the API signs for whoever asks [default: the lowest]
    #[arg(long, value_name = "PLAN")]
    pub(super) playback_plan: Option<Text>,
    /// Target viewers without explicit consent: required (no) or assumed (yes)
    #[arg(long, value_name = "WORD")]
    pub(super) consent: Option<Text>,
    /// Seconds from entry to the end of a session
    #[arg(long, value_name = "N")]
    pub(super) session: Option<Text>,
    /// Seconds that a pass lasts; 0: to the end of the session. Native players do not renew one
    #[arg(long, value_name = "N")]
    pub(super) pass_ttl: Option<Text>,
    /// Countries (IN) and regions (IN-MH) where the event may be seen [default: all]
    #[arg(long, value_name = "PLACE,PLACE")]
    pub(super) territories_allow: Option<List>,
    /// Countries and regions where the event may not be seen [default: none]
    #[arg(long, value_name = "PLACE,PLACE")]
    pub(super) territories_deny: Option<List>,
    /// Deny or allow viewers whose place is not known
    #[arg(long, value_name = "WORD")]
    pub(super) territories_unknown: Option<Text>,
    /// Base URL at which edges fetch segments and parts, such as a CDN in front of this origin
    /// [default: this origin]
    #[arg(long, value_name = "URL")]
    pub(super) media_url: Option<Text>,
    /// Folder of the page
    #[arg(long, value_name = "DIR")]
    pub(super) page: Option<Text>,
    /// Seconds between two snapshots of the API
    #[arg(long, value_name = "N")]
    pub(super) snapshot_every: Option<Text>,

    /// Seconds from the first segments to the first scheduled break; 0: none
    #[arg(long, value_name = "N")]
    pub(super) first_break: Option<Text>,
    /// Seconds from the start of one scheduled break to that of the next; 0: none
    #[arg(long, value_name = "N")]
    pub(super) break_every: Option<Text>,
    /// Seconds that a scheduled break lasts
    #[arg(long, value_name = "N")]
    pub(super) break_length: Option<Text>,
    /// Most seconds that a break may last
    #[arg(long, value_name = "N")]
    pub(super) break_longest: Option<Text>,
    /// Minimum seconds from the announcement of a break to its start [default: two segments]
    #[arg(long, value_name = "N")]
    pub(super) break_lead: Option<Text>,
    /// Clip for what the creatives leave open in a break; its first picture is also shown while the
    /// publisher sends none [default: built in]
    #[arg(long, value_name = "FILE")]
    pub(super) slate: Option<Text>,

    /// Where streams, tokens and the audit log are kept: sqlite:FILE or
    /// postgres://USER:PASSWORD@HOST/NAME [default: sqlite:DATA/streams.db]
    #[arg(long, value_name = "URL", env = "SIGHTSCREEN_DATABASE", hide_env_values = true)]
    pub(super) database: Option<Text>,
    /// Connections to PostgreSQL
    #[arg(long, value_name = "N")]
    pub(super) database_connections: Option<Text>,
    /// Milliseconds that a query of the database may take
    #[arg(long, value_name = "N")]
    pub(super) database_timeout_ms: Option<Text>,
    /// Most streams that have not ended
    #[arg(long, value_name = "N")]
    pub(super) streams_max: Option<Text>,
    /// Seconds for which a stream's old key stays valid beside a new one, unless a request says
    /// another time
    #[arg(long, value_name = "N")]
    pub(super) key_grace: Option<Text>,
    /// What happens to an event that a reload no longer finds in the file: end (viewers see its
    /// end) or stop (it is gone at once)
    #[arg(long, value_name = "WORD")]
    pub(super) when_removed: Option<Text>,
    /// Base URL that publishers are told for RTMP [default: rtmp://RTMP/live]
    #[arg(long, value_name = "URL")]
    pub(super) rtmp_url: Option<Text>,
    /// Base URL that publishers are told for SRT [default: srt://SRT]
    #[arg(long, value_name = "URL")]
    pub(super) srt_url: Option<Text>,
    /// Base URL of the edges, which playback URLs begin with [default: none, they begin with /]
    #[arg(long, value_name = "URL")]
    pub(super) playback_url: Option<Text>,
    /// Most attempts to deliver a webhook
    #[arg(long, value_name = "N")]
    pub(super) webhook_attempts: Option<Text>,
    /// Seconds between the attempts to deliver a webhook; the last is repeated
    #[arg(long, value_name = "N,N")]
    pub(super) webhook_pauses: Option<List>,
    /// Seconds that an attempt to deliver a webhook may take
    #[arg(long, value_name = "N")]
    pub(super) webhook_timeout: Option<Text>,
    /// Whether webhooks may go to private addresses
    #[arg(long, value_name = "true|false")]
    pub(super) webhook_private: Option<Text>,
    /// Days for which the audit log is kept
    #[arg(long, value_name = "N")]
    pub(super) audit_days: Option<Text>,

    /// Format of log lines: plain or json
    #[arg(long, value_name = "FORMAT")]
    pub(super) log: Option<Text>,
    /// Lowest level of log lines: error, warn, info, debug, trace or off, also by module
    #[arg(long, value_name = "LEVEL", env = "SIGHTSCREEN_LOG", hide_env_values = true)]
    pub(super) log_level: Option<Text>,

    /// Tables of the ladder; in the file alone.
    #[arg(skip)]
    #[serde(skip_serializing)]
    pub(super) rungs: Option<Value>,
    /// Tables of who sees what in a break; in the file alone.
    #[arg(skip)]
    #[serde(skip_serializing)]
    pub(super) pods: Option<Value>,
    /// Tables of plans; in the file alone.
    #[arg(skip)]
    #[serde(skip_serializing)]
    pub(super) plans: Option<Value>,
    /// Tables of the cohort schema; in the file alone.
    #[arg(skip)]
    #[serde(skip_serializing)]
    pub(super) cohorts: Option<Value>,
    /// Tables of which API answers are stored; in the file alone.
    #[arg(skip)]
    #[serde(skip_serializing)]
    pub(super) snapshots: Option<Value>,
    /// What a file has beside them.
    #[arg(skip)]
    #[serde(flatten)]
    pub(super) unknown: BTreeMap<String, Value>,
}

/// What a file holds, or why there is nothing.
pub(super) fn table_of_file(path: &Path) -> Result<Table, Fault> {
    let fault = |fault: String, remedy: &str| Fault {
        place: path.display().to_string(),
        fault,
        remedy: remedy.to_owned(),
    };
    const LOOK: &str = "name a TOML file that can be read";
    let size = std::fs::metadata(path).map_err(|error| fault(error.to_string(), LOOK))?.len();
    if size > FILE_BYTES_MAX {
        return Err(fault(format!("has {size} bytes, at most {FILE_BYTES_MAX} are read"), LOOK));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string(), LOOK))?;
    toml::from_str(&text).map_err(|error| {
        // What the error prints of itself quotes the line, which may hold a secret.
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].matches('\n').count() + 1;
        let (message, remedy) = (error.message(), "mend that line");
        fault(format!("is not TOML (line {line}: {message})"), remedy)
    })
}

/// `--help` of this command says every default.
#[must_use]
pub fn with_defaults(command: clap::Command) -> clap::Command {
    let defaults = Table::try_from(super::defaults()).unwrap_or_default();
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

impl From<&str> for List {
    fn from(text: &str) -> Self {
        Self(text.split(',').map(|item| item.trim().to_owned()).collect())
    }
}

impl Serialize for List {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.join(","))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(plain(Value::deserialize(deserializer)?)))
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Array(items) => Self(items.into_iter().map(plain).collect()),
            other => plain(other).as_str().into(),
        })
    }
}

/// A value as a flag would write it. A list or a table is written as TOML, which no setting takes.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
