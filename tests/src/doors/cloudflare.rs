//! The Cloudflare door: the real workerd under `wrangler dev`, with the root `wrangler.toml`, given
//! the runner's origin and settings.

use std::fs;
use std::process::Command;

use toml::{Table, Value};

use super::process::{Process, free_addr, new_dir};
use super::{Running, START, Surroundings, built, on_path};

const BUILD: &str = "cargo xtask build cloudflare";

pub(super) fn start(with: &Surroundings) -> Result<Running, String> {
    let wrangler = on_path("wrangler")
        .ok_or("wrangler is not on PATH; `cargo xtask cases --door cloudflare` installs it and puts it there")?;
    let (addr, dir) = (free_addr()?, new_dir("cloudflare")?);
    let config = dir.path().join("wrangler.toml");
    fs::write(&config, configuration(with)?).map_err(|e| e.to_string())?;
    let mut secrets = format!("KEYRING='{}'\n", with.keyring);
    if let Some(secret) = with.edge_secret() {
        secrets.push_str(&format!("ORIGIN_SECRET='{secret}'\n"));
    }
    fs::write(dir.path().join(".dev.vars"), secrets).map_err(|e| e.to_string())?;
    let mut command = Command::new(wrangler);
    command.args(["dev", "--local", "--ip", "127.0.0.1", "--inspector-port", "0"]);
    command.arg("--port").arg(addr.port().to_string());
    command.arg("--config").arg(&config).arg("--persist-to").arg(dir.path().join("state"));
    command.current_dir(dir.path());
    // The first would ask the network for sample request properties, the others for news and a
    // person.
    command
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CI", "true");
    let process = Process::start(command, addr, dir, START)?;
    Ok(Running { addr, process: Some(process) })
}

/// What is deployed, without the build that `cargo xtask` has done before, and this run's values.
fn configuration(with: &Surroundings) -> Result<String, String> {
    let path = with.root.join("wrangler.toml");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut config: Table = text.parse().map_err(|e| format!("wrangler.toml: {e}"))?;
    config.remove("build");
    let main =
        config.get("main").and_then(Value::as_str).ok_or("wrangler.toml: there is no main")?;
    let main = built(with.root.join(main), BUILD)?.canonicalize().map_err(|e| e.to_string())?;
    config.insert("main".into(), Value::String(main.display().to_string()));
    let vars = config
        .get_mut("vars")
        .and_then(Value::as_table_mut)
        .ok_or("wrangler.toml: there is no table vars")?;
    vars.insert("ORIGIN".into(), Value::String(format!("http://{}", with.origin)));
    vars.insert("GEO_HEADER".into(), Value::String(with.geo_header().into()));
    if with.edge_secret {
        require(&mut config, "ORIGIN_SECRET")?;
    }
    toml::to_string(&config).map_err(|e| e.to_string())
}

/// Wrangler reads no secret from `.dev.vars` but those that are required.
fn require(config: &mut Table, secret: &str) -> Result<(), String> {
    config
        .get_mut("secrets")
        .and_then(|secrets| secrets.get_mut("required")?.as_array_mut())
        .ok_or("wrangler.toml: there is no list secrets.required")?
        .push(secret.into());
    Ok(())
}
