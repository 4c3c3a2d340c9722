//! Follows one rendition: blocking reloads, parts as they come, segments when they are whole.
//!
//! Owns the order of requests and the rules that need media. What is seen goes to the rules on text and to [`Across`].

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use super::across::Across;
use super::fetch::Url;
use super::fragment::{Init, Span};
use super::multivariant::Rendition;
use super::playlist::{Media, Part, Segment};
use super::report::Notes;
use super::rules;
use crate::wire::header;

/// Reloads between two delta updates.
const DELTA_EVERY: u64 = 5;
/// Microseconds by which a listed duration may differ from the media's: durations are printed in milliseconds.
const PRINT: u64 = 1_000;

/// One rendition as it is followed.
pub(super) struct Follower<'a> {
    rendition: &'a Rendition,
    notes: Notes<'a>,
    across: &'a Across,
    inits: HashMap<String, Option<Init>>,
    /// The bytes of the parts of segments that are not whole yet.
    parts: HashMap<u64, Vec<Vec<u8>>>,
    /// Init and decode time that the next part continues.
    clock: Option<(Option<String>, u64)>,
    reloads: u64,
}

impl<'a> Follower<'a> {
    pub(super) fn new(rendition: &'a Rendition, notes: Notes<'a>, across: &'a Across) -> Self {
        Self {
            rendition,
            notes,
            across,
            inits: HashMap::new(),
            parts: HashMap::new(),
            clock: None,
            reloads: 0,
        }
    }

    /// Until `deadline`, or the end of the event.
    pub(super) fn follow(mut self, deadline: Instant) {
        let Some(mut earlier) = self.load("") else {
            return;
        };
        rules::alone(&earlier, self.notes);
        self.refusals(&earlier);
        self.across.saw(&self.rendition.name, &earlier, self.notes);
        while Instant::now() < deadline && !earlier.ended {
            let Some(later) = self.reload(&earlier) else {
                thread::sleep(Duration::from_millis(500));
                continue;
            };
            rules::alone(&later, self.notes);
            rules::between(&earlier, &later, self.notes);
            self.across.saw(&self.rendition.name, &later, self.notes);
            self.media(&earlier, &later);
            earlier = later;
        }
    }

    fn load(&self, query: &str) -> Option<Media> {
        let url = self.rendition.url.with_query(query);
        let reply = match url.get() {
            Ok(reply) => reply,
            Err(e) => {
                self.notes.must(false, "R0", 0, || format!("?{query}: {e}"));
                return None;
            }
        };
        self.notes.must(reply.status == 200, "R0", 0, || {
            format!("?{query}: status {}", reply.status)
        });
        if reply.status != 200 {
            return None;
        }
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        match Media::parse(&text) {
            Ok(media) => {
                self.notes.checked("R5");
                self.cache_times(header(&reply.headers, "cache-control"), query, &media);
                Some(media)
            }
            Err(fault) => {
                let rule = if fault.what.ends_with("follows a segment") {
                    "R5"
                } else {
                    "R0"
                };
                self.notes.must(false, rule, fault.line, || fault.what);
                None
            }
        }
    }

    /// Appendix B: blocking answers at most six target durations, others half of one (in whole seconds, at least one).
    fn cache_times(&self, control: Option<&str>, query: &str, media: &Media) {
        let age = control.and_then(|c| {
            c.split(',')
                .find_map(|d| d.trim().strip_prefix("max-age=")?.parse::<u64>().ok())
        });
        let most = if query.contains("_HLS_msn") {
            6 * media.target_duration
        } else {
            (media.target_duration / 2).max(1)
        };
        self.notes.must(
            age.is_some_and(|age| age > 0 && age <= most),
            "L7",
            0,
            || format!("?{query}: cache-control {control:?}, at most {most} s"),
        );
    }

    fn reload(&mut self, earlier: &Media) -> Option<Media> {
        self.reloads += 1;
        if earlier
            .control
            .get("CAN-BLOCK-RELOAD")
            .is_none_or(|v| v != "YES")
        {
            thread::sleep(Duration::from_millis(500 * earlier.target_duration));
            return self.load("");
        }
        let (sequence, part) = earlier.open.as_ref().map_or((earlier.next(), 0), |open| {
            (open.sequence, open.parts.len())
        });
        let query = if earlier.part_target.is_some() {
            format!("_HLS_msn={sequence}&_HLS_part={part}")
        } else {
            format!("_HLS_msn={sequence}")
        };
        let began = Instant::now();
        let later = self.load(&query)?;
        let limit = Duration::from_secs(3 * earlier.target_duration + 1);
        self.notes.must(began.elapsed() <= limit, "L3", 0, || {
            format!("?{query} was held for {:?}", began.elapsed())
        });
        let has = later.next() > sequence
            || later
                .open
                .as_ref()
                .is_some_and(|open| open.sequence == sequence && open.parts.len() > part);
        self.notes.must(has || later.ended, "L3", 0, || {
            format!("?{query} came without what was asked for")
        });
        if self.reloads.is_multiple_of(DELTA_EVERY) {
            self.delta(&query, earlier, &later);
        }
        Some(later)
    }

    /// The delta of the same moment: it may be a part ahead of the whole, and must agree with it in all else.
    fn delta(&self, query: &str, earlier: &Media, whole: &Media) {
        let Some(delta) = self.load(&format!("{query}&_HLS_skip=YES")) else {
            return;
        };
        let skipped = delta.skipped;
        match delta.over(earlier) {
            Err(fault) => self.notes.must(false, "L4", 0, || fault),
            Ok(made) => {
                rules::alone(&made, self.notes);
                rules::between(whole, &made, self.notes);
                let boundary = whole
                    .control
                    .get("CAN-SKIP-UNTIL")
                    .and_then(|t| super::playlist::seconds(t).ok())
                    .unwrap_or(0);
                let kept: u64 = made
                    .segments
                    .iter()
                    .filter(|s| s.sequence >= made.sequence + skipped)
                    .map(|s| s.duration)
                    .sum();
                self.notes.must(skipped == 0 || kept + 1_000_000 * whole.target_duration >= boundary, "L4", 0, || {
                    format!("{skipped} segments are skipped, {kept} us are left before the end, the boundary is {boundary}")
                });
                let same =
                    made.sequence == whole.sequence && made.discontinuity == whole.discontinuity;
                self.notes
                    .must(same || made.next() > whole.next(), "L4", 0, || {
                        "the delta has other sequences than the whole".into()
                    });
            }
        }
    }

    /// What a server must refuse (6.2.5.2), and what it must answer at once.
    fn refusals(&self, media: &Media) {
        if media.part_target.is_none() {
            return;
        }
        for query in [
            format!("_HLS_msn={}", media.next() + 1000),
            "_HLS_part=1".to_owned(),
        ] {
            let status = self
                .rendition
                .url
                .with_query(&query)
                .get()
                .map(|reply| reply.status)
                .ok();
            self.notes.must(status == Some(400), "L3", 0, || {
                format!("?{query}: expected 400, got {status:?}")
            });
        }
        let old = format!("_HLS_msn={}", media.sequence);
        let began = Instant::now();
        let whole = self.load(&old).is_some_and(|media| media.skipped == 0);
        self.notes.must(
            whole && began.elapsed() < Duration::from_secs(1),
            "L3",
            0,
            || format!("?{old} took {:?}", began.elapsed()),
        );
    }

    fn media(&mut self, earlier: &Media, later: &Media) {
        let new = later
            .all()
            .filter(|segment| segment.sequence >= earlier.next());
        for segment in new {
            let known = earlier
                .at(segment.sequence)
                .map_or(0, |old| old.parts.len());
            for (index, part) in segment.parts.iter().enumerate().skip(known) {
                self.part(segment, index, part);
            }
            if !segment.uri.is_empty() {
                self.whole(segment);
            }
        }
    }

    fn part(&mut self, segment: &Segment, index: usize, part: &Part) {
        if part.gap {
            self.clock = None;
            return;
        }
        let Some(bytes) = self.fetch(&part.uri, part.line) else {
            return;
        };
        if let Some((init, span)) = self.span(segment, &bytes, part.line) {
            let length = init.micros(span.duration);
            self.notes.must(
                length.abs_diff(part.duration) <= PRINT,
                "M2",
                part.line,
                || {
                    format!(
                        "{} lasts {length} us, listed are {}",
                        part.uri, part.duration
                    )
                },
            );
            self.tick(segment, index == 0, &part.uri, part.line, span);
        }
        let parts = self.parts.entry(segment.sequence).or_default();
        if parts.len() == index {
            parts.push(bytes);
        }
    }

    /// Decode times go on from part to part, but over a discontinuity.
    fn tick(&mut self, segment: &Segment, first: bool, uri: &str, line: usize, span: Span) {
        let fresh = segment.discontinuous && first;
        if let Some((map, expected)) = self.clock.take().filter(|_| !fresh)
            && map == segment.map
        {
            self.notes.must(expected == span.start, "M3", line, || {
                format!("{uri} decodes at {}, expected {expected}", span.start)
            });
        }
        self.clock = Some((segment.map.clone(), span.start + span.duration));
    }

    fn whole(&mut self, segment: &Segment) {
        let parts = self.parts.remove(&segment.sequence).unwrap_or_default();
        if segment.gap {
            self.clock = None;
            return;
        }
        let Some(bytes) = self.fetch(&segment.uri, segment.line) else {
            return;
        };
        let Some((init, span)) = self.span(segment, &bytes, segment.line) else {
            return;
        };
        let length = init.micros(span.duration);
        self.notes.must(
            length.abs_diff(segment.duration) <= PRINT,
            "M2",
            segment.line,
            || {
                format!(
                    "{} lasts {length} us, listed are {}",
                    segment.uri, segment.duration
                )
            },
        );
        if segment.parts.is_empty() {
            self.tick(segment, true, &segment.uri, segment.line, span);
        } else if parts.len() == segment.parts.len() {
            self.notes
                .must(parts.concat() == bytes, "M1", segment.line, || {
                    format!("{} is not the bytes of its parts", segment.uri)
                });
        }
    }

    fn fetch(&self, uri: &str, line: usize) -> Option<Vec<u8>> {
        let body = self.rendition.url.join(uri).and_then(|url: Url| url.body());
        self.notes.must(body.is_ok(), "M4", line, || {
            format!(
                "{uri}: {}",
                body.as_ref().err().cloned().unwrap_or_default()
            )
        });
        body.ok()
    }

    fn span(&mut self, segment: &Segment, bytes: &[u8], line: usize) -> Option<(Init, Span)> {
        let map = segment.map.clone()?;
        if !self.inits.contains_key(&map) {
            let init = self
                .fetch(&map, segment.line)
                .map(|bytes| Init::parse(&bytes));
            let init = init.and_then(|init| {
                init.map_err(|fault| {
                    self.notes
                        .must(false, "M4", line, || format!("{map}: {fault}"));
                })
                .ok()
            });
            if let Some(codec) = init.as_ref().and_then(|init| init.codec.as_ref()) {
                let promised = self
                    .rendition
                    .codecs
                    .iter()
                    .any(|c| c.to_ascii_lowercase().starts_with(codec));
                self.notes.must(promised, "R9", segment.line, || {
                    format!("{map} is {codec}, CODECS has {:?}", self.rendition.codecs)
                });
            }
            self.inits.insert(map.clone(), init);
        }
        let init = self.inits.get(&map)?.clone()?;
        match init.span(bytes) {
            Ok(span) => Some((init, span)),
            Err(fault) => {
                self.notes.must(false, "M2", line, || {
                    format!("segment {}: {fault}", segment.sequence)
                });
                None
            }
        }
    }
}
