//! The media of one rendition: every part and segment, fetched when it is first listed.
//!
//! For the rules that need media this remembers inits, the bytes of parts until their segment is
//! whole, and the decode time that must come next. What is listed is fetched once, and a second
//! time if it was fetched while it was only hinted.

use std::collections::HashMap;

use super::attributes::Attributes;
use super::fragment::{Init, Span};
use super::playlist::{Media, Part, Segment};
use super::source::Source;
use super::timing::Timing;

/// Microseconds by which a listed duration may differ from the media's: durations are printed in
/// milliseconds.
const PRINT: u64 = 1_000;

/// The media seen so far.
pub(super) struct Objects<'a> {
    source: Source<'a>,
    inits: HashMap<String, Option<Init>>,
    /// The bytes of the parts of segments that are not whole yet.
    parts: HashMap<u64, Vec<Vec<u8>>>,
    /// Init and decode time that the next part continues.
    clock: Option<(Option<String>, u64)>,
    /// The content's decode times against its dates.
    pub(super) timing: Timing,
    /// A hinted part's URI, and what came when it was asked for.
    hinted: Option<(String, Result<Vec<u8>, String>)>,
}

impl<'a> Objects<'a> {
    pub(super) fn new(source: Source<'a>) -> Self {
        Self {
            source,
            inits: HashMap::new(),
            parts: HashMap::new(),
            clock: None,
            timing: Timing::default(),
            hinted: None,
        }
    }

    /// Asks for the part that is hinted, as a player does; it is judged when it is listed.
    pub(super) fn ask_ahead(&mut self, media: &Media) {
        let is_part = |list: &Attributes| list.get("TYPE").is_some_and(|kind| kind == "PART");
        let hint = media.hints.iter().find(|(_, list)| is_part(list));
        if let Some(uri) = hint.and_then(|(_, list)| list.get("URI")) {
            self.hinted = Some((uri.clone(), self.get(uri)));
        }
    }

    /// Fetches what `later` has and `earlier` had not.
    pub(super) fn fetch_new(&mut self, earlier: &Media, later: &Media) {
        let new = later.all().filter(|segment| segment.sequence >= earlier.next());
        for segment in new {
            let known = earlier.at(segment.sequence).map_or(0, |old| old.parts.len());
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
            self.clock = None;
            return;
        };
        if let Some((init, span)) = self.span(segment, &bytes, part.line) {
            let length = init.micros(span.duration);
            self.source.notes.must(
                length.abs_diff(part.duration) <= PRINT,
                "M2",
                part.line,
                || format!("{} lasts {length} us, listed are {}", part.uri, part.duration),
            );
            self.tick(segment, index == 0, &part.uri, part.line, span);
            self.keep_time((segment, index), (&init, span), part.line);
        }
        self.as_hinted(part, &bytes);
        let parts = self.parts.entry(segment.sequence).or_default();
        if parts.len() == index {
            parts.push(bytes);
        }
    }

    /// 6.2.6: a hinted part is held until it is whole.
    fn as_hinted(&mut self, part: &Part, bytes: &[u8]) {
        let Some((uri, came)) = self.hinted.take_if(|(uri, _)| *uri == part.uri) else {
            return;
        };
        let same = came.as_ref().is_ok_and(|early| early == bytes);
        self.source.notes.must(same, "L5", part.line, || {
            let fault = came.err().unwrap_or("other bytes than later".into());
            format!("{uri}, fetched while it was hinted: {fault}")
        });
    }

    /// Decode times go on from part to part, but over a discontinuity: the content's go on over
    /// that too, see [`Timing`].
    fn tick(&mut self, segment: &Segment, first: bool, uri: &str, line: usize, span: Span) {
        let fresh = segment.discontinuous && first;
        if let Some((map, expected)) = self.clock.take().filter(|_| !fresh)
            && map == segment.map
        {
            self.source.notes.must(expected == span.start, "M3", line, || {
                format!("{uri} decodes at {}, expected {expected}", span.start)
            });
        }
        self.clock = Some((segment.map.clone(), span.start + span.duration));
    }

    fn keep_time(&mut self, at: (&Segment, usize), media: (&Init, Span), line: usize) {
        let Source { rendition, notes, .. } = self.source;
        let is_content = |init: &String| rendition.is_content(init);
        if at.0.map.as_ref().is_some_and(is_content) {
            self.timing.saw(at, media, line, notes);
        }
    }

    fn whole(&mut self, segment: &Segment) {
        let parts = self.parts.remove(&segment.sequence).unwrap_or_default();
        if segment.gap.is_some() {
            self.clock = None;
            return;
        }
        let Some(bytes) = self.fetch(&segment.uri, segment.line) else {
            if segment.parts.is_empty() {
                self.clock = None;
            }
            return;
        };
        if !segment.parts.is_empty() && parts.len() == segment.parts.len() {
            let same = parts.concat() == bytes;
            self.source.notes.must(same, "M1", segment.line, || {
                format!("{} differs from the bytes of its parts", segment.uri)
            });
        }
        let Some((init, span)) = self.span(segment, &bytes, segment.line) else {
            return;
        };
        let length = init.micros(span.duration);
        self.source.notes.must(
            length.abs_diff(segment.duration) <= PRINT,
            "M2",
            segment.line,
            || format!("{} lasts {length} us, listed are {}", segment.uri, segment.duration),
        );
        if segment.parts.is_empty() {
            self.tick(segment, true, &segment.uri, segment.line, span);
            self.keep_time((segment, 0), (&init, span), segment.line);
        }
    }

    fn get(&self, uri: &str) -> Result<Vec<u8>, String> {
        let url = self.source.rendition.url.join(uri)?;
        url.body()
    }

    fn fetch(&self, uri: &str, line: usize) -> Option<Vec<u8>> {
        let body = self.get(uri);
        self.source.notes.must(body.is_ok(), "M4", line, || {
            format!("{uri}: {}", body.as_ref().err().cloned().unwrap_or_default())
        });
        body.ok()
    }

    /// An encoder that changed since the entry may have another codec, of which those who enter now
    /// are told. That may take a moment.
    fn is_promised(&self, codec: &str) -> bool {
        let Source { rendition, plan, .. } = self.source;
        let now = || rendition.as_of_now().is_some_and(|now| now.promises(codec));
        let again = || {
            std::thread::sleep(plan.retry);
            now()
        };
        rendition.promises(codec) || now() || again() || again()
    }

    fn span(&mut self, segment: &Segment, bytes: &[u8], line: usize) -> Option<(Init, Span)> {
        let map = segment.map.clone()?;
        if !self.inits.contains_key(&map) {
            let init = self.fetch(&map, segment.line).map(|bytes| Init::parse(&bytes));
            let init = init.and_then(|init| {
                init.map_err(|fault| {
                    self.source.notes.must(false, "M4", line, || format!("{map}: {fault}"));
                })
                .ok()
            });
            if let Some(codec) = init.as_ref().and_then(|init| init.codec.as_ref()) {
                let promised = self.is_promised(codec);
                self.source.notes.must(promised, "R9", segment.line, || {
                    format!("{map} is {codec}, CODECS has {:?}", self.source.rendition.codecs)
                });
            }
            self.inits.insert(map.clone(), init);
        }
        let init = self.inits.get(&map)?.clone()?;
        match init.span(bytes) {
            Ok(span) => Some((init, span)),
            Err(fault) => {
                self.source
                    .notes
                    .must(false, "M2", line, || format!("segment {}: {fault}", segment.sequence));
                None
            }
        }
    }
}
