//! Stitching: the creatives of the cohort's pods in place of the content of a break.
//!
//! Creatives stand on the content's segment and part grid, so durations, dates, part counts and
//! rendition reports hold for both and only URIs change, with a discontinuity and an init wherever
//! the source of the segments does.

use super::lines::{Line, Lines, attribute, number};
use super::timeline::{MAPS_TAG, Timeline};
use crate::document::{Playing, Pods};
use crate::route::is_epoch;

/// The origin's tag that names the ledger revision a playlist was written under.
const LEDGER_TAG: &str = "#EXT-X-SIGHTSCREEN-LEDGER:";
/// Room for the tags of a break that the content does not have.
const ROOM_BYTES: usize = 1024;

/// What to make of a playlist.
#[derive(Debug, Clone, Copy)]
pub struct Stitch<'a> {
    /// The rendition's identifier.
    pub rendition: &'a str,
    /// The rendition's phases; see the event document.
    pub phases: u32,
    /// The cohort's pods; `None`: a playlist that names no ledger.
    pub pods: Option<&'a Pods>,
    /// Which tags the session gets.
    pub latency: Latency,
}

/// Which tags a session gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latency {
    /// All.
    Low,
    /// No parts, hints, reports or blocking: whole segments only.
    Standard,
}

/// What is wrong with the origin's playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistError {
    /// It does not begin with `#EXTM3U`.
    NotAPlaylist,
    /// A segment comes before a whole `EXT-X-MEDIA-SEQUENCE`, or sequence numbers end.
    MediaSequence,
    /// No `EXT-X-MAP` before the first segment, or before one with which the content's init
    /// changes.
    Map,
    /// The content has a discontinuity or a hinted init where it names no change, or names its
    /// changes out of order.
    Change,
    /// A URI is not of the form `[{epoch}-]{sequence}[.{part}].m4s` with the sequence number of its
    /// place.
    Uri,
}

/// The name of the ledger revision that the playlist was written under; `None` when it names none.
///
/// # Errors
/// [`PlaylistError::NotAPlaylist`].
pub fn ledger_revision(playlist: &[u8]) -> Result<Option<&str>, PlaylistError> {
    if !playlist.starts_with(b"#EXTM3U") {
        return Err(PlaylistError::NotAPlaylist);
    }
    let header = Lines::new(playlist).take_while(|line| !line.is_uri());
    Ok(header.filter_map(|line| line.after(LEDGER_TAG)).find_map(revision_name))
}

/// `{epoch}.{revision}`, or the revision alone: a name whose parts mean nothing here.
fn revision_name(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    match text.split_once('.') {
        Some((epoch, revision)) => {
            (is_epoch(epoch) && number(revision.as_bytes()).is_some()).then_some(text)
        }
        None => is_epoch(text).then_some(text),
    }
}

/// The name of one of the content's objects without the epoch before it, if there is one.
fn without_epoch(name: &[u8]) -> &[u8] {
    let Some(dash) = memchr::memchr(b'-', name) else {
        return name;
    };
    let epoch = std::str::from_utf8(&name[..dash]).is_ok_and(is_epoch);
    if epoch { &name[dash + 1..] } else { name }
}

/// Appends the stitched playlist to `out`.
///
/// # Errors
/// [`PlaylistError`]; `out` is then of no use.
pub fn stitch(playlist: &[u8], how: Stitch<'_>, out: &mut Vec<u8>) -> Result<(), PlaylistError> {
    if !playlist.starts_with(b"#EXTM3U") {
        return Err(PlaylistError::NotAPlaylist);
    }
    out.reserve(playlist.len() + ROOM_BYTES);
    let mut writer = Writer {
        playlist,
        how,
        out,
        copied: 0,
        sequence: None,
        timeline: Timeline::new(how.pods),
        map: None,
        is_mapped: false,
        segment: None,
        first: true,
    };
    for line in Lines::new(playlist) {
        writer.line(line)?;
    }
    writer.finish();
    Ok(())
}

struct Writer<'a, 'o> {
    playlist: &'a [u8],
    how: Stitch<'a>,
    out: &'o mut Vec<u8>,
    /// Offset up to which the playlist has been copied or replaced.
    copied: usize,
    /// Media sequence number of the segment that the next segment tag belongs to.
    sequence: Option<u64>,
    timeline: Timeline<'a>,
    /// The URI of the content's init that holds here, with its quotes.
    map: Option<&'a [u8]>,
    /// Whether the content has said so since the last segment.
    is_mapped: bool,
    /// The segment whose tags are being read.
    segment: Option<Segment<'a>>,
    /// No segment has been opened yet.
    first: bool,
}

#[derive(Clone, Copy)]
struct Segment<'a> {
    playing: Option<Playing<'a>>,
    /// Where its tags begin and end in the output, for a session that may not see a segment that is
    /// not whole.
    from: usize,
    to: usize,
}

impl<'a> Writer<'a, '_> {
    fn line(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        if line.is_uri() {
            return self.uri(line);
        }
        if line.after("#EXT-X-PART:").is_some() {
            return self.part(line);
        }
        if line.after("#EXT-X-PROGRAM-DATE-TIME:").is_some() || line.after("#EXTINF:").is_some() {
            return self.kept_tag(line);
        }
        if line.after("#EXT-X-GAP").is_some() {
            return self.gap(line);
        }
        if line.after("#EXT-X-PRELOAD-HINT:").is_some() {
            return self.hint(line);
        }
        if let Some(sequence) = line.after("#EXT-X-MEDIA-SEQUENCE:") {
            self.sequence = Some(number(sequence).ok_or(PlaylistError::MediaSequence)?);
            return Ok(());
        }
        self.header(line)
    }

    /// Tags of the playlist as a whole, and those that the core writes itself, where a segment
    /// begins: the discontinuity sequence, discontinuities and inits.
    fn header(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        if line.after("#EXT-X-DISCONTINUITY-SEQUENCE:").is_some() {
            self.drop(line);
        } else if let Some(list) = line.after("#EXT-X-MAP:") {
            self.content_map(list)?;
            self.drop(line);
        } else if line.text == b"#EXT-X-DISCONTINUITY" {
            self.must_change()?;
            self.drop(line);
        } else if let Some(changes) = line.after(MAPS_TAG) {
            self.timeline.read_changes(changes)?;
        } else if self.how.latency == Latency::Standard {
            self.standard_header(line);
        }
        Ok(())
    }

    /// The content's init from here on. Another one than before comes with a change alone.
    fn content_map(&mut self, list: &'a [u8]) -> Result<(), PlaylistError> {
        let map = attribute(list, "URI=").ok_or(PlaylistError::Map)?;
        if self.map.is_some_and(|before| before != map) {
            self.must_change()?;
        }
        self.map = Some(map);
        self.is_mapped = true;
        Ok(())
    }

    fn must_change(&self) -> Result<(), PlaylistError> {
        let sequence = self.sequence.ok_or(PlaylistError::MediaSequence)?;
        let is_between = self.segment.is_none() && self.timeline.is_change(sequence);
        is_between.then_some(()).ok_or(PlaylistError::Change)
    }

    fn standard_header(&mut self, line: Line<'a>) {
        if line.after("#EXT-X-PART-INF:").is_some()
            || line.after("#EXT-X-RENDITION-REPORT:").is_some()
        {
            self.drop(line);
        } else if let Some(control) = line.after("#EXT-X-SERVER-CONTROL:") {
            self.copy_to(line.start);
            self.out.extend_from_slice(b"#EXT-X-SERVER-CONTROL:");
            let mut comma = "";
            for name in ["CAN-SKIP-UNTIL=", "HOLD-BACK="] {
                if let Some(value) = attribute(control, name) {
                    for piece in [comma.as_bytes(), name.as_bytes(), value] {
                        self.out.extend_from_slice(piece);
                    }
                    comma = ",";
                }
            }
            self.out.push(b'\n');
            self.copied = line.end;
        }
    }

    /// A tag that belongs to a segment and holds for content and creative alike.
    fn kept_tag(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        self.open(line)?;
        self.tag_ends(line.end);
        Ok(())
    }

    /// The creative is there whatever became of the content under it.
    fn gap(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        if self.open(line)?.playing.is_some() {
            self.drop(line);
        }
        self.tag_ends(line.end);
        Ok(())
    }

    fn part(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        let segment = self.open(line)?;
        if self.how.latency == Latency::Standard {
            self.drop(line);
        } else if let Some(playing) = segment.playing {
            self.copy_to(line.start);
            self.replace_uri(line, self.sequence, playing)?;
        }
        self.tag_ends(line.end);
        Ok(())
    }

    /// The hint is for a part of the open segment, or for the first one of the next.
    fn hint(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        if self.how.latency == Latency::Standard {
            self.drop(line);
            return Ok(());
        }
        let sequence = self.sequence.ok_or(PlaylistError::MediaSequence)?;
        let list = line.after("#EXT-X-PRELOAD-HINT:").unwrap_or_default();
        if attribute(list, "TYPE=") == Some(b"MAP") {
            self.must_change()?;
            self.content_map(list)?;
            self.drop(line);
            return Ok(());
        }
        let playing = self.timeline.playing(sequence);
        let other_init = self.segment.is_none() && self.timeline.is_discontinuous(sequence);
        if other_init && self.timeline.is_change(sequence) && !self.is_mapped {
            return Err(PlaylistError::Map);
        }
        if playing.is_none() && !other_init {
            return Ok(());
        }
        self.copy_to(line.start);
        if other_init {
            // RFC 8216bis 4.4.5.3: the init of the hinted part is hinted as well where it differs.
            self.out.extend_from_slice(b"#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=");
            self.init_uri(playing)?;
            self.out.push(b'\n');
        }
        match playing {
            Some(playing) => self.replace_uri(line, Some(sequence), playing),
            None => Ok(()),
        }
    }

    fn uri(&mut self, line: Line<'a>) -> Result<(), PlaylistError> {
        let segment = self.open(line)?;
        let sequence = self.sequence.ok_or(PlaylistError::MediaSequence)?;
        if let Some(playing) = segment.playing {
            self.copy_to(line.start);
            self.creative_uri(line.text, Some(sequence), playing)?;
            self.out.push(b'\n');
            self.copied = line.end;
        }
        self.segment = None;
        self.sequence = Some(sequence.checked_add(1).ok_or(PlaylistError::MediaSequence)?);
        Ok(())
    }

    /// Begins a segment at its first tag: what must stand before it is written here.
    fn open(&mut self, line: Line<'a>) -> Result<Segment<'a>, PlaylistError> {
        if let Some(segment) = self.segment {
            return Ok(segment);
        }
        let sequence = self.sequence.ok_or(PlaylistError::MediaSequence)?;
        self.copy_to(line.start);
        let playing = self.timeline.playing(sequence);
        let discontinuous = self.timeline.is_discontinuous(sequence);
        if !std::mem::take(&mut self.is_mapped) && self.timeline.is_change(sequence) {
            return Err(PlaylistError::Map);
        }
        if self.first {
            self.discontinuity_sequence(sequence);
        }
        let from = self.out.len();
        if discontinuous {
            self.out.extend_from_slice(b"#EXT-X-DISCONTINUITY\n");
        }
        if discontinuous || self.first {
            self.out.extend_from_slice(b"#EXT-X-MAP:URI=");
            self.init_uri(playing)?;
            self.out.push(b'\n');
        }
        self.first = false;
        let segment = Segment { playing, from, to: from };
        self.segment = Some(segment);
        Ok(segment)
    }

    fn discontinuity_sequence(&mut self, sequence: u64) {
        let count = self.timeline.discontinuity_sequence(sequence);
        self.out.extend_from_slice(b"#EXT-X-DISCONTINUITY-SEQUENCE:");
        push_number(self.out, count);
        self.out.push(b'\n');
    }

    /// The quoted URI of the init of what plays.
    fn init_uri(&mut self, playing: Option<Playing<'_>>) -> Result<(), PlaylistError> {
        match playing {
            Some(playing) => {
                self.out.push(b'"');
                self.creative_folder(playing);
                self.out.extend_from_slice(b"init.mp4\"");
            }
            None => {
                self.out.extend_from_slice(self.map.ok_or(PlaylistError::Map)?);
            }
        }
        Ok(())
    }

    /// Writes a tag line anew with the creative's URI in place of the content's, and without
    /// `GAP=YES`.
    fn replace_uri(
        &mut self,
        line: Line<'a>,
        sequence: Option<u64>,
        playing: Playing<'_>,
    ) -> Result<(), PlaylistError> {
        let list_at = line.text.iter().position(|&b| b == b':').map_or(0, |colon| colon + 1);
        let uri = attribute(&line.text[list_at..], "URI=").ok_or(PlaylistError::Uri)?;
        let uri_at = uri.as_ptr() as usize - line.text.as_ptr() as usize;
        let plain = uri
            .strip_prefix(b"\"")
            .and_then(|uri| uri.strip_suffix(b"\""))
            .ok_or(PlaylistError::Uri)?;
        self.without_gap(&line.text[..uri_at]);
        self.out.push(b'"');
        self.creative_uri(plain, sequence, playing)?;
        self.out.push(b'"');
        self.without_gap(&line.text[uri_at + uri.len()..]);
        self.out.push(b'\n');
        self.copied = line.end;
        Ok(())
    }

    fn without_gap(&mut self, text: &[u8]) {
        const GAP: &[u8] = b",GAP=YES";
        match memchr::memmem::find(text, GAP) {
            Some(at) => {
                self.out.extend_from_slice(&text[..at]);
                self.out.extend_from_slice(&text[at + GAP.len()..]);
            }
            None => self.out.extend_from_slice(text),
        }
    }

    /// `../ads/{creative}/{rendition}/{phase}/{index}[.{part}].m4s` in the place of
    /// `[{epoch}-]{sequence}[.{part}].m4s`.
    fn creative_uri(
        &mut self,
        uri: &[u8],
        sequence: Option<u64>,
        playing: Playing<'_>,
    ) -> Result<(), PlaylistError> {
        let name = without_epoch(uri);
        let dot = memchr::memchr(b'.', name).ok_or(PlaylistError::Uri)?;
        if number(&name[..dot]) != sequence {
            return Err(PlaylistError::Uri);
        }
        self.creative_folder(playing);
        push_number(self.out, playing.index);
        self.out.extend_from_slice(&name[dot..]);
        Ok(())
    }

    fn creative_folder(&mut self, playing: Playing<'_>) {
        for piece in ["../ads/", playing.creative, "/", self.how.rendition, "/"] {
            self.out.extend_from_slice(piece.as_bytes());
        }
        push_number(self.out, playing.start % u64::from(self.how.phases.max(1)));
        self.out.push(b'/');
    }

    fn tag_ends(&mut self, end: usize) {
        if self.how.latency == Latency::Standard {
            self.copy_to(end);
            let to = self.out.len();
            if let Some(segment) = &mut self.segment {
                segment.to = to;
            }
        }
    }

    fn drop(&mut self, line: Line<'_>) {
        self.copy_to(line.start);
        self.copied = line.end;
    }

    fn copy_to(&mut self, end: usize) {
        if self.copied < end {
            self.out.extend_from_slice(&self.playlist[self.copied..end]);
            self.copied = end;
        }
    }

    fn finish(&mut self) {
        self.copy_to(self.playlist.len());
        if let (Latency::Standard, Some(segment)) = (self.how.latency, self.segment) {
            self.out.drain(segment.from..segment.to);
        }
    }
}

/// Appends `n` in decimal, without allocating.
fn push_number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).unwrap_or_default();
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
