//! The Spin door: `tests/spin-host`, or Spin itself where there is one, with the same arguments.

use std::path::PathBuf;
use std::process::Command;

use super::process::{Process, free_addr, new_dir};
use super::{Running, START, Surroundings, built, on_path, target_dir};

pub(super) fn start(with: &Surroundings) -> Result<Running, String> {
    if let Some(spin) = itself(with) {
        return up(spin, &[], with);
    }
    let stand_in = built(
        target_dir(with).join("release/sightscreen-spin-host"),
        "cargo build --release --package sightscreen-spin-host",
    )?;
    let own: &[&str] = if with.one_instance { &["--one-instance"] } else { &[] };
    up(stand_in, own, with)
}

/// The `spin` of this machine: the one that was named, or is on PATH.
pub(super) fn itself(with: &Surroundings) -> Option<PathBuf> {
    with.spin.clone().or_else(|| on_path("spin"))
}

fn up(program: PathBuf, own: &[&str], with: &Surroundings) -> Result<Running, String> {
    built(with.root.join("build/spin.wasm"), "cargo xtask build spin")?;
    let (addr, dir) = (free_addr()?, new_dir("spin")?);
    let mut command = Command::new(program);
    command.arg("up").args(own).arg("--from").arg(with.root.join("spin.toml"));
    command.arg("--listen").arg(addr.to_string());
    command.arg("--state-dir").arg(dir.path().join("state"));
    for (name, value) in
        [("origin", format!("http://{}", with.origin)), ("geo_header", with.geo_header().into())]
    {
        command.arg("--variable").arg(format!("{name}={value}"));
    }
    // A secret belongs in no process list.
    command.env("SPIN_VARIABLE_KEYRING", &with.keyring);
    command.envs(with.edge_secret().map(|secret| ("SPIN_VARIABLE_ORIGIN_SECRET", secret)));
    let process = Process::start(command, addr, dir, START)?;
    Ok(Running { addr, process: Some(process) })
}
