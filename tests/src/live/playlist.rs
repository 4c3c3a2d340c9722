//! Reads media playlists tag by tag, with the line of each.
//!
//! The reader is strict: what it does not understand is an error, but for unknown tags, which the
//! specification says are skipped. Every segment has a media sequence number, a line, and the init
//! that holds for it.

use std::collections::BTreeMap;

use super::attributes::{self, Attributes};
use super::version;

/// A fault in the text of a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1; 0 for the playlist as a whole.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A media playlist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Media {
    /// `EXT-X-VERSION`; 1 where it is missing.
    pub version: u64,
    /// The version that its tags need.
    pub needs: u64,
    /// `EXT-X-TARGETDURATION` in seconds.
    pub target_duration: u64,
    /// `EXT-X-PART-INF:PART-TARGET` in microseconds.
    pub part_target: Option<u64>,
    /// `EXT-X-SERVER-CONTROL`.
    pub control: Attributes,
    /// `EXT-X-MEDIA-SEQUENCE`.
    pub sequence: u64,
    /// `EXT-X-DISCONTINUITY-SEQUENCE`.
    pub discontinuity: u64,
    /// Segments left out by `EXT-X-SKIP`.
    pub skipped: u64,
    /// Whole segments.
    pub segments: Vec<Segment>,
    /// The segment whose parts alone are listed, at the end.
    pub open: Option<Segment>,
    /// `EXT-X-PRELOAD-HINT` lines.
    pub hints: Vec<(usize, Attributes)>,
    /// `EXT-X-RENDITION-REPORT` lines.
    pub reports: Vec<(usize, Attributes)>,
    /// `EXT-X-DATERANGE` lines.
    pub dateranges: Vec<(usize, Attributes)>,
    /// Whether it has ended.
    pub ended: bool,
}

/// One segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segment {
    /// Media sequence number.
    pub sequence: u64,
    /// Discontinuities from the event's start up to and with this segment's own.
    pub discontinuities: u64,
    /// Whether `EXT-X-DISCONTINUITY` stands before it.
    pub discontinuous: bool,
    /// Line of the first of its tags.
    pub line: usize,
    /// URI; empty while it is open.
    pub uri: String,
    /// Microseconds; 0 while it is open.
    pub duration: u64,
    /// URI of the init that holds for it.
    pub map: Option<String>,
    /// Whether `EXT-X-MAP` stands before it.
    pub maps: bool,
    /// `EXT-X-PROGRAM-DATE-TIME`.
    pub date: Option<String>,
    /// Line of `EXT-X-GAP`, where there is no media.
    pub gap: Option<usize>,
    /// Parts.
    pub parts: Vec<Part>,
}

/// One part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Line.
    pub line: usize,
    /// URI.
    pub uri: String,
    /// Microseconds.
    pub duration: u64,
    /// Whether it can be decoded from its start.
    pub independent: bool,
    /// Whether there is no media.
    pub gap: bool,
}

impl Media {
    /// Reads a media playlist.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut reader = Reader {
            media: Self { version: 1, needs: version::needed(text), ..Self::default() },
            ..Reader::default()
        };
        for (at, line) in text.lines().enumerate() {
            reader.line(at + 1, line).map_err(|what| Fault { line: at + 1, what })?;
        }
        reader.finish().map_err(|what| Fault { line: 0, what })
    }

    /// Sequence number after the last whole segment.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.sequence + self.skipped + self.segments.len() as u64
    }

    /// Whole segments and the open one.
    pub fn all(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain(&self.open)
    }

    /// The segment at a sequence number, where it is listed.
    #[must_use]
    pub fn at(&self, sequence: u64) -> Option<&Segment> {
        self.all().find(|segment| segment.sequence == sequence)
    }

    /// The date ranges by ID, each with the line of its last tag and the attributes of all its tags
    /// (4.4.5.1).
    #[must_use]
    pub fn ranges(&self) -> BTreeMap<String, (usize, Attributes)> {
        let mut ranges: BTreeMap<String, (usize, Attributes)> = BTreeMap::new();
        for (line, range) in &self.dateranges {
            let id = range.get("ID").cloned().unwrap_or_default();
            let whole = ranges.entry(id).or_default();
            whole.0 = *line;
            whole.1.extend(range.clone());
        }
        ranges
    }

    /// Microseconds of the whole segments and the parts of the open one.
    #[must_use]
    pub fn length(&self) -> u64 {
        let parts = self.open.iter().flat_map(|open| &open.parts);
        let whole = self.segments.iter().map(|segment| segment.duration);
        whole.sum::<u64>() + parts.map(|part| part.duration).sum::<u64>()
    }

    /// Media sequence number and index of the part that comes next.
    #[must_use]
    pub fn cursor(&self) -> (u64, u64) {
        self.open.as_ref().map_or((self.next(), 0), |open| (open.sequence, open.parts.len() as u64))
    }

    /// This delta update on top of an earlier whole playlist (RFC 8216bis 6.3.7).
    ///
    /// # Errors
    /// Where the earlier one does not have the skipped segments.
    pub fn over(mut self, earlier: &Self) -> Result<Self, String> {
        let skipped = self.sequence..self.sequence + self.skipped;
        let mut kept: Vec<Segment> =
            earlier.segments.iter().filter(|s| skipped.contains(&s.sequence)).cloned().collect();
        if kept.len() as u64 != self.skipped {
            return Err(format!(
                "{} segments are skipped, of which only {} are known",
                self.skipped,
                kept.len()
            ));
        }
        if let Some(first) = kept.first_mut() {
            // Its EXT-X-MAP may have left with the segments before it; the player knows it still.
            first.maps = first.map.is_some();
        }
        // What was skipped carries its init and its count of discontinuities over the seam.
        let counted = kept.iter().filter(|s| s.discontinuous).count() as u64;
        let map = kept.last().and_then(|segment| segment.map.clone());
        let mut inherits = true;
        for segment in self.segments.iter_mut().chain(&mut self.open) {
            segment.discontinuities += counted;
            inherits &= segment.map.is_none();
            if inherits {
                segment.map.clone_from(&map);
            }
        }
        self.segments.splice(0..0, kept);
        self.skipped = 0;
        // EXT-X-SKIP raised the delta's version; what it makes has none.
        (self.version, self.needs) = (earlier.version, earlier.needs);
        Ok(self)
    }
}

#[derive(Default)]
struct Reader {
    media: Media,
    next: Segment,
    /// Whether a tag of the next segment has been read.
    begun: bool,
    map: Option<String>,
    discontinuities: Option<u64>,
    info: Option<u64>,
    seen: Vec<&'static str>,
}

impl Reader {
    fn line(&mut self, at: usize, line: &str) -> Result<(), String> {
        if at == 1 {
            return if line == "#EXTM3U" {
                Ok(())
            } else {
                Err("the first line is not #EXTM3U".into())
            };
        }
        if line.is_empty() || (line.starts_with('#') && !line.starts_with("#EXT")) {
            return Ok(());
        }
        if !line.starts_with('#') {
            return self.uri(line);
        }
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXTINF"
            | "#EXT-X-PART"
            | "#EXT-X-DISCONTINUITY"
            | "#EXT-X-MAP"
            | "#EXT-X-GAP"
            | "#EXT-X-PROGRAM-DATE-TIME" => self.of_segment(at, tag, value),
            _ => self.of_playlist(at, tag, value),
        }
    }

    fn of_segment(&mut self, at: usize, tag: &str, value: &str) -> Result<(), String> {
        if !self.begun {
            self.begun = true;
            self.next.line = at;
        }
        match tag {
            "#EXTINF" => self.info = Some(seconds(value.split(',').next().unwrap_or_default())?),
            "#EXT-X-DISCONTINUITY" => self.next.discontinuous = true,
            "#EXT-X-GAP" => self.next.gap = Some(at),
            "#EXT-X-PROGRAM-DATE-TIME" => self.next.date = Some(value.to_owned()),
            "#EXT-X-MAP" => {
                self.next.maps = true;
                self.map = Some(required(&attributes::parse(value)?, "URI")?);
            }
            _ => self.part(at, value)?,
        }
        Ok(())
    }

    fn part(&mut self, at: usize, value: &str) -> Result<(), String> {
        let list = attributes::parse(value)?;
        self.next.parts.push(Part {
            line: at,
            uri: required(&list, "URI")?,
            duration: seconds(&required(&list, "DURATION")?)?,
            independent: list.get("INDEPENDENT").is_some_and(|v| v == "YES"),
            gap: list.get("GAP").is_some_and(|v| v == "YES"),
        });
        Ok(())
    }

    fn uri(&mut self, uri: &str) -> Result<(), String> {
        self.next.uri = uri.to_owned();
        self.next.duration = self.info.take().ok_or("a URI without EXTINF")?;
        let segment = self.close();
        self.media.segments.push(segment);
        Ok(())
    }

    fn close(&mut self) -> Segment {
        let mut segment = std::mem::take(&mut self.next);
        self.begun = false;
        let before = self.discontinuities.unwrap_or(self.media.discontinuity);
        segment.discontinuities = before + u64::from(segment.discontinuous);
        self.discontinuities = Some(segment.discontinuities);
        segment.sequence = self.media.next();
        segment.map.clone_from(&self.map);
        segment
    }

    fn of_playlist(&mut self, at: usize, tag: &str, value: &str) -> Result<(), String> {
        match tag {
            "#EXT-X-VERSION" => self.media.version = self.once("EXT-X-VERSION", value)?,
            "#EXT-X-TARGETDURATION" => {
                self.media.target_duration = self.once("EXT-X-TARGETDURATION", value)?;
            }
            "#EXT-X-MEDIA-SEQUENCE" => {
                self.before_segments(tag)?;
                self.media.sequence = self.once("EXT-X-MEDIA-SEQUENCE", value)?;
            }
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.before_segments(tag)?;
                self.media.discontinuity = self.once("EXT-X-DISCONTINUITY-SEQUENCE", value)?;
            }
            "#EXT-X-SKIP" => {
                self.before_segments(tag)?;
                self.media.skipped =
                    number(&required(&attributes::parse(value)?, "SKIPPED-SEGMENTS")?)?;
            }
            "#EXT-X-SERVER-CONTROL" => self.media.control = attributes::parse(value)?,
            "#EXT-X-PART-INF" => {
                self.media.part_target =
                    Some(seconds(&required(&attributes::parse(value)?, "PART-TARGET")?)?);
            }
            "#EXT-X-PRELOAD-HINT" => self.media.hints.push((at, attributes::parse(value)?)),
            "#EXT-X-RENDITION-REPORT" => self.media.reports.push((at, attributes::parse(value)?)),
            "#EXT-X-DATERANGE" => self.media.dateranges.push((at, attributes::parse(value)?)),
            "#EXT-X-ENDLIST" => self.media.ended = true,
            // RFC 8216bis 6.3.1: unknown tags are ignored.
            _ => {}
        }
        Ok(())
    }

    fn once(&mut self, tag: &'static str, value: &str) -> Result<u64, String> {
        if self.seen.contains(&tag) {
            return Err(format!("{tag} stands twice"));
        }
        self.seen.push(tag);
        number(value)
    }

    /// R5: these precede the first segment, and the discontinuity sequence any
    /// `EXT-X-DISCONTINUITY`.
    fn before_segments(&self, tag: &str) -> Result<(), String> {
        let late = !self.media.segments.is_empty()
            || self.next.discontinuous
            || !self.next.parts.is_empty();
        if late { Err(format!("{tag} follows a segment")) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<Media, String> {
        if self.info.is_some() {
            return Err("EXTINF without a URI".into());
        }
        if !self.next.parts.is_empty() {
            self.media.open = Some(self.close());
        }
        if !self.seen.contains(&"EXT-X-TARGETDURATION") {
            return Err("there is no EXT-X-TARGETDURATION".into());
        }
        Ok(self.media)
    }
}

fn required(list: &Attributes, name: &str) -> Result<String, String> {
    list.get(name).cloned().ok_or_else(|| format!("there is no {name}"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a decimal integer"))
}

/// Microseconds of a decimal floating-point number of seconds.
///
/// # Errors
/// Where it is none, or not below 1 << 32.
pub fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a number of seconds");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |s: &str| !s.is_empty() && s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(bad());
    }
    let micros: String = format!("{fraction:0<6}").chars().take(6).collect();
    Ok(whole.parse::<u64>().map_err(|_| bad())? * 1_000_000
        + micros.parse::<u64>().map_err(|_| bad())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use crate::playlist::ContentSpec;

    #[test]
    fn an_origin_playlist_is_read_whole() {
        let spec =
            ContentSpec { first: 1200, open_parts: 2, gaps: vec![1202], ..ContentSpec::default() };
        let media = Media::parse(&spec.render()).unwrap();
        assert_eq!((media.sequence, media.next(), media.segments.len()), (1200, 1206, 6));
        assert_eq!(media.open.as_ref().unwrap().parts.len(), 2);
        assert!(media.at(1202).unwrap().gap.is_some() && media.at(1203).unwrap().gap.is_none());
        assert_eq!(media.at(1205).unwrap().map.as_deref(), Some("init.mp4"));
    }

    #[test]
    fn faults_have_their_line() {
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\na.m4s\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n";
        assert_eq!(Media::parse(text).unwrap_err().line, 5);
        assert_eq!(Media::parse("#EXTM3U\n#EXT-X-TARGETDURATION:2\nx.m4s\n").unwrap_err().line, 3);
        assert_eq!(seconds("1.5"), Ok(1_500_000));
        assert!(seconds("-1").is_err() && seconds("1.").is_err());
    }
}
