//! The access log: one JSON object a line for each response.
//!
//! A line has no secret and, unless the settings ask for it, no address. Lines are written by a
//! thread of their own: no viewer waits for a disk, and when the disk is too slow lines are lost
//! and counted.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Method, StatusCode};
use prometheus::IntCounter;
use serde::Serialize;

use crate::config::AccessLog;
use crate::logs;
use crate::metrics::Answered;

/// Lines that wait for the disk.
const WAITING: usize = 16 * 1024;
/// Longest that a line waits to be written, and time between two looks at the file's name.
const FLUSH: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Clone)]
pub(crate) struct Access {
    lines: SyncSender<Line>,
    lost: IntCounter,
    with_address: bool,
}

/// A line to be.
#[derive(Debug, Clone, Serialize)]
struct Line {
    /// Unix milliseconds at which the request came.
    time_ms: u64,
    method: String,
    target: String,
    version: &'static str,
    status: u16,
    answered: &'static str,
    /// Bytes of body that the viewer took.
    bytes: u64,
    /// From the request to the last byte taken.
    micros: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
}

/// A response that is being sent.
pub(crate) struct Record {
    access: Arc<Access>,
    line: Line,
    begun: Instant,
}

/// What a line says of a response.
pub(crate) struct Told<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a str,
    pub(crate) version: http::Version,
    pub(crate) status: StatusCode,
    pub(crate) answered: Answered,
    pub(crate) address: Option<IpAddr>,
    pub(crate) begun: Instant,
}

impl Access {
    /// Opens the log, and the thread that writes it; the thread ends with the last clone.
    pub(crate) fn open(
        to: &AccessLog,
        lost: IntCounter,
    ) -> io::Result<(Arc<Self>, JoinHandle<()>)> {
        let output = Output::open(to.file.clone())?;
        let (lines, receiver) = sync_channel(WAITING);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&receiver, output))?;
        Ok((Arc::new(Self { lines, lost, with_address: to.address }), writer))
    }

    /// A line that is written when the response has ended.
    pub(crate) fn record(self: &Arc<Self>, told: &Told<'_>) -> Record {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            time_ms: (now.saturating_sub(told.begun.elapsed())).as_millis() as u64,
            method: told.method.to_string(),
            target: logs::masked(told.target),
            version: version(told.version),
            status: told.status.as_u16(),
            answered: told.answered.name(),
            bytes: 0,
            micros: 0,
            address: told.address.filter(|_| self.with_address),
        };
        Record { access: Arc::clone(self), line, begun: told.begun }
    }
}

impl Record {
    /// The viewer took `bytes`, and the response is over.
    pub(crate) fn end(mut self, bytes: u64) {
        self.line.bytes = bytes;
        self.line.micros = self.begun.elapsed().as_micros() as u64;
        if self.access.lines.try_send(self.line).is_err() {
            self.access.lost.inc();
        }
    }
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// Writes until the node has ended.
fn write(lines: &Receiver<Line>, mut output: Output) {
    let mut flushed = Instant::now();
    loop {
        let next = lines.recv_timeout(FLUSH);
        let written = match &next {
            Ok(line) => output.line(line),
            Err(_) => Ok(()),
        };
        let is_over = matches!(next, Err(RecvTimeoutError::Disconnected));
        let written = written.and_then(|()| {
            if is_over || next.is_err() || flushed.elapsed() >= FLUSH {
                flushed = Instant::now();
                return output.flush();
            }
            Ok(())
        });
        if let Err(error) = written {
            tracing::error!(%error, "access log not written");
            // Not again for every line.
            std::thread::sleep(FLUSH);
        }
        if is_over {
            return;
        }
    }
}

/// A file, which is opened anew when another took its name (a rotation), or standard output.
enum Output {
    File { path: PathBuf, file: BufWriter<File> },
    Standard(BufWriter<io::Stdout>),
}

impl Output {
    fn open(path: Option<PathBuf>) -> io::Result<Self> {
        Ok(match path {
            Some(path) => Self::File { file: append(&path)?, path },
            None => Self::Standard(BufWriter::new(io::stdout())),
        })
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        let writer: &mut dyn Write = match self {
            Self::File { file, .. } => file,
            Self::Standard(standard) => standard,
        };
        serde_json::to_writer(&mut *writer, line)?;
        writer.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(standard) => standard.flush(),
            Self::File { path, file } => {
                file.flush()?;
                let inode = |meta: io::Result<std::fs::Metadata>| meta.ok().map(|meta| meta.ino());
                if inode(std::fs::metadata(&*path)) != inode(file.get_ref().metadata()) {
                    *file = append(path)?;
                }
                Ok(())
            }
        }
    }
}

fn append(path: &Path) -> io::Result<BufWriter<File>> {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .map(BufWriter::new)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn lines_are_json_without_secrets_and_a_rotated_file_is_opened_anew() {
        let path = crate::testing::folder("access").join("access.log");
        let to = AccessLog { file: Some(path.clone()), address: false };
        let lost = IntCounter::new("lost", "test").unwrap();
        let mut output = Output::open(to.file.clone()).unwrap();
        let (access, writer) = Access::open(&to, lost.clone()).unwrap();
        let told = Told {
            method: &Method::GET,
            target: "/live/demo/SECRET/v720/1.m4s?sig=SECRET",
            version: http::Version::HTTP_11,
            status: StatusCode::OK,
            answered: Answered::Relay,
            address: Some([127, 0, 0, 1].into()),
            begun: Instant::now(),
        };
        let record = access.record(&told);
        let line = record.line.clone();
        record.end(7);
        drop(access);
        writer.join().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["target"], "/live/demo/-/1.m4s");
        assert_eq!((&value["bytes"], &value["status"]), (&7.into(), &200.into()));
        assert_eq!(value.get("address"), None);
        assert!(!text.contains("SECRET") && text.ends_with('\n'), "{text}");
        std::fs::rename(&path, path.with_extension("1")).unwrap();
        output.flush().unwrap();
        output.line(&line).unwrap();
        output.flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert_eq!(lost.get(), 0);
    }
}
