//! A `PostgreSQL` server of the test's own, in a folder of its own and on a socket alone.
#![allow(dead_code, reason = "tests; each uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where Debian has the programs of its server.
const INSTALLED: &str = "/usr/lib/postgresql";

/// A server; it ends with its value.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    databases: AtomicU32,
}

/// The server of all tests that leave it running. It ends with the last of them. `None` as in
/// [`Postgres::start`].
pub(crate) fn shared() -> Option<Arc<Postgres>> {
    static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Postgres::start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

impl Postgres {
    /// Starts a server; `None`, which is told, where none is installed.
    pub(crate) fn start() -> Option<Self> {
        let versions = std::fs::read_dir(INSTALLED).ok().into_iter().flatten().flatten();
        let mut programs: Vec<PathBuf> =
            versions.map(|version| version.path().join("bin")).collect();
        programs.sort();
        let Some(programs) = programs.pop().filter(|programs| programs.join("initdb").is_file())
        else {
            eprintln!("skipped with PostgreSQL: there is none in {INSTALLED}");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let server = Self { programs, folder, databases: AtomicU32::new(0) };
        // It refuses to run for root, and its own user must come to its folder.
        if is_root() {
            let owned = Command::new("chown").arg("postgres").arg(server.folder.path()).status();
            assert!(owned.unwrap().success());
        }
        let data = server.data();
        server.run("initdb", &["-D", &data, "-U", "postgres", "-A", "trust", "-N"]);
        server.go_on();
        Some(server)
    }

    /// Where it keeps everything.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    /// Starts it, or starts it again.
    pub(crate) fn go_on(&self) {
        let socket = self.folder.path().display();
        let options =
            format!("-k {socket} -c listen_addresses='' -c fsync=off -c max_connections=90");
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-l", &log, "-o", &options, "start"]);
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-w", "-m", "immediate", "stop"]);
    }

    /// Leaves it running and silent, as behind a cable that is cut, until [`Postgres::crash`].
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    /// Ends it without a word to anybody. Where one of its processes is left, it does not start
    /// again.
    pub(crate) fn crash(&self) {
        let all = self.signal("-KILL");
        let begun = Instant::now();
        while all.iter().any(|id| is_running(id)) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// To the server and its processes. Returns their numbers.
    fn signal(&self, signal: &str) -> Vec<String> {
        let file = Path::new(&self.data()).join("postmaster.pid");
        let Ok(text) = std::fs::read_to_string(file) else { return Vec::new() };
        let server = text.lines().next().unwrap_or_default();
        let children = Command::new("pgrep").args(["-P", server]).output().unwrap().stdout;
        let children = String::from_utf8(children).unwrap();
        let all: Vec<String> =
            [server].into_iter().chain(children.lines()).map(str::to_owned).collect();
        let _ = Command::new("kill").arg(signal).args(&all).stderr(Stdio::null()).status();
        all
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let socket = self.folder.path().display().to_string();
        // Nobody is ever connected to this template, whom others would have to wait for.
        let template = ["-T", "template0"];
        let server = ["-h", &socket, "-U", "postgres"];
        self.run("createdb", &[&server[..], &template, &[&name]].concat());
        format!("postgres://postgres@localhost/{name}?host={socket}")
    }

    /// All that is in the database of this URL, as text.
    pub(crate) fn dump(&self, url: &str) -> String {
        let mut command = as_its_user(&self.programs.join("pg_dump"));
        let output = command.arg(url).current_dir("/").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let program = self.programs.join(program);
        let mut command = as_its_user(&program);
        command.args(arguments).current_dir("/").stdin(Stdio::null());
        // What it starts keeps these open, so nobody may wait for their end.
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{} {arguments:?}", program.display());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // One that hangs does not hear that it is to end.
        self.signal("-CONT");
        let mut command = as_its_user(&self.programs.join("pg_ctl"));
        command.args(["-D", &self.data(), "-m", "immediate", "stop"]).current_dir("/");
        let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn as_its_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Whether there is such a process that nobody has still to take note of.
fn is_running(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
