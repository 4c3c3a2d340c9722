//! The Fastly door: Viceroy with the root `fastly.toml`, given the runner's origin and settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use super::process::{Process, free_addr, new_dir};
use super::{Running, START, Surroundings, built, tool};

const KEPT: &str = "viceroy-0.22.0/bin/viceroy";
/// The variable of the environment in which Viceroy finds the edge secret.
const EDGE_SECRET: &str = "SIGHTSCREEN_ORIGIN_SECRET";

pub(super) fn start(with: &Surroundings) -> Result<Running, String> {
    let wasm = built(with.root.join("bin/main.wasm"), "cargo xtask build fastly")?;
    let viceroy = tool("viceroy", KEPT).ok_or("viceroy is neither on PATH nor in the tools folder; run `cargo install viceroy --locked --version 0.22.0`")?;
    let (addr, dir) = (free_addr()?, new_dir("fastly")?);
    let config = dir.path().join("fastly.toml");
    fs::write(&config, configuration(with)?).map_err(|e| e.to_string())?;
    let mut command = Command::new(viceroy);
    command.arg("serve").arg("-C").arg(&config).arg("--addr").arg(addr.to_string()).arg(wasm);
    command.env("SIGHTSCREEN_KEYRING", &with.keyring);
    command.envs(with.edge_secret().map(|secret| (EDGE_SECRET, secret)));
    let process = Process::start(command, addr, dir, START)?;
    Ok(Running { addr, process: Some(process) })
}

/// What is deployed, with the tables that the Fastly CLI would drop beside it, and this run's
/// values.
fn configuration(with: &Surroundings) -> Result<String, String> {
    let mut config = read(&with.root.join("fastly.toml"))?;
    let mut more = read(&with.root.join("edge/fastly/viceroy.toml"))?;
    let local = table(&mut config, "local_server")?;
    local.extend(std::mem::take(table(&mut more, "local_server")?));
    table(table(local, "backends")?, "origin")?
        .insert("url".into(), Value::String(format!("http://{}", with.origin)));
    if with.edge_secret {
        // Not in the root file: Viceroy does not start where the variable is not set.
        array(table(local, "secret_stores")?, "sightscreen")?.push(secret("origin_secret"));
    }
    let settings = table(table(table(local, "config_stores")?, "sightscreen")?, "contents")?;
    settings.insert("geo_header".into(), Value::String(with.geo_header().into()));
    toml::to_string(&config).map_err(|e| e.to_string())
}

fn read(path: &Path) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    text.parse().map_err(|e| format!("{}: {e}", path.display()))
}

/// The entry of a secret store whose value is in the environment.
fn secret(key: &str) -> Value {
    let fields = [("key", key), ("env", EDGE_SECRET)];
    Value::Table(fields.map(|(name, text)| (name.into(), text.into())).into_iter().collect())
}

fn array<'a>(parent: &'a mut Table, name: &str) -> Result<&'a mut Vec<Value>, String> {
    parent
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .ok_or_else(|| format!("fastly.toml: there is no array {name}"))
}

fn table<'a>(parent: &'a mut Table, name: &str) -> Result<&'a mut Table, String> {
    parent
        .get_mut(name)
        .and_then(Value::as_table_mut)
        .ok_or_else(|| format!("fastly.toml: there is no table {name}"))
}
