//! Cuts a conditioned creative into segments and parts, for each phase of the grid.

use bytes::Bytes;

use super::condition::coded_audio;
use crate::grid::{AAC_FRAME, Grid, Kind};
use crate::mp4::write::fragment;

/// A creative in coded form.
#[derive(Debug)]
pub(crate) struct Conditioned {
    /// Whole segments of the grid.
    pub(crate) segments: u64,
    /// The rungs in the ladder's order, and last the sound that stands for every language.
    pub(crate) tracks: Vec<CodedTrack>,
    /// Coded bytes; those of a repetition are shared with the first turn.
    coded: usize,
}

/// One track of a creative.
#[derive(Debug, Default)]
pub(crate) struct CodedTrack {
    /// Init segment.
    pub(crate) init: Bytes,
    /// Samples from the creative's start, with whether decoding can start there.
    pub(crate) samples: Vec<(bool, Bytes)>,
}

impl Conditioned {
    /// A creative of these samples.
    pub(crate) fn new(segments: u64, tracks: Vec<CodedTrack>) -> Self {
        let samples = tracks.iter().flat_map(|track| &track.samples);
        Self { segments, coded: samples.map(|(_, data)| data.len()).sum(), tracks }
    }

    /// Bytes that it keeps in memory.
    pub(crate) fn bytes(&self) -> usize {
        let samples: usize = self.tracks.iter().map(|track| track.samples.len()).sum();
        self.coded + samples * size_of::<(bool, Bytes)>()
    }

    /// The same some times over. Each turn begins where a decoder can start; sound that is repeated
    /// so must be silence, as it has no whole frames in a turn.
    pub(crate) fn repeated(mut self, times: u64, grid: &Grid) -> Self {
        if times == 1 {
            return self;
        }
        let frames = self.segments * u64::from(grid.segment_frames);
        self.segments *= times;
        let sound = self.tracks.len().saturating_sub(1);
        for (position, track) in self.tracks.iter_mut().enumerate() {
            let (turn, all) = match position == sound {
                true => (track.samples.len(), coded_audio(grid, self.segments)),
                false => (usize::try_from(frames).unwrap_or(usize::MAX), frames * times),
            };
            let all = usize::try_from(all).unwrap_or(usize::MAX);
            track.samples = track.samples.iter().take(turn).cycle().take(all).cloned().collect();
        }
        self
    }

    /// `init.mp4`, `{i}.m4s` or `{i}.{part}.m4s` of a track in one phase; `None` when there is no
    /// such object.
    pub(crate) fn object(
        &self,
        grid: &Grid,
        kind: Kind,
        position: usize,
        phase: u64,
        object: &str,
    ) -> Option<Bytes> {
        let track = match kind {
            Kind::Video => self.tracks.get(position)?,
            Kind::Audio => self.tracks.last()?,
        };
        if object == "init.mp4" {
            return Some(track.init.clone());
        }
        let name = object.strip_suffix(".m4s")?;
        let (segment, part) = match name.split_once('.') {
            Some((segment, part)) => (segment.parse().ok()?, Some(part.parse::<u64>().ok()?)),
            None => (name.parse::<u64>().ok()?, None),
        };
        if segment >= self.segments {
            return None;
        }
        let parts = grid.parts(kind, phase + segment);
        match part {
            Some(part) if part < parts => track.part(grid, kind, phase, segment, part),
            Some(_) => None,
            None => {
                let parts: Option<Vec<Bytes>> =
                    (0..parts).map(|part| track.part(grid, kind, phase, segment, part)).collect();
                Some(parts?.concat().into())
            }
        }
    }
}

impl CodedTrack {
    fn part(&self, grid: &Grid, kind: Kind, phase: u64, segment: u64, part: u64) -> Option<Bytes> {
        let (on_grid, count) = grid.part(kind, phase + segment, part);
        let first = on_grid - grid.first_sample(kind, phase);
        let range = usize::try_from(first).ok()?..usize::try_from(first + count).ok()?;
        let samples = self.samples.get(range)?;
        let duration = grid.sample_duration(kind);
        let time = match kind {
            Kind::Video => first * u64::from(duration),
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

    fn track(samples: usize) -> CodedTrack {
        let sample = |i: usize| (i.is_multiple_of(50), Bytes::from(vec![i as u8; 4]));
        CodedTrack {
            init: Bytes::from_static(b"init"),
            samples: (0..samples).map(sample).collect(),
        }
    }

    #[test]
    fn every_phase_has_the_samples_of_the_content() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let creative = Conditioned::new(3, vec![track(150), track(300)]);
        for phase in 0..grid.phases(Kind::Audio) {
            for segment in 0..3 {
                let parts = grid.parts(Kind::Audio, phase + segment);
                let get = |name: String| creative.object(&grid, Kind::Audio, 1, phase, &name);
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
        assert_eq!(creative.object(&grid, Kind::Video, 0, 0, "3.m4s"), None);
        assert_eq!(creative.object(&grid, Kind::Video, 0, 0, "x.m4s"), None);
        assert_eq!(creative.object(&grid, Kind::Video, 0, 0, "init.mp4").unwrap(), "init");
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
            bytes.extend(track(300).part(&grid, Kind::Audio, phase, 0, 0).unwrap());
            let items = Reader::default().push(&bytes).unwrap();
            let Item::Sample(first) = &items[1] else { panic!("no sample") };
            assert_eq!(first.time, delay);
        }
    }
}
