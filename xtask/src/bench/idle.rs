//! Memory of connections that have been served and now wait.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

use super::Figure;

pub(super) const CONNECTIONS: usize = 10_000;
pub(super) const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn measure(edge: &str, pid: u32) -> Result<Vec<Figure>> {
    let address = edge.trim_start_matches("http://");
    let mut held = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let stream = connection(address).with_context(|| format!("connection {number}"))?;
        held.push(stream);
    }
    let resident = resident(pid)?;
    let name = format!("{CONNECTIONS} idle connections, resident");
    Ok(vec![Figure::new(name, resident / MIB, "MiB").at_most(400.0)])
}

/// Asks once, so that what a request leaves on a connection is counted too.
fn connection(address: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(format!("GET /live/ HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    if !start.starts_with(b"HTTP/1.1 4") {
        bail!("answered {}", String::from_utf8_lossy(&start));
    }
    Ok(stream)
}

/// Bytes of memory that a process holds.
pub(super) fn resident(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("the process has no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0)
}
