//! What each platform's own tool says to what a user would deploy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::Outcome;
use crate::{artifacts, paths, release, run, tools};

/// Largest Worker that a free plan takes, compressed.
const WORKER_BYTES: usize = 1_000_000;
const NO_FASTLY_CLI: &str =
    "the Fastly CLI is not on PATH, and npm has it only for Linux on x86-64";

/// Packs the Fastly package with Fastly's own tool.
pub(crate) fn fastly() -> Result<Outcome> {
    let Some(package) = pack()? else {
        return Ok(Outcome::Skipped(NO_FASTLY_CLI.to_owned()));
    };
    let name = package.file_name().unwrap_or_default();
    let bytes = std::fs::metadata(&package)?.len();
    Ok(Outcome::Passed(format!("{}, {bytes} bytes", name.display())))
}

/// The package as it is uploaded; none where there is no Fastly CLI.
pub(crate) fn pack() -> Result<Option<PathBuf>> {
    artifacts::timed("fastly", artifacts::fastly)?;
    let Some(program) = fastly_cli()? else {
        return Ok(None);
    };
    let mut pack = Command::new(program);
    pack.current_dir(paths::root())
        .args(["compute", "build", "--non-interactive"])
        .env("FASTLY_TELEMETRY", "0");
    run::logged("fastly compute build", &mut pack)?;
    newest(&paths::root().join("pkg"), "tar.gz").map(Some)
}

/// Checks the Worker's deployment with wrangler, and its size.
pub(crate) fn cloudflare() -> Result<Outcome> {
    let out = tempfile::tempdir()?;
    bundle(&paths::root(), out.path())?;
    let bytes = crate::bench::sizes::gzip_of_folder(out.path())?;
    if bytes > WORKER_BYTES {
        bail!("the Worker is {bytes} bytes compressed, more than {WORKER_BYTES}");
    }
    Ok(Outcome::Passed(format!("{bytes} bytes compressed")))
}

/// Builds what `spin.toml` names, by Spin where there is one, else by the command that Spin would
/// run.
pub(crate) fn spin() -> Result<Outcome> {
    let text = std::fs::read_to_string(paths::root().join("spin.toml"))?;
    let manifest: toml::Table = text.parse()?;
    let component = &manifest["component"]["sightscreen"];
    let said = |value: &toml::Value, what: &str| {
        let text = value.as_str().map(str::to_owned);
        text.with_context(|| format!("spin.toml: expected the component's {what} to be text"))
    };
    let built = paths::root().join(said(&component["source"], "source")?);
    let command = said(&component["build"]["command"], "build command")?;
    if let Err(error) = std::fs::remove_file(&built)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let (mut build, by) = match paths::on_path("spin") {
        Some(spin) => {
            let mut build = Command::new(spin);
            build.arg("build");
            (build, "by spin")
        }
        None => {
            let mut build = Command::new("sh");
            build.args(["-c", &command]);
            (build, "by the manifest's own command; there is no spin on PATH")
        }
    };
    run::built("spin build", build.current_dir(paths::root()))?;
    let bytes = std::fs::metadata(&built)
        .with_context(|| format!("spin.toml names {}, which was not built", built.display()))?
        .len();
    Ok(Outcome::Passed(format!("{bytes} bytes, {by}")))
}

/// Makes a whole release, checks its sums, and deploys its Worker as far as that is possible
/// without an account.
pub(crate) fn release() -> Result<Outcome> {
    if fastly_cli()?.is_none() {
        return Ok(Outcome::Skipped(NO_FASTLY_CLI.to_owned()));
    }
    let folder = paths::work("dist")?;
    release::for_test(&folder)?;
    for program in ["sightscreen-origin", "sightscreen-edge"] {
        let mut version = Command::new(folder.join(program));
        let said = run::output(version.arg("--version"));
        let said = said.with_context(|| format!("the released {program} does not run"))?;
        ensure!(said.starts_with(program), "{program} --version says {said:?}");
    }
    let out = tempfile::tempdir()?;
    bundle(&folder.join("cloudflare"), out.path())?;
    let sums = std::fs::read_to_string(folder.join(release::SUMS))?;
    ensure!(sums == release::sums(&folder)?, "{} does not match the files", release::SUMS);
    let mut there = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        there.push(entry?.file_name().to_string_lossy().into_owned());
    }
    there.sort();
    ensure!(there == release::CONTENTS, "expected {:?}, found {there:?}", release::CONTENTS);
    Ok(Outcome::Passed(format!("{} files", sums.lines().count())))
}

/// Has wrangler bundle the Worker of the `wrangler.toml` in `from` into `folder`, as it would for a
/// deployment.
pub(crate) fn bundle(from: &Path, folder: &Path) -> Result<()> {
    let packages = tools::packages()?;
    let mut deploy = Command::new(packages.program("wrangler"));
    deploy
        .current_dir(from)
        .args(["deploy", "--dry-run", "--outdir"])
        .arg(folder)
        .env("CI", "1")
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_LOG_PATH", folder.join("logs"));
    run::logged("wrangler deploy", &mut deploy).map(drop)
}

/// Fastly's tool: of npm, else on PATH.
fn fastly_cli() -> Result<Option<PathBuf>> {
    let packed = tools::packages()?.file("@fastly/cli-linux-x64/fastly");
    Ok(if packed.is_file() { Some(packed) } else { paths::on_path("fastly") })
}

fn newest(folder: &Path, ending: &str) -> Result<PathBuf> {
    let files = std::fs::read_dir(folder)
        .with_context(|| format!("nothing was packed into {}", folder.display()))?;
    files
        .filter_map(|entry| {
            let file = entry.ok()?.path();
            let ends = file.to_str().is_some_and(|name| name.ends_with(ending));
            let modified = file.metadata().ok()?.modified().ok()?;
            ends.then_some((modified, file))
        })
        .max()
        .map(|(_, file)| file)
        .with_context(|| format!("no {ending} in {}", folder.display()))
}
