//! What a server must refuse, answer at once, or ignore (RFC 8216bis 6.2.5.2), asked as no player
//! would.
//!
//! Where a refusal depends on the moment, the request goes well past the limit and soon after a
//! segment began. It is a breach only if it failed so often that no unlucky moment explains it.

use super::playlist::Media;
use super::source::{Source, max_age};

/// How often something is asked that a moment can spoil.
const TRIES: u32 = 3;
/// Parts past the limit at which a part is asked for: so many may be published while the request is
/// on its way.
const SLACK: u64 = 2;

/// Something that is asked again until it holds, or was asked often enough.
#[derive(Debug)]
pub(super) struct Tries(u32);

impl Default for Tries {
    fn default() -> Self {
        Self(TRIES)
    }
}

impl Tries {
    pub(super) fn is_over(&self) -> bool {
        self.0 == 0
    }

    /// What came of it, once that is known.
    pub(super) fn settle(&mut self, holds: bool) -> Option<bool> {
        self.0 = if holds { 0 } else { self.0.saturating_sub(1) };
        self.is_over().then_some(holds)
    }
}

/// The requests that depend on the moment.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    segment: Tries,
    part: Tries,
}

impl Refusals {
    /// Asks past both limits, where `media` is of now and a segment has just begun.
    pub(super) fn past_the_limits(&mut self, source: Source<'_>, media: &Media) {
        let (sequence, parts) = media.cursor();
        if media.part_target.is_none() || media.ended || parts > 1 {
            return;
        }
        // The last segment is the one before `next`.
        refuse(source, media, &mut self.segment, &format!("_HLS_msn={}", media.next() + 2));
        if let Some(part) = past_the_part_limit(media) {
            // Players sort directives (6.3.2): one who asks for this part later does not meet a
            // cached refusal.
            let query = format!("_HLS_part={part}&_HLS_msn={}", sequence + 1);
            refuse(source, media, &mut self.part, &query);
        }
    }
}

/// The last part of the segment after the one that is being made, where the advance part limit
/// forbids it.
fn past_the_part_limit(media: &Media) -> Option<u64> {
    let target = media.part_target?;
    let limit = if target < 1_000_000 { 3_000_000u64.div_ceil(target) } else { 3 };
    // A part past the end of its segment is part 0 of the next, so the count must be known.
    let count = media.segments.last()?.parts.len() as u64;
    let ahead = (2 * count).checked_sub(media.cursor().1 + 1)?;
    (ahead > limit + SLACK).then(|| count - 1)
}

fn refuse(source: Source<'_>, media: &Media, tries: &mut Tries, query: &str) {
    if tries.is_over() {
        return;
    }
    let refused = is_refused(source, media, query);
    if let Some(holds) = tries.settle(refused) {
        source.notes.must(holds, "L3", 0, || format!("?{query}: 400 was expected, {TRIES} times"));
    }
}

/// Whether the answer is 400, at once, and kept no longer than an error may be (appendix B).
fn is_refused(source: Source<'_>, media: &Media, query: &str) -> bool {
    let Some(reply) = source.at_once(query) else {
        return false;
    };
    let most = match query.contains("_HLS_msn") {
        true => 4 * media.target_duration,
        false => media.target_duration,
    };
    if reply.status >= 400 {
        let age = max_age(&reply).unwrap_or(0);
        source.notes.must(age <= most, "L7", 0, || {
            format!("?{query}: status {} for {age} s", reply.status)
        });
    }
    reply.status == 400
}

/// What is to be refused at any moment, and what is answered at once.
pub(super) fn at_any_time(source: Source<'_>, media: &Media) {
    if media.part_target.is_none() || media.ended {
        return;
    }
    for query in [format!("_HLS_msn={}", media.next() + 1000), "_HLS_part=1".to_owned()] {
        let refused = is_refused(source, media, &query);
        source.notes.must(refused, "L3", 0, || format!("?{query}: 400 was expected"));
    }
    let old = format!("_HLS_msn={}", media.sequence);
    let whole = read_at_once(source, &old).is_some_and(|media| media.skipped == 0);
    source
        .notes
        .must(whole, "L3", 0, || format!("?{old} did not bring the whole playlist at once"));
}

/// With `EXT-X-ENDLIST` directives are ignored.
pub(super) fn after_the_end(source: Source<'_>, media: &Media) {
    let query = format!("_HLS_msn={}&_HLS_skip=YES", media.next() + 1000);
    let same = read_at_once(source, &query)
        .is_some_and(|now| now.ended && now.skipped == 0 && now.next() == media.next());
    source
        .notes
        .must(same, "L3", 0, || format!("?{query} did not bring the playlist that has ended"));
}

fn read_at_once(source: Source<'_>, query: &str) -> Option<Media> {
    let reply = source.at_once(query).filter(|reply| reply.status == 200)?;
    Media::parse(&String::from_utf8_lossy(&reply.body)).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use crate::playlist::ContentSpec;

    fn limit(parts: u64, open_parts: u64) -> Option<u64> {
        let spec = ContentSpec { parts, open_parts, ..ContentSpec::default() };
        past_the_part_limit(&Media::parse(&spec.render()).unwrap())
    }

    /// RFC 8216bis 6.2.5.2: three seconds of parts, fifteen of 0.2 s and six of 0.5 s.
    #[test]
    fn a_part_is_past_the_limit_where_two_segments_are_longer_than_it() {
        assert_eq!((limit(10, 0), limit(10, 1)), (Some(9), Some(9)));
        assert_eq!((limit(10, 2), limit(4, 0)), (None, None));
    }

    #[test]
    fn only_a_row_of_failures_is_a_breach() {
        let mut tries = Tries::default();
        assert_eq!([tries.settle(false), tries.settle(true)], [None, Some(true)]);
        let mut tries = Tries::default();
        let outcomes = [false; 3].map(|holds| tries.settle(holds));
        assert_eq!(outcomes, [None, None, Some(false)]);
    }
}
