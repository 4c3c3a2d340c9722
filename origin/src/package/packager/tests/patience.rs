//! When a part is given up, by a clock that the test sets.

use super::*;

/// A part may be given up with the start of its last sample.
const SAMPLE_MS: u64 = 40;

impl Stage {
    /// Two seconds of picture and sound on the air, and this patience.
    fn waiting(patience: Patience) -> Self {
        let mut stage = Self::new();
        stage.packager.patience = patience;
        stage.packager.take(Message::Start { frame: 0 });
        stage.packager.take(header(100));
        stage.fill(100);
        stage.feed_both(0, 2000);
        stage
    }

    /// The clock shows this time after segment 0 starts.
    fn clock(&mut self, ms: u64) {
        self.packager.fill_at(self.grid.zero_ms + ms);
        self.ledger.check();
    }

    /// Where the part begins that a track publishes next, and where that ends, in milliseconds
    /// after segment 0 starts.
    fn next_part(&self, track: usize) -> (u64, u64) {
        let (msn, part) = self.cursor(track);
        let kind = self.packager.store_kind(track);
        let (first, count) = self.grid.part(kind, msn, part);
        let since = |sample| self.grid.sample_ms(kind, sample) - self.grid.zero_ms;
        (since(first), since(first + count))
    }

    /// All parts that ended this long ago are on the air, and of those that ended later none that
    /// was not there before.
    fn check_published(&self, now_ms: u64, patience_ms: u64, before: [(u64, u64); 2]) {
        for (track, (start_before, _)) in before.into_iter().enumerate() {
            let (start, end) = self.next_part(track);
            let due = end + patience_ms;
            assert!(due >= now_ms, "track {track}: nothing from {start} ms on at {now_ms} ms");
            let came_early = start > start_before && start + patience_ms > now_ms + SAMPLE_MS;
            assert!(!came_early, "track {track}: all until {start} ms at {now_ms} ms");
        }
    }
}

#[test]
fn slate_and_silence_follow_a_publisher_that_left_as_far_behind_the_clock_as_is_set() {
    for gone_ms in [0, 500, 1730] {
        let mut stage = Stage::waiting(Patience { gone_ms, ..Patience::default() });
        stage.packager.take(Message::End);
        for now_ms in 1900..6300 {
            let before = [0, 1].map(|track| stage.next_part(track));
            stage.clock(now_ms);
            stage.check_published(now_ms, gone_ms, before);
        }
        for track in 0..2 {
            let shown = stage.shown(track);
            let filled = shown.trim_start_matches(['m', ' ']);
            assert!(filled.len() >= 10 && filled.chars().all(|c| "s ".contains(c)), "{shown}");
        }
    }
}

#[test]
fn slate_follows_a_publisher_that_says_nothing_as_late_as_is_set_and_then_as_if_it_had_left() {
    for silent_ms in [700, 4000] {
        let mut stage = Stage::waiting(Patience { silent_ms, ..Patience::default() });
        let ends = [0, 1].map(|track| stage.next_part(track).1);
        let [first, last] = [ends[0].min(ends[1]), ends[0].max(ends[1])];
        stage.clock(first + silent_ms - SAMPLE_MS - 1);
        assert_eq!([0, 1].map(|track| stage.next_part(track).1), ends);
        stage.clock(last + silent_ms + 1);
        let later = [0, 1].map(|track| stage.next_part(track).1);
        assert!(later[0] > ends[0] && later[1] > ends[1], "{ends:?} {later:?}");
        // It is given up: what else is due by the shorter patience comes with the next look.
        let now_ms = last + silent_ms + 50;
        let before = [0, 1].map(|track| stage.next_part(track));
        stage.clock(now_ms);
        stage.check_published(now_ms, stage.packager.patience.gone_ms, before);
        // It says something again, and is waited for again.
        stage.packager.heard(0);
        let ends = [0, 1].map(|track| stage.next_part(track).1);
        stage.clock(ends[0].min(ends[1]) + silent_ms - SAMPLE_MS - 1);
        assert_eq!([0, 1].map(|track| stage.next_part(track).1), ends);
    }
}
