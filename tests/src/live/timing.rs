//! Decode times of the content against its dates.
//!
//! The distance between the two is the same for the life of an event, breaks included, and in every
//! rendition. Creatives count from the start of their slot; M3 is the rule for them.

use super::date::unix_micros;
use super::fragment::{Init, Span};
use super::playlist::Segment;
use super::report::{Notes, Report};

/// Microseconds by which a printed date may differ from the exact one: it has milliseconds.
const PRINT: u64 = 1_000;

/// The distance of the first content that was fetched.
#[derive(Debug, Default)]
pub(super) struct Timing(Option<Distance>);

/// From decode time 0 to 1970.
#[derive(Debug, Clone, Copy)]
struct Distance {
    micros: i128,
    /// Microseconds of the longest sample.
    sample: u64,
}

impl Distance {
    fn of(segment: &Segment, index: usize, init: &Init, span: Span) -> Option<Self> {
        let date = unix_micros(segment.date.as_deref()?)?;
        let parts = segment.parts.iter().take(index);
        let date = date + parts.map(|part| part.duration).sum::<u64>();
        Some(Self {
            micros: i128::from(date) - i128::from(init.micros(span.start)),
            sample: init.micros(span.sample),
        })
    }

    /// Whether two are the same, by the printed date and one sample.
    fn agrees(self, other: Self) -> bool {
        let apart = (self.micros - other.micros).unsigned_abs();
        apart <= u128::from(PRINT + self.sample.max(other.sample))
    }
}

impl Timing {
    /// Content that came: the part of this index, or the whole segment as index 0.
    pub(super) fn saw(
        &mut self,
        (segment, index): (&Segment, usize),
        (init, span): (&Init, Span),
        line: usize,
        notes: Notes<'_>,
    ) {
        let Some(here) = Distance::of(segment, index, init, span) else {
            return;
        };
        let Some(first) = self.0 else {
            self.0 = Some(here);
            return;
        };
        notes.must(here.agrees(first), "M5", line, || {
            format!(
                "segment {} part {index}: date and decode time are {} us apart from what they were at first",
                segment.sequence,
                here.micros - first.micros
            )
        });
    }
}

/// 6.2.4: matching content has matching timestamps in every rendition.
pub(super) fn judge(report: &Report, all: &[(&str, &Timing)]) {
    for (at, (name, timing)) in all.iter().enumerate() {
        for (other, theirs) in all.iter().take(at) {
            let (Some(here), Some(there)) = (timing.0, theirs.0) else {
                continue;
            };
            report.of(name).must(here.agrees(there), "R3", 0, || {
                format!(
                    "decode times count from {} us after those of {other}",
                    here.micros - there.micros
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;
    use crate::playlist::date_time;

    const EPOCH_MS: u64 = 1_767_225_600_123;

    /// One track of the origin's: sample `k` decodes at `k * sample`, and its date is rounded down
    /// to a millisecond.
    struct Track {
        timescale: u64,
        sample: u64,
    }

    impl Track {
        fn saw(&self, timing: &mut Timing, report: &Report, k: u64, shift: u64) {
            let ms = EPOCH_MS + k * self.sample * 1000 / self.timescale;
            let segment = Segment { date: Some(date_time(ms)), ..Segment::default() };
            let span =
                Span { start: k * self.sample + shift, duration: self.sample, sample: self.sample };
            let init = Init::of_timescale(self.timescale);
            timing.saw((&segment, 0), (&init, span), 0, report.of("v"));
        }
    }

    const TRACKS: [Track; 3] = [
        Track { timescale: 25_000, sample: 1000 },
        Track { timescale: 60_000, sample: 1001 },
        Track { timescale: 48_000, sample: 1024 },
    ];

    #[test]
    fn the_origin_s_grid_keeps_its_distance_for_days_and_in_every_track() {
        let report = Report::default();
        let mut timings: [Timing; 3] = Default::default();
        for (track, timing) in TRACKS.iter().zip(&mut timings) {
            for k in (0..20_000_000).step_by(99_991) {
                track.saw(timing, &report, k, 0);
            }
        }
        let all: Vec<_> = ["v", "w", "a"].into_iter().zip(&timings).collect();
        judge(&report, &all);
        assert_eq!(report.findings(), []);
    }

    #[test]
    fn one_sample_is_forgiven_and_two_are_not() {
        for track in TRACKS {
            for (samples, broken) in [(1, vec![]), (2, vec!["M5"])] {
                let (report, mut timing) = (Report::default(), Timing::default());
                track.saw(&mut timing, &report, 1_000_000, 0);
                track.saw(&mut timing, &report, 1_000_777, samples * track.sample);
                assert_eq!(report.broken(), broken);
            }
        }
    }

    #[test]
    fn two_renditions_may_be_the_longer_sample_apart() {
        let [_, video, audio] = TRACKS;
        // 2000 units of 48 000 are 41.7 ms, an audio frame 21.3 ms, a frame at 59.94 16.7 ms.
        for (shift, broken) in [(0, vec![]), (1000, vec![]), (2000, vec!["R3"])] {
            let report = Report::default();
            let (mut one, mut other) = (Timing::default(), Timing::default());
            video.saw(&mut one, &report, 600, 0);
            audio.saw(&mut other, &report, 480, shift);
            judge(&report, &[("v", &one), ("a", &other)]);
            let found = report.broken();
            assert_eq!(found, broken, "{shift}");
        }
    }
}
