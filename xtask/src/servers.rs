//! An origin and an edge node: started, watched, restarted and stopped together.
//!
//! When a [`Servers`] is dropped, none of its processes lives on.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::children::{self, AtSignal, Group};
use crate::{paths, ports, run};

/// A server that ends sooner than this has a lasting fault: it is not restarted for ever.
const LIVED: Duration = Duration::from_secs(10);
const SHORT_LIVES: u32 = 3;
const READY_WITHIN: Duration = Duration::from_secs(60);
const PREPARED_WITHIN: Duration = Duration::from_secs(180);
/// Creatives are prepared one after another, with shorter pauses than this.
const PREPARED_QUIET: Duration = Duration::from_secs(3);
/// Between two reminders that a publisher is awaited.
const SAY_EVERY: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Long enough to paste the URL into another player.
pub(crate) const ENTRY_TTL: &str = "1h";

/// What an origin and an edge node are started with.
pub(crate) struct Plan {
    /// Where both keep what outlives them.
    pub(crate) data: PathBuf,
    /// The edge's port; the others follow, or are any free ones.
    pub(crate) edge: u16,
    /// Main port of the origin.
    pub(crate) origin: u16,
    /// The operator's port at the origin.
    pub(crate) control: u16,
    /// The publishers' port at the origin.
    pub(crate) rtmp: u16,
    /// The edge's port for metrics and health.
    pub(crate) admin: u16,
    /// `test`, `rtmp` or `file:PATH`.
    pub(crate) input: String,
    /// A file that names the origin's events instead, one of which is `demo`, with their inputs and
    /// keys.
    pub(crate) events: Option<PathBuf>,
    /// Whether breaks come by themselves: one soon enough to be seen, and one a minute.
    pub(crate) scheduled: bool,
    /// Port that the edge takes for the origin's, where something stands between them.
    pub(crate) edge_origin: Option<u16>,
    /// A keyring of the edge's own, first a copy of the origin's; without it both read one file.
    pub(crate) edge_keyring: Option<PathBuf>,
    /// Further flags of the origin.
    pub(crate) origin_flags: Vec<String>,
    /// The edge's program.
    pub(crate) edge_program: PathBuf,
    /// Further flags of the edge.
    pub(crate) edge_flags: Vec<String>,
}

/// Both, running.
pub(crate) struct Servers {
    plan: Plan,
    /// Bearer token of the control API.
    pub(crate) token: String,
    /// What a publisher proves itself with.
    pub(crate) stream_key: String,
    /// When the first of them was started.
    pub(crate) started: SystemTime,
    running: Vec<Running>,
}

struct Running {
    name: &'static str,
    command: Command,
    child: Group,
    log: PathBuf,
    since: Instant,
    short_lives: u32,
}

impl Plan {
    /// Ports and data that no other run shares.
    pub(crate) fn fresh(data: &Path, input: &str) -> Result<Self> {
        // Held together until all are known, so that they differ.
        let held = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = Vec::new();
        for listener in &held {
            let listener =
                listener.as_ref().map_err(|error| anyhow::anyhow!("no free port: {error}"))?;
            ports.push(listener.local_addr()?.port());
        }
        Ok(Self {
            data: data.to_path_buf(),
            edge: ports[0],
            origin: ports[1],
            control: ports[2],
            rtmp: ports[3],
            admin: ports[4],
            input: input.to_owned(),
            events: None,
            scheduled: true,
            edge_origin: None,
            edge_keyring: None,
            origin_flags: Vec::new(),
            edge_program: paths::release("sightscreen-edge"),
            edge_flags: Vec::new(),
        })
    }

    /// The ports that the README names, and data that stays.
    pub(crate) fn lasting(edge: u16, input: &str) -> Self {
        Self {
            data: paths::root().join("var"),
            edge,
            origin: 9080,
            control: 9081,
            rtmp: 1935,
            admin: 8081,
            input: input.to_owned(),
            events: None,
            scheduled: true,
            edge_origin: None,
            edge_keyring: None,
            origin_flags: Vec::new(),
            edge_program: paths::release("sightscreen-edge"),
            edge_flags: Vec::new(),
        }
    }

    /// What each port is for, in words, and the port.
    fn ports(&self) -> Vec<(&'static str, u16)> {
        let mut ports = vec![
            ("for viewers (--port)", self.edge),
            ("of the edge's metrics", self.admin),
            ("of the origin", self.origin),
            ("of the operator", self.control),
        ];
        if self.input == "rtmp" {
            ports.push(("for a publisher", self.rtmp));
        }
        ports
    }
}

impl Servers {
    /// Starts both; they are not ready yet.
    pub(crate) fn start(plan: Plan) -> Result<Self> {
        std::fs::create_dir_all(&plan.data)
            .with_context(|| format!("cannot make {}", plan.data.display()))?;
        ports::free(&plan.ports())?;
        let mut servers = Self {
            token: random_hex::<16>()?,
            stream_key: kept_secret(&plan.data.join("stream-key"))?,
            started: SystemTime::now(),
            plan,
            running: Vec::new(),
        };
        let origin = servers.origin_command();
        servers.launch("origin", origin)?;
        servers.wait_for_keyring()?;
        if let Some(own) = &servers.plan.edge_keyring {
            std::fs::copy(servers.keyring(), own)?;
        }
        let edge = servers.edge_command();
        servers.launch("edge", edge)?;
        Ok(servers)
    }

    /// The edge's address for viewers.
    pub(crate) fn edge_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.edge)
    }

    /// The origin's address for edges.
    pub(crate) fn origin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.origin)
    }

    /// The origin's address for operators.
    pub(crate) fn control_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.control)
    }

    /// The edge's address for its operator.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.plan.admin)
    }

    /// Where a publisher sends to.
    pub(crate) fn ingest_url(&self) -> String {
        format!("rtmp://127.0.0.1:{}/live", self.plan.rtmp)
    }

    /// Whether a publisher can connect.
    pub(crate) fn ingest_listens(&self) -> bool {
        std::net::TcpStream::connect(("127.0.0.1", self.plan.rtmp)).is_ok()
    }

    /// The viewers' page of an event.
    pub(crate) fn page_url(&self, event: &str) -> String {
        format!("{}/watch/{event}", self.edge_url())
    }

    /// The operator's page, which the control port serves.
    pub(crate) fn operator_page_url(&self) -> String {
        format!("{}/operator#token={}", self.control_url(), self.token)
    }

    /// The origin's keyring.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.plan.data.join("origin/keyring.json")
    }

    /// The edge's, which is the same file unless the plan says otherwise.
    pub(crate) fn edge_keyring(&self) -> PathBuf {
        self.plan.edge_keyring.clone().unwrap_or_else(|| self.keyring())
    }

    /// A signed entry URL, made as a shop would make it: from the keyring alone, whether or not the
    /// event has begun.
    pub(crate) fn signed_entry(&self) -> Result<String> {
        self.signed(ENTRY_TTL, &[])
    }

    /// The same for another event than the one of the plan.
    pub(crate) fn signed_entry_of(&self, event: &str) -> Result<String> {
        self.signed(ENTRY_TTL, &["--event", event])
    }

    /// The same for so long.
    pub(crate) fn signed_for(&self, ttl: &str) -> Result<String> {
        self.signed(ttl, &[])
    }

    /// The same by a URL key of that name, for so long.
    pub(crate) fn signed_by(&self, kid: &str, ttl: &str) -> Result<String> {
        self.signed(ttl, &["--kid", kid])
    }

    fn signed(&self, ttl: &str, flags: &[&str]) -> Result<String> {
        let edge = self.edge_url();
        let sign = ["sign", "--ttl", ttl, "--base", &edge, "plan=premium", "consent=1"];
        self.origin_says(&[&sign, flags].concat())
    }

    /// What the origin's program says of a pass or a signed URL, its signature checked.
    pub(crate) fn explained(&self, url: &str) -> Result<String> {
        self.origin_says(&["inspect", url])
    }

    fn origin_says(&self, args: &[&str]) -> Result<String> {
        let mut origin = Command::new(paths::release("sightscreen-origin"));
        origin.args(args).arg("--keyring").arg(self.keyring());
        let what = args.first().copied().unwrap_or_default();
        run::output(&mut origin).with_context(|| format!("sightscreen-origin {what} failed"))
    }

    /// What the control API says about the event.
    pub(crate) fn state(&self) -> Result<Value> {
        let url = format!("{}/control/events/demo", self.control_url());
        let body = crate::live::get_as(&url, &self.token)?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Asks the control API to do something.
    pub(crate) fn control(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.control_url());
        crate::live::post_as(&url, &self.token, body)
    }

    /// Ends a server as a lost machine would: [`Servers::tend`] starts it again.
    pub(crate) fn kill(&self, name: &str) -> Result<()> {
        let id = self.pid(name).with_context(|| format!("there is no {name}"))?;
        killed(id)
    }

    /// The same for the encoder, which the origin starts again.
    pub(crate) fn kill_encoder(&self) -> Result<()> {
        let encoders = self.encoders()?;
        if encoders.is_empty() {
            bail!("the origin runs no encoder");
        }
        encoders.into_iter().try_for_each(killed)
    }

    /// Waits until the creatives of the demonstration are prepared: a break before that shows each
    /// cohort what there is, which may be the same.
    pub(crate) fn prepared(&mut self) -> Result<()> {
        let origin = self.pid("origin").context("there is no origin")?;
        let deadline = Instant::now() + PREPARED_WITHIN;
        let mut quiet = Instant::now();
        while quiet.elapsed() < PREPARED_QUIET {
            self.tend()?;
            if !ffmpegs(origin, false)?.is_empty() {
                quiet = Instant::now();
            }
            if Instant::now() > deadline {
                bail!("the creatives were not ready in time{}", self.logs());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Process ids of the origin's live encoders.
    pub(crate) fn encoders(&self) -> Result<Vec<u32>> {
        let origin = self.pid("origin").context("there is no origin")?;
        ffmpegs(origin, true)
    }

    /// Whether an encoder runs.
    pub(crate) fn encodes(&self) -> Result<bool> {
        let origin = self.pid("origin");
        origin.map_or(Ok(false), |origin| Ok(!ffmpegs(origin, true)?.is_empty()))
    }

    /// Process id of a server, for measurements.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        let found = self.running.iter().find(|running| running.name == name);
        found.map(|running| running.child.id())
    }

    /// Whether the event begins with a publisher, whenever one comes.
    pub(crate) fn waits_for_a_publisher(&self) -> bool {
        self.plan.input == "rtmp"
    }

    /// Whether the picture is the origin's own, with a clock in it.
    pub(crate) fn shows_the_test_match(&self) -> bool {
        self.plan.input == "test"
    }

    /// Waits until the first segments are out and the edge answers.
    pub(crate) fn ready(&mut self) -> Result<()> {
        self.answers(&self.health_url(), Some(READY_WITHIN))?;
        self.answers_for_us()
    }

    /// The same for an event that begins when a publisher does, whenever that is.
    pub(crate) fn ready_when_published(&mut self) -> Result<()> {
        self.answers(&self.health_url(), None)?;
        self.answers_for_us()
    }

    /// Waits until both answer, on the air or not, and are what was started here: another
    /// instance's origin does not know the token.
    pub(crate) fn answers_for_us(&mut self) -> Result<()> {
        self.answers(&format!("{}/page/index.html", self.edge_url()), Some(READY_WITHIN))?;
        self.state().with_context(|| {
            format!(
                "another origin answers at {}, not the one that was started here",
                self.control_url()
            )
        })?;
        Ok(())
    }

    fn answers(&mut self, url: &str, within: Option<Duration>) -> Result<()> {
        let started = Instant::now();
        let mut said = started;
        while crate::live::status(url) != Some(200) {
            self.tend()?;
            if within.is_some_and(|within| started.elapsed() > within) {
                bail!(
                    "{url} does not answer 200 within {} s{}",
                    READY_WITHIN.as_secs(),
                    self.logs()
                );
            }
            if within.is_none() && said.elapsed() > SAY_EVERY {
                said = Instant::now();
                println!(
                    "  waiting for a publisher at {} ({} s)",
                    self.ingest_url(),
                    started.elapsed().as_secs()
                );
            }
            std::thread::sleep(POLL);
        }
        // The one that answered may be another's, and ours have ended on the busy port.
        self.tend()
    }

    fn health_url(&self) -> String {
        format!("{}/health", self.control_url())
    }

    /// Stops one of them for good.
    pub(crate) fn stop(&mut self, name: &str) {
        for mut running in self.running.extract_if(.., |running| running.name == name) {
            running.stop();
        }
    }

    /// Restarts what died. An error means that a server does not start at all, or that a signal
    /// came.
    pub(crate) fn tend(&mut self) -> Result<()> {
        children::check()?;
        for running in &mut self.running {
            running.tend()?;
        }
        Ok(())
    }

    fn launch(&mut self, name: &'static str, mut command: Command) -> Result<()> {
        let log = self.plan.data.join(format!("{name}.log"));
        let child = spawn(&mut command, &log)?;
        self.running.push(Running {
            name,
            command,
            child,
            log,
            since: Instant::now(),
            short_lives: 0,
        });
        Ok(())
    }

    /// The origin makes the keyring on its first start; the edge cannot start without it.
    fn wait_for_keyring(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !self.keyring().is_file() {
            self.tend()?;
            if Instant::now() > deadline {
                bail!("the origin made no keyring{}", self.logs());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn origin_command(&self) -> Command {
        let plan = &self.plan;
        let mut origin = Command::new(paths::release("sightscreen-origin"));
        origin.arg("serve");
        match &plan.events {
            Some(file) => origin.arg("--config").arg(file),
            // Not an argument: those are for every user of the machine to read.
            None => origin
                .args(["--event", "demo", "--input", &plan.input])
                .env("SIGHTSCREEN_STREAM_KEY", &self.stream_key),
        };
        origin
            .args(["--listen", &format!("127.0.0.1:{}", plan.origin)])
            .args(["--control", &format!("127.0.0.1:{}", plan.control)])
            .args(["--rtmp", &format!("127.0.0.1:{}", plan.rtmp)])
            .arg("--data")
            .arg(plan.data.join("origin"))
            .arg("--keyring")
            .arg(self.keyring())
            .arg("--page")
            .arg(paths::root().join("origin/page/dist"))
            .args(["--edges", &self.admin_url()])
            .args(["--playback-url", &self.edge_url()])
            // The page asks the API for its entry URL.
            .args(["--open-playback", "true", "--playback-plan", "premium"])
            .env("SIGHTSCREEN_OPERATOR_TOKEN", &self.token);
        if plan.scheduled {
            origin
                .args(["--first-break", "20", "--break-every", "60"])
                .args(["--break-length", "20"]);
        }
        // The machine has more to do than to encode.
        for (flag, value) in [("--max-height", "720"), ("--cpu-percent", "25")] {
            // Several events have each their own.
            let is_set = flag == "--max-height" && plan.events.is_some();
            if !is_set && !plan.origin_flags.iter().any(|given| given == flag) {
                origin.args([flag, value]);
            }
        }
        origin.args(&plan.origin_flags);
        origin
    }

    fn edge_command(&self) -> Command {
        let origin = self.plan.edge_origin.unwrap_or(self.plan.origin);
        let mut edge = Command::new(&self.plan.edge_program);
        edge.args(["--listen", &format!("127.0.0.1:{}", self.plan.edge)])
            .args(["--admin", &format!("127.0.0.1:{}", self.plan.admin)])
            .args(["--origin", &format!("http://127.0.0.1:{origin}")])
            .arg("--keyring")
            .arg(self.edge_keyring())
            .arg("--data")
            .arg(self.plan.data.join("edge"))
            .args(&self.plan.edge_flags);
        edge
    }

    fn logs(&self) -> String {
        let ends = self.running.iter().map(Running::end_of_log);
        ends.collect::<Vec<_>>().join("")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // The edge first: it drains its viewers while the origin still answers.
        for running in self.running.iter_mut().rev() {
            running.stop();
        }
    }
}

impl Running {
    fn tend(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else {
            return Ok(());
        };
        self.short_lives = if self.since.elapsed() < LIVED { self.short_lives + 1 } else { 0 };
        // A server that ends by itself with an error has said why; one that was killed is started
        // again.
        if status.code().is_some() || self.short_lives >= SHORT_LIVES {
            bail!("the {} ended ({status}){}", self.name, self.end_of_log());
        }
        println!("the {} ended ({status}): starting it again", self.name);
        self.child = spawn(&mut self.command, &self.log)?;
        self.since = Instant::now();
        Ok(())
    }

    fn stop(&mut self) {
        self.child.end(self.name);
    }

    fn end_of_log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(15).collect();
        let end: Vec<_> = lines.into_iter().rev().collect();
        format!("\nthe end of {}:\n{}", self.log.display(), end.join("\n"))
    }
}

fn spawn(command: &mut Command, log: &Path) -> Result<Group> {
    let file = File::options().create(true).append(true).open(log)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    Group::spawn(command, AtSignal::IsKept)
}

fn killed(id: u32) -> Result<()> {
    kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGKILL)
        .with_context(|| format!("cannot kill process {id}"))
}

/// The ffmpeg processes of an origin that run live, or those that prepare creatives.
fn ffmpegs(origin: u32, live: bool) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc")? {
        let folder = process?.path();
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
        // What follows the name in brackets: state, parent, ...
        let Some((head, tail)) = stat.split_once(" (ffmpeg) ") else {
            continue;
        };
        let fields: Vec<_> = tail.split(' ').collect();
        let ours = fields.get(1) == Some(&origin.to_string().as_str());
        let lives = fields.first() != Some(&"Z");
        if ours && lives && live == writes_live(&folder) {
            found.push(head.parse()?);
        }
    }
    Ok(found)
}

/// By its arguments: a live one writes to sockets, the others to files. Their priority differs too,
/// but not where all run at the lowest.
fn writes_live(process: &Path) -> bool {
    let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument.starts_with(b"unix:"))
}

/// A secret that stays the same from run to run, so that nobody has to type it into another program
/// again.
fn kept_secret(file: &Path) -> Result<String> {
    if let Ok(text) = std::fs::read_to_string(file)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_owned());
    }
    let made = random_hex::<16>()?;
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| writeln!(file, "{made}"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(made)
}

/// So many random bytes, in hex.
pub(crate) fn random_hex<const BYTES: usize>() -> Result<String> {
    let mut bytes = [0u8; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_key_stays_from_run_to_run_and_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("stream-key");
        let made = kept_secret(&file).expect("a secret");
        assert_eq!(made.len(), 32);
        assert_eq!(kept_secret(&file).expect("the same"), made);
        let mode = std::fs::metadata(&file).expect("a file").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn ports_of_a_plan_are_told_apart_by_input() {
        assert_eq!(Plan::lasting(8080, "test").ports().len(), 4);
        assert_eq!(Plan::lasting(8080, "rtmp").ports().len(), 5);
    }

    #[test]
    fn a_live_encoder_is_told_from_one_that_prepares() {
        let dir = tempfile::tempdir().expect("a folder");
        let writes = |arguments: &str| {
            std::fs::write(dir.path().join("cmdline"), arguments).expect("a file");
            writes_live(dir.path())
        };
        assert!(writes("ffmpeg\0-y\0-f\0mp4\0unix:/tmp/a/0\0"));
        assert!(!writes("ffmpeg\0-y\0-f\0mp4\0/tmp/a/0.mp4\0"));
    }
}
