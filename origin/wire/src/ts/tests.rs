#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

fn packets(bytes: &[u8]) -> (Vec<Packet>, u64) {
    let mut packets = Packets::default();
    packets.push(bytes);
    (std::iter::from_fn(|| packets.next()).collect(), packets.lost())
}

fn demux<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<DemuxEvent> {
    let mut demux = Demux::new(LIMIT);
    packets.into_iter().for_each(|packet| demux.take(packet));
    demux.finish();
    std::iter::from_fn(|| demux.next_event()).collect()
}

fn units(events: &[DemuxEvent]) -> Vec<&Unit> {
    let mut units = Vec::new();
    for event in events {
        if let DemuxEvent::Unit(unit) = event {
            units.push(unit);
        }
    }
    units
}

/// A clip with 50 pictures and two languages, made by ffmpeg.
fn clip() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clip.ts");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=sample_rate=48000"])
        .args(["-map", "0:v", "-map", "1:a", "-map", "1:a", "-t", "2"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-pix_fmt", "yuv420p"])
        .args(["-c:a:0", "aac", "-c:a:1", "mp2"])
        .args(["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=hin"])
        .args(["-muxdelay", "0.1", "-f", "mpegts"])
        .arg(&file)
        .status();
    assert!(made.unwrap().success());
    std::fs::read(file).unwrap()
}

/// What ffprobe reads of a file: presentation times of its first video stream.
fn probed(bytes: &[u8]) -> Vec<i64> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("probed.ts");
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0"])
        .args(["-show_entries", "packet=pts", "-of", "csv=p=0"])
        .arg(file)
        .output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    said.lines().filter_map(|line| line.trim_matches(',').parse().ok()).collect()
}

#[test]
fn streams_languages_and_times_are_those_that_ffmpeg_wrote() {
    let clip = clip();
    let (found, lost) = packets(&clip);
    assert_eq!((found.len() * 188, lost), (clip.len(), 0));
    let events = demux(&found);
    let streams = events.iter().find_map(|event| match event {
        DemuxEvent::Streams(streams) => Some(streams.clone()),
        _ => None,
    });
    let streams = streams.unwrap();
    let of: Vec<_> = streams.iter().map(|s| (s.codec, s.language.as_deref())).collect();
    let sound = [(Codec::Aac, Some("eng")), (Codec::MpegAudio, Some("hin"))];
    assert_eq!(of, [&[(Codec::H264, None)][..], &sound].concat());
    let units = units(&events);
    assert!(units.iter().all(|unit| !unit.is_damaged));
    let video: Vec<&&Unit> = units.iter().filter(|unit| unit.pid == streams[0].pid).collect();
    let times: Vec<i64> = video.iter().filter_map(|unit| unit.pts).collect();
    assert_eq!(times, probed(&clip));
    assert_eq!(times.len(), 50);
    assert!(video.iter().all(|unit| unit.data.starts_with(&[0, 0, 0, 1]) && unit.dts <= unit.pts));
    assert!(video.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    let clocks = events.iter().filter(|event| matches!(event, DemuxEvent::Clock { .. })).count();
    assert!(clocks > 10, "{clocks}");
}

/// The pictures and the first language, written again with times that are moved.
fn written_again(clip: &[u8], ticks: i64) -> (Vec<u8>, Vec<Unit>) {
    let events = demux(&packets(clip).0);
    let Some(DemuxEvent::Streams(streams)) = events.first() else { panic!("{events:?}") };
    let streams = [1, 0].map(|at| streams[at].clone()).to_vec();
    let pids: Vec<u16> = streams.iter().map(|stream| stream.pid).collect();
    let mut mux = Mux::new(streams);
    let (mut bytes, mut written) = (mux.head().to_vec(), Vec::new());
    for unit in units(&events) {
        let Some(at) = pids.iter().position(|pid| *pid == unit.pid) else { continue };
        let [pts, dts] = [unit.pts, unit.dts].map(|time| time.unwrap() + ticks);
        bytes.extend(mux.unit(at, pts, dts, &unit.data).unwrap());
        let [pts, dts] = [Some(pts), Some(dts)];
        written.push(Unit { pid: 0x100 + at as u16, pts, dts, ..unit.clone() });
    }
    assert_eq!(mux.unit(2, 0, 0, b"nobody's"), None);
    (bytes, written)
}

#[test]
fn units_are_written_as_they_are_read_with_other_times() {
    let clip = clip();
    let before = probed(&clip);
    // A second, and so far that the clip's second picture is past the end of 33 bits.
    for ticks in [TICKS, (1 << 33) - before[0] - TICKS - 1] {
        let (bytes, written) = written_again(&clip, ticks);
        let events = demux(&packets(&bytes).0);
        let Some(DemuxEvent::Streams(streams)) = events.first() else { panic!("{events:?}") };
        let of: Vec<_> = streams.iter().map(|s| (s.codec, s.language.as_deref())).collect();
        assert_eq!(of, [(Codec::Aac, Some("eng")), (Codec::H264, None)]);
        let pictures = |units: &[&Unit]| {
            units.iter().filter(|unit| unit.pid == 0x101).map(|unit| (*unit).clone()).collect()
        };
        let read: Vec<Unit> = pictures(&units(&events));
        assert_eq!(read, pictures(&written.iter().collect::<Vec<_>>()) as Vec<Unit>);
        assert_eq!(units(&events).len(), written.len());
        if ticks == TICKS {
            let expected: Vec<i64> = before.iter().map(|time| time + TICKS).collect();
            assert_eq!(probed(&bytes), expected);
        } else {
            assert!(read.iter().any(|unit| unit.pts >= Some(1 << 33)));
        }
    }
}

#[test]
fn decoding_starts_at_each_key_picture_of_an_encoder() {
    let events = demux(&packets(&clip()).0);
    let video = units(&events)[0].pid;
    let pictures = units(&events).into_iter().filter(|unit| unit.pid == video).cloned();
    let starts: Vec<bool> = pictures.map(|unit| start(Codec::H264, &unit.data).is_some()).collect();
    assert_eq!(starts.iter().filter(|is_start| **is_start).count(), 1, "{starts:?}");
    assert!(starts[0]);
}

#[test]
fn a_stream_that_starts_anywhere_is_found() {
    let clip = clip();
    let (all, _) = packets(&clip);
    for from in [1, 100, 187] {
        let (found, lost) = packets(&clip[from..]);
        assert_eq!((found.len(), lost), (all.len() - 1, 188 - from as u64));
    }
    // A hole of some bytes costs what stands around it and no more.
    let mut torn = clip[..50 * 188 + 30].to_vec();
    torn.extend(&clip[60 * 188 + 77..]);
    let (found, _) = packets(&torn);
    assert!(found.len() >= all.len() - 14, "{} of {}", found.len(), all.len());
    let events = demux(&found);
    let damaged = units(&events).iter().filter(|unit| unit.is_damaged).count();
    assert!((1..6).contains(&damaged), "{damaged}");
    let mut demux_of_torn = Demux::new(LIMIT);
    found.iter().for_each(|packet| demux_of_torn.take(packet));
    assert!((1..4).contains(&demux_of_torn.losses().holes), "{:?}", demux_of_torn.losses());
    // And twice the same packet is one.
    let twice: Vec<Packet> = all.iter().flat_map(|packet| [*packet, *packet]).collect();
    let without_clocks =
        |packets: &[Packet]| units(&demux(packets)).into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(without_clocks(&twice), without_clocks(&all));
}

#[test]
fn unfinished_units_are_bounded() {
    let (found, _) = packets(&clip());
    let mut demux = Demux::new(1000);
    found.iter().for_each(|packet| demux.take(packet));
    demux.finish();
    let events: Vec<DemuxEvent> = std::iter::from_fn(|| demux.next_event()).collect();
    assert!(units(&events).iter().all(|unit| unit.data.len() <= 1000));
    assert!(units(&events).iter().any(|unit| unit.is_damaged));
}

#[test]
fn a_broadcast_encoders_stream_is_read() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media/kyrion_dirtystart.ts");
    let Ok(bytes) = std::fs::read(&path) else {
        eprintln!("skipped: there is no {}", path.display());
        return;
    };
    let (found, _) = packets(&bytes);
    let events = demux(&found);
    let streams = events.iter().find_map(|event| match event {
        DemuxEvent::Streams(streams) => Some(streams),
        _ => None,
    });
    let codecs: Vec<Codec> = streams.unwrap().iter().map(|stream| stream.codec).collect();
    assert!(codecs.contains(&Codec::Scte35), "{codecs:?}");
    assert_eq!(codecs.iter().filter(|codec| **codec == Codec::MpegAudio).count(), 2, "{codecs:?}");
    let video = streams.unwrap().iter().find(|s| matches!(s.codec, Codec::H264 | Codec::Mpeg2));
    let video = video.unwrap().pid;
    let times: Vec<i64> = units(&events)
        .iter()
        .filter(|unit| unit.pid == video)
        .filter_map(|unit| unit.pts)
        .collect();
    // It begins in the middle: what comes before its tables have come is nobody's.
    assert!(times.len() > 140 && probed(&bytes).ends_with(&times), "{times:?}");
}

#[test]
fn times_that_wrap_go_on() {
    let mut times = Unwrap::default();
    let end = 1_u64 << 33;
    let taken: Vec<i64> = [end - 2, end - 1, 1, 0, 5, end - 1].map(|t| times.take(t)).into();
    let end = end as i64;
    assert_eq!(taken, [end - 2, end - 1, end + 1, end, end + 5, end - 1]);
}

proptest! {
    #[test]
    fn a_time_is_written_as_it_is_read(time in 0_u64..1 << 33, mark in 1_u8..4) {
        prop_assert_eq!(pes::read_time(pes::written_time(mark, time)), time);
    }

    #[test]
    fn where_the_bytes_are_split_changes_nothing(
        bytes in prop::collection::vec(prop_oneof![Just(0x47_u8), any::<u8>()], 0..2000),
        cut in 1_usize..300,
    ) {
        let mut pieces = Packets::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(cut) {
            pieces.push(piece);
            found.extend(std::iter::from_fn(|| pieces.next()));
        }
        prop_assert_eq!(found, packets(&bytes).0);
    }
}
