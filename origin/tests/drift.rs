//! Publishers whose clocks are off by 2,000 millionths, one fast and one slow, over real sockets:
//! what is published of their steady tone is listened to, sample by sample.
//!
//! `SIGHTSCREEN_DRIFT_S` says for how many seconds.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::f64::consts::TAU;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use common::publisher::{AUDIO, Publisher, Tag, VIDEO, clip_of, play};
use common::stage::{KEY, Stage};
use common::wait;

const SECONDS: u64 = 16;

/// How fast the publishers' clocks run, in millionths.
const GAINS: [i32; 2] = [2000, -2000];

/// Of the tone, and of the sound that is published.
const HZ: f64 = 440.0;
const RATE: f64 = 48_000.0;

/// Samples of a frame.
const AAC_FRAME: usize = 1024;

/// Eleven cycles of the tone.
const BLOCK: usize = 1200;

/// By how much the tone's phase may go on from block to block beside what it does at 440 Hz: time
/// is stretched by half a hundredth, and ffmpeg catches up. An AAC frame more or less is 2.4.
const TURN_MAX: f64 = 0.6;

/// By how much a sample may differ from what the two before it foretell of a tone, for one of the
/// amplitude 1. Coding differs by less than a tenth of it.
const CLICK_MAX: f64 = 0.01;

/// What is heard of a tone.
#[derive(Debug)]
struct Heard {
    /// Least and greatest amplitude of a block.
    amplitude: Range<f64>,
    /// The furthest that the phase went in a block.
    turn: f64,
    /// The furthest that a sample was off.
    click: f64,
}

impl Heard {
    fn is_clean(&self) -> bool {
        let Range { start: least, end: most } = self.amplitude;
        let is_steady = least > 0.1 && most < 1.1 * least;
        is_steady && self.turn < TURN_MAX && self.click < CLICK_MAX
    }
}

fn listen(samples: &[f64]) -> Heard {
    let step = TAU * HZ / RATE;
    let (mut phases, mut amplitudes) = (Vec::new(), Vec::new());
    for (at, block) in samples.chunks_exact(BLOCK).enumerate() {
        let (mut real, mut imaginary) = (0.0, 0.0);
        for (index, sample) in block.iter().enumerate() {
            let angle = step * (at * BLOCK + index) as f64;
            real += sample * angle.cos();
            imaginary -= sample * angle.sin();
        }
        phases.push(imaginary.atan2(real));
        amplitudes.push(real.hypot(imaginary) * 2.0 / BLOCK as f64);
    }
    let turn = |two: &[f64]| ((two[1] - two[0] + TAU * 1.5).rem_euclid(TAU) - TAU / 2.0).abs();
    let mean = amplitudes.iter().sum::<f64>() / amplitudes.len() as f64;
    let foretold = |three: &[f64]| 2.0 * step.cos() * three[1] - three[0];
    let off = samples.windows(3).map(|three| (three[2] - foretold(three)).abs() / mean);
    Heard {
        amplitude: amplitudes.iter().copied().fold(f64::INFINITY, f64::min)
            ..amplitudes.iter().copied().fold(0.0, f64::max),
        turn: phases.windows(2).map(turn).fold(0.0, f64::max),
        click: off.fold(0.0, f64::max),
    }
}

/// Sound as it is decoded, less the ends, where a decoder lacks what is beside them.
fn decoded(file: &Path) -> Vec<f64> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-ac", "1", "-f", "f32le", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let samples = output.stdout.chunks_exact(4);
    let samples: Vec<f64> =
        samples.map(|four| f32::from_le_bytes(four.try_into().unwrap()).into()).collect();
    samples[4800..samples.len() - 4800].to_vec()
}

/// Publishes with a clock that gains so much, until it is enough.
fn publish(stage: &Stage, clip: &[Tag], gain: f64, is_enough: impl FnMut() -> bool) {
    let paced = clip.iter().map(|(kind, ms, data)| {
        let due_ms = f64::from(*ms) / (1.0 + gain / 1e6);
        (*kind, due_ms as u32, data.clone())
    });
    let mut stamps = clip.iter().map(|(_, ms, _)| *ms);
    let mut publisher = Publisher::admitted(stage.rtmp, KEY);
    play(&mut publisher, &paced.collect::<Vec<_>>(), |_, _| stamps.next(), is_enough);
}

/// All segments of the sound from one to another, as one file.
fn sound(stage: &Stage, segments: Range<u64>) -> std::path::PathBuf {
    let epoch = stage.shown()["epoch"].as_str().unwrap().to_owned();
    let mut bytes = stage.object(&format!("a-en/{epoch}-init.mp4"));
    segments.for_each(|msn| bytes.extend(stage.object(&format!("a-en/{epoch}-{msn}.m4s"))));
    let file = stage.folder.path().join("tone.mp4");
    std::fs::write(&file, bytes).unwrap();
    file
}

/// What is published of a clock that gains so much.
fn follow(stage: &Stage, gain: i32, seconds: u64) {
    wait("the first segments", || stage.is_up());
    let first = stage.next() - 1;
    let until = first + seconds.div_ceil(2);
    let offset = || stage.shown()["media"]["clock_offset_ms"].as_i64().unwrap();
    let mut least = i64::MAX;
    // The first data may have been late, so that the offset goes the other way at first.
    let mut is_followed = || {
        let fell_behind = offset() * i64::from(-gain.signum());
        least = least.min(fell_behind);
        fell_behind >= least + 5
    };
    while stage.next() <= until {
        is_followed();
        stage.more(0);
    }
    wait("a clock that is followed", is_followed);
    let tone = decoded(&sound(stage, first..stage.next() - 1));
    let heard = listen(&tone);
    println!("{gain} millionths: {} s, {heard:?}, {} ms", tone.len() as f64 / RATE, offset());
    assert_eq!(stage.starts(), 1, "{}", stage.log());
    assert!(stage.lacking().is_empty(), "{}", stage.log());
    stage.check_all();
    assert!(heard.is_clean(), "{gain}: {heard:?}");
    // An ear that hears all: a frame is left out.
    let (before, after) = tone.split_at(tone.len() / 2);
    assert!(!listen(&[before, &after[AAC_FRAME..]].concat()).is_clean());
}

/// Tells a publisher that it is over, whatever ends the test.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_clock_that_is_off_by_two_thousandths_is_followed_without_a_click() {
    let seconds = std::env::var("SIGHTSCREEN_DRIFT_S");
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let clip = clip_of(folder.path(), "testsrc2=size=284x160:rate=25", 48_000, seconds + 200);
    let is_media = |(kind, ..): &Tag| [AUDIO, VIDEO].contains(kind);
    let clip: Vec<Tag> = clip.into_iter().filter(is_media).collect();
    let one = |gain: i32| {
        let dvr = (600 + seconds).to_string();
        let (stage, is_over) = (Stage::with(&["--dvr", &dvr]), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                publish(&stage, &clip, gain.into(), || is_over.load(Ordering::Relaxed));
            });
            let _over = Over(&is_over);
            follow(&stage, gain, seconds);
        });
    };
    std::thread::scope(|scope| {
        let both = GAINS.map(|gain| scope.spawn(move || one(gain)));
        both.into_iter().for_each(|one| one.join().unwrap());
    });
}
