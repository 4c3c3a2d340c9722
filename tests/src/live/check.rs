//! A whole check, from its entry URL to its report.
//!
//! A rule is judged over all renditions, once all have been followed.

use std::panic::resume_unwind;
use std::thread;
use std::time::{Duration, Instant};

use super::across::Across;
use super::fetch::Url;
use super::follow::{Followed, Follower};
use super::multivariant::{Rendition, renditions};
use super::report::Report;
use super::source::Source;
use super::timing;

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
    /// Renditions in which no break was followed from content to content, each with what did not
    /// come.
    pub unfollowed: Vec<(String, &'static str)>,
}

impl Outcome {
    /// Whether a break was followed in every rendition, and something was seen of every rule.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing().is_empty()
    }

    /// What a whole check lacks, for people.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let (mut missing, unseen) = (Vec::new(), self.report.unseen());
        if !self.unfollowed.is_empty() {
            let each = self.unfollowed.iter();
            let each: Vec<String> = each.map(|(name, what)| format!("{name}: {what}")).collect();
            missing.push(format!(
                "no break was followed from content to content; wait for one, or --without-break ({})",
                each.join(", ")
            ));
        }
        if !unseen.is_empty() {
            missing.push(format!(
                "nothing was seen of {}; follow for longer with --for, or --without-break",
                unseen.join(", ")
            ));
        }
        missing
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
        let text = url.body().map_err(|fault| format!("{}: {fault}", url.target))?;
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
        let sources = self.renditions.iter().map(|rendition| Source {
            rendition,
            notes: report.of(&rendition.name),
            plan,
        });
        let followed = all_at_once(sources, &across, deadline);
        across.judge(&report, &self.names());
        let timings: Vec<_> = followed.iter().map(|(name, one)| (*name, &one.timing)).collect();
        timing::judge(&report, &timings);
        let missing =
            |(name, one): &(&str, Followed)| Some(((*name).to_owned(), one.passage.missing()?));
        let unfollowed = followed.iter().filter_map(missing).collect();
        let (sequences, discontinuities) = across.extent();
        Outcome { report, sequences, discontinuities, unfollowed }
    }
}

/// Follows each in a thread of its own; what came of it, by rendition.
fn all_at_once<'a>(
    sources: impl Iterator<Item = Source<'a>>,
    across: &Across,
    deadline: Instant,
) -> Vec<(&'a str, Followed)> {
    thread::scope(|scope| {
        let follow = |source: Source<'a>| {
            let follower = Follower::new(source, across);
            let name = source.rendition.name.as_str();
            (name, scope.spawn(move || follower.follow(deadline)))
        };
        let running: Vec<_> = sources.map(follow).collect();
        let ended = running.into_iter().map(|(name, thread)| {
            let followed = thread.join().unwrap_or_else(|fault| resume_unwind(fault));
            (name, followed)
        });
        ended.collect()
    })
}
