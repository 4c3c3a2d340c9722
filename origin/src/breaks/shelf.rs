//! The shelf: the creatives of the table, conditioned ahead of time.
//!
//! Owns which creatives are ready and why the others are not. Conditions nothing itself. Invariant: a creative that is not ready is left out, never
//! waited for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use super::decision::{Playable, Stock};
use crate::creative::{Card, CreativeError, Library, Source};
use crate::grid::Grid;

/// Slates in segments: any rest of a break is one of them, or a few. All are the same segment over and over, made once.
const SLATE_SEGMENTS: [u64; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30];
/// Between two tries of a creative that was not usable.
const RETRY: Duration = Duration::from_secs(30);
/// A source name with this prefix is a generated card.
pub const BUILT_IN: &str = "built-in:";

/// Creatives by source name. Clones are handles of the same shelf.
#[derive(Clone, Default)]
pub struct Shelf {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    creatives: BTreeMap<String, Result<Playable, String>>,
    /// By name, so that each is conditioned once.
    slates: BTreeMap<String, Playable>,
}

impl Shelf {
    /// Conditions the slates and `names`, and looks again for what was not usable, for as long as it is polled. `slate` is a clip in place of
    /// the built-in slate, which still fills what the clip is too long for.
    pub async fn keep_stocked(
        self,
        library: Library,
        grid: Grid,
        names: Vec<String>,
        slate: Option<String>,
    ) {
        let short = |segments: u64| u32::try_from(grid.duration_ms(segments)).unwrap_or(u32::MAX);
        let built_in = |segments: u64| Source::Card(Card::slate(short(segments)));
        loop {
            let mut complete = true;
            for segments in SLATE_SEGMENTS {
                complete &= self
                    .stock_slate(&library, format!("slate of {segments}"), built_in(segments))
                    .await;
            }
            for name in &names {
                complete &= self.stock(&library, name).await;
            }
            if let Some(file) = &slate {
                complete &= self
                    .stock_slate(&library, file.clone(), Source::File(PathBuf::from(file)))
                    .await;
            }
            if complete {
                return;
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Conditions one creative unless it is ready; whether it is.
    async fn stock(&self, library: &Library, name: &str) -> bool {
        if self.creative(name).is_ok() {
            return true;
        }
        let result = match source(name) {
            Some(source) => condition(library, source).await.map_err(|e| e.to_string()),
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
        self.inner
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .creatives
            .insert(name.to_owned(), result);
        ready
    }

    /// Conditions one slate unless it is ready; whether it is.
    async fn stock_slate(&self, library: &Library, name: String, source: Source) -> bool {
        if self.read().slates.contains_key(&name) {
            return true;
        }
        match condition(library, source).await {
            Ok(playable) => {
                self.inner
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .slates
                    .insert(name, playable);
                true
            }
            Err(error) => {
                tracing::warn!(name, %error, "a slate is left out");
                false
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock for Shelf {
    fn creative(&self, name: &str) -> Result<Playable, String> {
        let known = self.read().creatives.get(name).cloned();
        known.unwrap_or_else(|| Err(format!("creative {name}: not conditioned yet")))
    }

    fn slates(&self) -> Vec<Playable> {
        let mut slates: Vec<Playable> = self.read().slates.values().cloned().collect();
        slates.sort_by_key(|slate| std::cmp::Reverse(slate.segments));
        slates
    }
}

async fn condition(library: &Library, source: Source) -> Result<Playable, CreativeError> {
    let name = match &source {
        Source::File(path) => path.display().to_string(),
        Source::Card(card) => card.title.clone(),
    };
    let id = library.add(source).await?;
    let info = library
        .get(&id)
        .await
        .ok_or_else(|| CreativeError::Failed {
            name,
            reason: format!("{id} is gone again"),
        })?;
    Ok(Playable {
        id: info.id,
        segments: info.segments,
    })
}

/// The source behind a name of the table; `None` when a built-in of that name does not exist.
fn source(name: &str) -> Option<Source> {
    match name.strip_prefix(BUILT_IN) {
        None => Some(Source::File(PathBuf::from(name))),
        Some(card) => built_in(card).map(Source::Card),
    }
}

/// Names of the built-in cards.
#[must_use]
pub fn built_in_names() -> Vec<&'static str> {
    CARDS.iter().map(|(name, ..)| *name).collect()
}

/// Name, large text, small text, colour, pitch.
const CARDS: [(&str, &str, &str, u32, u32); 6] = [
    (
        "sneakers",
        "Fleetfoot sneakers",
        "Run the next single",
        0xd8_3a_56,
        523,
    ),
    (
        "motorbike",
        "Ridge 250 motorbike",
        "Your weekend, uphill",
        0xe0_7a_1f,
        392,
    ),
    (
        "car",
        "Meridian electric",
        "Quiet as a covered pitch",
        0x1f_5f_a8,
        330,
    ),
    (
        "tractor",
        "Harrow tractors",
        "Strong on every ground",
        0x4c_7a_2b,
        262,
    ),
    (
        "bank",
        "Boundary bank",
        "Save when it rains",
        0x5b_3a_8c,
        440,
    ),
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
