//! What time it is.
//!
//! What is on the air follows the origin's own clock: the machine's at the start, and from then on
//! the time that has passed. Where the machine's clock is set anew, a small difference is made up
//! for slowly, and a large one is not followed: a step either way changes nothing on the air.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A difference of the machine's clock from this one that is still followed, in microseconds. What
/// keeps a clock right corrects by less.
const FOLLOWED_US: i64 = 2_000_000;

/// How far a second may be stretched to follow, in microseconds: nobody sees or hears it.
const SLEW_US: i64 = 500;

/// How often the machine's clock is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

static CLOCK: LazyLock<(Instant, Mutex<Clock>)> =
    LazyLock::new(|| (Instant::now(), Mutex::new(Clock::new(wall_us()))));

/// The origin's own clock in Unix milliseconds: what the grid, the packager and breaks go by.
#[must_use]
pub fn now_ms() -> u64 {
    with_clock(|clock, passed| clock.read(passed, wall_us())) / 1000
}

/// The machine's clock in Unix milliseconds: what others compare with theirs, such as when a pass
/// ends.
#[must_use]
pub fn wall_ms() -> u64 {
    wall_us() / 1000
}

/// Sets the clock forward to the end of an event's timeline that was written by one that was ahead,
/// so that the timeline goes on at once. Once the process is [`up`], that would throw off what else
/// is on the air: an event that comes later, such as one whose database was late, waits then until
/// the clock is there.
pub fn hold_to(event: &str, unix_ms: u64) {
    with_clock(|clock, passed| {
        let now = clock.read(passed, wall_us());
        let held = clock.hold_to(now, unix_ms.saturating_mul(1000));
        match held {
            Held::There => {}
            Held::Stepped(us) => tracing::warn!(
                event,
                ahead_s = us / 1_000_000,
                "the machine's clock is behind what is on the air, so the origin keeps the time on \
                 the air"
            ),
            Held::Refused(us) => tracing::error!(
                event,
                ahead_s = us / 1_000_000,
                "this event was on the air at a time that is still to come: it goes on then, because \
                 others are on the air now"
            ),
        }
    });
}

/// All events of the start are there.
pub fn up() {
    with_clock(|clock, _| clock.is_up = true);
}

/// Something on the air that goes by the clock, as long as the value lives.
#[derive(Debug)]
pub struct Follower(());

/// Goes by the clock from now on.
#[must_use]
pub fn follow() -> Follower {
    with_clock(|clock, _| clock.followers += 1);
    Follower(())
}

impl Drop for Follower {
    fn drop(&mut self) {
        with_clock(|clock, _| clock.followers -= 1);
    }
}

/// How far the origin's clock is ahead of the machine's, in milliseconds.
#[must_use]
pub fn ahead_ms() -> i64 {
    let own = i64::try_from(now_ms()).unwrap_or(i64::MAX);
    own.saturating_sub_unsigned(wall_ms())
}

fn with_clock<T>(use_it: impl FnOnce(&mut Clock, Duration) -> T) -> T {
    let (start, clock) = &*CLOCK;
    use_it(&mut clock.lock().unwrap_or_else(PoisonError::into_inner), start.elapsed())
}

fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The clock, without the machine: a caller says what has passed, and what the machine's shows.
#[derive(Debug)]
struct Clock {
    /// Unix microseconds at `at`.
    us: u64,
    /// What had passed since the start when it was read last.
    at: Duration,
    /// When the machine's clock is looked at next.
    look: Duration,
    /// What is still to be made up for, in microseconds.
    owed_us: i64,
    /// Whether the machine's clock is too far away to be followed.
    is_apart: bool,
    /// Whether all events of the start are there.
    is_up: bool,
    /// What is on the air.
    followers: usize,
}

/// What became of a time to which the clock was to be set forward.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    /// It was there, or nearly.
    There,
    /// It was behind by so many microseconds, and is there now.
    Stepped(u64),
    /// It is behind by so many, and stays there.
    Refused(u64),
}

impl Clock {
    fn new(wall_us: u64) -> Self {
        Self {
            us: wall_us,
            at: Duration::ZERO,
            look: LOOK_EVERY,
            owed_us: 0,
            is_apart: false,
            is_up: false,
            followers: 0,
        }
    }

    fn hold_to(&mut self, now_us: u64, until_us: u64) -> Held {
        let ahead_us = until_us.saturating_sub(now_us);
        if ahead_us <= FOLLOWED_US.unsigned_abs() {
            return Held::There;
        }
        if self.is_up && self.followers > 0 {
            return Held::Refused(ahead_us);
        }
        self.us += ahead_us;
        Held::Stepped(ahead_us)
    }

    /// Unix microseconds.
    fn read(&mut self, passed: Duration, wall_us: u64) -> u64 {
        let step = passed.saturating_sub(self.at);
        let step_us = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
        let most = i64::try_from(step_us).unwrap_or(i64::MAX).saturating_mul(SLEW_US) / 1_000_000;
        // A step too short for a whole microsecond of slew is taken with the next.
        if most > 0 || self.owed_us == 0 {
            let slewed = self.owed_us.clamp(-most, most);
            self.owed_us -= slewed;
            self.us = self.us.saturating_add(step_us).saturating_add_signed(slewed);
            self.at = passed;
        }
        let now = self.us.saturating_add(passed.saturating_sub(self.at).as_micros() as u64);
        if passed >= self.look {
            self.look = passed + LOOK_EVERY;
            self.compare(now, wall_us);
        }
        now
    }

    fn compare(&mut self, own_us: u64, wall_us: u64) {
        let signed = |us| i64::try_from(us).unwrap_or(i64::MAX);
        let apart_us = signed(wall_us).saturating_sub(signed(own_us));
        let is_apart = apart_us.saturating_abs() > FOLLOWED_US;
        self.owed_us = if is_apart { 0 } else { apart_us };
        if is_apart && !self.is_apart {
            tracing::warn!(
                apart_ms = apart_us / 1000,
                "the machine's clock was set anew; what is on the air keeps its time until a \
                 restart"
            );
        }
        self.is_apart = is_apart;
    }
}

/// ISO 8601 with milliseconds, in UTC.
#[must_use]
pub fn date(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days to a civil date, by eras of 400 years that begin on 1 March.
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!(
        "{:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        era * 400 + year + carry,
        ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_US: u64 = 1_700_000_000_000_000;

    /// The furthest from steady time, in microseconds, over `seconds` in which the machine's clock
    /// shows `wall` microseconds more.
    fn furthest(clock: &mut Clock, from_s: u64, seconds: u64, wall: i64) -> i64 {
        let mut last = clock.us;
        let mut furthest = 0;
        for tick in from_s * 100..(from_s + seconds) * 100 {
            let passed = Duration::from_millis(tick * 10);
            let steady = START_US + passed.as_micros() as u64;
            let now = clock.read(passed, steady.saturating_add_signed(wall));
            assert!(now >= last, "time went back at {passed:?}");
            last = now;
            furthest = (now as i64 - steady as i64).abs().max(furthest);
        }
        furthest
    }

    #[test]
    fn a_step_of_an_hour_changes_nothing() {
        for step_s in [3600, -3600] {
            let mut clock = Clock::new(START_US);
            assert_eq!(furthest(&mut clock, 0, 60, 0), 0);
            assert_eq!(furthest(&mut clock, 60, 600, step_s * 1_000_000), 0);
            assert!(clock.is_apart);
            assert_eq!(furthest(&mut clock, 660, 60, 0), 0);
            assert!(!clock.is_apart);
        }
    }

    #[test]
    fn a_small_correction_is_followed_slowly() {
        for apart_us in [300_000, -300_000] {
            let mut clock = Clock::new(START_US);
            let after_minute = furthest(&mut clock, 0, 60, apart_us);
            assert!((28_000..=30_000).contains(&after_minute), "{after_minute}");
            let at_last = furthest(&mut clock, 60, 600, apart_us);
            assert!((299_900..=300_100).contains(&at_last), "{at_last}");
            assert_eq!(clock.owed_us / 100, 0);
        }
    }

    #[test]
    fn a_timeline_that_is_ahead_sets_the_clock_only_while_nothing_is_on_the_air() {
        let mut clock = Clock::new(START_US);
        let hour = |n: u64| START_US + n * 3_600_000_000;
        assert_eq!(clock.hold_to(START_US, START_US + 1_000_000), Held::There);
        // Two events at the start: the second one is further ahead.
        clock.followers = 1;
        assert_eq!(clock.hold_to(START_US, hour(1)), Held::Stepped(3_600_000_000));
        assert_eq!(clock.us, hour(1));
        clock.is_up = true;
        assert_eq!(clock.hold_to(hour(1), hour(3)), Held::Refused(7_200_000_000));
        assert_eq!(clock.us, hour(1));
        clock.followers = 0;
        assert_eq!(clock.hold_to(hour(1), hour(2)), Held::Stepped(3_600_000_000));
    }

    #[test]
    fn many_looks_slew_no_less_than_few() {
        let mut clock = Clock::new(START_US);
        for micro in 0..3_000_000u64 {
            if micro % 7 == 0 {
                let passed = Duration::from_micros(micro);
                clock.read(passed, START_US + micro + 100_000);
            }
        }
        let slewed = clock.us as i64 - (START_US as i64 + clock.at.as_micros() as i64);
        // It owes from the first look, after a second.
        assert!((990..=1000).contains(&slewed), "{slewed}");
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(date(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(date(1_772_323_199_999), "2026-02-28T23:59:59.999Z");
        assert_eq!(date(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
