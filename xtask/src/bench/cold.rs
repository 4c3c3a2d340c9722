//! Cold starts: from the start of a platform's server to its first answer that went through the
//! core, and the time of the next one.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Figure;
use crate::children::{self, AtSignal, Group};
use crate::{artifacts, live, paths, tools};

const KEYRING: &str = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},"pass":{"k1":"00112233445566778899aabbccddeeff"},"url":{"u1":"00112233445566778899aabbccddeeff"}}"#;
/// No route of the core: it answers by itself, and nothing is asked of an origin, which none of
/// these servers has.
const TARGET: &str = "/nothing/here";
/// How every problem of the core begins.
const ANSWER: &str = "urn:sightscreen:problem:";
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn measure() -> Result<Vec<Figure>> {
    println!("cold starts, to the first answer and the one after it:");
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("keyring.json"), KEYRING)?;
    let mut figures = Vec::new();
    artifacts::host()?;
    // The second start finds the component compiled.
    for name in ["host, first start", "host, next start"] {
        figures.extend(timed(name, |port| Ok(host(folder.path(), port)))?);
    }
    artifacts::fastly()?;
    figures.extend(timed("Fastly (Viceroy)", fastly)?);
    artifacts::cloudflare()?;
    figures.extend(timed("Cloudflare (wrangler dev)", |port| cloudflare(folder.path(), port))?);
    artifacts::spin()?;
    let spin_host = artifacts::spin_host()?;
    figures.extend(timed("Spin (wasmtime host of the tests)", |port| {
        Ok(spin(&spin_host, folder.path(), port))
    })?);
    Ok(figures)
}

fn timed(name: &str, command: impl Fn(u16) -> Result<Command>) -> Result<Vec<Figure>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}{TARGET}");
    let mut command = command(port)?;
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let group = Group::spawn(&mut command, AtSignal::Stops).context(name.to_owned())?;
    let _server = Server(group);
    while !answers(&url) {
        children::check()?;
        if started.elapsed() > WITHIN {
            bail!("{name} does not answer {TARGET} with a problem of the core");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = started.elapsed();
    let started = Instant::now();
    if !answers(&url) {
        bail!("{name} answered only once");
    }
    let next = started.elapsed();
    Ok(vec![
        Figure::new(format!("{name}, start"), first.as_secs_f64() * 1000.0, "ms"),
        Figure::new(format!("{name}, next answer"), next.as_secs_f64() * 1000.0, "ms"),
    ])
}

fn answers(url: &str) -> bool {
    let Ok(mut answer) = live::agent().get(url).call() else {
        return false;
    };
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    body.contains(ANSWER)
}

fn host(folder: &Path, port: u16) -> Command {
    let mut host = Command::new(paths::release("sightscreen-edge"));
    host.args(["--listen", &format!("127.0.0.1:{port}")])
        .args(["--admin", "127.0.0.1:0", "--origin", "http://127.0.0.1:1"])
        .arg("--keyring")
        .arg(folder.join("keyring.json"))
        .arg("--data")
        .arg(folder.join("edge"));
    host
}

fn fastly(port: u16) -> Result<Command> {
    let mut viceroy = Command::new(tools::viceroy()?);
    viceroy
        .current_dir(paths::root())
        .args(["serve", "-C", "fastly.toml", "--addr"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("bin/main.wasm")
        .env("SIGHTSCREEN_KEYRING", KEYRING);
    Ok(viceroy)
}

/// With what a user deploys, but for the build, which is done.
fn cloudflare(folder: &Path, port: u16) -> Result<Command> {
    let root = paths::root();
    let text = fs::read_to_string(root.join("wrangler.toml"))?;
    let without_build: String = text
        .split("\n[")
        .filter(|table| !table.starts_with("build]"))
        .collect::<Vec<_>>()
        .join("\n[");
    let main = format!("main = \"{}/", root.display());
    let file = folder.join("wrangler.toml");
    fs::write(&file, without_build.replacen("main = \"", &main, 1))?;
    fs::write(folder.join(".dev.vars"), format!("KEYRING='{KEYRING}'\n"))?;
    let mut wrangler = Command::new(tools::packages()?.program("wrangler"));
    wrangler
        .current_dir(folder)
        .args(["dev", "--local", "--ip", "127.0.0.1"])
        .args(["--inspector-port", "0", "--port", &port.to_string()])
        .arg("--config")
        .arg(&file)
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("CI", "true");
    Ok(wrangler)
}

fn spin(program: &Path, folder: &Path, port: u16) -> Command {
    let mut spin = Command::new(program);
    spin.arg("up")
        .arg("--from")
        .arg(paths::root().join("spin.toml"))
        .args(["--listen", &format!("127.0.0.1:{port}"), "--state-dir"])
        .arg(folder.join("spin"))
        .env("SPIN_VARIABLE_KEYRING", KEYRING);
    spin
}

/// Stopped politely: wrangler has children of its own to stop.
struct Server(Group);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.end("measured server");
    }
}
