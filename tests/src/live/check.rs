//! A check from its entry URL to its report.
//!
//! Owns the plan of a check, and who follows what. Invariant: a rule is judged over all renditions when all have been followed.

use std::thread;
use std::time::{Duration, Instant};

use super::across::Across;
use super::fetch::Url;
use super::follow::Follower;
use super::multivariant::{Rendition, renditions};
use super::report::Report;
use super::source::Source;

/// Discontinuities of a break: into it, and back.
const BREAK: u64 = 2;

/// How a check goes about it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long the event is followed, where it does not end before.
    pub time: Duration,
    /// The wait after a reload that brought nothing.
    pub retry: Duration,
    /// The wait between reloads that do not block; none: half a target duration.
    pub poll: Option<Duration>,
    /// The longest that an answer takes that is not held.
    pub at_once: Duration,
    /// The longest that an answer is held; none: three target durations and a second.
    pub held: Option<Duration>,
    /// A reload that took so long waited for its part, so that what it brought is of now.
    pub waited: Duration,
    /// Reloads between two delta updates, and two hinted parts.
    pub beside_every: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            // The demonstration has a break each minute.
            time: Duration::from_secs(90),
            retry: Duration::from_millis(500),
            poll: None,
            at_once: Duration::from_secs(1),
            held: None,
            waited: Duration::from_millis(50),
            beside_every: 5,
        }
    }
}

/// What came of a check.
#[derive(Debug)]
pub struct Outcome {
    /// What was looked at and found.
    pub report: Report,
    /// Media sequence numbers seen.
    pub sequences: usize,
    /// Discontinuities passed.
    pub discontinuities: u64,
}

impl Outcome {
    /// Whether a break was passed, and something was seen of every rule.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.discontinuities >= BREAK && self.report.unseen().is_empty()
    }
}

/// An event before it is followed.
#[derive(Debug)]
pub struct Check {
    renditions: Vec<Rendition>,
}

impl Check {
    /// Reads the multivariant playlist at `url`.
    ///
    /// # Errors
    /// Where there is none, or none that can be read.
    pub fn of(url: &str) -> Result<Self, String> {
        let url = Url::parse(url)?;
        let text = url
            .body()
            .map_err(|fault| format!("{}: {fault}", url.target))?;
        let renditions = renditions(&url, &String::from_utf8_lossy(&text))?;
        Ok(Self { renditions })
    }

    /// The renditions by name.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let names = self.renditions.iter().map(|one| one.name.clone());
        names.collect()
    }

    /// Follows every rendition at the same time.
    #[must_use]
    pub fn run(&self, plan: &Plan) -> Outcome {
        let (report, across) = (Report::default(), Across::default());
        let deadline = Instant::now() + plan.time;
        thread::scope(|scope| {
            for rendition in &self.renditions {
                let source = Source {
                    rendition,
                    notes: report.of(&rendition.name),
                    plan,
                };
                let follower = Follower::new(source, &across);
                scope.spawn(move || follower.follow(deadline));
            }
        });
        across.judge(&report, &self.names());
        let (sequences, discontinuities) = across.extent();
        Outcome {
            report,
            sequences,
            discontinuities,
        }
    }
}
