//! What the system says of a running process: its processor time and its memory.

use std::fs;

use anyhow::{Context, Result};

pub(super) const MIB: f64 = 1024.0 * 1024.0;
/// Where the times stand in `/proc/PID/stat`, counted from what follows the name.
const OWN: [usize; 2] = [11, 12];
const OF_CHILDREN: [usize; 2] = [13, 14];

/// Seconds of processor time that a process has had.
pub(super) fn cpu_s(pid: u32) -> Result<f64> {
    times(pid, &OWN)
}

/// The same, with its children that have ended.
pub(super) fn cpu_s_with_children(pid: u32) -> Result<f64> {
    times(pid, &[OWN, OF_CHILDREN].concat())
}

/// They are in hundredths of seconds on every Linux.
fn times(pid: u32, places: &[usize]) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name in parentheses may have spaces.
    let fields: Vec<&str> =
        stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |at: &usize| fields.get(*at).and_then(|field| field.parse::<f64>().ok());
    let all: Option<Vec<f64>> = places.iter().map(ticks).collect();
    let sum: f64 =
        all.with_context(|| format!("/proc has no times of process {pid}"))?.iter().sum();
    Ok(sum / 100.0)
}

/// Bytes of memory that a process holds.
pub(super) fn resident(pid: u32) -> Result<f64> {
    bytes(pid, "status", "VmRSS:")
}

/// The most that it has held since the last [`forget_peak`].
pub(super) fn peak(pid: u32) -> Result<f64> {
    bytes(pid, "status", "VmHWM:")
}

/// From now on the peak is counted anew: to compile the component takes more than it.
pub(super) fn forget_peak(pid: u32) -> Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .with_context(|| format!("the peak of process {pid} cannot be counted anew"))
}

/// The same, but of what it shares with other processes, such as libraries, only its part.
pub(super) fn proportional(pid: u32) -> Result<f64> {
    bytes(pid, "smaps_rollup", "Pss:")
}

fn bytes(pid: u32, file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("process {pid} has no {name}"))?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
