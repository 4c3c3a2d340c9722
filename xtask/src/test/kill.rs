//! kill -9 in a break: the encoder, the origin, the edge. What viewers were told before must be
//! what they are told afterwards.
//!
//! Everything is read over HTTP at the edge, but for pods documents, which only edges ask for.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Outcome;
use super::listed::{Line, Listed, Offered, resolved};
use crate::servers::Servers;
use crate::{live, up};

/// A viewer whose cohort is known without reading a pass.
const CLAIMS: &str = "age=18-34&gender=f&metro=metro&device=mobile&language=hi&consent=1";
const COHORTS: [&str; 2] = ["generic", "18-34.f.metro.mobile.hi"];
/// Longer than three restarts take.
const BREAK_S: u64 = 120;
/// Creative segments that must be listed before anything is killed.
const TOLD: usize = 2;
/// New segments that must be listed after a blow.
const GOES_ON: u64 = 3;
const WITHIN: Duration = Duration::from_secs(45);
const POLL: Duration = Duration::from_millis(250);

pub(super) fn run() -> Result<Outcome> {
    up::build()?;
    let scratch = tempfile::tempdir()?;
    let mut servers = super::without_schedule(scratch.path())?;
    let mut viewer = Viewer::enter(&servers)?;
    let id = announce(&servers, BREAK_S)?;
    viewer.wait(&mut servers, "a break in the playlists", |viewer, _| {
        Ok(viewer.playlists.iter().all(|one| one.ads().count() >= TOLD))
    })?;
    let kept = Kept::take(&viewer, &servers)?;
    let mut words = Vec::new();
    for victim in Victim::ALL {
        let started = Instant::now();
        victim.kill(&servers)?;
        viewer.goes_on(&mut servers, victim)?;
        kept.compare(victim)?;
        words.push(format!("{victim:?} back in {:.1} s", started.elapsed().as_secs_f32()));
    }
    viewer.returns(&mut servers, &id)?;
    words.push(format!("{} lines compared", viewer.compared));
    Ok(Outcome::Passed(words.join(", ")))
}

#[derive(Debug, Clone, Copy)]
enum Victim {
    Encoder,
    Origin,
    Edge,
}

impl Victim {
    const ALL: [Self; 3] = [Self::Encoder, Self::Origin, Self::Edge];

    fn kill(self, servers: &Servers) -> Result<()> {
        match self {
            Self::Encoder => servers.kill_encoder(),
            Self::Origin => servers.kill("origin"),
            Self::Edge => servers.kill("edge"),
        }
    }
}

/// One playlist that a viewer reloads.
struct Followed {
    url: String,
    seen: Listed,
}

/// Follows a picture and a sound.
struct Viewer {
    playlists: Vec<Followed>,
    compared: usize,
}

impl Viewer {
    fn enter(servers: &Servers) -> Result<Self> {
        let entry = live::entry_of(&servers.edge_url(), CLAIMS)?;
        let multivariant = live::get(&entry)?;
        let offered = Offered::read(&multivariant)?;
        let mut playlists = Vec::new();
        for uri in [offered.picture, offered.sound] {
            let url = resolved(&entry, uri);
            let seen = Listed::read(&live::get(&url)?)?;
            playlists.push(Followed { url, seen });
        }
        Ok(Self { playlists, compared: 0 })
    }

    /// Reloads both and compares. What does not answer yet is no fault: somebody was killed.
    fn reload(&mut self) -> Result<()> {
        for one in &mut self.playlists {
            let Ok(text) = live::get(&one.url) else {
                continue;
            };
            let later = Listed::read(&text)?;
            self.compared += one.seen.follow(later).with_context(|| one.url.clone())?;
        }
        Ok(())
    }

    fn wait(
        &mut self,
        servers: &mut Servers,
        what: &str,
        until: impl Fn(&Self, &Servers) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + WITHIN;
        loop {
            servers.tend()?;
            self.reload()?;
            if until(self, servers)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("no {what} within {} s", WITHIN.as_secs());
            }
            std::thread::sleep(POLL);
        }
    }

    fn goes_on(&mut self, servers: &mut Servers, victim: Victim) -> Result<()> {
        let goal: Vec<_> = self.playlists.iter().map(|one| one.seen.last() + GOES_ON).collect();
        let what = format!("new segments after the {victim:?} was killed");
        self.wait(servers, &what, |viewer, servers| {
            let mut all = viewer.playlists.iter().zip(&goal);
            let listed = all.all(|(one, goal)| one.seen.last() >= *goal);
            // In a break new segments are listed even where nothing is encoded.
            Ok(listed && servers.encodes()?)
        })?;
        let last = self.playlists[0].seen.lines.values().next_back();
        ensure!(last.is_some_and(Line::is_ad), "the break was over before the {victim:?} was back");
        Ok(())
    }

    /// The break ends, and the encoder that was killed makes media again.
    fn returns(&mut self, servers: &mut Servers, id: &str) -> Result<()> {
        let path = format!("/control/events/demo/breaks/{id}/return");
        servers.control(&path, &json!({}))?;
        self.wait(servers, "content after the break", |viewer, _| {
            Ok(viewer.playlists.iter().all(Followed::content_at_end))
        })?;
        for one in &self.playlists {
            let newest = one.seen.lines.values().next_back();
            let newest = newest.context("no segment")?;
            live::get_bytes(&resolved(&one.url, &newest.uri))?;
        }
        Ok(())
    }
}

impl Followed {
    fn ads(&self) -> impl Iterator<Item = &Line> {
        self.seen.lines.values().filter(|line| line.is_ad())
    }

    fn content_at_end(&self) -> bool {
        let newest = self.seen.lines.values().next_back();
        newest.is_some_and(|line| !line.is_ad() && !line.gap)
    }
}

/// Bytes as they were before the first blow.
struct Kept(Vec<(String, Vec<u8>)>);

impl Kept {
    fn take(viewer: &Viewer, servers: &Servers) -> Result<Self> {
        let mut urls = Vec::new();
        for one in &viewer.playlists {
            let lines = || one.seen.lines.values();
            let ad = one.ads().next().context("no creative")?;
            let content = lines()
                .rfind(|line| !line.is_ad() && !line.gap)
                .context("no content before the break")?;
            urls.extend([ad, content].map(|line| resolved(&one.url, &line.uri)));
        }
        let revision = &viewer.playlists[0].seen.revision;
        let origin = servers.origin_url();
        urls.extend(
            COHORTS.map(|cohort| format!("{origin}/documents/pods/demo/{revision}/{cohort}")),
        );
        let mut kept = Vec::new();
        for url in urls {
            let bytes = live::get_bytes(&url)?;
            kept.push((url, bytes));
        }
        Ok(Self(kept))
    }

    fn compare(&self, victim: Victim) -> Result<()> {
        for (url, was) in &self.0 {
            ensure!(live::get_bytes(url)? == *was, "{url} changed after the {victim:?} was killed");
        }
        Ok(())
    }
}

/// A break of one's own, long enough for everything; the answer is its name.
pub(super) fn announce(servers: &Servers, length_s: u64) -> Result<String> {
    let answer =
        servers.control("/control/events/demo/breaks", &json!({ "length_s": length_s }))?;
    let id = answer.get("id").and_then(Value::as_str);
    Ok(id.context("the announced break has no id")?.to_owned())
}
