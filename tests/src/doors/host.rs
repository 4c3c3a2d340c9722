//! The host door: the binary `sightscreen-edge`.

use std::fs;
use std::process::Command;

use super::process::{Process, free_addr, new_dir};
use super::{GEO_HEADER, Running, START, Surroundings, built, target_dir};

pub(super) fn start(with: &Surroundings) -> Result<Running, String> {
    let program =
        built(target_dir(with).join("release/sightscreen-edge"), "cargo xtask build host")?;
    let (addr, admin, dir) = (free_addr()?, free_addr()?, new_dir("host")?);
    let keyring = dir.path().join("keyring.json");
    fs::write(&keyring, &with.keyring).map_err(|e| e.to_string())?;
    let mut command = Command::new(program);
    command.arg("--listen").arg(addr.to_string());
    command.arg("--admin").arg(admin.to_string());
    command.arg("--origin").arg(format!("http://{}", with.origin));
    command.arg("--keyring").arg(&keyring);
    if with.geo_header {
        command.arg("--geo-header").arg(GEO_HEADER);
    }
    command.arg("--data").arg(dir.path().join("data"));
    // A secret belongs in no process list.
    command.envs(with.edge_secret().map(|secret| ("SIGHTSCREEN_ORIGIN_SECRET", secret)));
    let process = Process::start(command, addr, dir, START)?;
    Ok(Running { addr, process: Some(process) })
}
