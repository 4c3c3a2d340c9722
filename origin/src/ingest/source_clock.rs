//! A publisher's clock, measured by when its data arrive, and followed.
//!
//! Nothing arrives before it was made, and the way here only ever adds to that. So the least delay
//! of the last seconds says how the two clocks stand, whatever single pieces met on their way. The
//! times that the encoder is given are slewed after it, too slowly to be heard: the content neither
//! drifts from the grid nor breaks.

use std::collections::VecDeque;

/// How long the least delay counts, in milliseconds: longer than what a connection stalls for, and
/// short enough for a clock that is off by a thousandth.
const WINDOW_MS: u64 = 10_000;

/// How much of the window must be known before it says anything, in milliseconds.
const KNOWN_MS: u64 = 5_000;

/// Delays within this time are one entry of the window, in milliseconds.
const SPAN_MS: u64 = 100;

/// The difference is made up for within about this time, in milliseconds.
const SETTLE_MS: f64 = 10_000.0;

/// The most by which time is stretched: a twelfth of a semitone.
const SLEW_MAX: f64 = 0.005;

/// A clock that is further away than this, in milliseconds, was set anew.
const APART_MAX_MS: f64 = 2_000.0;

/// A publisher's clock beside the origin's, from an anchor on.
#[derive(Debug, Clone)]
pub(crate) struct SourceClock {
    /// What the publisher's clock showed last.
    last: u32,
    /// What has passed on it since the anchor, in milliseconds.
    passed_ms: i64,
    /// The furthest that it came, and when that was on the origin's clock.
    furthest: (i64, u64),
    /// Where the anchor is on the origin's clock, in Unix milliseconds.
    anchor_ms: u64,
    /// When something arrived last, on the origin's clock.
    arrived_ms: u64,
    /// What is added to the publisher's time.
    shift_ms: f64,
    /// Least delays by the time of their first arrival, the oldest first.
    window: VecDeque<(u64, f64)>,
    /// How fast the publisher's clock is losing, as a share.
    drift: Drift,
}

/// The publisher's clock cannot be followed: it was set anew, or stood still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Jump {
    /// It is ahead of the data's arrival.
    #[error("it is {0} ms ahead of what it was")]
    Ahead(u64),
    /// It was set back, or for some time now all that it stamps has been late.
    #[error("it is {0} ms behind what it was")]
    Behind(u64),
}

impl SourceClock {
    /// Begins with data that the publisher stamped with `time`, which arrived at `arrived_ms`.
    pub(crate) fn new(time: u32, arrived_ms: u64) -> Self {
        Self {
            last: time,
            passed_ms: 0,
            furthest: (0, arrived_ms),
            anchor_ms: arrived_ms,
            arrived_ms,
            shift_ms: 0.0,
            window: VecDeque::new(),
            drift: Drift::default(),
        }
    }

    /// When data that were stamped with `time` and arrived at `arrived_ms` belong on the origin's
    /// clock, in Unix milliseconds.
    ///
    /// # Errors
    /// When the clock cannot be followed: begin with a new one.
    pub(crate) fn place(&mut self, time: u32, arrived_ms: u64) -> Result<u64, Jump> {
        self.passed_ms = self.since_anchor(time);
        self.last = time;
        if self.passed_ms > self.furthest.0 {
            self.furthest = (self.passed_ms, arrived_ms);
        }
        // What is late on its way keeps its order, so this is no lateness.
        let back_ms = self.furthest.0 - self.passed_ms;
        if back_ms as f64 > APART_MAX_MS {
            return Err(Jump::Behind(back_ms.unsigned_abs()));
        }
        let since_ms = arrived_ms.saturating_sub(self.anchor_ms);
        let delay_ms = since_ms as f64 - self.passed_ms as f64;
        if delay_ms - self.shift_ms < -APART_MAX_MS {
            return Err(Jump::Ahead((self.shift_ms - delay_ms) as u64));
        }
        self.note(arrived_ms, delay_ms);
        self.follow(arrived_ms)?;
        Ok(self.at(time))
    }

    /// When data that were stamped with `time` belong on the origin's clock, by what is known.
    pub(crate) fn at(&self, time: u32) -> u64 {
        let since_ms = self.since_anchor(time) as f64 + self.shift_ms;
        self.anchor_ms.saturating_add_signed(since_ms.round() as i64)
    }

    /// What has passed on the publisher's clock since the anchor, in milliseconds.
    pub(crate) fn passed_ms(&self) -> i64 {
        self.passed_ms
    }

    /// For how long the publisher's clock has not gone on though data came, in milliseconds.
    pub(crate) fn still_ms(&self) -> u64 {
        self.arrived_ms.saturating_sub(self.furthest.1)
    }

    /// How far the publisher's clock has fallen behind since the anchor, in milliseconds.
    pub(crate) fn offset_ms(&self) -> f64 {
        self.shift_ms
    }

    /// How fast the publisher's clock falls behind, in millionths; negative where it gains.
    pub(crate) fn drift_ppm(&self) -> f64 {
        self.drift.ppm()
    }

    /// Counted from the last time, so that the clock may pass its 32 bits.
    fn since_anchor(&self, time: u32) -> i64 {
        self.passed_ms + i64::from(time.wrapping_sub(self.last) as i32)
    }

    fn note(&mut self, arrived_ms: u64, delay_ms: f64) {
        match self.window.back_mut() {
            Some((from, least)) if arrived_ms < *from + SPAN_MS => *least = least.min(delay_ms),
            _ => self.window.push_back((arrived_ms, delay_ms)),
        }
        while self.window.front().is_some_and(|(from, _)| from + WINDOW_MS < arrived_ms) {
            self.window.pop_front();
        }
    }

    fn follow(&mut self, arrived_ms: u64) -> Result<(), Jump> {
        let passed_ms = arrived_ms.saturating_sub(self.arrived_ms) as f64;
        self.arrived_ms = arrived_ms;
        let known = self.window.front().is_some_and(|(from, _)| from + KNOWN_MS <= arrived_ms);
        if !known {
            return Ok(());
        }
        let least = self.window.iter().map(|(_, least)| *least).fold(f64::INFINITY, f64::min);
        let apart_ms = least - self.shift_ms;
        if apart_ms > APART_MAX_MS {
            return Err(Jump::Behind(apart_ms as u64));
        }
        let most = SLEW_MAX * passed_ms;
        self.shift_ms += (apart_ms * (passed_ms / SETTLE_MS).min(1.0)).clamp(-most, most);
        self.drift.note(arrived_ms, self.shift_ms);
        Ok(())
    }
}

/// How the shift changes over the last minute.
#[derive(Debug, Clone, Default)]
struct Drift {
    /// The shift by time, once a second.
    shifts: VecDeque<(u64, f64)>,
}

impl Drift {
    const OVER_MS: u64 = 60_000;

    fn note(&mut self, now_ms: u64, shift_ms: f64) {
        if self.shifts.back().is_some_and(|(at, _)| now_ms < at + 1000) {
            return;
        }
        self.shifts.push_back((now_ms, shift_ms));
        while self.shifts.front().is_some_and(|(at, _)| at + Self::OVER_MS < now_ms) {
            self.shifts.pop_front();
        }
    }

    fn ppm(&self) -> f64 {
        let ends = self.shifts.front().zip(self.shifts.back());
        match ends {
            Some(((from, first), (to, last))) if to > from => {
                (last - first) / (to - from) as f64 * 1e6
            }
            _ => 0.0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    /// A publisher: 30 pictures a second by its own clock, which runs slow by `ppm`, over a way
    /// that takes 40 ms and now and then up to 300 ms more.
    struct Simulation {
        ppm: f64,
        seed: u64,
        first_time: u32,
    }

    impl Simulation {
        /// Stamp and arrival of picture `n`, and the true time at which it was taken.
        fn picture(&mut self, n: u64) -> (u32, f64, f64) {
            let stamped_ms = n as f64 * 1000.0 / 30.0;
            let taken_ms = stamped_ms * (1.0 + self.ppm / 1e6);
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let chance = (self.seed >> 40) as f64 / (1u64 << 24) as f64;
            let extra = if chance > 0.9 { (chance - 0.9) * 3000.0 } else { chance * 5.0 };
            let time = self.first_time.wrapping_add(stamped_ms as u32);
            (time, taken_ms + 40.0 + extra, taken_ms)
        }
    }

    /// The furthest that any picture lies from where it belongs, in milliseconds, once the first
    /// two minutes are over; and the clock in the end.
    fn run(ppm: f64, hours: f64, seed: u64) -> (f64, SourceClock) {
        let first_time = u32::MAX - 3_600_000;
        let mut publisher = Simulation { ppm, seed, first_time };
        let (time, arrived, _) = publisher.picture(0);
        let mut clock = SourceClock::new(time, START_MS + arrived as u64);
        let (mut furthest, mut before, mut last_arrival) = (0.0_f64, 0_u64, 0.0_f64);
        for n in 1..(hours * 3600.0 * 30.0) as u64 {
            let (time, arrived, taken) = publisher.picture(n);
            // TCP keeps the order.
            last_arrival = last_arrival.max(arrived);
            let place = clock.place(time, START_MS + last_arrival as u64).unwrap();
            let step = place.saturating_sub(before) as f64;
            assert!(n < 2 || (32.0..=35.0).contains(&step), "picture {n} came after {step} ms");
            before = place;
            if n > 120 * 30 {
                furthest = furthest.max((place as f64 - START_MS as f64 - taken - 40.0).abs());
            }
        }
        (furthest, clock)
    }

    #[test]
    fn six_hours_at_200_ppm_neither_drift_nor_break() {
        for (ppm, seed) in [(200.0, 1), (-200.0, 2), (0.0, 3)] {
            let (furthest, clock) = run(ppm, 6.0, seed);
            assert!(furthest < 15.0, "{ppm} ppm: {furthest} ms");
            assert!((clock.drift_ppm() - ppm).abs() < 60.0, "{} ppm", clock.drift_ppm());
            assert!((clock.offset_ms() - ppm * 21.6).abs() < 20.0, "{} ms", clock.offset_ms());
        }
    }

    #[test]
    fn a_clock_that_is_off_by_2000_ppm_is_followed() {
        for ppm in [2000.0, -2000.0] {
            let (furthest, _) = run(ppm, 0.5, 7);
            assert!(furthest < 60.0, "{furthest} ms");
        }
    }

    #[test]
    fn a_stall_moves_nothing() {
        let mut clock = SourceClock::new(0, START_MS);
        for n in 1..600_u32 {
            clock.place(n * 33, START_MS + u64::from(n) * 33).unwrap();
        }
        // 3 s in which nothing comes, and then all of it within a tenth of a second.
        let stalled = START_MS + 600 * 33 + 3000;
        for n in 600..690_u32 {
            clock.place(n * 33, stalled + u64::from(n - 600)).unwrap();
        }
        for n in 700..1300_u32 {
            let place = clock.place(n * 33, START_MS + u64::from(n) * 33).unwrap();
            assert!(place.abs_diff(START_MS + u64::from(n) * 33) <= 1);
        }
    }

    #[test]
    fn a_clock_that_stands_is_known_whatever_order_picture_and_sound_have() {
        let mut clock = SourceClock::new(0, START_MS);
        for n in 1..100_u32 {
            clock.place(n * 33, START_MS + u64::from(n) * 33).unwrap();
            clock.place(n * 33 - 20, START_MS + u64::from(n) * 33 + 5).unwrap();
        }
        assert!(clock.still_ms() < 10);
        for n in 100..200_u32 {
            clock.place(99 * 33 - n % 2, START_MS + u64::from(n) * 33).unwrap();
        }
        assert_eq!(clock.still_ms(), 100 * 33);
    }

    #[test]
    fn a_clock_that_was_set_anew_is_told() {
        let begun = || {
            let mut clock = SourceClock::new(0, START_MS);
            (1..600_u32).for_each(|n| {
                clock.place(n * 33, START_MS + u64::from(n) * 33).unwrap();
            });
            clock
        };
        let now = START_MS + 600 * 33;
        assert_eq!(begun().place(600 * 33 + 60_000, now), Err(Jump::Ahead(60_000)));
        assert_eq!(begun().place(599 * 33 - 15_000, now), Err(Jump::Behind(15_000)));
        // Behind by a minute and in order: that could be a stall, until it has lasted.
        let mut clock = begun();
        let late = |n: u32| (n * 33 - 60_000, START_MS + u64::from(n) * 33);
        let first = (4000..5000).find_map(|n| {
            let (time, arrived) = late(n);
            clock.place(time, arrived).err().map(|jump| (n, jump))
        });
        let (n, jump) = first.unwrap();
        assert!(matches!(jump, Jump::Behind(59_000..=61_000)), "{jump}");
        assert!((4100..4400).contains(&n), "{n}");
    }
}
