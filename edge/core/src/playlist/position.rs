//! How far a playlist has come, and what that makes of a blocking request (RFC 8216bis 6.2.5.2).

use super::lines::{Lines, attribute, microseconds, number};

/// Whole segments behind the newest from which on a request is old. The plain playlist that a door
/// keeps is at most half a target duration old, and the last good one that stands in for it three.
/// A segment is at least half a target duration long, so both list what is eight segments back.
const OLD_SEGMENTS: u64 = 8;
/// Microseconds of parts that a player may ask ahead, where a part is shorter than a second.
const ADVANCE_US: u64 = 3_000_000;
/// Parts that it may ask ahead otherwise.
const ADVANCE_PARTS: u64 = 3;

/// Where a playlist ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Sequence number of the segment that is being made: one past the last that is whole.
    open: u64,
    /// Parts of it that are listed.
    parts: u64,
    /// Parts of the newest whole segment that lists any; 0 where none does.
    parts_each: u64,
    /// Parts past the last listed one that a player may ask for: the Advance Part Limit.
    advance: u64,
    ended: bool,
}

/// A blocking request as a playlist sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Listed for so long that every plain playlist in use has it; or the playlist has ended, and
    /// directives are ignored.
    Old,
    /// Listed.
    Listed,
    /// To be waited for.
    Ahead,
    /// To be refused.
    TooFar,
}

impl Position {
    /// The end of `playlist`; `None` where it has no sequence numbers.
    #[must_use]
    pub fn of(playlist: &[u8]) -> Option<Self> {
        let mut position =
            Self { open: 0, parts: 0, parts_each: 0, advance: ADVANCE_PARTS, ended: false };
        let mut numbered = false;
        for line in Lines::new(playlist) {
            if line.is_uri() {
                position.open += 1;
                if position.parts > 0 {
                    position.parts_each = position.parts;
                }
                position.parts = 0;
            } else if line.after("#EXT-X-PART:").is_some() {
                position.parts += 1;
            } else if let Some(sequence) = line.after("#EXT-X-MEDIA-SEQUENCE:") {
                position.open = number(sequence)?;
                numbered = true;
            } else if let Some(info) = line.after("#EXT-X-PART-INF:") {
                position.advance = advance(info);
            } else if line.after("#EXT-X-ENDLIST").is_some() {
                position.ended = true;
            }
        }
        numbered.then_some(position)
    }

    /// What to make of a request for that segment, or that part of it.
    #[must_use]
    pub fn judge(&self, msn: u64, part: Option<u64>) -> Asked {
        if self.ended || msn.saturating_add(OLD_SEGMENTS) < self.open {
            return Asked::Old;
        }
        if msn < self.open || (msn == self.open && part.is_some_and(|part| part < self.parts)) {
            return Asked::Listed;
        }
        // The last segment of the playlist is the one before the open one, and two past it is the
        // most.
        let too_far = match part {
            None => msn > self.open + 1,
            Some(part) => self.parts_ahead(msn, part).is_none_or(|ahead| ahead > self.advance),
        };
        if too_far { Asked::TooFar } else { Asked::Ahead }
    }

    /// Parts between the last that is listed and the one that is asked for; `None` where they are
    /// of three segments.
    fn parts_ahead(&self, msn: u64, part: u64) -> Option<u64> {
        // Past a segment's last part stands the next segment's first.
        let past_the_end = self.parts_each > 0 && part >= self.parts_each;
        let (msn, part) = if past_the_end { (msn + 1, 0) } else { (msn, part) };
        match msn.checked_sub(self.open)? {
            0 => Some(part.saturating_sub(self.parts)),
            1 => Some(self.parts_each.saturating_sub(self.parts) + part),
            _ => None,
        }
    }

    /// Whether this is as far as `other`, or further.
    #[must_use]
    pub fn reaches(&self, other: &Self) -> bool {
        self.ended || (self.open, self.parts) >= (other.open, other.parts)
    }
}

fn advance(part_info: &[u8]) -> u64 {
    match attribute(part_info, "PART-TARGET=").and_then(microseconds) {
        Some(part_us @ 1..1_000_000) => ADVANCE_US.div_ceil(part_us),
        _ => ADVANCE_PARTS,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    /// Segments 100 to 119, the last with its ten parts, then three parts of 120.
    fn playlist() -> String {
        let mut text =
            "#EXTM3U\n#EXT-X-PART-INF:PART-TARGET=0.2\n#EXT-X-MEDIA-SEQUENCE:100\n".to_owned();
        let parts = |text: &mut String, msn: u64, count: u64| {
            for part in 0..count {
                text.push_str(&format!("#EXT-X-PART:DURATION=0.2,URI=\"{msn}.{part}.m4s\"\n"));
            }
        };
        for msn in 100..120 {
            if msn == 119 {
                parts(&mut text, msn, 10);
            }
            text.push_str(&format!("#EXTINF:2.0,\n{msn}.m4s\n"));
        }
        parts(&mut text, 120, 3);
        text
    }

    #[test]
    fn requests_are_judged_by_where_the_playlist_ends() {
        let position = Position::of(playlist().as_bytes()).unwrap();
        for (msn, part, expected) in [
            (0, None, Asked::Old),
            (0, Some(1 << 47), Asked::Old),
            (111, None, Asked::Old),
            (112, None, Asked::Listed),
            (119, Some(99), Asked::Listed),
            (120, Some(2), Asked::Listed),
            (120, Some(3), Asked::Ahead),
            (120, None, Asked::Ahead),
            (121, None, Asked::Ahead),
            (122, None, Asked::TooFar),
            // The limit is 15: 7 of segment 120, and 8 of 121.
            (121, Some(8), Asked::Ahead),
            (121, Some(9), Asked::TooFar),
            (120, Some(99), Asked::Ahead),
            (121, Some(99), Asked::TooFar),
            (1 << 47, Some(1 << 47), Asked::TooFar),
            (1 << 47, None, Asked::TooFar),
        ] {
            assert_eq!(position.judge(msn, part), expected, "{msn} {part:?}");
        }
    }

    #[test]
    fn an_ended_playlist_ignores_directives() {
        let position = Position::of((playlist() + "#EXT-X-ENDLIST\n").as_bytes()).unwrap();
        assert_eq!(position.judge(500, None), Asked::Old);
    }

    #[test]
    fn without_parts_the_limit_is_two_segments() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2,\n7.m4s\n";
        let position = Position::of(text.as_bytes()).unwrap();
        assert_eq!(position.judge(7, None), Asked::Listed);
        assert_eq!(position.judge(9, None), Asked::Ahead);
        assert_eq!(position.judge(10, None), Asked::TooFar);
        assert_eq!(position.judge(8, Some(3)), Asked::Ahead);
        assert_eq!(position.judge(8, Some(4)), Asked::TooFar);
        assert_eq!(Position::of(b"#EXTM3U\n"), None);
    }

    #[test]
    fn what_lists_more_reaches_further() {
        let of = |text: &str| Position::of(text.as_bytes()).unwrap();
        let (one, ended) = (playlist(), playlist() + "#EXT-X-ENDLIST\n");
        let further = one.clone() + "120.m4s\n";
        assert!(of(&further).reaches(&of(&one)) && !of(&one).reaches(&of(&further)));
        assert!(of(&ended).reaches(&of(&further)));
    }
}
