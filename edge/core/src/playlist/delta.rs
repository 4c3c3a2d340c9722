//! Delta updates (RFC 8216bis 6.2.5.1), made from the playlist that the player sees.

use super::lines::{Line, Lines, attribute, microseconds};

/// The delta update of a whole playlist: the segments past the skip boundary replaced by one
/// `EXT-X-SKIP`. The playlist itself where there is nothing to skip: no `CAN-SKIP-UNTIL`, an ended
/// playlist, or one that is all within the boundary.
#[must_use]
pub fn delta(playlist: &[u8]) -> Vec<u8> {
    let Some(plan) = plan(playlist) else {
        return playlist.to_vec();
    };
    let mut out = Vec::with_capacity(playlist.len() - (plan.kept_from - plan.first_tag) + 64);
    copy_header(&playlist[..plan.first_tag], &mut out);
    out.extend_from_slice(format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={}\n", plan.skipped).as_bytes());
    // Date ranges are skipped only for players that ask for that, which is not offered.
    let skipped = Lines::new(&playlist[plan.first_tag..plan.kept_from]);
    for line in skipped.filter(|line| line.after("#EXT-X-DATERANGE:").is_some()) {
        out.extend_from_slice(line.text);
        out.push(b'\n');
    }
    out.extend_from_slice(&playlist[plan.kept_from..]);
    out
}

struct Plan {
    /// Offset of the first tag of the first segment.
    first_tag: usize,
    /// Offset of the first tag of the first segment that is kept.
    kept_from: usize,
    /// Segments that are left out.
    skipped: usize,
}

/// A segment by where its last line ends and how long it is, in microseconds.
struct Segment {
    end: usize,
    duration: u64,
}

fn plan(playlist: &[u8]) -> Option<Plan> {
    let (mut boundary, mut first_tag) = (None, None);
    let (mut segments, mut duration, mut trailing) = (Vec::new(), 0, 0);
    for line in Lines::new(playlist) {
        if line.after("#EXT-X-ENDLIST").is_some() {
            return None;
        }
        if let Some(control) = line.after("#EXT-X-SERVER-CONTROL:") {
            boundary = attribute(control, "CAN-SKIP-UNTIL=").and_then(microseconds);
        } else if let Some(info) = line.after("#EXTINF:") {
            duration = microseconds(info)?;
        } else if let Some(part) = line.after("#EXT-X-PART:") {
            trailing += attribute(part, "DURATION=").and_then(microseconds)?;
        } else if line.is_uri() {
            segments.push(Segment { end: line.end, duration });
            trailing = 0;
        }
        if first_tag.is_none() && begins_segment(line) {
            first_tag = Some(line.start);
        }
    }
    let (boundary, first_tag) = (boundary?, first_tag?);
    let skipped = skippable(&segments, trailing, boundary);
    let kept_from = segments.get(skipped.checked_sub(1)?)?.end;
    Some(Plan { first_tag, kept_from, skipped })
}

/// How many segments from the head are further from the end of the playlist than the boundary.
fn skippable(segments: &[Segment], trailing: u64, boundary: u64) -> usize {
    let mut from_end = trailing;
    for (index, segment) in segments.iter().enumerate().rev() {
        if from_end >= boundary {
            return index + 1;
        }
        from_end += segment.duration;
    }
    0
}

fn begins_segment(line: Line<'_>) -> bool {
    const TAGS: [&str; 7] = [
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-MAP:",
        "#EXT-X-GAP",
        "#EXT-X-PROGRAM-DATE-TIME:",
        "#EXT-X-PART:",
        "#EXTINF:",
        "#EXT-X-BYTERANGE:",
    ];
    let sequence = line.after("#EXT-X-DISCONTINUITY-SEQUENCE:").is_some();
    line.is_uri() || (!sequence && TAGS.iter().any(|tag| line.after(tag).is_some()))
}

/// The header with `EXT-X-VERSION` raised to 9, which `EXT-X-SKIP` calls for (RFC 8216bis 8).
fn copy_header(header: &[u8], out: &mut Vec<u8>) {
    for line in Lines::new(header) {
        match line.after("#EXT-X-VERSION:") {
            Some(version) if version.len() == 1 && version < b"9".as_slice() => {
                out.extend_from_slice(b"#EXT-X-VERSION:9");
            }
            _ => out.extend_from_slice(line.text),
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playlist(segments: u32) -> String {
        let mut text = String::from(
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0\n\
             #EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-MAP:URI=\"init.mp4\"\n",
        );
        for n in 0..segments {
            text.push_str(&format!("#EXTINF:2.000,\n{}.m4s\n", 100 + n));
        }
        text.push_str("#EXT-X-PART:DURATION=1.0,URI=\"x.0.m4s\"\n");
        text
    }

    #[test]
    fn segments_past_the_boundary_are_skipped() {
        let out = String::from_utf8(delta(playlist(10).as_bytes())).unwrap_or_default();
        // 1 s of parts and 6 segments are 13 s; the boundary of 12 s lies in the sixth from the
        // end, so four are past it.
        assert!(out.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-SKIP:SKIPPED-SEGMENTS=4\n#EXTINF:2.000,\n104.m4s\n"), "{out}");
        assert!(out.contains("#EXT-X-VERSION:9\n") && !out.contains("EXT-X-MAP"));
    }

    #[test]
    fn nothing_to_skip_is_the_playlist_itself() {
        for text in [
            playlist(6),
            playlist(10).replace(",CAN-SKIP-UNTIL=12.0", ""),
            playlist(10) + "#EXT-X-ENDLIST\n",
            String::new(),
        ] {
            assert_eq!(delta(text.as_bytes()), text.as_bytes());
        }
    }

    #[test]
    fn date_ranges_of_skipped_segments_stay() {
        let text = playlist(10).replace(
            "#EXTINF:2.000,\n101.m4s",
            "#EXT-X-DATERANGE:ID=\"b\"\n#EXTINF:2.000,\n101.m4s",
        );
        let out = String::from_utf8(delta(text.as_bytes())).unwrap_or_default();
        assert!(out.contains("SEGMENTS=4\n#EXT-X-DATERANGE:ID=\"b\"\n#EXTINF"), "{out}");
    }
}
