//! Follows one rendition: blocking reloads, parts as they come, segments when they are whole.
//!
//! What is seen goes to the rules on text, to [`Objects`] and to [`Across`].

use std::thread;
use std::time::{Duration, Instant};

use super::across::Across;
use super::delta;
use super::objects::Objects;
use super::packed;
use super::passage::Passage;
use super::playlist::Media;
use super::refusals::{self, Refusals, Tries};
use super::rules;
use super::source::Source;
use super::timing::Timing;

/// One rendition as it is followed.
pub(super) struct Follower<'a> {
    source: Source<'a>,
    across: &'a Across,
    objects: Objects<'a>,
    passage: Passage,
    refusals: Refusals,
    packed: Tries,
    reloads: u64,
}

/// What one rendition was followed through.
pub(super) struct Followed {
    pub(super) passage: Passage,
    pub(super) timing: Timing,
}

/// What a reload brought.
struct Reload {
    media: Media,
    query: String,
    took: Duration,
}

impl<'a> Follower<'a> {
    pub(super) fn new(source: Source<'a>, across: &'a Across) -> Self {
        Self {
            source,
            across,
            objects: Objects::new(source),
            passage: Passage::default(),
            refusals: Refusals::default(),
            packed: Tries::default(),
            reloads: 0,
        }
    }

    /// Until `deadline`, or the end of the event.
    pub(super) fn follow(mut self, deadline: Instant) -> Followed {
        self.follow_until(deadline);
        Followed { passage: self.passage, timing: self.objects.timing }
    }

    fn follow_until(&mut self, deadline: Instant) {
        let Some(mut earlier) = self.source.load("") else {
            return;
        };
        self.saw(&earlier);
        refusals::at_any_time(self.source, &earlier);
        while Instant::now() < deadline && !earlier.ended {
            let Some(reload) = self.reload(&earlier) else {
                thread::sleep(self.source.plan.retry);
                continue;
            };
            self.saw(&reload.media);
            rules::between(&earlier, &reload.media, self.source.notes);
            self.beside(&earlier, &reload);
            self.objects.fetch_new(&earlier, &reload.media);
            if self.asks_more() {
                self.objects.ask_ahead(&reload.media);
            }
            earlier = reload.media;
        }
        if earlier.ended {
            refusals::after_the_end(self.source, &earlier);
        }
    }

    fn saw(&mut self, media: &Media) {
        let Source { rendition, notes, .. } = self.source;
        rules::alone(media, notes);
        self.across.saw(&rendition.name, media, notes);
        self.passage.saw(rendition, media);
    }

    fn reload(&mut self, earlier: &Media) -> Option<Reload> {
        self.reloads += 1;
        let query = directives(earlier);
        if query.is_empty() {
            let half = Duration::from_millis(500 * earlier.target_duration);
            thread::sleep(self.source.plan.poll.unwrap_or(half));
        }
        let began = Instant::now();
        let media = self.source.load(&query)?;
        let took = began.elapsed();
        if !query.is_empty() {
            self.came(earlier, &media, &query, took);
        }
        Some(Reload { media, query, took })
    }

    /// 6.2.5.2: what was asked for, within three target durations.
    fn came(&self, earlier: &Media, later: &Media, query: &str, took: Duration) {
        let Source { notes, plan, .. } = self.source;
        let three = Duration::from_secs(3 * earlier.target_duration + 1);
        notes.must(took <= plan.held.unwrap_or(three), "L3", 0, || {
            format!("?{query} was held for {took:?}")
        });
        let has = if earlier.part_target.is_some() {
            later.cursor() > earlier.cursor()
        } else {
            later.next() > earlier.next()
        };
        notes.must(has || later.ended, "L3", 0, || {
            format!("?{query} was answered without the part it asked for")
        });
    }

    /// Whether a delta and a hinted part are asked for beside this reload.
    fn asks_more(&self) -> bool {
        self.reloads.is_multiple_of(self.source.plan.beside_every)
    }

    /// Requests beside those of a player, while the playlist is of now.
    fn beside(&mut self, earlier: &Media, reload: &Reload) {
        let Reload { media, query, took } = reload;
        if *took >= self.source.plan.waited {
            self.refusals.past_the_limits(self.source, media);
        }
        if query.is_empty() {
            return;
        }
        packed::check(self.source, &mut self.packed, query);
        if self.asks_more() {
            delta::check(self.source, query, earlier, media);
        }
    }
}

/// What a player asks after `earlier`; nothing where reloads do not block.
fn directives(earlier: &Media) -> String {
    let blocks = earlier.control.get("CAN-BLOCK-RELOAD");
    if blocks.is_none_or(|v| v != "YES") {
        return String::new();
    }
    let (sequence, part) = earlier.cursor();
    if earlier.part_target.is_some() {
        format!("_HLS_msn={sequence}&_HLS_part={part}")
    } else {
        format!("_HLS_msn={sequence}")
    }
}
