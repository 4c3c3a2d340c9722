//! Cuts a conditioned creative into segments and parts, for each phase of the grid.

use std::ops::Range;

use bytes::Bytes;

use crate::grid::{AAC_FRAME, Grid, Kind};
use crate::mp4::write::fragment;

/// A coded sample, with whether decoding can start there.
pub(crate) type Sample = (bool, Bytes);

/// A creative in coded form.
#[derive(Debug)]
pub(crate) struct Conditioned {
    /// Whole segments of the grid.
    pub(crate) segments: u64,
    /// The rungs in the ladder's order, and last the sound that stands for every language.
    pub(crate) tracks: Vec<CodedTrack>,
}

/// One track of a creative.
#[derive(Debug, Default)]
pub(crate) struct CodedTrack {
    /// Init segment.
    pub(crate) init: Bytes,
    /// Samples from the creative's start.
    pub(crate) samples: Vec<Sample>,
}

/// A segment of a creative, or a part of one, in one phase of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    kind: Kind,
    phase: u64,
    segment: u64,
    part: Option<u64>,
}

impl Asked {
    /// Reads `{i}.m4s` or `{i}.{part}.m4s`; `None` when a creative of so many segments has no such
    /// object.
    pub(crate) fn read(
        name: &str,
        grid: &Grid,
        kind: Kind,
        phase: u64,
        segments: u64,
    ) -> Option<Self> {
        let name = name.strip_suffix(".m4s")?;
        let (segment, part) = match name.split_once('.') {
            Some((segment, part)) => (segment.parse().ok()?, Some(part.parse::<u64>().ok()?)),
            None => (name.parse::<u64>().ok()?, None),
        };
        if segment >= segments {
            return None;
        }
        let parts = grid.parts(kind, phase + segment);
        let asked = Self { kind, phase, segment, part };
        part.is_none_or(|part| part < parts).then_some(asked)
    }

    /// The samples of the whole segment, counted from the creative's start.
    pub(crate) fn samples(&self, grid: &Grid) -> Range<u64> {
        let Self { kind, phase, segment, .. } = *self;
        let from = grid.first_sample(kind, phase);
        let first = grid.first_sample(kind, phase + segment) - from;
        first..grid.first_sample(kind, phase + segment + 1) - from
    }

    /// The object, from the samples of the whole segment.
    pub(crate) fn cut(&self, grid: &Grid, samples: &[Sample]) -> Option<Bytes> {
        if let Some(part) = self.part {
            return self.cut_part(grid, part, samples);
        }
        let parts = 0..grid.parts(self.kind, self.phase + self.segment);
        let parts: Option<Vec<Bytes>> =
            parts.map(|part| self.cut_part(grid, part, samples)).collect();
        Some(parts?.concat().into())
    }

    fn cut_part(&self, grid: &Grid, part: u64, samples: &[Sample]) -> Option<Bytes> {
        let Self { kind, phase, segment, .. } = *self;
        let (on_grid, count) = grid.part(kind, phase + segment, part);
        let within = on_grid - grid.first_sample(kind, phase + segment);
        let range = usize::try_from(within).ok()?..usize::try_from(within + count).ok()?;
        let samples = samples.get(range)?;
        let first = on_grid - grid.first_sample(kind, phase);
        let duration = grid.sample_duration(kind);
        let time = match kind {
            Kind::Video | Kind::HalfVideo => first * u64::from(duration),
            // From the slot's start, which lies up to one AAC frame before its first frame.
            Kind::Audio => {
                let (num, den) = grid.segment_duration();
                on_grid * AAC_FRAME - phase * num * u64::from(grid.audio_rate) / den
            }
        };
        Some(fragment(first as u32 + 1, time, duration, kind, samples))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::mp4::read::{Item, Reader};

    fn samples(range: Range<u64>) -> Vec<Sample> {
        range.map(|i| (i.is_multiple_of(50), Bytes::from(vec![i as u8; 4]))).collect()
    }

    fn object(grid: &Grid, kind: Kind, phase: u64, name: &str) -> Option<Bytes> {
        let asked = Asked::read(name, grid, kind, phase, 3)?;
        asked.cut(grid, &samples(asked.samples(grid)))
    }

    #[test]
    fn every_phase_has_the_samples_of_the_content() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        for phase in 0..grid.phases(Kind::Audio) {
            for segment in 0..3 {
                let parts = grid.parts(Kind::Audio, phase + segment);
                let get = |name: String| object(&grid, Kind::Audio, phase, &name);
                let whole = get(format!("{segment}.m4s")).unwrap();
                let glued: Vec<u8> = (0..parts)
                    .flat_map(|part| get(format!("{segment}.{part}.m4s")).unwrap())
                    .collect();
                assert_eq!(whole, glued);
                assert_eq!(get(format!("{segment}.{parts}.m4s")), None);
                let moofs = whole.windows(4).filter(|four| four == b"moof").count() as u64;
                assert_eq!(moofs, parts);
            }
        }
        for nothing in ["3.m4s", "x.m4s", "0.x.m4s", "init.mp4", "0"] {
            assert_eq!(object(&grid, Kind::Video, 0, nothing), None, "{nothing}");
        }
    }

    #[test]
    fn sound_starts_at_the_slot_in_every_phase() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let stsd = Bytes::from_static(b"\0\0\0\x10stsd\0\0\0\0\0\0\0\0");
        let init = crate::mp4::write::InitTrack {
            kind: Kind::Audio,
            timescale: 48_000,
            stsd,
            width: 0,
            height: 0,
        };
        for (phase, delay) in [(0, 0), (1, 256), (2, 512), (3, 768)] {
            let mut bytes = crate::mp4::write::init(&init);
            bytes.extend(object(&grid, Kind::Audio, phase, "0.0.m4s").unwrap());
            let items = Reader::default().push(&bytes).unwrap();
            let Item::Sample(first) = &items[1] else { panic!("no sample") };
            assert_eq!(first.time, delay);
        }
    }
}
