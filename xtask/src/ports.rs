//! Whether ports are free, and which process has those that are not, as far as `/proc` tells.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Result, bail};

/// `ss` and the like call it LISTEN.
const LISTEN: &str = "0A";

/// An error that names every port that is taken, by whom, and what can be done.
pub(crate) fn free(ports: &[(&str, u16)]) -> Result<()> {
    // Held together, so that a port that was named twice is found as well.
    let mut held = Vec::new();
    let mut busy = Vec::new();
    for (what, port) in ports {
        match TcpListener::bind(("127.0.0.1", *port)) {
            Ok(listener) => held.push(listener),
            Err(error) => busy.push(format!("port {port} {what}: {error}{}", holder(*port))),
        }
    }
    if busy.is_empty() {
        return Ok(());
    }
    bail!(
        "{}\nstop that process, or add --fresh to use free ports and a folder of its own (--port N \
         still sets the viewers' port)",
        busy.join("\n")
    )
}

/// The process that listens, in words, or nothing if it cannot be found out.
fn holder(port: u16) -> String {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let found = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .find_map(|table| listening(&table, port))
        .and_then(|inode| owner(&inode));
    found.map_or_else(String::new, |owner| format!(", taken by {owner}"))
}

/// The socket that listens at a port, by its inode.
fn listening(table: &str, port: u16) -> Option<String> {
    let ending = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let ours = fields.get(1)?.ends_with(&ending) && *fields.get(3)? == LISTEN;
        ours.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    })
}

/// The process that holds a socket.
fn owner(inode: &str) -> Option<String> {
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let folder = process.path();
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let holds = fs::read_dir(folder.join("fd"))
            .ok()?
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|to| to == Path::new(&socket)));
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        holds.then(|| format!("{} (process {id})", name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_is_told_with_its_holder_and_the_remedy() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = held.local_addr().expect("its address").port();
        let said = free(&[("for viewers", port)]).expect_err("the port is busy").to_string();
        assert!(said.contains(&format!("port {port} for viewers")), "{said}");
        assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
        assert!(said.contains("--fresh"), "{said}");
        drop(held);
        free(&[("for viewers", port)]).expect("free again");
        assert!(free(&[("a", port), ("b", port)]).is_err(), "named twice");
    }
}
