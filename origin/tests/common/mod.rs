//! Starts the real binary for the tests in this folder. They all need ffmpeg, as the origin does.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests; each uses a part of it"
)]

pub(crate) mod edge;
pub(crate) mod postgres;
pub(crate) mod power;
pub(crate) mod publisher;
pub(crate) mod script;
pub(crate) mod stage;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

pub(crate) const TOKEN: &str = "operator-of-the-test";

/// The binary's command line, up to its subcommand.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sightscreen-origin"))
}

/// Waits up to a minute and a half, for machines with much else to do.
pub(crate) fn wait(what: &str, mut is_there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn get(port: u16, path: &str) -> Option<(u16, Vec<u8>)> {
    ask(port, "GET", path, "")
}

pub(crate) fn ask(port: u16, method: &str, path: &str, body: &str) -> Option<(u16, Vec<u8>)> {
    ask_with(port, method, path, body, "")
}

/// The same with header lines besides, each with its line end.
pub(crate) fn ask_with(
    port: u16,
    method: &str,
    path: &str,
    body: &str,
    headers: &str,
) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: origin\r\nauthorization: Bearer {TOKEN}\r\n\
         connection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[9..12]).ok()?.parse().ok()?;
    Some((status, answer[head + 4..].to_vec()))
}

/// The loudest sample of a file, in decibels.
pub(crate) fn loudest_of(file: &std::path::Path) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-i"])
        .arg(file)
        .args(["-af", "volumedetect", "-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let (_, rest) = said.split_once("max_volume: ").unwrap_or_else(|| panic!("{said}"));
    rest.split_once(" dB").unwrap().0.parse().unwrap()
}

/// Decodes a file, of which ffmpeg may complain of nothing.
pub(crate) fn check_decoded(file: &std::path::Path, what: &str) {
    let decoded = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(file)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&decoded.stderr);
    assert!(decoded.status.success() && said.trim().is_empty(), "{what}: {said}");
}

/// Kills the newest encoder of an origin, which reads from inputs of this kind.
pub(crate) fn kill_encoder(origin: &Running, input: &str) {
    let parent = origin.0.id().to_string();
    let found = Command::new("pgrep").args(["-P", &parent, "-f", input]).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let newest = found.lines().last().expect("an encoder");
    assert!(Command::new("kill").args(["-KILL", newest]).status().unwrap().success());
}

/// A process that ends with its value.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A camera: a small picture with a tone, in real time.
pub(crate) fn publish(port: u16, key: &str) -> Running {
    send("flv", &format!("rtmp://127.0.0.1:{port}/live/{key}"))
}

/// The same in this format, to this URL.
pub(crate) fn send(format: &str, url: &str) -> Running {
    let child = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-re"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=284x160:rate=30"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-pix_fmt", "yuv420p", "-g", "30", "-c:a", "aac", "-f", format, url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Running(child.unwrap())
}

/// The passphrase by which a call of SRT proves a stream key.
pub(crate) fn passphrase(key: &str) -> String {
    let digest = Sha256::digest(key.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether ffmpeg can call by SRT.
pub(crate) fn can_call() -> bool {
    let listed = Command::new("ffmpeg").args(["-hide_banner", "-protocols"]).output().unwrap();
    let can = String::from_utf8_lossy(&listed.stdout).lines().any(|line| line.trim() == "srt");
    if !can {
        println!("skipped: calls by SRT, for this ffmpeg has no SRT");
    }
    can
}

/// The real binary with the test match in one rung and one language; it ends with its value.
pub(crate) struct Origin {
    pub(crate) child: Child,
    pub(crate) main: u16,
    pub(crate) control: u16,
    pub(crate) folder: tempfile::TempDir,
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Origin {
    /// Starts it with these settings besides, and waits for its first segments.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_in(settings, &[])
    }

    /// The same with an environment besides.
    pub(crate) fn start_in(settings: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (main, control) = (free_port(), free_port());
        let child = binary()
            .args(["serve", "--input", "test", "--max-height", "160"])
            .args(["--languages", "en", "--operator-token", TOKEN])
            .args(settings)
            .envs(environment.iter().copied())
            .args(["--listen", &format!("127.0.0.1:{main}")])
            .args(["--control", &format!("127.0.0.1:{control}"), "--data"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        wait("the first segments", || {
            get(control, "/health").is_some_and(|(status, _)| status == 200)
        });
        Self { child, main, control, folder }
    }
}
