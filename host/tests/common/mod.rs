//! A node with the fixture component, a scripted origin behind it, and a plain client in front.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "tests; each uses a part")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sightscreen_core::document;
use sightscreen_core::keyring::{Keyring, Purpose};
use sightscreen_host::{Config, LevelFilter, Limits, LogFormat, Running, start};

/// The fixture as a component, built once for all tests of a run.
pub fn fixture() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build_fixture).clone()
}

fn build_fixture() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixture");
    let mut cargo = Command::new(env!("CARGO"));
    // Flags and wrappers of the outer build (clippy's, a coverage tool's) are not for the fixture.
    // Everything of rustup's stays: without `RUSTUP_TOOLCHAIN` the nested cargo would ask rustup
    // for a toolchain, which may install one.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(name);
    }
    let status = cargo
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture"))
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-unknown-unknown",
            "--target-dir",
        ])
        .arg(&target)
        .status()
        .unwrap();
    assert!(status.success(), "the fixture does not build");
    let module = std::fs::read(target.join("wasm32-unknown-unknown/release/fixture.wasm")).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default();
    let component = encoder.validate(true).module(&module).unwrap().encode().unwrap();
    let file = target.join(format!("fixture-{}.wasm", std::process::id()));
    std::fs::write(&file, component).unwrap();
    file
}

/// A keyring with one key for each purpose.
const KEYRING: &str = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},
    "pass":{"k1":"00112233445566778899aabbccddeeff"},"url":{"u1":"00112233445566778899aabbccddeeff"}}"#;

/// `payload` as the document `name`, signed by the keyring's key.
pub fn signed(name: &str, payload: &str) -> String {
    signed_as(name, 1, payload)
}

/// The same of another version.
pub fn signed_as(name: &str, version: u64, payload: &str) -> String {
    let keyring = Keyring::parse(KEYRING.as_bytes()).unwrap();
    let key = keyring.first(Purpose::Document);
    String::from_utf8(document::write(name, version, payload.as_bytes(), key)).unwrap()
}

/// A new empty folder.
pub fn folder() -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("sightscreen-host-test-{:016x}", fastrand::u64(..)));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Settings of a node in `data` with this origin; ports are the kernel's choice.
pub fn config(origin: SocketAddr, data: &Path, component: Option<PathBuf>) -> Config {
    let keyring = data.join("keyring.json");
    std::fs::write(&keyring, KEYRING).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let origin = sightscreen_host::Origin {
        url: format!("http://{origin}"),
        secret: None,
        ca: None,
        certificate: None,
    };
    Config {
        listen: any,
        tls_listen: Some(any),
        admin: any,
        origin,
        keyring,
        data: data.to_owned(),
        geo_header: None,
        component,
        threads: 2,
        log: LogFormat::Plain,
        log_level: LevelFilter::INFO,
        access_log: None,
        limits: Limits { cache_bytes: 16 << 20, ..Limits::default() },
    }
}

/// A node with the fixture.
pub fn node(origin: SocketAddr) -> Running {
    start(&config(origin, &folder(), Some(fixture()))).unwrap()
}

/// What an origin answers: pauses and pieces of a raw HTTP response.
pub type Script = Vec<(Duration, Vec<u8>)>;

/// An origin that counts what it is asked for.
pub struct Origin {
    pub address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Origin {
    /// Answers by `script`, from the request's target and its whole head.
    pub fn new(script: impl Fn(&str, &str) -> Script + Send + Sync + 'static) -> Self {
        Self::start(script, |stream| Ok(Box::new(stream)))
    }

    /// The same over TLS.
    pub fn with_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&str, &str) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self::start(script, move |stream| {
            let connection =
                ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            Ok(Box::new(StreamOwned::new(connection, stream)))
        })
    }

    fn start(
        script: impl Fn(&str, &str) -> Script + Send + Sync + 'static,
        open: impl Fn(TcpStream) -> std::io::Result<Box<dyn Wire>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<HashMap<String, usize>>> = Arc::default();
        let (script, counts, open) = (Arc::new(script), Arc::clone(&asked), Arc::new(open));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, counts) = (Arc::clone(&script), Arc::clone(&counts));
                let open = Arc::clone(&open);
                std::thread::spawn(move || answer(&mut *open(stream)?, &*script, &counts));
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self, target: &str) -> usize {
        self.asked.lock().unwrap().get(target).copied().unwrap_or(0)
    }
}

/// A connection, with or without TLS.
pub trait Wire: Read + Write + Send {}

impl<T: Read + Write + Send> Wire for T {}

fn answer(
    stream: &mut dyn Wire,
    script: &(dyn Fn(&str, &str) -> Script + Send + Sync),
    counts: &Mutex<HashMap<String, usize>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    *counts.lock().unwrap().entry(target.clone()).or_default() += 1;
    for (pause, piece) in script(&target, &head) {
        std::thread::sleep(pause);
        stream.write_all(&piece)?;
    }
    stream.flush()
}

/// A whole answer at once.
pub fn reply(status: u16, headers: &str, body: &str) -> Script {
    let text = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    );
    vec![(Duration::ZERO, text.into_bytes())]
}

/// The same after a pause.
pub fn slow(pause_ms: u64, script: Script) -> Script {
    script.into_iter().map(|(pause, piece)| (pause + ms(pause_ms), piece)).collect()
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An answer as it was on the wire.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET `target`.
pub fn get(address: SocketAddr, target: &str) -> Reply {
    send(address, &format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
}

/// Sends these bytes and reads to the end.
pub fn send(address: SocketAddr, request: &str) -> Reply {
    let mut stream = open(address, request);
    let mut bytes = Vec::new();
    // A connection that was cut ends the reading too; what came is what counts.
    let _ = stream.read_to_end(&mut bytes);
    let split =
        bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&bytes[..split]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, head, body: bytes[split..].to_vec() }
}

/// Sends these bytes and leaves the answer unread.
pub fn open(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The program itself; it ends with the test.
pub struct Program {
    child: Child,
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    log: PathBuf,
}

impl Program {
    /// Starts it in `data` with these settings besides, and waits until it listens.
    pub fn start(origin: &str, data: &Path, settings: &[&str]) -> Self {
        // Writes the keyring.
        config("127.0.0.1:1".parse().unwrap(), data, None);
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (listen, admin, log) = (free(), free(), data.join("log"));
        let child = Command::new(env!("CARGO_BIN_EXE_sightscreen-edge"))
            .args(["--listen", &listen.to_string(), "--admin", &admin.to_string()])
            .args(["--origin", origin, "--keyring"])
            .arg(data.join("keyring.json"))
            .arg("--data")
            .arg(data)
            .args(settings)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let program = Self { child, listen, admin, log };
        let begun = Instant::now();
        while TcpStream::connect(listen).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no start: {}", program.log());
            std::thread::sleep(ms(50));
        }
        program
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> u64 {
        metric(self.admin, name)
    }

    /// Bytes of memory, by a name of `/proc/PID/status`: `VmRSS` now, `VmHWM` at most so far.
    pub fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A number of `/metrics` at `admin`.
pub fn metric(admin: SocketAddr, name: &str) -> u64 {
    let metrics = get(admin, "/metrics").text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name}: {metrics}")).parse().unwrap()
}

/// Waits until `holds` does.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(ms(20));
    }
}
