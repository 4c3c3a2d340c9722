//! docs/rotation.md, step by step, at an origin and an edge node, while viewers play through a
//! break.
//!
//! What is sent to the control API is taken from the document, so that it is the document that is
//! tried. A planned rotation of the pass key and the URL key comes first. Then the root has leaked,
//! which takes all steps of a planned change of root, and those that cannot wait.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::crowd::Crowd;
use super::{Outcome, documents, kill};
use crate::servers::{ENTRY_TTL, Plan, Servers, random_hex};
use crate::{live, up};

/// A pass's life in seconds. The walk does not wait for it, as a planned rotation would: it waits
/// until all viewers have renewed theirs, and nobody is left whom waiting would help.
const PASS_TTL: u64 = 60;
/// In which edges may still mint with the key before.
const NEWS_S: u64 = 4;
/// Longer than the walk.
const BREAK_S: u64 = 150;
/// "Wait 5 seconds."
const WAIT: Duration = Duration::from_secs(5);
/// The document says 4 seconds; the rest is for the requests themselves, on a busy machine.
const WITHIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// The life of the last URL that the old key signs.
const LAST_URL: &str = "5s";
const LAST_URL_LIVES: Duration = Duration::from_secs(5);
/// Viewers play on for so long after the last step.
const AFTERWARDS: Duration = Duration::from_secs(3);

pub(super) fn run() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut plan = Plan::fresh(scratch.path(), "test")?;
    plan.scheduled = false;
    let ttl = PASS_TTL.to_string();
    plan.origin_flags = ["--pass-ttl", &ttl, "--max-height", "360"].map(str::to_owned).into();
    plan.edge_keyring = Some(scratch.path().join("edge-keyring.json"));
    let mut servers = Servers::start(plan)?;
    servers.ready()?;
    kill::announce(&servers, BREAK_S)?;
    let crowd = Crowd::new(&servers, "r1.1");
    let walk = Walk::new(&servers, &crowd)?;
    let slowest = crowd.plays(|| {
        walk.keys_are_replaced()?;
        walk.the_root_has_leaked()
    })?;
    let answers = crowd.answers();
    servers.tend()?;
    Ok(Outcome::Passed(format!(
        "{answers} answers, none refused; what was dropped was refused after {:.1} s",
        slowest.as_secs_f32()
    )))
}

/// An operator who does what the document says.
struct Walk<'a> {
    servers: &'a Servers,
    crowd: &'a Crowd<'a>,
    pass: Vec<String>,
    url: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(servers: &'a Servers, crowd: &'a Crowd<'a>) -> Result<Self> {
        let (pass, url) = (documents::key_changes("Pass key")?, documents::key_changes("URL key")?);
        ensure!(
            pass.len() == 3 && url.len() == 2,
            "docs/rotation.md has other steps than this test: {pass:?}, {url:?}"
        );
        Ok(Self { servers, crowd, pass, url })
    }

    /// "Pass key", and, while the old passes live on, "URL key".
    fn keys_are_replaced(&self) -> Result<()> {
        let [accept, mint, drop] = self.passes("r1.1", "r1.2");
        let old = self.crowd.newcomer()?;
        self.has_pass_by("r1.1", &old)?;
        self.keys(&accept)?;
        sleep(WAIT);
        let told = self.keys(&mint)?;
        let minted = Instant::now();
        let live_s = told["passes_live_s"]["r1.1"].as_u64();
        ensure!(live_s > Some(PASS_TTL + NEWS_S), "passes by the old key live longer: {told}");
        self.the_url_key_is_replaced()?;
        self.has_pass_by("r1.2", &self.crowd.newcomer()?)?;
        self.crowd.renewed_since(minted + WAIT)?;
        live::get(&old).context("a pass by a key that is still accepted")?;
        self.keys(&drop)?;
        self.refused(&old, "pass-key-unknown")?;
        Ok(())
    }

    fn the_url_key_is_replaced(&self) -> Result<()> {
        let [accept, drop] = self.urls("r1.1", "r1.2");
        let stolen = self.servers.signed_by("r1.1", ENTRY_TTL)?;
        self.keys(&accept)?;
        sleep(WAIT);
        self.crowd.sell("r1.2");
        let last = self.servers.signed_by("r1.1", LAST_URL)?;
        for url in [&last, &stolen] {
            live::get(url).context("an entry URL by a key that is still accepted")?;
        }
        sleep(LAST_URL_LIVES);
        self.keys(&drop)?;
        self.refused(&stolen, "url-key-unknown")?;
        Ok(())
    }

    /// "Root", with what it says of a root that has leaked. Returns how long it took until what was
    /// dropped was refused.
    fn the_root_has_leaked(&self) -> Result<Duration> {
        let [accept_pass, mint, drop_pass] = self.passes("r1.2", "r2.1");
        let [accept_url, drop_url] = self.urls("r1.2", "r2.1");
        let roots = Roots::read(self.servers)?;
        self.knows_the_root("r2", false)?;
        self.edge_has(&roots.old_first())?;
        self.origin_has(&roots.old_first())?;
        sleep(WAIT);
        self.knows_the_root("r2", true)?;

        self.keys(&accept_pass)?;
        self.keys(&accept_url)?;
        sleep(WAIT);
        let stolen = self.servers.signed_by("r1.2", ENTRY_TTL)?;
        let old = self.crowd.newcomer()?;
        self.has_pass_by("r1.2", &old)?;
        self.keys(&mint)?;
        self.crowd.sell("r2.1");
        sleep(WAIT);
        self.has_pass_by("r2.1", &self.crowd.newcomer()?)?;

        self.origin_has(&roots.new_first())?;
        sleep(WAIT);
        let document = live::get(&format!("{}/documents/keys/demo", self.servers.origin_url()))?;
        ensure!(document.contains("kid=r2.1"), "not signed by the new root:\n{document}");

        live::get(&old).context("a pass by a key that is still accepted")?;
        live::get(&stolen).context("an entry URL by a key that is still accepted")?;
        let purge = format!("{}/purge?event=demo", self.servers.admin_url());
        live::ask("POST", &purge, None, None)?;
        self.keys(&drop_pass)?;
        self.keys(&drop_url)?;
        let slowest =
            self.refused(&old, "pass-key-unknown")?.max(self.refused(&stolen, "url-key-unknown")?);
        self.origin_has(&roots.new_alone())?;
        self.edge_has(&roots.new_alone())?;
        sleep(AFTERWARDS);
        self.has_pass_by("r2.1", &self.crowd.newcomer()?)?;
        Ok(slowest)
    }

    /// The changes of "Pass key" for these two keys.
    fn passes(&self, old: &str, new: &str) -> [String; 3] {
        std::array::from_fn(|at| renamed(&self.pass[at], old, new))
    }

    /// The changes of "URL key".
    fn urls(&self, old: &str, new: &str) -> [String; 2] {
        std::array::from_fn(|at| renamed(&self.url[at], old, new))
    }

    fn keys(&self, change: &str) -> Result<Value> {
        let change = serde_json::from_str(change).context("docs/rotation.md")?;
        self.servers.control("/control/events/demo/keys", &change)
    }

    fn has_pass_by(&self, kid: &str, playlist: &str) -> Result<()> {
        let said = self.servers.explained(playlist)?;
        let found = said.lines().find_map(|line| line.strip_prefix("kid ")).map(str::trim);
        ensure!(found == Some(kid), "expected a pass by {kid}, found:\n{said}");
        Ok(())
    }

    /// Waits until `url` is refused with `code`; until then it must be answered as before.
    fn refused(&self, url: &str, code: &str) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let (status, body) = live::answer(url)?;
            if status == 403 && body.contains(code) {
                return Ok(begun.elapsed());
            }
            ensure!(status == 200, "expected {code} of {url}, found {status}: {body}");
            ensure!(begun.elapsed() < WITHIN, "{url} is still not refused with {code}: {status}");
            sleep(POLL);
        }
    }

    /// Asks the edge as the document does.
    fn knows_the_root(&self, root: &str, knows: bool) -> Result<()> {
        let code = if knows { "url-signature" } else { "url-key-unknown" };
        let edge = self.servers.edge_url();
        let url = format!("{edge}/live/demo/main.m3u8?expires=1&kid={root}.1&sig=AAAA");
        let (_, body) = live::answer(&url)?;
        ensure!(body.contains(code), "expected {code} of {url}, found {body}");
        Ok(())
    }

    fn origin_has(&self, keyring: &str) -> Result<()> {
        replace(&self.servers.keyring(), keyring)
    }

    fn edge_has(&self, keyring: &str) -> Result<()> {
        replace(&self.servers.edge_keyring(), keyring)
    }
}

/// The document's keys `r1.1` and `r1.2` by other names.
fn renamed(change: &str, old: &str, new: &str) -> String {
    let change = change.replace("r1.1", "OLD").replace("r1.2", "NEW");
    change.replace("OLD", old).replace("NEW", new)
}

/// The root that the origin made, and a new one.
struct Roots {
    old: String,
    new: String,
}

impl Roots {
    fn read(servers: &Servers) -> Result<Self> {
        let keyring: Value = serde_json::from_str(&fs::read_to_string(servers.keyring())?)?;
        let old = keyring["roots"]["r1"].as_str().context("the keyring has no root r1")?;
        Ok(Self { old: old.to_owned(), new: random_hex::<32>()? })
    }

    fn old_first(&self) -> String {
        format!(r#"{{"roots":{{"r1":"{}","r2":"{}"}}}}"#, self.old, self.new)
    }

    fn new_first(&self) -> String {
        format!(r#"{{"roots":{{"r2":"{}","r1":"{}"}}}}"#, self.new, self.old)
    }

    fn new_alone(&self) -> String {
        format!(r#"{{"roots":{{"r2":"{}"}}}}"#, self.new)
    }
}

/// Replaces a file as an operator's tool does: whole or not at all.
fn replace(file: &Path, text: &str) -> Result<()> {
    let beside = file.with_extension("new");
    let mut private = fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    private.write_all(text.as_bytes())?;
    fs::rename(&beside, file).with_context(|| format!("cannot replace {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_keys_are_renamed_without_mixing_them_up() {
        let change = r#"{"pass":["r1.1","r1.2"]}"#;
        assert_eq!(renamed(change, "r1.2", "r2.1"), r#"{"pass":["r1.2","r2.1"]}"#);
    }

    #[test]
    fn the_document_says_what_to_send() {
        let pass = documents::key_changes("Pass key").expect("the section");
        assert_eq!(pass.first().map(String::as_str), Some(r#"{"pass":["r1.1","r1.2"]}"#));
        assert_eq!(pass.len(), 3);
    }
}
