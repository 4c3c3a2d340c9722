//! The fuzz targets without a fuzzer: every kept seed, and mutations of it, on a stable compiler.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

use std::fs;
use std::path::Path;

use sightscreen_tests::fuzz::TARGETS;

/// Mutations of each seed; more by `SIGHTSCREEN_FUZZ_ROUNDS`.
const ROUNDS: u64 = 400;

#[test]
fn seeds_and_their_mutations_keep_the_promises() {
    let rounds = std::env::var("SIGHTSCREEN_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS);
    for (name, check) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "no seed for {name}");
        for (index, seed) in seeds.iter().enumerate() {
            check(seed);
            let mut random = Random(0x5eed ^ (index as u64) << 32);
            for _ in 0..rounds {
                check(&mutated(seed, &seeds, &mut random));
            }
        }
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// SplitMix64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end.max(1) as u64).unwrap()
    }
}

fn mutated(seed: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let (from, to) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
        let span = from.min(to)..from.max(to).min(from.min(to) + 64);
        match random.below(6) {
            0 if !bytes.is_empty() => {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            1 => drop(bytes.drain(span)),
            2 => {
                let copy = bytes[span].to_vec();
                bytes.splice(from..from, copy);
            }
            3 => {
                let other = &others[random.below(others.len())];
                let end = random.below(other.len() + 1);
                bytes.splice(from..from, other[end.saturating_sub(64)..end].iter().copied());
            }
            4 => bytes.insert(from, b"0%/.\"\\,:=\n\0\xff9-"[random.below(14)]),
            _ => bytes.truncate(from.max(bytes.len() / 2)),
        }
    }
    bytes
}
