//! Content playlists as the origin writes them.
//!
//! Owns a writer of the origin's playlist format, independent of the origin's own, from a short
//! description. Invariant: the same description of the same time gives the same bytes.

use serde::Deserialize;
use std::fmt::Write;

/// Milliseconds of 2026-01-01T00:00:00Z, the epoch of every test event.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A content playlist in few words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContentSpec {
    /// Media sequence number of the first segment.
    pub first: u64,
    /// Whole segments.
    pub segments: u64,
    /// Parts of a segment.
    pub parts: u64,
    /// Parts of the segment that is being made.
    pub open_parts: u64,
    /// Whole segments at the end that still list their parts.
    pub with_parts: u64,
    /// Ledger revision; none: the tag is left out.
    pub ledger: Option<u64>,
    /// The event's epoch, in the revision's name and the objects'; none: they have none.
    pub epoch: Option<String>,
    /// Media sequence numbers without media.
    pub gaps: Vec<u64>,
    /// Media sequence numbers with which the content has another init, in order: from the first on
    /// `init-1.mp4`, and so on.
    pub changes: Vec<u64>,
    /// Durations of segments in milliseconds, by media sequence number modulo their count.
    pub durations_ms: Vec<u64>,
    /// Other renditions to report on.
    pub reports: Vec<String>,
    /// Lines of date ranges, as they are.
    pub dateranges: Vec<String>,
    /// Whether the event is over.
    pub ended: bool,
}

impl Default for ContentSpec {
    fn default() -> Self {
        Self {
            first: 0,
            segments: 6,
            parts: 4,
            open_parts: 0,
            with_parts: 2,
            ledger: Some(1),
            epoch: None,
            gaps: Vec::new(),
            changes: Vec::new(),
            durations_ms: vec![2000],
            reports: Vec::new(),
            dateranges: Vec::new(),
            ended: false,
        }
    }
}

impl ContentSpec {
    /// The playlist's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.header(&mut out);
        let (end, epoch) = (self.first + self.segments, self.epoch_before("-"));
        for msn in self.first..end {
            self.tags(&mut out, msn);
            if msn + self.with_parts >= end {
                self.part_lines(&mut out, msn, self.parts);
            }
            if self.gaps.contains(&msn) {
                out.push_str("#EXT-X-GAP\n");
            }
            let _ = writeln!(out, "#EXTINF:{},\n{epoch}{msn}.m4s", seconds(self.duration_ms(msn)));
        }
        if self.ended {
            out.push_str("#EXT-X-ENDLIST\n");
            return out;
        }
        if self.open_parts > 0 {
            self.tags(&mut out, end);
            self.part_lines(&mut out, end, self.open_parts);
        }
        if self.parts > 0 {
            if self.open_parts == 0 && self.changes.contains(&end) {
                let init = self.init(end);
                let _ = writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{init}\"");
            }
            let _ = writeln!(
                out,
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{epoch}{end}.{}.m4s\"",
                self.open_parts
            );
        }
        self.report_lines(&mut out);
        out
    }

    fn header(&self, out: &mut String) {
        out.push_str("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n");
        if self.parts > 0 {
            let part = self.part_ms();
            let _ = writeln!(
                out,
                "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000,HOLD-BACK=6.000,PART-HOLD-BACK={}",
                seconds(3 * part)
            );
            let _ = writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", seconds(part));
        }
        let gone = self.changes.iter().filter(|msn| **msn < self.first).count();
        let _ = writeln!(
            out,
            "#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{gone}",
            self.first
        );
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
        if let Some(ledger) = self.ledger {
            let epoch = self.epoch_before(".");
            let _ = writeln!(out, "#EXT-X-SIGHTSCREEN-LEDGER:{epoch}{ledger}");
        }
        self.named_changes(out);
        for line in &self.dateranges {
            let _ = writeln!(out, "{line}");
        }
        let _ = writeln!(out, "#EXT-X-MAP:URI=\"{}\"", self.init(self.first));
    }

    /// All of the event, as far as the playlist has come.
    fn named_changes(&self, out: &mut String) {
        let end = self.first + self.segments;
        let named = self.changes.iter().filter(|msn| **msn < end + u64::from(!self.ended));
        let named: Vec<String> = named.map(u64::to_string).collect();
        if !named.is_empty() {
            let _ = writeln!(out, "#EXT-X-SIGHTSCREEN-MAPS:{}", named.join(","));
        }
    }

    /// The init that holds for a segment.
    fn init(&self, msn: u64) -> String {
        let epoch = self.epoch_before("-");
        match self.changes.iter().filter(|change| **change <= msn).count() {
            0 => format!("{epoch}init.mp4"),
            number => format!("{epoch}init-{number}.mp4"),
        }
    }

    /// The epoch and what stands between it and a name, or nothing.
    fn epoch_before(&self, between: &str) -> String {
        self.epoch.as_ref().map(|epoch| format!("{epoch}{between}")).unwrap_or_default()
    }

    fn tags(&self, out: &mut String, msn: u64) {
        if self.changes.contains(&msn) {
            let _ = writeln!(out, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"{}\"", self.init(msn));
        }
        let _ =
            writeln!(out, "#EXT-X-PROGRAM-DATE-TIME:{}", date_time(EPOCH_MS + self.start_ms(msn)));
    }

    fn part_lines(&self, out: &mut String, msn: u64, count: u64) {
        let gap = if self.gaps.contains(&msn) { ",GAP=YES" } else { "" };
        let (whole, epoch) = (self.duration_ms(msn), self.epoch_before("-"));
        for part in 0..count.min(self.parts) {
            // The last part takes what the others leave.
            let each = self.part_ms();
            let duration =
                if part + 1 == self.parts { whole - each * (self.parts - 1) } else { each };
            let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
            let _ = writeln!(
                out,
                "#EXT-X-PART:DURATION={},URI=\"{epoch}{msn}.{part}.m4s\"{independent}{gap}",
                seconds(duration)
            );
        }
    }

    fn report_lines(&self, out: &mut String) {
        let end = self.first + self.segments;
        let (msn, part) = match (self.open_parts, self.parts) {
            (0, 0) => (end.saturating_sub(1), None),
            (0, parts) => (end.saturating_sub(1), Some(parts - 1)),
            (open, _) => (end, Some(open - 1)),
        };
        for id in &self.reports {
            let last_part = part.map(|part| format!(",LAST-PART={part}")).unwrap_or_default();
            let _ = writeln!(
                out,
                "#EXT-X-RENDITION-REPORT:URI=\"../{id}/index.m3u8\",LAST-MSN={msn}{last_part}"
            );
        }
    }

    fn part_ms(&self) -> u64 {
        let longest = self.durations_ms.iter().copied().max().unwrap_or(2000);
        longest.div_ceil(self.parts.max(1))
    }

    fn duration_ms(&self, msn: u64) -> u64 {
        let count = self.durations_ms.len().max(1) as u64;
        self.durations_ms.get(usize::try_from(msn % count).unwrap_or(0)).copied().unwrap_or(2000)
    }

    fn start_ms(&self, msn: u64) -> u64 {
        let count = self.durations_ms.len().max(1) as u64;
        let cycle: u64 = self.durations_ms.iter().sum();
        let within: u64 = (0..msn % count).map(|n| self.duration_ms(n)).sum();
        msn / count * cycle + within
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// `2026-01-01T00:00:00.000Z` for Unix milliseconds.
pub(crate) fn date_time(ms: u64) -> String {
    let (days, within) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (within / 3_600_000, within / 60_000 % 60, within / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", within % 1000)
}

/// Year, month and day of a count of days since 1970-01-01, by the proleptic Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(date_time(EPOCH_MS), "2026-01-01T00:00:00.000Z");
        assert_eq!(date_time(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
    }

    #[test]
    fn audio_phases_add_up() {
        let spec = ContentSpec {
            durations_ms: vec![2005, 1984, 2005, 2006],
            parts: 11,
            ..ContentSpec::default()
        };
        assert_eq!(spec.start_ms(5) - spec.start_ms(1), 8000);
    }
}
