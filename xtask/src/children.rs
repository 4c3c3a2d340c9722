//! Child processes, each in a group of its own, and what becomes of them at a signal.
//!
//! After SIGINT or SIGTERM no new one starts, and when xtask ends by itself none of them lives on.
//! A group is killed as a whole, because npm's programs, cargo and servers have children of their
//! own.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// Time for a process to stop after it was asked to.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Time for processes to end the groups that they started themselves, which nobody else knows.
const GRACE: Duration = Duration::from_secs(2);
/// Time for everything to unwind after a signal; servers stop one after another.
const UNWIND_WITHIN: Duration = Duration::from_secs(25);
const POLL: Duration = Duration::from_millis(50);
/// What shells report for a command that Ctrl-C ended.
pub(crate) const EXIT_STOPPED: u8 = 130;

static GROUPS: Mutex<Groups> = Mutex::new(Groups { running: Vec::new(), stopped: false });

struct Groups {
    running: Vec<(Pid, AtSignal)>,
    stopped: bool,
}

/// What the first signal does to a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtSignal {
    /// Nothing waits for its work: it is asked to stop at once.
    Stops,
    /// Whoever holds it stops it, in an order that matters.
    IsKept,
}

/// A running child with all that it starts; killed when dropped.
pub(crate) struct Group {
    child: Child,
    id: Pid,
    ended: Option<ExitStatus>,
}

/// Begins to listen for SIGINT and SIGTERM.
pub(crate) fn watch() -> Result<()> {
    ctrlc::set_handler(on_signal).context("cannot listen for Ctrl-C")
}

/// Whether a signal came.
pub(crate) fn stopped() -> bool {
    groups().stopped
}

/// An error where a signal came: nothing more is to be begun.
pub(crate) fn check() -> Result<()> {
    if stopped() {
        bail!("stopped by a signal");
    }
    Ok(())
}

impl Group {
    /// Starts a command in a group of its own.
    pub(crate) fn spawn(command: &mut Command, at_signal: AtSignal) -> Result<Self> {
        // Held while it starts: a signal finds either no child, or one that is on the list.
        let mut groups = groups();
        if groups.stopped {
            bail!("stopped by a signal");
        }
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let id = Pid::from_raw(i32::try_from(child.id()).context("a process id is too large")?);
        groups.running.push((id, at_signal));
        Ok(Self { child, id, ended: None })
    }

    /// Process id of the child.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the child ended, if it did; what it left running is killed then.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            self.ended = Some(status);
            self.forget();
        }
        Ok(self.ended)
    }

    /// How the child ended, waiting for it.
    pub(crate) fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Asks the child to stop, waits, and kills the group where it does not.
    pub(crate) fn end(&mut self, name: &str) {
        let deadline = Instant::now() + STOP_WITHIN;
        // It may have ended already; then there is nothing to signal.
        let _ = kill(self.id, Signal::SIGTERM);
        while matches!(self.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                println!("the {name} does not stop: killed");
                return self.kill();
            }
            std::thread::sleep(POLL);
        }
    }

    /// Kills the whole group.
    pub(crate) fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = killpg(self.id, Signal::SIGKILL);
            self.ended = self.child.wait().ok();
            self.forget();
        }
    }

    fn forget(&self) {
        let _ = killpg(self.id, Signal::SIGKILL);
        groups().running.retain(|(id, _)| *id != self.id);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn groups() -> MutexGuard<'static, Groups> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At the first signal everything is asked to stop and xtask unwinds. At the second everything is
/// killed.
fn on_signal() {
    let mut groups = groups();
    if groups.stopped {
        kill_all(&groups);
    }
    groups.stopped = true;
    for (id, at_signal) in &groups.running {
        if *at_signal == AtSignal::Stops {
            let _ = killpg(*id, Signal::SIGTERM);
        }
    }
    std::thread::spawn(|| {
        std::thread::sleep(UNWIND_WITHIN);
        kill_all(&self::groups());
    });
}

fn kill_all(groups: &Groups) -> ! {
    let deadline = Instant::now() + GRACE;
    for (id, _) in &groups.running {
        let _ = killpg(*id, Signal::SIGTERM);
    }
    while groups.running.iter().any(|(id, _)| lives(*id)) && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
    for (id, _) in &groups.running {
        let _ = killpg(*id, Signal::SIGKILL);
    }
    std::process::exit(i32::from(EXIT_STOPPED));
}

fn lives(group: Pid) -> bool {
    killpg(group, None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_a_child_started_ends_with_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let mut group = Group::spawn(Command::new("sh").args(["-c", &script]), AtSignal::Stops)
            .expect("a shell");
        let grandchild = loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            if let Ok(id) = text.trim().parse::<i32>() {
                break id;
            }
            std::thread::sleep(POLL);
        };
        group.kill();
        let gone = || {
            let state = fs::read_to_string(format!("/proc/{grandchild}/stat"));
            state.map_or(true, |text| text.contains(") Z"))
        };
        let deadline = Instant::now() + STOP_WITHIN;
        while !gone() {
            assert!(Instant::now() < deadline, "the grandchild lives");
            std::thread::sleep(POLL);
        }
    }
}
