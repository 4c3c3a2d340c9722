//! Whatever the ledger, the window and the cohort: what must hold of every stitched playlist.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use proptest::collection::vec;
use proptest::prelude::*;
use sightscreen_core::document::{Break, Pods, Slot};
use sightscreen_core::playlist::{Latency, Stitch, delta, stitch};
use sightscreen_tests::live::playlist::Media;
use sightscreen_tests::playlist::ContentSpec;

/// Where the first event of a ledger may lie.
const BASE: u64 = 1000;
const CREATIVES: [&str; 3] = ["c-1a", "c-2b", "slate"];

/// Gap before a break, the lengths of its slots with their creative, and how much of it an early
/// return leaves out.
type BreakShape = (u64, Vec<(u64, usize)>, u64);

fn ledger() -> impl Strategy<Value = Vec<BreakShape>> {
    let slots = vec((1_u64..5, 0_usize..CREATIVES.len()), 0..4);
    vec((1_u64..8, slots, 0_u64..4), 0..5)
}

/// Where the content's init changes, before the first window and in it.
fn changes() -> impl Strategy<Value = Vec<u64>> {
    let changes = prop::collection::btree_set(BASE - 20..BASE + 90, 0..12);
    changes.prop_map(|changes| changes.into_iter().collect())
}

/// The pods of one cohort, by the rules of the ledger.
fn pods(shapes: &[BreakShape], before: u64) -> Pods {
    let (mut breaks, mut at, mut count) = (Vec::new(), BASE, before);
    for (index, (gap, shape, early)) in shapes.iter().enumerate() {
        let planned: u64 = shape.iter().map(|(length, _)| length).sum::<u64>().max(2);
        let length = planned.saturating_sub(*early).max(1);
        let mut offset = 0;
        let slots: Vec<Slot> = shape
            .iter()
            .map(|(segments, creative)| {
                let slot =
                    Slot { offset, creative: CREATIVES[*creative].into(), segments: *segments };
                offset += segments;
                slot
            })
            .collect();
        // A pod that is shorter than its break is filled by its last slot.
        let slots = fill(slots, length);
        let one = Break {
            id: format!("b{index}"),
            start: at + gap,
            length,
            discontinuities_before: count,
            slots,
        };
        count += one.discontinuity_positions().count() as u64;
        at = one.end() + 1;
        breaks.push(one);
    }
    Pods {
        event: "e".into(),
        revision: 1,
        cohort: "x".into(),
        discontinuities: count,
        changes_hidden: 0,
        breaks,
    }
}

fn fill(mut slots: Vec<Slot>, length: u64) -> Vec<Slot> {
    if let Some(last) = slots.last_mut() {
        last.segments = last.segments.max(length.saturating_sub(last.offset));
    }
    slots
}

fn stitched(
    content: &ContentSpec,
    pods: &Pods,
    rendition: &str,
    phases: u32,
    latency: Latency,
) -> String {
    let mut out = Vec::new();
    let how = Stitch { rendition, phases, pods: Some(pods), latency };
    stitch(content.render().as_bytes(), how, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn video(first: u64, segments: u64, open_parts: u64) -> ContentSpec {
    ContentSpec { first, segments, open_parts, with_parts: 3, ..ContentSpec::default() }
}

fn audio(first: u64, segments: u64) -> ContentSpec {
    ContentSpec {
        first,
        segments,
        parts: 0,
        durations_ms: vec![2005, 1984, 2006, 2005],
        ..ContentSpec::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// R1, R2: reloads of a sliding window only append and remove, and nothing that was published
    /// changes.
    #[test]
    fn reloads_never_rewrite(shapes in ledger(), before in 0_u64..9, segments in 3_u64..9, first in BASE..BASE + 60, changes in changes()) {
        let pods = pods(&shapes, before);
        prop_assert!(pods.is_sound());
        let content = |first, open| ContentSpec { changes: changes.clone(), ..video(first, segments, open) };
        let read = |first, open| Media::parse(&stitched(&content(first, open), &pods, "v720", 1, Latency::Low)).unwrap();
        let mut earlier = read(first, 0);
        for step in 1..40_u64 {
            let later = read(first + step / 4, step % 4);
            prop_assert!(later.sequence >= earlier.sequence && later.discontinuity >= earlier.discontinuity);
            for segment in earlier.all() {
                let Some(same) = later.at(segment.sequence) else { continue };
                prop_assert_eq!(same.discontinuities, segment.discontinuities);
                prop_assert_eq!(&same.map, &segment.map);
                prop_assert!(segment.uri.is_empty() || same.uri == segment.uri, "{} became {}", segment.uri, same.uri);
                for (now, then) in same.parts.iter().zip(&segment.parts) {
                    prop_assert_eq!(&now.uri, &then.uri);
                }
            }
            hint_is_kept(&earlier, &later)?;
            earlier = later;
        }
    }

    /// A new revision, with an early return and breaks to come, changes nothing up to the last
    /// sequence number that was published.
    #[test]
    fn a_new_revision_keeps_what_was_published(shapes in ledger(), coming in ledger(), first in BASE..BASE + 60, cut in 0_u64..5) {
        let old = pods(&shapes, 2);
        let published = first + 8;
        let mut new = old.clone();
        new.revision += 1;
        new.breaks.retain(|b| b.start <= published);
        if let Some(last) = new.breaks.last_mut() {
            // An early return may come no sooner than what is published, the hinted part included.
            last.length = last.length.min((published + 1 + cut).saturating_sub(last.start)).max(1);
            new.discontinuities = last.discontinuities_before + last.discontinuity_positions().count() as u64;
        }
        let from = new.breaks.last().map_or(published, |b| b.end().max(published)) + 1 - BASE;
        for mut later in pods(&coming, new.discontinuities).breaks {
            later.start += from;
            new.breaks.push(later);
        }
        prop_assert!(new.is_sound());
        let read = |pods| Media::parse(&stitched(&video(first, 8, 2), pods, "v720", 1, Latency::Low)).unwrap();
        prop_assert_eq!(read(&old), read(&new));
    }

    /// R3: the discontinuity sequence at a media sequence number is the same in every rendition and
    /// window.
    #[test]
    fn discontinuity_sequence_is_equal_across_renditions(shapes in ledger(), before in 0_u64..9, first in BASE..BASE + 60, shift in 0_u64..5, changes in changes()) {
        let pods = pods(&shapes, before);
        let changed = |content| ContentSpec { changes: changes.clone(), ..content };
        let picture = Media::parse(&stitched(&changed(video(first, 8, 0)), &pods, "v720", 1, Latency::Low)).unwrap();
        let sound = Media::parse(&stitched(&changed(audio(first + shift, 8)), &pods, "a-en", 4, Latency::Low)).unwrap();
        let standard = Media::parse(&stitched(&changed(video(first, 8, 2)), &pods, "v720", 1, Latency::Standard)).unwrap();
        for segment in picture.all() {
            for other in [sound.at(segment.sequence), standard.at(segment.sequence)].into_iter().flatten() {
                prop_assert_eq!(segment.discontinuities, other.discontinuities);
                prop_assert_eq!(segment.discontinuous, other.discontinuous);
            }
        }
    }

    /// The grid: stitching replaces URIs and nothing else. Each segment is the creative's, by the
    /// slots, or the content's own.
    #[test]
    fn only_uris_change(shapes in ledger(), first in BASE..BASE + 60, open in 0_u64..4) {
        let (pods, content) = (pods(&shapes, 0), video(first, 8, open));
        let (plain, made) = (
            Media::parse(&content.render()).unwrap(),
            Media::parse(&stitched(&content, &pods, "v720", 1, Latency::Low)).unwrap(),
        );
        prop_assert_eq!(plain.segments.len(), made.segments.len());
        for (plain, made) in plain.all().zip(made.all()) {
            prop_assert_eq!((plain.duration, &plain.date, plain.parts.len()), (made.duration, &made.date, made.parts.len()));
            let expected = expected_stem(&shapes, plain.sequence).unwrap_or_else(|| plain.sequence.to_string());
            if !made.uri.is_empty() {
                prop_assert_eq!(&made.uri, &format!("{expected}.m4s"));
            }
            for (index, part) in made.parts.iter().enumerate() {
                prop_assert_eq!(&part.uri, &format!("{expected}.{index}.m4s"));
            }
            let folder = expected.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
            prop_assert_eq!(&made.map, &Some(format!("{folder}init.mp4")));
        }
    }

    /// L4: a delta on top of the playlist before it is the playlist itself.
    #[test]
    fn delta_over_the_previous_is_the_whole(shapes in ledger(), first in BASE..BASE + 60, segments in 3_u64..20, open in 0_u64..4, changes in changes()) {
        let pods = pods(&shapes, 0);
        let content = |first, open| ContentSpec { changes: changes.clone(), ..video(first, segments, open) };
        let previous = Media::parse(&stitched(&content(first, 0), &pods, "v720", 1, Latency::Low)).unwrap();
        let text = stitched(&content(first + 1, open), &pods, "v720", 1, Latency::Low);
        let short = String::from_utf8(delta(text.as_bytes())).unwrap();
        let short_read = Media::parse(&short).unwrap();
        if short_read.skipped > 0 {
            // 4.4.5.2: what is skipped lies before the boundary, six target durations from the end.
            let parts = short_read.open.iter().flat_map(|open| &open.parts).map(|part| part.duration);
            let left: u64 = short_read.segments.iter().map(|segment| segment.duration).chain(parts).sum();
            prop_assert!(left >= 12_000_000, "{} us are left", left);
        }
        let (mut whole, mut made) = (Media::parse(&text).unwrap(), Media::parse(&short).unwrap().over(&previous).unwrap());
        for segment in whole.segments.iter_mut().chain(&mut whole.open).chain(&mut made.segments).chain(&mut made.open) {
            // Parts leave with time, and lines are of the text.
            segment.line = 0;
            for part in &mut segment.parts {
                part.line = 0;
            }
        }
        for media in [&mut whole, &mut made] {
            let keep = media.segments.len().saturating_sub(3);
            media.segments[..keep].iter_mut().for_each(|segment| segment.parts.clear());
            media.hints.iter_mut().chain(&mut media.reports).for_each(|(line, _)| *line = 0);
        }
        prop_assert_eq!(whole, made);
    }

    /// Whatever the bytes: no panic, and what is made of a playlist is one.
    #[test]
    fn hostile_playlists_end_in_an_error_or_a_playlist(lines in vec(hostile_line(), 0..30), shapes in ledger()) {
        let text = format!("#EXTM3U\n{}\n", lines.join("\n"));
        let pods = pods(&shapes, 0);
        let mut out = Vec::new();
        let how = Stitch { rendition: "v720", phases: 1, pods: Some(&pods), latency: Latency::Standard };
        if stitch(text.as_bytes(), how, &mut out).is_ok() {
            prop_assert!(out.starts_with(b"#EXTM3U"));
            prop_assert!(!delta(&out).is_empty());
        }
        prop_assert!(!delta(text.as_bytes()).is_empty());
    }
}

/// L5: a hinted part is the next part, under the hinted URI, and a hinted init is the one that
/// holds for it.
fn hint_is_kept(earlier: &Media, later: &Media) -> Result<(), TestCaseError> {
    let hinted = |kind: &str| {
        earlier
            .hints
            .iter()
            .find(|(_, list)| list["TYPE"] == kind)
            .map(|(_, list)| list["URI"].clone())
    };
    let (sequence, part) = match &earlier.open {
        Some(open) => (open.sequence, open.parts.len()),
        None => (earlier.next(), 0),
    };
    let Some(segment) = later.at(sequence) else {
        return Ok(());
    };
    if let (Some(uri), Some(part)) = (hinted("PART"), segment.parts.get(part)) {
        prop_assert_eq!(&uri, &part.uri);
    }
    let before = earlier.all().last().and_then(|last| last.map.clone());
    let changed = part == 0 && before != segment.map;
    // The same creative twice in a row has one init, which is hinted again at the discontinuity
    // between.
    prop_assert!(
        hinted("MAP").is_some() || !changed,
        "the init changes to {:?} without a hint",
        segment.map
    );
    if let Some(uri) = hinted("MAP") {
        prop_assert_eq!(Some(uri), segment.map.clone());
    }
    Ok(())
}

/// Folder and index of what plays at a sequence number, from the shapes alone; `None` is content.
fn expected_stem(shapes: &[BreakShape], sequence: u64) -> Option<String> {
    let mut at = BASE;
    for (gap, slots, early) in shapes {
        let planned: u64 = slots.iter().map(|(length, _)| length).sum::<u64>().max(2);
        let (start, length) = (at + gap, planned.saturating_sub(*early).max(1));
        if (start..start + length).contains(&sequence) {
            let (mut from, mut found) = (start, None);
            for (segments, creative) in slots {
                if sequence >= from {
                    found = Some((creative, sequence - from));
                }
                from += segments;
            }
            return found.map(|(creative, index)| {
                format!("../ads/{}/v720/0/{index}", CREATIVES[*creative])
            });
        }
        at = start + length + 1;
    }
    None
}

fn hostile_line() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "#EXT-X-MEDIA-SEQUENCE:1003",
        "#EXT-X-MEDIA-SEQUENCE:99999999999999999999",
        "#EXTINF:2,",
        "#EXTINF:",
        "1003.m4s",
        "x",
        ".m4s",
        "#EXT-X-PART:DURATION=0.5,URI=\"1003.0.m4s\"",
        "#EXT-X-PART:URI=\"",
        "#EXT-X-PART:URI=,,",
        "#EXT-X-GAP",
        "#EXT-X-DISCONTINUITY",
        "#EXT-X-MAP:URI=\"init.mp4\"",
        "#EXT-X-MAP:",
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1004.0.m4s\"",
        "#EXT-X-SIGHTSCREEN-LEDGER:1",
        "#EXT-X-SIGHTSCREEN-MAPS:1003",
        "#EXT-X-SIGHTSCREEN-MAPS:2,1003,1004",
        "#EXT-X-SIGHTSCREEN-MAPS:,",
        "#EXT-X-MAP:URI=\"init-1.mp4\"",
        "#EXT-X-PRELOAD-HINT:TYPE=MAP,URI=\"init-1.mp4\"",
        "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12",
        "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=\"",
        "#EXT-X-ENDLIST",
        "\r",
        "#EXT-X-VERSION:7",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z",
        "#EXT-X-DISCONTINUITY-SEQUENCE:4",
        "9007199254740993.m4s",
        "1a2b-1003.m4s",
        "-1003.m4s",
    ]);
    prop_oneof![3 => known.prop_map(str::to_owned), 1 => "\\PC{0,40}"]
}
