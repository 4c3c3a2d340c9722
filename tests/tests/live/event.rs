//! The scripted event: what a sound server would answer, at the pace at which it is asked.
//!
//! Owns its time line and its playlists. A rendition goes on by a part when a player asks for that
//! part, so nothing waits and every run is the same run. Invariant: without a fault every rule of
//! HLS is kept, through a break and up to the end of the event.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::sync::Mutex;

use sightscreen_tests::playlist::ContentSpec;

use super::media;

/// Whole segments of a playlist: 16 s, of which two are past the skip boundary.
const WINDOW: u64 = 8;
/// Whole segments that a delta lists.
const KEPT: u64 = 7;
/// Segments that are made while the event is asked for: the first comes next when it is joined, and
/// the last ends it.
pub(crate) const MADE: Range<u64> = 110..124;
/// Segments of the break.
pub(crate) const BREAK: Range<u64> = 111..114;
/// First segment of the break's second creative.
const SECOND: u64 = 113;
/// Units a second of all media.
pub(crate) const TIMESCALE: u32 = 1000;
/// Milliseconds of a segment.
const SEGMENT_MS: u64 = 2000;

/// The event and how far each rendition is.
#[derive(Debug)]
pub(crate) struct Event {
    /// Parts of a segment; 0: no low latency.
    pub(crate) parts: u64,
    made: Range<u64>,
    /// Steps published, by rendition: parts, or segments where there are none.
    published: Mutex<HashMap<String, u64>>,
}

/// How far a rendition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The segment that is being made.
    pub(crate) next: u64,
    /// Its parts that are published.
    pub(crate) open: u64,
}

/// Delivery directives.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Directives {
    msn: Option<u64>,
    part: Option<u64>,
    /// Whether a delta is asked for.
    pub(crate) skip: bool,
}

impl Directives {
    pub(crate) fn of(query: &str) -> Self {
        let mut found = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "_HLS_msn" => found.msn = value.parse().ok(),
                "_HLS_part" => found.part = value.parse().ok(),
                "_HLS_skip" => found.skip = true,
                _ => {}
            }
        }
        found
    }

    pub(crate) fn blocks(self) -> bool {
        self.msn.is_some()
    }
}

impl Event {
    pub(crate) fn new(parts: u64, made: Range<u64>) -> Self {
        Self { parts, made, published: Mutex::default() }
    }

    /// Steps of a segment.
    fn steps(&self) -> u64 {
        self.parts.max(1)
    }

    fn part_ms(&self) -> u64 {
        SEGMENT_MS / self.steps()
    }

    pub(crate) fn is_over(&self, cursor: Cursor) -> bool {
        cursor.next == self.made.end
    }

    /// Where a rendition is when it has answered; none for a request that is refused.
    pub(crate) fn ask(&self, rendition: &str, asked: Directives) -> Option<Cursor> {
        let mut published = self.published.lock().unwrap();
        let now = published.entry(rendition.to_owned()).or_insert(self.made.start * self.steps());
        let end = self.made.end * self.steps();
        if *now < end {
            let wanted = self.wanted(*now, asked)?;
            *now = wanted.max(*now).min(end);
        }
        Some(Cursor { next: *now / self.steps(), open: *now % self.steps() })
    }

    /// Steps that are published when the request is answered (RFC 8216bis 6.2.5.2).
    fn wanted(&self, now: u64, asked: Directives) -> Option<u64> {
        let steps = self.steps();
        match (asked.msn, asked.part) {
            (None, Some(_)) => None,
            // Who does not block comes back when there is a new segment.
            (None, None) => Some(now + u64::from(self.parts == 0)),
            (Some(msn), _) if msn > now / steps + 1 => None,
            (Some(msn), None) => Some((msn + 1) * steps),
            (Some(msn), Some(part)) => {
                let step = msn * steps + part.min(steps);
                let limit = 3000u64.div_ceil(self.part_ms());
                (step <= now + limit).then_some(step + 1)
            }
        }
    }

    /// The playlist at `cursor`.
    pub(crate) fn playlist(&self, rendition: &str, cursor: Cursor, skip: bool) -> String {
        let first = cursor.next - WINDOW;
        let skipped = if skip && !self.is_over(cursor) { WINDOW - KEPT } else { 0 };
        let others = ["v1", "a1"].into_iter().filter(|other| *other != rendition);
        let spec = ContentSpec {
            first: first + skipped,
            segments: WINDOW - skipped,
            parts: self.parts,
            open_parts: cursor.open,
            ledger: None,
            dateranges: date_range(first, cursor.next).into_iter().collect(),
            reports: others.filter(|_| self.parts > 0).map(ToOwned::to_owned).collect(),
            ended: self.is_over(cursor),
            ..ContentSpec::default()
        };
        let text = with_break(&spec.render(), rendition, first + skipped, cursor);
        let version = if skipped > 0 { 9 } else { 6 };
        let gone = (BREAK.start..first).filter(|msn| is_edge(*msn));
        let text = text.replace("VERSION:6", &format!("VERSION:{version}")).replace(
            "DISCONTINUITY-SEQUENCE:0",
            &format!("DISCONTINUITY-SEQUENCE:{}", gone.count()),
        );
        if skipped > 0 { as_delta(&text, rendition, first, skipped) } else { text }
    }

    /// An init, segment or part by its name.
    pub(crate) fn object(&self, rendition: &str, name: &str) -> Option<Vec<u8>> {
        let codec = match (rendition, name) {
            ("v1", "init.mp4") => Some("avc1.42c01e"),
            ("ads", "one/v1/init.mp4" | "two/v1/init.mp4") => Some("avc1.640015"),
            (_, name) => name.ends_with("init.mp4").then_some("mp4a.40.2"),
        };
        if let Some(codec) = codec {
            return Some(media::init(codec, TIMESCALE));
        }
        self.media(name, decode)
    }

    /// A segment or part by its name, where segments decode at these times.
    pub(crate) fn media(&self, name: &str, decode: impl Fn(u64) -> u64) -> Option<Vec<u8>> {
        let mut numbers = name.strip_suffix(".m4s")?.split('.').map(str::parse::<u64>);
        let start = decode(numbers.next()?.ok()?);
        match numbers.next() {
            Some(part) => Some(self.part(start, part.ok()?)),
            None => Some((0..self.steps()).flat_map(|part| self.part(start, part)).collect()),
        }
    }

    fn part(&self, start: u64, part: u64) -> Vec<u8> {
        let start = start + part * self.part_ms();
        media::fragment(start, u32::try_from(self.part_ms()).unwrap())
    }
}

/// When a segment decodes: the content counts from the epoch, a creative from the start of its
/// slot.
pub(crate) fn decode(msn: u64) -> u64 {
    let from = match msn {
        SECOND.. if BREAK.contains(&msn) => SECOND,
        _ if BREAK.contains(&msn) => BREAK.start,
        _ => 0,
    };
    (msn - from) * SEGMENT_MS
}

/// The multivariant playlist.
pub(crate) fn multivariant() -> String {
    "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"a\",URI=\"a1/index.m3u8\"\n\
     #EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.42c01e,avc1.640015,mp4a.40.2\",AUDIO=\"a\"\nv1/index.m3u8\n"
        .to_owned()
}

/// The init of a segment.
fn map(rendition: &str, msn: u64) -> String {
    match msn {
        SECOND.. if BREAK.contains(&msn) => format!("../ads/two/{rendition}/init.mp4"),
        _ if BREAK.contains(&msn) => format!("../ads/one/{rendition}/init.mp4"),
        _ => "init.mp4".to_owned(),
    }
}

/// Whether a segment has another init than the one before.
fn is_edge(msn: u64) -> bool {
    [BREAK.start, SECOND, BREAK.end].contains(&msn)
}

/// The break's date range, while it is in the window; its other end when it is over.
fn date_range(first: u64, next: u64) -> Option<String> {
    if first >= BREAK.end {
        return None;
    }
    let mut line = "#EXT-X-DATERANGE:ID=\"b1\",START-DATE=\"2026-01-01T00:03:42.000Z\",PLANNED-DURATION=6.000,SCTE35-OUT=0xFC30".to_owned();
    if next >= BREAK.end {
        line.push_str(",DURATION=6.000,SCTE35-IN=0xFC31");
    }
    Some(line)
}

/// Inits and discontinuities of the break, in a playlist of content from `first`.
fn with_break(text: &str, rendition: &str, first: u64, cursor: Cursor) -> String {
    let (mut out, mut msn) = (String::new(), first);
    for line in text.lines() {
        let tags = if line == "#EXT-X-MAP:URI=\"init.mp4\"" {
            out.push_str(if is_edge(msn) { "#EXT-X-DISCONTINUITY\n" } else { "" });
            format!("#EXT-X-MAP:URI=\"{}\"\n", map(rendition, first))
        } else {
            format!("{line}\n")
        };
        out.push_str(&tags);
        if line.ends_with(".m4s") {
            msn += 1;
            let listed = msn < cursor.next || cursor.open > 0;
            if listed && is_edge(msn) {
                let map = map(rendition, msn);
                let _ = writeln!(out, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"{map}\"");
            }
        }
        let hints = line.starts_with("#EXT-X-PRELOAD-HINT");
        if hints && cursor.open == 0 && is_edge(msn) {
            let map = map(rendition, msn);
            let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{map}\"");
        }
    }
    out
}

/// A playlist without its first segments, as the delta of the whole.
fn as_delta(text: &str, rendition: &str, first: u64, skipped: u64) -> String {
    let (head, segments) = text.split_once("#EXT-X-MAP").unwrap();
    let kept = segments.split_once('\n').unwrap().1;
    let head = head.replace(
        &format!("MEDIA-SEQUENCE:{}", first + skipped),
        &format!("MEDIA-SEQUENCE:{first}"),
    );
    // A discontinuity before the first that is kept stays; its init is not that of those skipped.
    let (head, edge) = match head.strip_suffix("#EXT-X-DISCONTINUITY\n") {
        Some(head) => (
            head,
            format!(
                "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"{}\"\n",
                map(rendition, first + skipped)
            ),
        ),
        None => (head.as_str(), String::new()),
    };
    format!("{head}#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n{edge}{kept}")
}
