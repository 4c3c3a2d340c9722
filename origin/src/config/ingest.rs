//! Settings of inputs, and of what publishers may take.

use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reader::{Field, Reader};
use super::secret;
use super::settings::Text;
use crate::ingest::{Input, Limits, StreamKey, TsLimits};
use crate::secret::Secret;

/// The input, and where it is a publisher, its key and whether that was made here.
pub(super) fn input(reader: &mut Reader) -> (Input, Option<Secret>, bool) {
    let text = reader.text(|s| &s.input);
    let (stream_key, made) = secret(reader, "stream-key", |s| &s.stream_key);
    let input = match text.split_once(':') {
        None if text == "test" => Ok(Input::TestMatch),
        None if text == "rtmp" => Ok(Input::Publisher(StreamKey::of(&stream_key))),
        Some(("file", path)) => file(path),
        Some(("pipe", path)) => pipe(path),
        Some(("udp", _)) => match text.parse() {
            Ok(source) => Ok(Input::Udp(source)),
            Err(error) => Err((format!("{text:?} cannot be received"), error.to_string())),
        },
        _ => {
            let remedy = "use test, rtmp, file:PATH, pipe:PATH or udp://ADDRESS:PORT";
            Err((format!("{text:?} is not an input"), remedy.to_owned()))
        }
    };
    let input = input.unwrap_or_else(|(fault, remedy)| {
        reader.fault(reader.place("input", |s| &s.input), &fault, &remedy);
        Input::TestMatch
    });
    let takes = matches!(input, Input::Publisher(_));
    (input, takes.then_some(Secret(stream_key)), made && takes)
}

/// What is wrong, and what to do.
type Wrong = (String, String);

fn file(path: &str) -> Result<Input, Wrong> {
    match Path::new(path).is_file() {
        true => Ok(Input::File(PathBuf::from(path))),
        false => {
            Err((format!("there is no file {path:?}"), "name a media file that exists".into()))
        }
    }
}

fn pipe(path: &str) -> Result<Input, Wrong> {
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_fifo() => Ok(Input::Pipe(PathBuf::from(path))),
        Ok(_) => {
            let remedy = format!("make it with mkfifo, or play a file with file:{path}");
            Err((format!("{path:?} is no named pipe"), remedy))
        }
        Err(error) => Err((format!("{path:?}: {error}"), format!("make it with mkfifo {path}"))),
    }
}

pub(super) fn rtmp_limits(reader: &mut Reader) -> Limits {
    let mut seconds = |name, field: Field<Text>, range| {
        Duration::from_secs(u64::from(reader.number(name, field, range)))
    };
    let admission = seconds("rtmp-admission", |s| &s.rtmp_admission, 1..=60);
    let idle = seconds("rtmp-idle", |s| &s.rtmp_idle, 2..=300);
    let rival_pause = seconds("rtmp-rival-pause", |s| &s.rtmp_rival_pause, 0..=300);
    let strangers = reader.number("rtmp-strangers", |s| &s.rtmp_strangers, 1..=10_000);
    let memory = reader.number("rtmp-memory", |s| &s.rtmp_memory, 1..=16);
    Limits {
        admission,
        idle,
        unfinished: (memory as usize) << 20,
        strangers: strangers as usize,
        rival_pause,
    }
}

pub(super) fn ts_limits(reader: &mut Reader) -> TsLimits {
    let idle_ms = reader.number("ts-idle-ms", |s| &s.ts_idle_ms, 200..=60_000);
    let memory = reader.number("ts-memory", |s| &s.ts_memory, 1..=64);
    let buffer_kb = reader.number("udp-buffer-kb", |s| &s.udp_buffer_kb, 64..=262_144);
    TsLimits {
        idle: Duration::from_millis(u64::from(idle_ms)),
        unfinished: (memory as usize) << 20,
        udp_buffer: (buffer_kb as usize) << 10,
    }
}

pub(super) fn srt(reader: &mut Reader) -> Option<SocketAddr> {
    reader.optional(|s| &s.srt)?;
    Some(super::address(reader, "srt", |s| &s.srt))
}

pub(super) fn srt_latency(reader: &mut Reader) -> Duration {
    let latency_ms = reader.number("srt-latency-ms", |s| &s.srt_latency_ms, 20..=8000);
    Duration::from_millis(u64::from(latency_ms))
}

pub(super) fn picture_wait(reader: &mut Reader) -> Duration {
    let wait_ms = reader.number("picture-wait-ms", |s| &s.picture_wait_ms, 500..=60_000);
    Duration::from_millis(u64::from(wait_ms))
}
