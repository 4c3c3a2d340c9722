//! A door's process: started on a free port, watched until it answers, killed with all its children
//! when dropped.
//!
//! Owns every process group that a door is. Invariant: none of them outlives the runner, be it
//! ended by SIGINT or SIGTERM.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::wire::{self, Request};

/// How often a starting door is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How long one such look waits for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// What shells report for a command that Ctrl-C ended.
const EXIT_STOPPED: i32 = 130;
/// The groups that run.
static GROUPS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running process in a group of its own.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The child's, for it is the first of its group.
    group: Pid,
    log: PathBuf,
    /// Configuration, state and log; removed with the process.
    _dir: TempDir,
}

impl Process {
    /// Runs `command`, which is to listen at `addr`, within `limit`.
    pub(super) fn start(
        mut command: Command,
        addr: SocketAddr,
        dir: TempDir,
        limit: Duration,
    ) -> Result<Self, String> {
        let log = dir.path().join("door.log");
        let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = file.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let program = command.get_program().display().to_string();
        let (child, group) = spawn(&mut command).map_err(|e| format!("{program}: {e}"))?;
        let mut process = Self { child, group, log, _dir: dir };
        let deadline = Instant::now() + limit;
        while !answers(addr) {
            let ended = process.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let what = ended
                    .map_or("does not answer".to_owned(), |status| format!("ended with {status}"));
                return Err(format!("{program} {what}; it wrote:\n{}", process.log_tail(30)));
            }
            thread::sleep(POLL);
        }
        Ok(process)
    }

    pub(super) fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Where nothing of the group is left there is nothing to kill.
        let _ = killpg(self.group, Signal::SIGKILL);
        let _ = self.child.wait();
        groups().retain(|group| *group != self.group);
    }
}

fn spawn(command: &mut Command) -> Result<(Child, Pid), String> {
    static WATCH: Once = Once::new();
    // Who uses this in a program with a handler of its own has said what a signal does.
    WATCH.call_once(|| drop(ctrlc::set_handler(end_all)));
    // Held while it starts: a signal finds either no child, or one that is on the list.
    let mut groups = groups();
    let child = command.spawn().map_err(|e| e.to_string())?;
    let group = Pid::from_raw(i32::try_from(child.id()).map_err(|e| e.to_string())?);
    groups.push(group);
    Ok((child, group))
}

fn end_all() {
    // Never given back: nothing may start any more.
    let groups = groups();
    for group in groups.iter() {
        let _ = killpg(*group, Signal::SIGKILL);
    }
    std::process::exit(EXIT_STOPPED);
}

fn groups() -> MutexGuard<'static, Vec<Pid>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether any answer comes: a port may be open long before what is behind it is compiled.
fn answers(addr: SocketAddr) -> bool {
    let request = Request { method: "OPTIONS".into(), target: "/".into(), ..Request::default() };
    wire::send(addr, &request, ANSWER).is_ok()
}

/// A port that was free a moment ago.
pub(super) fn free_addr() -> Result<SocketAddr, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map_err(|e| e.to_string())
}

/// A folder of the process's own.
pub(super) fn new_dir(door: &str) -> Result<TempDir, String> {
    tempfile::Builder::new()
        .prefix(&format!("sightscreen-{door}-"))
        .tempdir()
        .map_err(|e| e.to_string())
}
