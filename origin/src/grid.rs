//! The wall-clock grid of an event: which sample belongs to which segment and part.
//!
//! All of it is exact integer arithmetic from the start of segment 0, so that two processes with
//! the same grid never disagree. A sample is a video frame or an AAC frame.

use serde::{Deserialize, Serialize};

/// Audio samples in one AAC frame.
pub const AAC_FRAME: u64 = 1024;

/// Smallest share of the part target that a part other than the last of its segment may have
/// (LL-HLS asks for 85 %).
const PART_FLOOR_PERCENT: u64 = 85;

/// The time base of an event, fixed for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Unix milliseconds at which segment 0 starts.
    #[serde(alias = "epoch_ms")]
    pub zero_ms: u64,
    /// Frames a second as numerator and denominator: `(30000, 1001)`.
    pub fps: (u32, u32),
    /// Video frames in every segment.
    pub segment_frames: u32,
    /// Video frames in every part; divides `segment_frames`.
    pub part_frames: u32,
    /// Audio samples a second.
    pub audio_rate: u32,
}

/// The kinds of media, which differ in what a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A sample is a frame of the picture.
    Video,
    /// A sample is every second frame of the picture, from the first of a segment on. Only where
    /// [`Grid::can_halve`].
    HalfVideo,
    /// A sample is an AAC frame of 1024 audio samples.
    Audio,
}

/// Why a [`Grid`] cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    /// The frame rate is zero, or above 120 frames a second.
    #[error("a frame rate of {0}/{1} cannot be used: expected 1 to 120 frames a second")]
    FrameRate(u32, u32),
    /// Segments hold no whole number of parts.
    #[error(
        "segments of {segment_ms} ms cannot be cut into parts of at most {part_ms} ms at this \
         frame rate: choose other lengths"
    )]
    Lengths {
        /// Asked segment duration.
        segment_ms: u32,
        /// Asked part target.
        part_ms: u32,
    },
}

impl Kind {
    /// Whether it is a picture, at whatever rate.
    #[must_use]
    pub fn is_picture(self) -> bool {
        matches!(self, Self::Video | Self::HalfVideo)
    }
}

impl Grid {
    /// Makes a grid whose segments come nearest to `segment_ms`, with the longest equal parts of at
    /// most about `part_ms`.
    ///
    /// # Errors
    /// When the frame rate is out of range or the lengths do not fit each other.
    pub fn new(
        zero_ms: u64,
        fps: (u32, u32),
        segment_ms: u32,
        part_ms: u32,
    ) -> Result<Self, GridError> {
        let (num, den) = fps;
        if num == 0 || den == 0 || num > den.saturating_mul(120) || num < den {
            return Err(GridError::FrameRate(num, den));
        }
        let lengths = GridError::Lengths { segment_ms, part_ms };
        // The nominal rate: 29.97 counts as 30, so that a part of "200 ms" has 6 frames and lasts
        // 200.2 ms.
        let nominal = u64::from(num.div_ceil(den));
        let segment_frames = (nominal * u64::from(segment_ms) + 500) / 1000;
        let most = nominal * u64::from(part_ms) / 1000;
        let part_frames =
            (1..=most).rev().find(|n| segment_frames.is_multiple_of(*n)).ok_or(lengths)?;
        let grid = Self {
            zero_ms,
            fps,
            segment_frames: u32::try_from(segment_frames).map_err(|_| lengths)?,
            part_frames: u32::try_from(part_frames).map_err(|_| lengths)?,
            audio_rate: 48_000,
        };
        let (part, scale) = grid.part_target();
        let audio = grid.part_samples(Kind::Audio) * AAC_FRAME * scale * 100;
        let fits = audio >= part * u64::from(grid.audio_rate) * PART_FLOOR_PERCENT;
        if segment_frames == 0 || !fits { Err(lengths) } else { Ok(grid) }
    }

    /// Whether half the frames make whole parts as well.
    #[must_use]
    pub fn can_halve(&self) -> bool {
        self.part_frames.is_multiple_of(2)
    }

    /// Frames a second of a picture, as numerator and denominator; 0 of sound.
    #[must_use]
    pub fn rate(&self, kind: Kind) -> (u32, u32) {
        let (num, den) = self.fps;
        match kind {
            Kind::Video => (num, den),
            Kind::HalfVideo if num.is_multiple_of(2) => (num / 2, den),
            Kind::HalfVideo => (num, den.saturating_mul(2)),
            Kind::Audio => (0, 1),
        }
    }

    /// Segment duration in seconds as numerator and denominator.
    #[must_use]
    pub fn segment_duration(&self) -> (u64, u64) {
        (u64::from(self.segment_frames) * u64::from(self.fps.1), u64::from(self.fps.0))
    }

    /// Part target in seconds as numerator and denominator: the duration of a video part, which no
    /// audio part exceeds.
    #[must_use]
    pub fn part_target(&self) -> (u64, u64) {
        (u64::from(self.part_frames) * u64::from(self.fps.1), u64::from(self.fps.0))
    }

    /// `EXT-X-TARGETDURATION`: the longest segment of any kind, rounded to whole seconds.
    #[must_use]
    pub fn target_duration_s(&self) -> u64 {
        let (num, den) = self.segment_duration();
        let longest = (num * u64::from(self.audio_rate)).div_ceil(den * AAC_FRAME) * AAC_FRAME;
        let rate = u64::from(self.audio_rate);
        ((2 * num + den) / (2 * den)).max((2 * longest + rate) / (2 * rate)).max(1)
    }

    /// Unix milliseconds at which segment `msn` starts, rounded down.
    #[must_use]
    pub fn start_ms(&self, msn: u64) -> u64 {
        let (num, den) = self.segment_duration();
        let since = u128::from(msn) * u128::from(num) * 1000 / u128::from(den);
        self.zero_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// The segment that holds this Unix time; 0 for times before segment 0.
    #[must_use]
    pub fn msn_at(&self, unix_ms: u64) -> u64 {
        let (num, den) = self.segment_duration();
        let since = u128::from(unix_ms.saturating_sub(self.zero_ms));
        u64::try_from(since * u128::from(den) / (u128::from(num) * 1000)).unwrap_or(u64::MAX)
    }

    /// Segments that cover `ms` milliseconds, rounded up.
    #[must_use]
    pub fn segments_in_ms(&self, ms: u64) -> u64 {
        let (num, den) = self.segment_duration();
        let count = (u128::from(ms) * u128::from(den)).div_ceil(u128::from(num) * 1000);
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Milliseconds that `segments` segments last, rounded down.
    #[must_use]
    pub fn duration_ms(&self, segments: u64) -> u64 {
        self.start_ms(segments) - self.zero_ms
    }

    /// After how many segments the cut of this kind repeats: 1 for video, 4 for audio in segments
    /// of 2 s at 48 kHz.
    #[must_use]
    pub fn phases(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Video | Kind::HalfVideo => 1,
            Kind::Audio => {
                let (num, den) = self.frames_per_segment();
                den / gcd(num, den)
            }
        }
    }

    /// Index, counted from segment 0, of the first sample whose start lies in segment `msn`.
    #[must_use]
    pub fn first_sample(&self, kind: Kind, msn: u64) -> u64 {
        match kind {
            Kind::Video => msn.saturating_mul(u64::from(self.segment_frames)),
            Kind::HalfVideo => msn.saturating_mul(u64::from(self.segment_frames / 2)),
            Kind::Audio => {
                let (num, den) = self.frames_per_segment();
                let first = (u128::from(msn) * u128::from(num)).div_ceil(u128::from(den));
                u64::try_from(first).unwrap_or(u64::MAX)
            }
        }
    }

    /// Samples in segment `msn`.
    #[must_use]
    pub fn samples(&self, kind: Kind, msn: u64) -> u64 {
        self.first_sample(kind, msn.saturating_add(1)).saturating_sub(self.first_sample(kind, msn))
    }

    /// The segment that holds sample `index`.
    #[must_use]
    pub fn msn_of(&self, kind: Kind, index: u64) -> u64 {
        match kind {
            Kind::Video => index / u64::from(self.segment_frames),
            Kind::HalfVideo => index / u64::from(self.segment_frames / 2).max(1),
            Kind::Audio => {
                let (num, den) = self.frames_per_segment();
                u64::try_from(u128::from(index) * u128::from(den) / u128::from(num))
                    .unwrap_or(u64::MAX)
            }
        }
    }

    /// Samples in every part but the last of a segment.
    #[must_use]
    pub fn part_samples(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Video => u64::from(self.part_frames),
            Kind::HalfVideo => u64::from(self.part_frames / 2).max(1),
            Kind::Audio => {
                let (num, den) = self.part_target();
                (num * u64::from(self.audio_rate) / (den * AAC_FRAME)).max(1)
            }
        }
    }

    /// Parts in segment `msn`.
    #[must_use]
    pub fn parts(&self, kind: Kind, msn: u64) -> u64 {
        self.samples(kind, msn).div_ceil(self.part_samples(kind))
    }

    /// Parts in the segment that has most of them.
    #[must_use]
    pub fn most_parts(&self) -> u64 {
        let of = |kind| (0..self.phases(kind)).map(move |msn| self.parts(kind, msn));
        of(Kind::Video).chain(of(Kind::Audio)).max().unwrap_or(0)
    }

    /// Index of the first sample of a part, and the number of its samples (0 past the last part).
    #[must_use]
    pub fn part(&self, kind: Kind, msn: u64, part: u64) -> (u64, u64) {
        let each = self.part_samples(kind);
        let offset = part.saturating_mul(each);
        let left = self.samples(kind, msn).saturating_sub(offset);
        (self.first_sample(kind, msn).saturating_add(offset), left.min(each))
    }

    /// Units a second in which decode times of this kind count.
    #[must_use]
    pub fn timescale(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Video | Kind::HalfVideo => self.fps.0.saturating_mul(self.video_unit()),
            Kind::Audio => self.audio_rate,
        }
    }

    /// Units of [`Grid::timescale`] in one sample.
    #[must_use]
    pub fn sample_duration(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Video => self.fps.1.saturating_mul(self.video_unit()),
            Kind::HalfVideo => self.fps.1.saturating_mul(2 * self.video_unit()),
            Kind::Audio => AAC_FRAME as u32,
        }
    }

    /// Index of the first sample that starts at or after this Unix time.
    #[must_use]
    pub fn sample_at(&self, kind: Kind, unix_ms: u64) -> u64 {
        let since = u128::from(unix_ms.saturating_sub(self.zero_ms));
        let scale = u128::from(self.timescale(kind));
        let each = u128::from(self.sample_duration(kind)) * 1000;
        u64::try_from((since * scale).div_ceil(each)).unwrap_or(u64::MAX)
    }

    /// Unix milliseconds at which sample `index` starts, rounded down.
    #[must_use]
    pub fn sample_ms(&self, kind: Kind, index: u64) -> u64 {
        let units = u128::from(index) * u128::from(self.sample_duration(kind)) * 1000;
        let since = units / u128::from(self.timescale(kind));
        self.zero_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// AAC frames in one segment as numerator and denominator.
    fn frames_per_segment(&self) -> (u64, u64) {
        let (num, den) = self.segment_duration();
        (num * u64::from(self.audio_rate), den * AAC_FRAME)
    }

    /// Whole rates count in thousandths, so that a timescale is fine enough for every player.
    fn video_unit(&self) -> u32 {
        if self.fps.0 < 1000 { 1000 } else { 1 }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn grid(fps: (u32, u32)) -> Grid {
        Grid::new(1_700_000_000_000, fps, 2000, 200).unwrap()
    }

    #[test]
    fn whole_rates_have_two_second_segments() {
        for (fps, part) in [(25, 5), (30, 6), (50, 10), (60, 12), (24, 4)] {
            let grid = grid((fps, 1));
            assert_eq!((grid.segment_frames, grid.part_frames), (2 * fps, part));
            assert_eq!(grid.start_ms(3) - grid.zero_ms, 6000);
            assert_eq!(grid.phases(Kind::Audio), 4);
            assert_eq!(grid.target_duration_s(), 2);
        }
    }

    #[test]
    fn ntsc_rates_stay_exact_over_a_day() {
        for (num, frames, part) in [(30_000, 60, 6), (60_000, 120, 12)] {
            let grid = grid((num, 1001));
            assert_eq!((grid.segment_frames, grid.part_frames), (frames, part));
            assert_eq!(grid.start_ms(43_200) - grid.zero_ms, 43_200 * 2002);
            assert_eq!(grid.phases(Kind::Audio), 32);
            assert_eq!(grid.target_duration_s(), 2);
            assert_eq!(grid.part_target(), (u64::from(part) * 1001, u64::from(num)));
        }
    }

    #[test]
    fn audio_lengths_repeat_after_the_phases_and_lose_nothing() {
        let grid = grid((25, 1));
        let lengths: Vec<u64> = (0..8).map(|n| grid.samples(Kind::Audio, n)).collect();
        assert_eq!(lengths, [94, 94, 94, 93, 94, 94, 94, 93]);
        for msn in [0, 7, 1_000_003] {
            let first = grid.first_sample(Kind::Audio, msn);
            assert_eq!(grid.msn_of(Kind::Audio, first), msn);
            assert_eq!(grid.msn_of(Kind::Audio, first + grid.samples(Kind::Audio, msn) - 1), msn);
            let parts = grid.parts(Kind::Audio, msn);
            let sum: u64 = (0..parts).map(|p| grid.part(Kind::Audio, msn, p).1).sum();
            assert_eq!(sum, grid.samples(Kind::Audio, msn));
            assert_eq!(grid.part(Kind::Audio, msn, parts).1, 0);
        }
    }

    #[test]
    fn time_and_sequence_are_inverse() {
        for fps in [(25, 1), (30_000, 1001), (60_000, 1001)] {
            let grid = grid(fps);
            for msn in [0, 1, 99, 123_456] {
                assert_eq!(grid.msn_at(grid.start_ms(msn)), msn);
                assert_eq!(
                    grid.sample_at(Kind::Video, grid.start_ms(msn)),
                    grid.first_sample(Kind::Video, msn)
                );
            }
            assert_eq!(grid.msn_at(0), 0);
        }
    }

    #[test]
    fn no_audio_part_exceeds_the_part_target() {
        for fps in [(24, 1), (25, 1), (30_000, 1001), (60_000, 1001), (24_000, 1001)] {
            let grid = grid(fps);
            let (num, den) = grid.part_target();
            let audio = grid.part_samples(Kind::Audio) * AAC_FRAME;
            assert!(audio * den <= num * 48_000);
            assert!(audio * den * 100 >= num * 48_000 * 85);
        }
    }

    #[test]
    fn half_of_the_frames_stand_where_all_of_them_do() {
        for fps in [(50, 1), (60_000, 1001)] {
            let grid = grid(fps);
            assert!(grid.can_halve());
            for msn in [0, 1, 86_399] {
                assert_eq!(grid.parts(Kind::HalfVideo, msn), grid.parts(Kind::Video, msn));
                for part in 0..grid.parts(Kind::Video, msn) {
                    let (all, half) =
                        (grid.part(Kind::Video, msn, part), grid.part(Kind::HalfVideo, msn, part));
                    assert_eq!((half.0 * 2, half.1 * 2), all);
                    assert_eq!(grid.msn_of(Kind::HalfVideo, half.0), msn);
                }
            }
            let second = |kind| {
                u64::from(grid.timescale(kind)) * 1000 / u64::from(grid.sample_duration(kind))
            };
            assert_eq!(second(Kind::Video) / 2, second(Kind::HalfVideo));
        }
        assert_eq!(grid((60_000, 1001)).rate(Kind::HalfVideo), (30_000, 1001));
        assert_eq!(grid((25, 1)).rate(Kind::HalfVideo), (25, 2));
        assert!(!grid((25, 1)).can_halve());
    }

    #[test]
    fn refuses_what_cannot_be_cut() {
        assert!(matches!(Grid::new(0, (0, 1), 2000, 200), Err(GridError::FrameRate(..))));
        assert!(matches!(Grid::new(0, (25, 1), 2000, 10), Err(GridError::Lengths { .. })));
    }
}
