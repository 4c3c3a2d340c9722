//! The content's media playlists.
//!
//! Their text is a pure function of a [`Listing`]. A segment, part, date or break that was written
//! once is written alike in every later playlist that still lists it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::breaks::on_air::{BreaksView, DateRange};
use crate::clock::date;
use crate::grid::{Grid, Kind};
use crate::package::inits;
use crate::store::{Cursor, Segment};

/// Target durations at the end in which parts are listed.
const PART_WINDOW: u64 = 3;

/// Target durations at the end that an edge leaves in a delta.
const SKIP_UNTIL: u64 = 6;

/// `EXT-X-VERSION`, no higher than needed: `EXT-X-MAP` without I-frames alone calls for 6 (RFC
/// 8216bis 8).
const VERSION: u32 = 6;

/// All that a playlist says.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The event's epoch.
    pub epoch: Arc<str>,
    /// The event's time base.
    pub grid: Grid,
    /// Picture or sound.
    pub kind: Kind,
    /// First segment to list.
    pub first: u64,
    /// First part that is not published.
    pub cursor: Cursor,
    /// Segments with media; those absent between `first` and the cursor are gaps.
    pub segments: BTreeMap<u64, Arc<Segment>>,
    /// The other renditions and how far they are, in the order of the multivariant playlist.
    pub reports: Vec<(String, Kind, Cursor)>,
    /// What the ledger says.
    pub breaks: BreaksView,
    /// Where the init segment changes, and to which number. The playlist tells of those whose
    /// segment it has come to.
    pub changes: Vec<(u64, usize)>,
    /// Whether nothing comes after the cursor.
    pub ended: bool,
}

/// Writes the playlist.
#[must_use]
pub fn render(listing: &Listing) -> String {
    let mut out = String::with_capacity(16 << 10);
    // Writing into a String does not fail.
    let _ = write_playlist(&mut out, listing);
    out
}

fn write_playlist(out: &mut String, listing: &Listing) -> std::fmt::Result {
    let Listing { grid, cursor, first, .. } = listing;
    write_header(out, listing)?;
    let window = (grid.start_ms(*first), grid.start_ms(cursor.msn + 2));
    for range in &listing.breaks.dateranges {
        write_daterange(out, range, window)?;
    }
    for msn in *first..cursor.msn + u64::from(cursor.part > 0) {
        write_segment(out, listing, msn)?;
    }
    write_tail(out, listing)
}

/// All that stands before the first segment but for the breaks.
fn write_header(out: &mut String, listing: &Listing) -> std::fmt::Result {
    let (first, epoch, revision) = (listing.first, &listing.epoch, listing.breaks.revision);
    let target = listing.grid.target_duration_s();
    let part = listing.grid.part_target();
    writeln!(out, "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target}")?;
    writeln!(
        out,
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={:.1},HOLD-BACK={:.1},PART-HOLD-BACK={}",
        (SKIP_UNTIL * target) as f64,
        (3 * target) as f64,
        seconds(3 * part.0, part.1),
    )?;
    writeln!(out, "#EXT-X-PART-INF:PART-TARGET={}", seconds(part.0, part.1))?;
    let gone = listing.changes.iter().filter(|(msn, _)| *msn < first).count();
    writeln!(
        out,
        "#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{gone}\n#EXT-X-INDEPENDENT-SEGMENTS"
    )?;
    writeln!(out, "#EXT-X-SIGHTSCREEN-LEDGER:{epoch}.{revision}")?;
    write_changes(out, listing)?;
    let number = gone.checked_sub(1).and_then(|last| listing.changes.get(last));
    write_map(out, listing, number.map_or(0, |(_, number)| *number))
}

/// Every segment of the event so far from which on another init segment holds: what has left the
/// window counts for some viewers and was hidden by a break for others.
fn write_changes(out: &mut String, listing: &Listing) -> std::fmt::Result {
    let end = listing.cursor.msn + u64::from(!listing.ended);
    let mut before = "#EXT-X-SIGHTSCREEN-MAPS:";
    for (msn, _) in listing.changes.iter().filter(|(msn, _)| *msn < end) {
        write!(out, "{before}{msn}")?;
        before = ",";
    }
    out.push_str(if before == "," { "\n" } else { "" });
    Ok(())
}

fn write_map(out: &mut String, listing: &Listing, number: usize) -> std::fmt::Result {
    writeln!(out, "#EXT-X-MAP:URI=\"{}-{}\"", listing.epoch, inits::name(number))
}

/// The number of the init segment that begins with this segment, if one does.
fn change_at(listing: &Listing, msn: u64) -> Option<usize> {
    listing.changes.iter().find(|(at, _)| *at == msn).map(|(_, number)| *number)
}

/// The hint, the reports and the end.
fn write_tail(out: &mut String, listing: &Listing) -> std::fmt::Result {
    let Cursor { msn, part } = listing.cursor;
    if !listing.ended {
        if let Some(number) = change_at(listing, msn).filter(|_| part == 0) {
            let (epoch, init) = (&listing.epoch, inits::name(number));
            writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{epoch}-{init}\"")?;
        }
        writeln!(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{}-{msn}.{part}.m4s\"", listing.epoch)?;
    }
    for (id, kind, cursor) in &listing.reports {
        if let Some((msn, part)) = last_part(&listing.grid, *kind, *cursor) {
            writeln!(
                out,
                "#EXT-X-RENDITION-REPORT:URI=\"../{id}/index.m3u8\",LAST-MSN={msn},LAST-PART={part}"
            )?;
        }
    }
    if listing.ended {
        writeln!(out, "#EXT-X-ENDLIST")?;
    }
    Ok(())
}

fn write_segment(out: &mut String, listing: &Listing, msn: u64) -> std::fmt::Result {
    let Listing { epoch, grid, kind, cursor, .. } = listing;
    let segment = listing.segments.get(&msn);
    let whole = msn < cursor.msn;
    if let Some(number) = change_at(listing, msn) {
        writeln!(out, "#EXT-X-DISCONTINUITY")?;
        write_map(out, listing, number)?;
    }
    writeln!(
        out,
        "#EXT-X-PROGRAM-DATE-TIME:{}",
        date(grid.sample_ms(*kind, grid.first_sample(*kind, msn)))
    )?;
    let oldest = cursor
        .msn
        .saturating_sub(grid.segments_in_ms(PART_WINDOW * grid.target_duration_s() * 1000));
    if msn >= oldest {
        let parts = segment.map(|segment| segment.parts.as_slice()).unwrap_or_default();
        for (index, part) in parts.iter().enumerate() {
            let samples = grid.part(*kind, msn, index as u64).1;
            write!(
                out,
                "#EXT-X-PART:DURATION={},URI=\"{epoch}-{msn}.{index}.m4s\"",
                length(grid, *kind, samples)
            )?;
            out.push_str(match (part.gap, part.independent) {
                (true, _) => ",GAP=YES\n",
                (false, true) => ",INDEPENDENT=YES\n",
                (false, false) => "\n",
            });
        }
    }
    if whole {
        // Not before the parts: those may be listed already, and lines are appended alone. What
        // must stand before them is named in RFC 8216bis 4.4.4.9, and this is not.
        if segment.is_none_or(|segment| segment.gap()) {
            writeln!(out, "#EXT-X-GAP")?;
        }
        let length = length(grid, *kind, grid.samples(*kind, msn));
        writeln!(out, "#EXTINF:{length},\n{epoch}-{msn}.m4s")?;
    }
    Ok(())
}

fn write_daterange(out: &mut String, range: &DateRange, window: (u64, u64)) -> std::fmt::Result {
    if range.start_ms.saturating_add(range.length_ms) <= window.0 || range.told_ms > window.1 {
        return Ok(());
    }
    write!(out, "#EXT-X-DATERANGE:ID=\"{}\"", range.id)?;
    write!(out, ",START-DATE=\"{}\"", date(range.start_ms))?;
    if let Some(ms) = range.planned_duration_ms {
        write!(out, ",PLANNED-DURATION={}", seconds(ms, 1000))?;
    }
    if let Some(ms) = range.duration_ms {
        write!(out, ",DURATION={}", seconds(ms, 1000))?;
    }
    for (name, command) in [("SCTE35-OUT", &range.scte35_out), ("SCTE35-IN", &range.scte35_in)] {
        if let Some(command) = command {
            write!(out, ",{name}=0x")?;
            for byte in command {
                write!(out, "{byte:02X}")?;
            }
        }
    }
    out.push('\n');
    Ok(())
}

/// The last published part before a cursor; `None` at the start of the timeline.
fn last_part(grid: &Grid, kind: Kind, cursor: Cursor) -> Option<(u64, u64)> {
    if cursor.part > 0 {
        return Some((cursor.msn, cursor.part - 1));
    }
    let msn = cursor.msn.checked_sub(1)?;
    Some((msn, grid.parts(kind, msn) - 1))
}

fn length(grid: &Grid, kind: Kind, samples: u64) -> String {
    let units = samples * u64::from(grid.sample_duration(kind));
    seconds(units, u64::from(grid.timescale(kind)))
}

/// A fraction of seconds with five decimals, rounded to nearest.
fn seconds(num: u64, den: u64) -> String {
    let units = (u128::from(num) * 200_000 + u128::from(den)) / (2 * u128::from(den));
    format!("{}.{:05}", units / 100_000, units % 100_000)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::store::StoredPart;

    fn segment(parts: u64, gap: Option<u64>) -> Arc<Segment> {
        let part = |index: u64| StoredPart {
            independent: index == 0,
            gap: gap == Some(index),
            ..StoredPart::default()
        };
        Arc::new(Segment { parts: (0..parts).map(part).collect(), ..Segment::default() })
    }

    /// Ten seconds in, parts of half a second, segment 1 lost as a whole, segment 3 in part.
    fn listing() -> Listing {
        let grid = Grid::new(1_700_000_000_000, (30_000, 1001), 1000, 500).unwrap();
        let range = DateRange {
            id: "b1".to_owned(),
            start_ms: grid.start_ms(4),
            told_ms: grid.start_ms(4),
            length_ms: 4004,
            planned_duration_ms: Some(4004),
            duration_ms: None,
            scte35_out: Some(vec![0xfc, 0x30]),
            scte35_in: None,
        };
        let past = DateRange { id: "b0".to_owned(), start_ms: 1_699_999_000_000, ..range.clone() };
        Listing {
            epoch: "1a2b".into(),
            grid,
            kind: Kind::Video,
            first: 0,
            cursor: Cursor { msn: 5, part: 1 },
            segments: [
                (0, segment(2, None)),
                (2, segment(2, None)),
                (3, segment(2, Some(1))),
                (4, segment(2, None)),
                (5, segment(1, None)),
            ]
            .into(),
            reports: vec![
                ("v160".to_owned(), Kind::Video, Cursor { msn: 5, part: 0 }),
                ("a-en".to_owned(), Kind::Audio, Cursor { msn: 5, part: 2 }),
            ],
            breaks: BreaksView { revision: 7, version: 7, dateranges: vec![past, range] },
            changes: Vec::new(),
            ended: false,
        }
    }

    #[test]
    fn an_ended_playlist_says_so_and_hints_at_nothing() {
        let text =
            render(&Listing { ended: true, cursor: Cursor { msn: 5, part: 0 }, ..listing() });
        assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
        assert!(!text.contains("PRELOAD-HINT"), "{text}");
    }

    #[test]
    fn the_playlist_is_written_by_the_rules() {
        assert_eq!(render(&listing()), include_str!("playlist.golden.m3u8"));
    }

    #[test]
    fn a_part_that_is_missing_rewrites_nothing_before_it() {
        let open = |parts: u64| Listing {
            segments: [(3, segment(parts, Some(1)))].into(),
            first: 3,
            cursor: Cursor { msn: 3, part: parts },
            ..listing()
        };
        let told = |listing: &Listing| {
            let text = render(listing);
            let (_, of_segments) = text.split_once("#EXT-X-PROGRAM").unwrap();
            of_segments.split_once("#EXT-X-PRELOAD").unwrap().0.to_owned()
        };
        let (one, two) = (told(&open(1)), told(&open(2)));
        let whole = told(&Listing { cursor: Cursor { msn: 4, part: 0 }, ..open(2) });
        assert!(two.starts_with(&one) && whole.starts_with(&two), "{one}\n{two}\n{whole}");
        assert!(whole.contains("GAP=YES\n#EXT-X-GAP\n#EXTINF"), "{whole}");
    }

    /// The lines that tell of changes, and the segments.
    fn changed(first: u64, cursor: (u64, u64), changes: &[(u64, usize)]) -> String {
        let (cursor, changes) = (Cursor { msn: cursor.0, part: cursor.1 }, changes.to_vec());
        let text = render(&Listing { first, cursor, changes, ..listing() });
        let told = ["-SEQUENCE:", "-MAPS:", "-MAP:", "DISCONTINUITY", "=MAP", ".m4s"];
        let lines = text.lines().filter(|line| told.iter().any(|told| line.contains(told)));
        let plain = lines.filter(|line| !line.contains("-PART") && !line.contains("=PART"));
        plain.map(|line| line.trim_start_matches("#EXT-X-")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_change_is_told_with_its_segment_and_counted_when_that_has_left() {
        let changes = [(3, 1), (5, 2)];
        let shown = |first, cursor| changed(first, cursor, &changes);
        assert_eq!(
            shown(2, (4, 1)),
            "MEDIA-SEQUENCE:2 DISCONTINUITY-SEQUENCE:0 SIGHTSCREEN-MAPS:3 \
             MAP:URI=\"1a2b-init.mp4\" 1a2b-2.m4s DISCONTINUITY MAP:URI=\"1a2b-init-1.mp4\" \
             1a2b-3.m4s"
        );
        assert_eq!(
            shown(3, (5, 0)),
            "MEDIA-SEQUENCE:3 DISCONTINUITY-SEQUENCE:0 SIGHTSCREEN-MAPS:3,5 \
             MAP:URI=\"1a2b-init.mp4\" DISCONTINUITY MAP:URI=\"1a2b-init-1.mp4\" 1a2b-3.m4s \
             1a2b-4.m4s PRELOAD-HINT:TYPE=MAP,URI=\"1a2b-init-2.mp4\""
        );
        assert_eq!(
            shown(4, (5, 1)),
            "MEDIA-SEQUENCE:4 DISCONTINUITY-SEQUENCE:1 SIGHTSCREEN-MAPS:3,5 \
             MAP:URI=\"1a2b-init-1.mp4\" 1a2b-4.m4s DISCONTINUITY \
             MAP:URI=\"1a2b-init-2.mp4\""
        );
        assert_eq!(
            shown(6, (7, 0)),
            "MEDIA-SEQUENCE:6 DISCONTINUITY-SEQUENCE:2 SIGHTSCREEN-MAPS:3,5 \
             MAP:URI=\"1a2b-init-2.mp4\" 1a2b-6.m4s"
        );
        let over = Listing {
            ended: true,
            cursor: Cursor { msn: 5, part: 0 },
            changes: changes.to_vec(),
            ..listing()
        };
        assert!(render(&over).contains("-MAPS:3\n") && !render(&over).contains("init-2"));
    }

    #[test]
    fn what_the_origin_writes_of_changes_is_what_the_core_reads() {
        use sightscreen_core::playlist::{Latency, Stitch, stitch};
        let how = Stitch { rendition: "v", phases: 1, pods: None, latency: Latency::Low };
        for (first, part) in (0..5).flat_map(|first| [(first, 0), (first, 1)]) {
            let (cursor, changes) = (Cursor { msn: 5, part }, vec![(1, 1), (3, 0), (5, 2)]);
            let text = render(&Listing { first, cursor, changes, ..listing() });
            let mut out = Vec::new();
            assert_eq!(stitch(text.as_bytes(), how, &mut out), Ok(()), "{text}");
            let out = String::from_utf8(out).unwrap();
            for tag in ["-SEQUENCE:", "#EXT-X-DISCONTINUITY\n", "TYPE=MAP"] {
                let count = |text: &str| text.matches(tag).count();
                assert_eq!(count(&out), count(&text), "{tag} {text} {out}");
            }
        }
    }

    #[test]
    fn no_duration_exceeds_its_target() {
        let grid = Grid::new(0, (60_000, 1001), 2000, 200).unwrap();
        let (num, den) = grid.part_target();
        assert_eq!(seconds(num, den), "0.20020");
        assert_eq!(length(&grid, Kind::Video, 12), "0.20020");
        assert_eq!(length(&grid, Kind::Audio, 9), "0.19200");
    }
}
