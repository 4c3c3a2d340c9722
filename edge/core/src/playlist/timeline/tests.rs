use super::*;
use crate::document::{Break, Slot};
use crate::playlist::{Latency, Stitch, delta, stitch};

/// A stream of numbers below a bound, alike in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}

/// Breaks of an event, and the segments at which the content's init changes.
struct Night {
    breaks: Vec<Break>,
    changes: Vec<u64>,
}

const LAST: u64 = 90;
const WINDOW: u64 = 8;

impl Night {
    fn of(numbers: &mut Numbers) -> Self {
        let (mut breaks, mut at, mut count) = (Vec::new(), 0, 0);
        while at < LAST {
            let start = at + 1 + numbers.below(9);
            let slots: Vec<Slot> = (0..numbers.below(4))
                .map(|n| Slot { offset: 2 * n, creative: format!("c-{n}"), segments: 2 })
                .collect();
            let planned = (2 * slots.len() as u64).max(2);
            let length = planned - numbers.below(2).min(planned - 1);
            let id = format!("b{start}");
            let one = Break { id, start, length, discontinuities_before: count, slots };
            count += one.discontinuity_positions().count() as u64;
            at = one.end() + 1;
            breaks.push(one);
        }
        let bound = 2 + numbers.below(12);
        let changes = (1..LAST).filter(|_| numbers.below(bound) == 0).collect();
        Self { breaks, changes }
    }

    /// The pods while playlists begin at `first`, or up to `late` segments before it.
    fn pods(&self, first: u64, late: u64) -> Pods {
        let is_gone = |b: &&Break| b.end() + late < first;
        let gone: Vec<&Break> = self.breaks.iter().filter(is_gone).collect();
        let hidden = self.changes.iter().filter(|&&m| gone.iter().any(|b| b.hides_change(m)));
        Pods {
            event: "e".into(),
            revision: 1,
            cohort: "x".into(),
            discontinuities: 0,
            changes_hidden: hidden.count() as u64,
            breaks: self.breaks[gone.len()..].to_vec(),
        }
    }

    /// The content's playlist with segments from `first` on, as the origin writes it.
    fn content(&self, first: u64) -> String {
        let init = |msn| format!("init-{}.mp4", self.changes.partition_point(|&m| m <= msn));
        let named: Vec<u64> =
            self.changes.iter().copied().filter(|&m| m <= first + WINDOW).collect();
        let mut text = format!("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{first}\n");
        text.push_str("#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=6.0\n");
        if !named.is_empty() {
            let named: Vec<String> = named.iter().map(u64::to_string).collect();
            text.push_str(&format!("{MAPS_TAG}{}\n", named.join(",")));
        }
        text.push_str(&format!("#EXT-X-MAP:URI=\"{}\"\n", init(first)));
        for msn in first..first + WINDOW {
            if self.changes.contains(&msn) {
                text.push_str(&format!("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"{}\"\n", init(msn)));
            }
            text.push_str(&format!("#EXTINF:1.0,\n{msn}.m4s\n"));
        }
        let next = first + WINDOW;
        if self.changes.contains(&next) {
            text.push_str(&format!("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"{}\"\n", init(next)));
        }
        text + &format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{next}.0.m4s\"\n")
    }
}

/// A playlist as a player keeps it: a segment by its URI, its init, and its discontinuity sequence
/// number, which is that of the playlist and the tags before it (RFC 8216bis 6.2.1).
#[derive(Debug, PartialEq)]
struct Seen {
    first: u64,
    counted: u64,
    /// URI, init, number, and whether the tag stands before it.
    segments: Vec<(String, String, u64, bool)>,
    hinted: Vec<String>,
}

impl Seen {
    /// Reads a playlist; a delta goes on from what was seen `before`.
    fn of(text: &str, before: Option<&Self>) -> Self {
        let mut seen = Self { first: 0, counted: 0, segments: Vec::new(), hinted: Vec::new() };
        let (mut count, mut init, mut marked) = (0, String::new(), false);
        for line in text.lines() {
            let after = |prefix: &str| line.strip_prefix(prefix);
            if let Some(number) = after("#EXT-X-MEDIA-SEQUENCE:") {
                seen.first = number.parse().unwrap_or(u64::MAX);
            } else if let Some(number) = after("#EXT-X-DISCONTINUITY-SEQUENCE:") {
                seen.counted = number.parse().unwrap_or(u64::MAX);
                count = seen.counted;
            } else if let Some(skipped) = after("#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
                let before = before.map(|b| (b.first, b.segments.as_slice())).unwrap_or_default();
                let from = usize::try_from(seen.first - before.0).unwrap_or(usize::MAX);
                let skipped: usize = skipped.parse().unwrap_or(usize::MAX);
                seen.segments = before.1[from..from + skipped].to_vec();
                count += seen.segments.iter().filter(|segment| segment.3).count() as u64;
                init = seen.segments.last().map(|segment| segment.1.clone()).unwrap_or_default();
            } else if line == "#EXT-X-DISCONTINUITY" {
                (count, marked) = (count + 1, true);
            } else if let Some(uri) = after("#EXT-X-MAP:URI=") {
                uri.clone_into(&mut init);
            } else if after("#EXT-X-PRELOAD-HINT:").is_some() {
                seen.hinted.push(line.to_owned());
            } else if !line.starts_with('#') {
                let marked = std::mem::take(&mut marked);
                seen.segments.push((line.to_owned(), init.clone(), count, marked));
            }
        }
        seen
    }
}

fn stitched(content: &str, pods: Option<&Pods>) -> String {
    let mut out = Vec::new();
    let how = Stitch { rendition: "v720", phases: 1, pods, latency: Latency::Low };
    assert_eq!(stitch(content.as_bytes(), how, &mut out), Ok(()), "{content}");
    String::from_utf8(out).unwrap_or_default()
}

/// The whole playlist, and its delta over what was seen before, must say the same.
fn seen(night: &Night, first: u64, late: u64, before: Option<&Seen>) -> Seen {
    let text = stitched(&night.content(first), Some(&night.pods(first, late)));
    let whole = Seen::of(&text, None);
    if before.is_some_and(|before| before.first < first) {
        let short = String::from_utf8(delta(text.as_bytes())).unwrap_or_default();
        assert!(short.contains("SKIPPED-SEGMENTS=2\n"), "{short}");
        assert_eq!(Seen::of(&short, before), whole);
    }
    whole
}

#[test]
fn a_player_counts_what_the_playlist_says_whatever_changes_and_whatever_is_shown() {
    let mut numbers = Numbers(7);
    let (mut hidden, mut shown) = (0, 0);
    for _ in 0..400 {
        let night = Night::of(&mut numbers);
        let mut before = seen(&night, 0, 0, None);
        for first in 1..LAST {
            // Which breaks are still listed depends on the revision, and makes no difference.
            let late = numbers.below(30);
            let now = seen(&night, first, late, Some(&before));
            let removed = u64::from(before.segments[0].3);
            assert_eq!(now.counted, before.counted + removed, "at {first}");
            assert_eq!(now.segments[..7], before.segments[1..], "at {first}");
            // What is hinted comes (4.4.5.3), and another init is hinted.
            let (uri, init, _, marked) = &now.segments[7];
            let part = format!("URI=\"{}.0.m4s\"", uri.trim_end_matches(".m4s"));
            assert!(before.hinted.last().is_some_and(|hint| hint.ends_with(&part)), "{before:?}");
            let map = format!("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI={init}");
            assert_eq!(before.hinted.len() == 2 && before.hinted[0] == map, *marked, "{before:?}");
            before = now;
        }
        let is_hidden = |m: &&u64| night.breaks.iter().any(|b| b.hides_change(**m));
        let count = night.changes.iter().filter(is_hidden).count();
        (hidden, shown) = (hidden + count, shown + night.changes.len() - count);
    }
    assert!(hidden > 500 && shown > 500, "{hidden} {shown}");
}

#[test]
fn without_a_ledger_each_change_counts() {
    let night = Night { breaks: Vec::new(), changes: vec![3, 7, 8] };
    let counted = |first| Seen::of(&stitched(&night.content(first), None), None).counted;
    assert_eq!([0, 3, 4, 7, 8, 9].map(counted), [0, 0, 1, 1, 2, 3]);
}

#[test]
fn a_change_stands_where_the_origin_names_it() {
    let content = Night { breaks: Vec::new(), changes: vec![3, 8] }.content(0);
    let made = |content: &str| {
        let how = Stitch { rendition: "v720", phases: 1, pods: None, latency: Latency::Low };
        stitch(content.as_bytes(), how, &mut Vec::new())
    };
    assert_eq!(made(&content), Ok(()));
    for (from, to, error) in [
        ("MAPS:3,8", "MAPS:4,8", PlaylistError::Change),
        ("MAPS:3,8", "MAPS:3", PlaylistError::Change),
        ("MAPS:3,8", "MAPS:8,3", PlaylistError::Change),
        ("MAPS:3,8", "MAPS:3,3,8", PlaylistError::Change),
        ("MAPS:3,8", "MAPS:3,,8", PlaylistError::Change),
        ("MAPS:3,8", "MAPS:", PlaylistError::Change),
        ("MAPS:3,8", "MAPS:3,5,8", PlaylistError::Map),
        ("#EXT-X-MAP:URI=\"init-1.mp4\"\n", "", PlaylistError::Map),
        ("#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init-2.mp4\"\n", "", PlaylistError::Map),
        ("#EXTINF:1.0,\n5.m4s", "#EXT-X-MAP:URI=\"x\"\n#EXTINF:1.0,\n5.m4s", PlaylistError::Change),
        ("5.m4s\n", "5.m4s\n#EXT-X-DISCONTINUITY\n", PlaylistError::Change),
        ("3.m4s\n", "#EXT-X-DISCONTINUITY\n3.m4s\n", PlaylistError::Change),
    ] {
        assert!(content.contains(from), "{from} is not in {content}");
        assert_eq!(made(&content.replacen(from, to, 1)), Err(error), "{from} {to}");
    }
}

#[test]
fn a_standard_session_is_told_of_a_change_with_its_first_whole_segment() {
    let how = Stitch { rendition: "v720", phases: 1, pods: None, latency: Latency::Standard };
    let content = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:4\n#EXT-X-SIGHTSCREEN-MAPS:5\n\
                   #EXT-X-MAP:URI=\"init.mp4\"\n#EXTINF:1.0,\n4.m4s\n#EXT-X-DISCONTINUITY\n\
                   #EXT-X-MAP:URI=\"init-1.mp4\"\n#EXT-X-PART:DURATION=0.5,URI=\"5.0.m4s\"\n";
    let made = |content: &str| {
        let mut out = Vec::new();
        assert_eq!(stitch(content.as_bytes(), how, &mut out), Ok(()));
        String::from_utf8(out).unwrap_or_default()
    };
    assert!(made(content).ends_with("#EXTINF:1.0,\n4.m4s\n"));
    let whole = made(&format!("{content}#EXTINF:1.0,\n5.m4s\n"));
    let end = "4.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-1.mp4\"\n#EXTINF:1.0,\n5.m4s\n";
    assert!(whole.ends_with(end), "{whole}");
}
