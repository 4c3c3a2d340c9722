//! Decides which pod every cohort sees in one break, by a static table.
//!
//! Every pod of a decision fills the break exactly. Where the cohort's own pod cannot, the generic
//! one, the fallback and slate are tried in turn; where none can, the pod is empty and says why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sightscreen_core::document::Slot;

use super::ledger::{GENERIC, Level, Pod};

/// What plays in a break, per cohort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The distinct pods.
    pub pods: Vec<Pod>,
    /// Index into `pods` for every cohort; `generic` is always one of them.
    pub cohorts: BTreeMap<String, usize>,
}

/// Which creatives which cohorts see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// In order; the first whose pattern matches holds.
    pub rules: Vec<Rule>,
    /// Creatives of the generic pod, by source name.
    pub generic: Vec<String>,
    /// Creatives of the fallback pod, by source name.
    pub fallback: Vec<String>,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which cohorts.
    pub pattern: Pattern,
    /// Creatives by source name, in order of play.
    pub creatives: Vec<String>,
}

/// A cohort pattern: values or `*`, joined by dots, one for each dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Option<String>>);

/// A creative that can play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Playable {
    /// Identifier, as in URLs.
    pub id: String,
    /// Length in segments.
    pub segments: u64,
}

/// What is there to play.
pub trait Stock {
    /// The creative of that source name, or why it cannot play.
    fn creative(&self, name: &str) -> Result<Playable, String>;
    /// The slates in the order in which they are chosen, each where it fits.
    fn slates(&self) -> Vec<Playable>;
}

impl Pattern {
    /// Reads `18-34.f.*.*.*`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split('.').map(|part| (part != "*").then(|| part.to_owned())).collect())
    }

    /// Its parts; `None` is `*`.
    #[must_use]
    pub fn parts(&self) -> &[Option<String>] {
        &self.0
    }

    /// Whether the cohort is one of these.
    #[must_use]
    pub fn matches(&self, cohort: &str) -> bool {
        let parts: Vec<&str> = cohort.split('.').collect();
        parts.len() == self.0.len()
            && self
                .0
                .iter()
                .zip(parts)
                .all(|(want, part)| want.as_deref().is_none_or(|w| w == part))
    }
}

impl Table {
    /// All source names, each once.
    #[must_use]
    pub fn creatives(&self) -> Vec<String> {
        let all =
            self.rules.iter().map(|rule| &rule.creatives).chain([&self.generic, &self.fallback]);
        let mut names: Vec<String> = Vec::new();
        for name in all.flatten() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }

    /// Decides a break of `length` segments for all `cohorts` and `generic`.
    #[must_use]
    pub fn decide(&self, cohorts: &[String], length: u64, stock: &dyn Stock) -> Decision {
        let mut decision = Decision { pods: Vec::new(), cohorts: BTreeMap::new() };
        let all = cohorts.iter().map(String::as_str).chain([GENERIC]);
        for cohort in all {
            let pod = self.pod(cohort, length, stock);
            let index =
                decision.pods.iter().position(|known| *known == pod).unwrap_or(decision.pods.len());
            if index == decision.pods.len() {
                decision.pods.push(pod);
            }
            decision.cohorts.insert(cohort.to_owned(), index);
        }
        decision
    }

    /// The best pod that there is for `cohort`.
    fn pod(&self, cohort: &str, length: u64, stock: &dyn Stock) -> Pod {
        let own = self.rules.iter().find(|rule| cohort != GENERIC && rule.pattern.matches(cohort));
        let own = own.map(|rule| (Level::Cohort, rule.creatives.as_slice()));
        let steps = own.into_iter().chain([
            (Level::Generic, self.generic.as_slice()),
            (Level::Fallback, self.fallback.as_slice()),
        ]);
        let mut causes = Vec::new();
        for (level, creatives) in steps {
            let slots = fit(creatives, length, stock, &mut causes);
            if !slots.is_empty() {
                return filled(level, causes, slots, length, stock);
            }
        }
        filled(Level::Slate, causes, Vec::new(), length, stock)
    }
}

impl Decision {
    /// The same decision without ads for anyone: the content goes on.
    #[must_use]
    pub fn suppressed(self, cause: &str) -> Self {
        let pod =
            Pod { level: Level::Suppressed, causes: vec![cause.to_owned()], slots: Vec::new() };
        Self {
            pods: vec![pod],
            cohorts: self.cohorts.into_keys().map(|cohort| (cohort, 0)).collect(),
        }
    }

    /// A decision that there is none: the content goes on.
    #[must_use]
    pub fn nothing() -> Self {
        let undecided = Self { pods: Vec::new(), cohorts: [(GENERIC.to_owned(), 0)].into() };
        undecided.suppressed("nothing was decided")
    }

    /// Whether something kept a pod from being what was asked.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.pods.iter().any(|pod| !pod.causes.is_empty())
    }

    /// Whether it can be frozen for a break of `length` segments.
    #[must_use]
    pub fn fits(&self, length: u64) -> bool {
        self.cohorts.contains_key(GENERIC)
            && self.cohorts.values().all(|index| *index < self.pods.len())
            && self.pods.iter().all(|pod| pod.covers(length))
    }

    /// The better of two decisions; of two that are as good, the other.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        if self.shortfall() < other.shortfall() { self } else { other }
    }

    /// How far the cohorts are from pods of their own, all together.
    fn shortfall(&self) -> usize {
        let pods = self.cohorts.values().filter_map(|index| self.pods.get(*index));
        pods.map(|pod| pod.level as usize).sum()
    }

    /// How many cohorts are at which level, for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut levels: BTreeMap<Level, usize> = BTreeMap::new();
        for pod in self.cohorts.values().filter_map(|&index| self.pods.get(index)) {
            *levels.entry(pod.level).or_default() += 1;
        }
        levels
            .iter()
            .map(|(level, count)| format!("{level:?}={count}"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The creatives of the list that can play and fit, in order. What cannot play is named in
/// `causes`.
fn fit(
    creatives: &[String],
    length: u64,
    stock: &dyn Stock,
    causes: &mut Vec<String>,
) -> Vec<Slot> {
    let (mut slots, mut at) = (Vec::new(), 0);
    let mut too_long = Vec::new();
    for name in creatives {
        match stock.creative(name) {
            Ok(creative) if creative.segments > 0 && creative.segments <= length - at => {
                slots.push(Slot { offset: at, creative: creative.id, segments: creative.segments });
                at += creative.segments;
            }
            // Too long for what is left: the next may be shorter, and the break's length is not the
            // creative's fault.
            Ok(creative) => too_long.push(format!(
                "{name} lasts {} segments, more than the break's {length}",
                creative.segments
            )),
            Err(cause) if !causes.contains(&cause) => causes.push(cause),
            Err(_) => {}
        }
    }
    // It is a cause only where nothing of the list plays.
    if slots.is_empty() {
        too_long.retain(|cause| !causes.contains(cause));
        causes.extend(too_long);
    }
    slots
}

/// The pod with its rest filled by slate; without slate that fits, nobody is sent into a hole and
/// the content goes on.
fn filled(
    level: Level,
    mut causes: Vec<String>,
    mut slots: Vec<Slot>,
    length: u64,
    stock: &dyn Stock,
) -> Pod {
    let slates = stock.slates();
    let mut at = slots.last().map_or(0, |slot| slot.offset + slot.segments);
    while at < length {
        let Some(slate) =
            slates.iter().find(|slate| slate.segments > 0 && slate.segments <= length - at)
        else {
            causes.push("the slate is not ready".to_owned());
            return Pod { level: Level::Suppressed, causes, slots: Vec::new() };
        };
        slots.push(Slot { offset: at, creative: slate.id.clone(), segments: slate.segments });
        at += slate.segments;
    }
    Pod { level, causes, slots }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    struct Fixed(Vec<(&'static str, u64)>);

    impl Stock for Fixed {
        fn creative(&self, name: &str) -> Result<Playable, String> {
            let found = self.0.iter().find(|(known, _)| *known == name);
            found
                .map(|&(id, segments)| Playable { id: id.into(), segments })
                .ok_or_else(|| format!("{name} is corrupt"))
        }
        fn slates(&self) -> Vec<Playable> {
            [4, 2, 1].map(|segments| Playable { id: format!("slate{segments}"), segments }).into()
        }
    }

    fn table() -> Table {
        let rule = |pattern: &str, creatives: &[&str]| Rule {
            pattern: Pattern::parse(pattern),
            creatives: creatives.iter().map(ToString::to_string).collect(),
        };
        Table {
            rules: vec![rule("a.*", &["one", "bad", "two"]), rule("b.x", &["bad"])],
            generic: vec!["gen".into()],
            fallback: vec!["fall".into()],
        }
    }

    fn slots(pod: &Pod) -> Vec<(u64, &str)> {
        pod.slots.iter().map(|slot| (slot.segments, slot.creative.as_str())).collect()
    }

    #[test]
    fn a_bad_creative_is_left_out_named_and_made_up_for_by_slate() {
        let stock = Fixed(vec![("one", 3), ("two", 4), ("gen", 10)]);
        let pod = table().pod("a.y", 10, &stock);
        assert_eq!(slots(&pod), [(3, "one"), (4, "two"), (2, "slate2"), (1, "slate1")]);
        assert_eq!(
            (pod.level, pod.causes.as_slice()),
            (Level::Cohort, ["bad is corrupt".to_owned()].as_slice())
        );
    }

    #[test]
    fn the_ladder_goes_down_to_slate_and_then_to_content() {
        let long = table().pod("b.x", 10, &Fixed(vec![("gen", 11), ("fall", 10)]));
        assert_eq!(
            long.causes,
            ["bad is corrupt", "gen lasts 11 segments, more than the break's 10"]
        );
        let levels = |stock: &Fixed| {
            let pod = table().pod("b.x", 10, stock);
            (pod.level, pod.slots.first().map(|slot| slot.creative.clone()))
        };
        assert_eq!(
            levels(&Fixed(vec![("gen", 10), ("fall", 10)])),
            (Level::Generic, Some("gen".into()))
        );
        assert_eq!(
            levels(&Fixed(vec![("gen", 11), ("fall", 10)])),
            (Level::Fallback, Some("fall".into()))
        );
        assert_eq!(levels(&Fixed(vec![])), (Level::Slate, Some("slate4".into())));
        struct Nothing;
        impl Stock for Nothing {
            fn creative(&self, name: &str) -> Result<Playable, String> {
                Err(format!("{name} is not ready"))
            }
            fn slates(&self) -> Vec<Playable> {
                vec![]
            }
        }
        let pod = table().pod("b.x", 10, &Nothing);
        assert_eq!((pod.level, pod.slots.len(), pod.causes.len()), (Level::Suppressed, 0, 4));
    }

    #[test]
    fn patterns_match_whole_values() {
        let matches = |pattern, cohort| Pattern::parse(pattern).matches(cohort);
        assert!(matches("18-34.f.*", "18-34.f.metro"));
        assert!(!matches("18-34.f", "18-34.f.metro"));
        assert!(!matches("18-3.f.*", "18-34.f.metro"));
    }
}
