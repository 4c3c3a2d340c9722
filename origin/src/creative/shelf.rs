//! The shelf: the creatives of the table, conditioned ahead of time.
//!
//! A break never waits for a creative: one that is not ready is left out, and the shelf says why.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Card, Clip, CreativeError, Library};
use crate::breaks::decision::{Playable, Stock};
use crate::disk::{Mark, mark};

/// Slates in segments: any rest of a break is one of them, or a few. All are the same segment over
/// and over, made once.
const SLATE_SEGMENTS: [u64; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30];
/// Between two looks at what is not ready.
const LOOK: Duration = Duration::from_secs(30);
/// Longest pause between two tries of what failed though nothing was wrong with it.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// A source name with this prefix is a generated card.
pub const BUILT_IN: &str = "built-in:";

/// How far a creative is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It can play.
    Ready,
    /// Its turn has not come, or it is being made.
    Preparing,
    /// It cannot be made as it is.
    Failed,
    /// There is no such file, or no such built-in.
    Missing,
}

/// A creative that the pods name, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stocked {
    /// As the pods name it.
    pub source: String,
    /// What people call it.
    pub name: String,
    /// How far it is.
    pub state: Standing,
    /// Why it cannot play; `None` where it can, or may soon.
    pub reason: Option<String>,
    /// What plays, where it is ready.
    pub playable: Option<Playable>,
}

/// Creatives by source name. Clones are handles of the same shelf.
#[derive(Clone, Default)]
pub struct Shelf {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    creatives: BTreeMap<String, Result<Playable, String>>,
    /// The configured clip.
    slate: Option<Playable>,
    /// The built-in ones by their segments, so that each is conditioned once.
    slates: BTreeMap<u64, Playable>,
}

impl Shelf {
    /// Conditions the slates and `names`, and looks again for what was not usable, for as long as
    /// it is polled. `slate` is a clip in place of the built-in slates, which still fill what the
    /// clip is too long for.
    pub async fn keep_stocked(self, library: Library, names: Vec<String>, slate: Option<String>) {
        let grid = library.grid().await;
        let short = |segments: u64| u32::try_from(grid.duration_ms(segments)).unwrap_or(u32::MAX);
        let mut failures = Failures::default();
        loop {
            let mut complete = true;
            for segments in SLATE_SEGMENTS {
                let card = Card::slate(short(segments));
                complete &= self.stock_built_in(&library, &mut failures, segments, card).await;
            }
            for name in &names {
                complete &= self.stock(&library, &mut failures, name).await;
            }
            if let Some(file) = &slate {
                complete &= self.stock_slate(&library, &mut failures, file).await;
            }
            if complete {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Conditions one creative unless it is ready; whether it is.
    async fn stock(&self, library: &Library, failures: &mut Failures, name: &str) -> bool {
        if self.creative(name).is_ok() {
            return true;
        }
        if !failures.may_try(name) {
            return false;
        }
        let result = match source(name) {
            Some(source) => {
                let result = condition(library, source.clone()).await;
                failures.note(name, &source, &result);
                result.map_err(|error| error.to_string())
            }
            None => Err(format!("creative {name}: there is no such built-in")),
        };
        match &result {
            Ok(playable) => tracing::info!(
                name,
                id = playable.id,
                segments = playable.segments,
                "creative ready"
            ),
            Err(cause) => tracing::warn!(name, cause, "creative left out"),
        }
        let ready = result.is_ok();
        self.write().creatives.insert(name.to_owned(), result);
        ready
    }

    /// Conditions one built-in slate unless it is ready; whether it is.
    async fn stock_built_in(
        &self,
        library: &Library,
        failures: &mut Failures,
        segments: u64,
        card: Card,
    ) -> bool {
        if self.read().slates.contains_key(&segments) {
            return true;
        }
        let name = format!("slate of {segments}");
        let made = slate(library, failures, &name, Clip::Card(card)).await;
        let ready = made.is_some();
        self.write().slates.extend(made.map(|playable| (segments, playable)));
        ready
    }

    /// Conditions the configured slate unless it is ready; whether it is.
    async fn stock_slate(&self, library: &Library, failures: &mut Failures, file: &str) -> bool {
        if self.read().slate.is_some() {
            return true;
        }
        let made = slate(library, failures, file, Clip::File(PathBuf::from(file))).await;
        let ready = made.is_some();
        self.write().slate = made;
        ready
    }

    /// How far a creative is. Blocks: it looks whether a file is there.
    #[must_use]
    pub fn stocked(&self, name: &str) -> Stocked {
        let (clip, known) = (source(name), self.read().creatives.get(name).cloned());
        let is_there = match &clip {
            Some(Clip::File(path)) => path.exists(),
            Some(Clip::Card(_)) => true,
            None => false,
        };
        let (state, reason, playable) = match known {
            Some(Ok(playable)) => (Standing::Ready, None, Some(playable)),
            Some(Err(reason)) if is_there => (Standing::Failed, Some(reason), None),
            Some(Err(reason)) => (Standing::Missing, Some(reason), None),
            None => (Standing::Preparing, None, None),
        };
        let title = clip.map_or_else(|| name.to_owned(), |clip| clip.title());
        Stocked { source: name.to_owned(), name: title, state, reason, playable }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One slate, unless it failed lately or does now.
async fn slate(
    library: &Library,
    failures: &mut Failures,
    name: &str,
    source: Clip,
) -> Option<Playable> {
    if !failures.may_try(name) {
        return None;
    }
    let result = condition(library, source.clone()).await;
    failures.note(name, &source, &result);
    result.inspect_err(|error| tracing::warn!(name, %error, "a slate is left out")).ok()
}

/// What failed, so that no time of the machine goes into failing alike.
#[derive(Default)]
struct Failures(HashMap<String, Failure>);

struct Failure {
    tries: u32,
    at: Instant,
    /// The file that was at fault, as it was.
    file: Option<(PathBuf, Option<Mark>)>,
}

impl Failures {
    /// Whether it could turn out otherwise now: the file changed, or the pause is over where the
    /// file was not at fault.
    fn may_try(&self, name: &str) -> bool {
        let Some(failure) = self.0.get(name) else {
            return true;
        };
        match &failure.file {
            Some((path, before)) => mark(path) != *before,
            None => failure.at.elapsed() >= pause(failure.tries),
        }
    }

    fn note(&mut self, name: &str, source: &Clip, result: &Result<Playable, CreativeError>) {
        let Err(error) = result else {
            self.0.remove(name);
            return;
        };
        let file = match (source, error) {
            (_, CreativeError::Failed { .. }) | (Clip::Card(_), _) => None,
            (Clip::File(path), _) => Some((path.clone(), mark(path))),
        };
        let tries = self.0.get(name).map_or(0, |failure| failure.tries) + 1;
        let at = Instant::now();
        self.0.insert(name.to_owned(), Failure { tries, at, file });
    }
}

/// After so many failures: a look, then twice as long each time.
fn pause(tries: u32) -> Duration {
    let factor = 1 << tries.saturating_sub(1).min(8);
    (LOOK * factor).min(LONGEST_PAUSE)
}

impl Stock for Shelf {
    fn creative(&self, name: &str) -> Result<Playable, String> {
        let known = self.read().creatives.get(name).cloned();
        known.unwrap_or_else(|| Err(format!("creative {name}: not conditioned yet")))
    }

    fn slates(&self) -> Vec<Playable> {
        let inner = self.read();
        let built_in = inner.slates.values().rev();
        inner.slate.iter().chain(built_in).cloned().collect()
    }
}

async fn condition(library: &Library, source: Clip) -> Result<Playable, CreativeError> {
    let name = match &source {
        Clip::File(path) => path.display().to_string(),
        Clip::Card(card) => card.title.clone(),
    };
    let id = library.add(source).await?;
    let info = library
        .get(&id)
        .await
        .ok_or_else(|| CreativeError::Failed { name, reason: format!("{id} is gone again") })?;
    Ok(Playable { id: info.id, segments: info.segments })
}

/// The source behind a name of the table; `None` when a built-in of that name does not exist.
fn source(name: &str) -> Option<Clip> {
    match name.strip_prefix(BUILT_IN) {
        None => Some(Clip::File(PathBuf::from(name))),
        Some(card) => built_in(card).map(Clip::Card),
    }
}

/// Names of the built-in cards.
#[must_use]
pub fn built_in_names() -> Vec<&'static str> {
    CARDS.iter().map(|(name, ..)| *name).collect()
}

/// Name, large text, small text, colour, pitch.
const CARDS: [(&str, &str, &str, u32, u32); 6] = [
    ("sneakers", "Fleetfoot sneakers", "Run the next single", 0xd8_3a_56, 523),
    ("motorbike", "Ridge 250 motorbike", "Your weekend, uphill", 0xe0_7a_1f, 392),
    ("car", "Meridian electric", "Quiet as a covered pitch", 0x1f_5f_a8, 330),
    ("tractor", "Harrow tractors", "Strong on every ground", 0x4c_7a_2b, 262),
    ("bank", "Boundary bank", "Save when it rains", 0x5b_3a_8c, 440),
    ("cola", "Six cola", "Over the rope", 0x8c_1c_13, 659),
];

fn built_in(name: &str) -> Option<Card> {
    /// Two of these fill the demonstration's break of 20 s.
    const LENGTH_MS: u32 = 10_000;
    let (_, title, subtitle, color, tone_hz) = CARDS.iter().find(|(known, ..)| *known == name)?;
    Some(Card {
        title: (*title).to_owned(),
        subtitle: (*subtitle).to_owned(),
        color: *color,
        tone_hz: *tone_hz,
        length_ms: LENGTH_MS,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::breaks::decision::Table;

    #[test]
    fn the_configured_slate_comes_first_and_the_built_in_ones_fill_the_rest() {
        let shelf = Shelf::default();
        let playable = |id: String, segments| Playable { id, segments };
        let built_in =
            SLATE_SEGMENTS.map(|segments| (segments, playable(format!("b{segments}"), segments)));
        shelf.write().slates.extend(built_in);
        let fills = |length| {
            let decision = Table::default().decide(&[], length, &shelf);
            let slots = decision.pods[0].slots.iter();
            slots.map(|slot| slot.creative.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(fills(37), "b30 b7");
        shelf.write().slate = Some(playable("own".to_owned(), 4));
        assert_eq!(fills(11), "own own b3");
        assert_eq!(fills(2), "b2");
    }

    #[test]
    fn an_operator_is_told_how_far_each_creative_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ad.mp4").display().to_string();
        let shelf = Shelf::default();
        let state = |name: &str| shelf.stocked(name).state;
        assert_eq!(state("built-in:cola"), Standing::Preparing);
        let playable = Playable { id: "c-1".to_owned(), segments: 5 };
        shelf.write().creatives.insert("built-in:cola".to_owned(), Ok(playable.clone()));
        let ready = shelf.stocked("built-in:cola");
        assert_eq!((ready.state, ready.playable), (Standing::Ready, Some(playable)));
        assert_eq!(ready.name, "Six cola");
        shelf.write().creatives.insert(path.clone(), Err("cannot be read".to_owned()));
        assert_eq!(state(&path), Standing::Missing);
        std::fs::write(&path, b"no clip").unwrap();
        let failed = shelf.stocked(&path);
        assert_eq!((failed.state, failed.name.as_str()), (Standing::Failed, "ad"));
        assert_eq!(failed.reason.as_deref(), Some("cannot be read"));
    }

    fn corrupt() -> Result<Playable, CreativeError> {
        Err(CreativeError::Corrupt { name: "a".to_owned(), reason: "no picture".to_owned() })
    }

    #[test]
    fn a_file_at_fault_is_tried_again_only_once_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ad.mp4");
        std::fs::write(&path, b"not a clip").unwrap();
        let source = Clip::File(path.clone());
        let mut failures = Failures::default();
        assert!(failures.may_try("ad"));
        failures.note("ad", &source, &corrupt());
        assert!(!failures.may_try("ad"));
        std::fs::write(&path, b"longer than before").unwrap();
        assert!(failures.may_try("ad"));
        let playable = Playable { id: "c-1".to_owned(), segments: 1 };
        failures.note("ad", &source, &Ok(playable));
        assert!(failures.may_try("ad") && failures.0.is_empty());
    }

    #[test]
    fn what_failed_without_fault_is_tried_ever_more_seldom() {
        let failed = || {
            Err(CreativeError::Failed {
                name: "card".to_owned(),
                reason: "the disk is full".to_owned(),
            })
        };
        let mut failures = Failures::default();
        failures.note("card", &Clip::Card(Card::slate(2000)), &failed());
        assert!(!failures.may_try("card"));
        let seconds = [1, 2, 3, 5, 6, 40].map(|tries| pause(tries).as_secs());
        assert_eq!(seconds, [30, 60, 120, 480, 900, 900]);
    }
}
