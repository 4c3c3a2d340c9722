//! How many files and sockets a process may hold: a benchmark with many connections needs more than
//! most systems give at first.

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process holds besides its connections.
const OTHERS: u64 = 200;

/// Lets this process, and those that it starts from now on, hold as many connections as that.
pub(super) fn raise(connections: usize) -> Result<()> {
    let needed = u64::try_from(connections)? + OTHERS;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read `ulimit -n`")?;
    if soft >= needed {
        return Ok(());
    }
    if hard < needed {
        bail!(
            "{needed} open files are needed and `ulimit -Hn` says {hard}: raise it, as root by \
             `prlimit --pid $$ --nofile={needed}:{needed}`"
        );
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .with_context(|| format!("cannot raise `ulimit -n` from {soft} to {hard}"))
}
