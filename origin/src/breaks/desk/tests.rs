//! Any sequence of commands, kills and flag changes: what a viewer could have seen never changes.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::breaks::decision::{Pattern, Playable, Rule, Stock, Table};
use crate::breaks::ledger::NONE;

const COHORTS: [&str; 3] = ["x.a", "x.b", "y.a"];
const WINDOW_S: u32 = 60;

/// A decider whose creatives change all the time, as in a bad night.
struct Moods {
    ads: AtomicBool,
    mood: AtomicU64,
}

impl Stock for Moods {
    fn creative(&self, name: &str) -> Result<Playable, String> {
        let mood = self.mood.load(Ordering::Relaxed);
        if mood.is_multiple_of(5) {
            Err(format!("{name} is corrupt"))
        } else {
            Ok(Playable { id: name.into(), segments: 1 + mood % 4 })
        }
    }
    fn slates(&self) -> Vec<Playable> {
        let slate = |segments| Playable { id: format!("slate-{segments}"), segments };
        if self.mood.load(Ordering::Relaxed) % 7 == 6 { vec![] } else { vec![slate(2), slate(1)] }
    }
}

impl Decide for Moods {
    fn decide(&self, length: u64) -> Decision {
        let rule = |pattern, creatives: &[&str]| Rule {
            pattern: Pattern::parse(pattern),
            creatives: creatives.iter().map(ToString::to_string).collect(),
        };
        let table = Table {
            rules: vec![rule("x.*", &["one", "two"]), rule("y.a", &["three"])],
            generic: vec!["gen".into()],
            fallback: vec![],
        };
        let cohorts = COHORTS.map(String::from);
        table.decide(&cohorts, length, self)
    }
    fn ads_on(&self) -> bool {
        self.ads.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone)]
enum Step {
    Announce(u64),
    /// One that begins so many segments later than it could.
    AnnounceLater(u64, u64),
    Return(u32),
    Extend(u32, u64),
    Publish(u64),
    Ads(bool),
    Mood(u64),
    Change,
    Kill {
        torn: usize,
    },
    Disk(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..9).prop_map(Step::Announce),
        1 => (1_u64..9, 1_u64..20).prop_map(|(length, later)| Step::AnnounceLater(length, later)),
        2 => (1_u32..12).prop_map(Step::Return),
        3 => (1_u32..6, 1_u64..6).prop_map(|(number, added)| Step::Extend(number, added)),
        8 => (1_u64..4).prop_map(Step::Publish),
        1 => any::<bool>().prop_map(Step::Ads),
        2 => any::<u64>().prop_map(Step::Mood),
        2 => Just(Step::Change),
        1 => (0_usize..400).prop_map(|torn| Step::Kill { torn }),
        2 => any::<bool>().prop_map(Step::Disk),
    ]
}

/// What viewers of one cohort were shown: at every published number, the creative and its index,
/// and the discontinuities before it.
type Shown = BTreeMap<(&'static str, u64), (Option<(String, u64)>, u64)>;

struct Night {
    folder: tempfile::TempDir,
    moods: Arc<Moods>,
    desk: Desk,
    grid: Grid,
    /// Hinted, and nothing of it published.
    next: u64,
    revision: u64,
    /// Where the content's init changes.
    changes: Vec<u64>,
    shown: Shown,
    /// Pods documents that were handed out, by revision and cohort.
    handed: BTreeMap<(u64, &'static str), Pods>,
    /// Date ranges that were told, by their IDs.
    told: BTreeMap<String, DateRange>,
}

impl Night {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let moods = Arc::new(Moods { ads: AtomicBool::new(true), mood: AtomicU64::new(1) });
        let desk =
            Desk::open(&folder.path().join("ledger"), "demo", WINDOW_S, moods.clone()).unwrap();
        let grid = Grid::new(1_700_000_000_000, (25, 1), 2000, 200).unwrap();
        desk.before_publish(50);
        Self {
            folder,
            moods,
            desk,
            grid,
            next: 50,
            revision: 0,
            changes: Vec::new(),
            shown: Shown::new(),
            handed: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Announce(length) => drop(self.announce(length)),
            Step::AnnounceLater(length, later) => {
                drop(self.announce_at(length, self.next + 3 + later));
            }
            Step::Return(number) => drop(self.desk.return_early(&break_id(number))),
            Step::Extend(number, added) => drop(self.extend(number, added)),
            Step::Publish(count) => (0..count).for_each(|_| self.publish()),
            Step::Ads(on) => self.moods.ads.store(on, Ordering::Relaxed),
            Step::Mood(mood) => self.moods.mood.store(mood, Ordering::Relaxed),
            Step::Change => self.change(),
            Step::Kill { torn } => self.kill(torn),
            Step::Disk(works) => self.disk(works),
        }
        self.check();
        self.check_ranges();
    }

    /// What was told of a date range stays, and one stays in the list for as long as it lasts.
    fn check_ranges(&mut self) {
        let (view, now_ms) = (self.desk.view(), self.grid.start_ms(self.next));
        for range in view.dateranges.iter().filter(|range| range.told_ms <= now_ms) {
            let before = self.told.entry(range.id.clone()).or_insert_with(|| range.clone());
            let fixed = |range: &DateRange| {
                (range.start_ms, range.planned_duration_ms, range.scte35_out.clone())
            };
            assert_eq!(fixed(before), fixed(range));
            let (known, now) = (before.duration_ms, range.duration_ms);
            assert!(known.is_none() || known == now, "{before:?} became {range:?}");
            *before = range.clone();
        }
        let listed = |id: &String| view.dateranges.iter().any(|range| range.id == *id);
        let gone = self.told.values().filter(|range| !listed(&range.id));
        let window_ms = now_ms.saturating_sub(u64::from(WINDOW_S) * 1000);
        for range in gone {
            assert!(range.start_ms + range.length_ms <= window_ms, "{range:?} is gone");
        }
    }

    /// The last part of a segment, with which the hint names the next.
    fn publish(&mut self) {
        self.desk.before_publish(self.next + 1);
        self.next += 1;
        self.show();
    }

    /// Another encoder takes over with the first segment that nothing names.
    fn change(&mut self) {
        self.changes.push(self.next + 1);
        self.changes.dedup();
    }

    /// What a player has counted before a segment (`edge/core/src/playlist/timeline.rs`).
    fn counted(&self, pods: &Pods, number: u64) -> u64 {
        let changes = self.changes.iter().filter(|change| **change < number);
        let shown = changes.filter(|change| !pods.hides_change(**change)).count() as u64;
        pods.discontinuity_sequence(number) + shown - pods.changes_hidden
    }

    fn announce(&self, length: u64) -> Result<Announced, LogError> {
        self.desk.announce(&self.grid, self.next + 1, BreakRequest { lead: 2, length })
    }

    fn announce_at(&self, length: u64, earliest: u64) -> Result<Announced, LogError> {
        let asked = BreakRequest { lead: 2, length };
        self.desk.announce_at(&self.grid, self.next + 1, asked, earliest)
    }

    fn extend(&self, number: u32, added: u64) -> Result<Record, LogError> {
        self.desk.extend(&self.grid, &break_id(number), Extension { added, longest: 40 })
    }

    /// Every viewer loads the playlist that ends at the live edge, with the hint for the segment
    /// after it.
    fn show(&mut self) {
        let revision = self.desk.view().revision;
        let first = self.next.saturating_sub(u64::from(WINDOW_S) / 2);
        for cohort in COHORTS.into_iter().chain(["generic"]) {
            let pods = self.desk.pods(revision, cohort, &self.changes).unwrap();
            assert!(pods.is_sound(), "{pods:?}");
            for number in first..=self.next {
                let playing = pods.playing(number).map(|p| (p.creative.to_owned(), p.index));
                let seen = (playing, self.counted(&pods, number));
                let before = self.shown.entry((cohort, number)).or_insert_with(|| seen.clone());
                assert_eq!(*before, seen, "{cohort} at {number} changed in revision {revision}");
            }
            let counts = (first..=self.next + 1).map(|n| self.counted(&pods, n));
            assert!(counts.is_sorted(), "a discontinuity sequence fell");
            self.handed.insert((revision, cohort), pods);
        }
    }

    /// A folder in the place of the file that is written stands for a disk that fails.
    fn disk(&self, works: bool) {
        let beside = self.folder.path().join("ledger.new");
        if works {
            let _ = std::fs::remove_dir(beside);
        } else {
            let _ = std::fs::create_dir(beside);
            self.desk.lock().log.distrust();
        }
    }

    fn kill(&mut self, torn: usize) {
        self.disk(true);
        let path = self.folder.path().join("ledger");
        let bytes = std::fs::read(&path).unwrap();
        // A kill in the middle of the next append leaves some of its bytes, never its line end.
        let half = br#"{"entry":"frozen","id":"b1","window_start":3,"pods":[{"level":"cohort","slots":[{"offset":0,"#;
        let torn = &half[..torn.min(half.len())];
        std::fs::write(&path, [&bytes, torn].concat()).unwrap();
        self.desk = Desk::open(&path, "demo", WINDOW_S, self.moods.clone()).unwrap();
        self.desk.resume_at(self.next + 1);
        assert_eq!(self.desk.ledger().revision(), self.revision);
    }

    fn check(&mut self) {
        let ledger = self.desk.ledger();
        assert!(ledger.revision() >= self.revision);
        self.revision = ledger.revision();
        let mut end = 0;
        for record in ledger.records().iter().filter(|r| r.state != State::Cancelled) {
            assert!(end == 0 || record.plan.start > end, "breaks touch");
            end = record.end();
        }
        for ((revision, cohort), pods) in &self.handed {
            assert_eq!(
                self.desk.pods(*revision, cohort, &self.changes).as_ref(),
                Some(pods),
                "revision {revision} changed"
            );
        }
        assert!(self.desk.pods(self.revision, NONE, &[]).unwrap().breaks.is_empty());
        assert!(self.desk.pods(self.revision + 1, "generic", &[]).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_was_shown_changes(steps in prop::collection::vec(step(), 1..60)) {
        let mut night = Night::new();
        for step in &steps {
            night.take(step);
        }
    }
}

fn running() -> Night {
    let mut night = Night::new();
    night.announce(6).unwrap();
    for _ in 0..4 {
        night.publish();
    }
    night
}

#[test]
fn a_break_starts_after_its_lead_and_is_frozen_one_segment_before() {
    let mut night = Night::new();
    let plan = night.announce(6).unwrap();
    assert_eq!((plan.id.as_str(), plan.start), ("b1", 53));
    assert!(night.desk.view().dateranges.is_empty());
    night.publish();
    assert_eq!(night.desk.ledger().find("b1").unwrap().state, State::Announced);
    night.publish();
    let view = night.desk.view();
    assert_eq!((view.revision, view.dateranges.len()), (2, 1));
    assert_eq!(
        (view.dateranges[0].start_ms, view.dateranges[0].duration_ms),
        (night.grid.start_ms(53), None)
    );
}

#[test]
fn a_break_at_a_segment_begins_there_and_is_planned_until_it_is_frozen() {
    let mut night = Night::new();
    // It keeps its lead, whatever is asked.
    let soon = night.announce_at(2, 10).unwrap();
    assert_eq!(soon.start, 53);
    let later = night.announce_at(2, 60).unwrap();
    assert_eq!((later.start, later.start_ms), (60, night.grid.start_ms(60)));
    assert!(night.announce_at(2, 56).is_err());
    assert!(night.desk.planned("b2").unwrap().fits(2));
    night.take(&Step::Publish(8));
    assert_eq!(night.desk.ledger().find("b2").unwrap().state, State::Announced);
    night.take(&Step::Publish(1));
    assert_eq!(night.desk.ledger().find("b2").unwrap().state, State::Frozen);
    assert!(night.desk.planned("b2").is_none());
}

#[test]
fn an_early_return_cuts_at_the_next_unpublished_segment() {
    let night = running();
    // Published: 50 to 53, and 54 is hinted; the break is 53 to 58.
    let record = night.desk.return_early("b1").unwrap();
    assert_eq!((record.plan.length, record.returned), (2, true));
    let range = night.desk.view().dateranges.remove(0);
    assert_eq!(
        (range.duration_ms, range.planned_duration_ms, range.scte35_in.is_some()),
        (Some(4000), Some(12_000), true)
    );
    // Its last segment is out, so it cannot return earlier still, and the next break leaves a
    // segment between.
    assert!(night.desk.return_early("b1").is_err());
    let next = night.announce(3).unwrap();
    assert_eq!((record.end(), next.start), (55, 57));
}

#[test]
fn an_extension_follows_what_is_frozen_and_is_told_beside_it() {
    let night = running();
    // Published: 50 to 53, and 54 is hinted; the break is 53 to 58.
    let of = |cohort| {
        let pods = night.desk.pods(night.desk.view().revision, cohort, &[]).unwrap();
        pods.breaks[0].clone()
    };
    let before = of("x.a");
    let record = night.extend(1, 3).unwrap();
    assert_eq!((record.plan.length, record.plan.length_ms, record.planned_ms), (9, 18_000, 12_000));
    let after = of("x.a");
    assert!(after.length == 9 && after.slots.starts_with(&before.slots), "{after:?}");
    assert_eq!(after.slots[before.slots.len()].offset, 6);
    let ranges = night.desk.view().dateranges;
    let told = |range: &DateRange| (range.id.clone(), range.start_ms, range.planned_duration_ms);
    let start_ms = night.grid.start_ms(53);
    assert_eq!(told(&ranges[0]), ("b1".to_owned(), start_ms, Some(12_000)));
    assert_eq!(told(&ranges[1]), ("b1.2".to_owned(), start_ms + 12_000, Some(6000)));

    // It returns before the extension begins: that has no length then.
    night.desk.return_early("b1").unwrap();
    let ranges = night.desk.view().dateranges;
    assert_eq!((ranges[0].duration_ms, ranges[1].duration_ms), (Some(4000), Some(0)));
    assert!(night.extend(1, 3).unwrap_err().to_string().contains("it was returned from"));
}

#[test]
fn what_was_told_of_an_extension_is_told_to_its_end_though_the_break_returned() {
    let mut night = running();
    night.extend(1, 25).unwrap();
    night.take(&Step::Return(1));
    assert_eq!(night.desk.ledger().find("b1").unwrap().end(), 55);
    night.take(&Step::Publish(40));
    night.take(&Step::Announce(2));
    night.take(&Step::Publish(3));
    // The window of the second break begins after the return of the first.
    assert!(night.desk.ledger().window_start() > 55);
    assert!(night.desk.view().dateranges.iter().any(|range| range.id == "b1.2"));
}

#[test]
fn a_break_is_extended_before_it_is_frozen_and_decided_as_a_whole() {
    let mut night = Night::new();
    night.announce(2).unwrap();
    let record = night.extend(1, 4).unwrap();
    assert_eq!((record.plan.length, record.planned_ms), (6, 12_000));
    assert!(night.desk.planned("b1").unwrap().fits(6));
    night.take(&Step::Publish(4));
    let frozen = night.desk.ledger().find("b1").unwrap().frozen.clone().unwrap();
    assert!(frozen.pods.iter().all(|pod| pod.covers(6)));
    assert_eq!(night.desk.view().dateranges.len(), 1);
}

#[test]
fn a_break_is_extended_32_times_at_most_and_not_where_nothing_plays() {
    let night = running();
    (0..32).for_each(|_| drop(night.extend(1, 1).unwrap()));
    assert!(night.extend(1, 1).unwrap_err().to_string().contains("32 times"));

    let mut night = Night::new();
    night.moods.ads.store(false, Ordering::Relaxed);
    night.announce(6).unwrap();
    night.take(&Step::Publish(4));
    night.moods.ads.store(true, Ordering::Relaxed);
    assert!(night.extend(1, 1).unwrap_err().to_string().contains("nothing plays in it"));
}

#[test]
fn an_extension_that_cannot_be_says_why_and_leaves_no_trace() {
    let mut night = running();
    night.announce_at(2, 63).unwrap();
    let before = night.desk.ledger().revision();
    let no = |number, added| night.extend(number, added).unwrap_err().to_string();
    let next = no(1, 4);
    assert!(next.contains("b2 starts at segment 63"), "{next}");
    assert!(no(7, 1).contains("no break b7"));
    assert!(no(1, u64::MAX).contains("longer than 40 segments"));
    night.moods.ads.store(false, Ordering::Relaxed);
    assert!(no(1, 1).contains("the flag ads is off"));
    assert_eq!(night.desk.ledger().revision(), before);
    night.moods.ads.store(true, Ordering::Relaxed);
    night.extend(1, 3).unwrap();
    night.take(&Step::Publish(9));
    assert!(night.extend(1, 1).unwrap_err().to_string().contains("it is over"));
}

#[test]
fn a_break_in_a_break_is_refused_and_leaves_no_trace() {
    let night = running();
    let revision = night.desk.ledger().revision();
    let refused = night.announce(2).unwrap_err().to_string();
    assert!(refused.contains("start at segment 60 or later"), "{refused}");
    assert_eq!(night.desk.ledger().revision(), revision);
}

#[test]
fn a_break_is_called_off_before_it_is_frozen() {
    let mut night = Night::new();
    night.announce(6).unwrap();
    assert_eq!(night.desk.return_early("b1").unwrap().state, State::Cancelled);
    let again = night.announce(6).unwrap();
    assert_eq!((again.id.as_str(), again.start), ("b2", 53));
    night.take(&Step::Publish(3));
    assert_eq!(night.desk.pods(4, "x.a", &[]).unwrap().breaks.len(), 1);
}

#[test]
fn without_the_flag_the_content_goes_on() {
    let mut night = Night::new();
    night.announce(6).unwrap();
    night.take(&Step::Ads(false));
    night.take(&Step::Publish(3));
    let pods = night.desk.pods(2, "x.a", &[]).unwrap();
    assert_eq!((pods.breaks[0].slots.len(), pods.discontinuities), (0, 0));
    assert!(night.desk.view().dateranges.is_empty());
}

#[test]
fn a_downtime_over_a_whole_break_freezes_and_ends_it_in_order() {
    let mut night = Night::new();
    night.take(&Step::Announce(2));
    night.take(&Step::Kill { torn: 40 });
    // Publication goes on far behind the break; the time between is gaps.
    night.next = 70;
    night.publish();
    let ledger = night.desk.ledger();
    assert_eq!((ledger.revision(), ledger.find("b1").unwrap().state), (3, State::Ended));
    assert_eq!(
        night.desk.pods(3, "x.a", &[]).unwrap().discontinuity_sequence(70),
        ledger.discontinuities("x.a")
    );
}

#[test]
fn a_break_that_the_disk_does_not_take_is_called_off_and_holds_up_nothing() {
    let mut night = Night::new();
    night.announce(2).unwrap();
    night.take(&Step::Disk(false));
    night.take(&Step::Publish(8));
    let state = |night: &Night| night.desk.ledger().find("b1").unwrap().state;
    assert_eq!((state(&night), night.desk.view().dateranges.len()), (State::Announced, 0));
    assert!(night.announce(2).is_err());
    night.take(&Step::Disk(true));
    night.take(&Step::Publish(1));
    assert_eq!(state(&night), State::Cancelled);
    assert_eq!(night.announce(2).unwrap().id, "b2");

    // Of one that is back before the break begins, nothing is seen.
    night.take(&Step::Disk(false));
    night.take(&Step::Publish(2));
    night.take(&Step::Disk(true));
    night.take(&Step::Publish(1));
    let ledger = night.desk.ledger();
    assert_eq!(ledger.find("b2").unwrap().state, State::Frozen);
}

#[test]
fn a_restart_before_the_freeze_keeps_what_was_decided() {
    let mut night = Night::new();
    night.announce(6).unwrap();
    // After the restart nothing is ready yet, not even a slate.
    night.take(&Step::Mood(20));
    night.take(&Step::Kill { torn: 0 });
    assert!(night.moods.decide(6).pods.iter().all(|pod| pod.slots.len() != 6));
    night.take(&Step::Publish(3));
    let ledger = night.desk.ledger();
    let frozen = ledger.find("b1").unwrap().frozen.clone().unwrap();
    assert!(frozen.pods.iter().all(|pod| pod.causes.is_empty()), "{frozen:?}");
}

#[test]
fn a_better_decision_than_the_first_is_frozen_and_a_worse_one_is_not() {
    let mut night = Night::new();
    night.take(&Step::Mood(5));
    night.announce(6).unwrap();
    night.take(&Step::Mood(1));
    night.take(&Step::Publish(3));
    let ledger = night.desk.ledger();
    let frozen = ledger.find("b1").unwrap().frozen.clone().unwrap();
    assert!(frozen.pods.iter().all(|pod| pod.causes.is_empty()), "{frozen:?}");
}

/// A decider that asks the desk, as one that waits for another system would let others ask.
struct Asking(Mutex<std::sync::Weak<Desk>>);

impl Decide for Asking {
    fn decide(&self, _: u64) -> Decision {
        if let Some(desk) = self.0.lock().unwrap().upgrade() {
            desk.resume_at(0);
        }
        Decision::nothing()
    }

    fn ads_on(&self) -> bool {
        true
    }
}

#[test]
fn the_desk_is_free_while_a_break_is_decided() {
    let folder = tempfile::tempdir().unwrap();
    let asking = Arc::new(Asking(Mutex::default()));
    let decide = Arc::<Asking>::clone(&asking);
    let desk = Desk::open(&folder.path().join("ledger"), "demo", WINDOW_S, decide).unwrap();
    let desk = Arc::new(desk);
    *asking.0.lock().unwrap() = Arc::downgrade(&desk);
    let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
    let plan = desk.announce(&grid, 5, BreakRequest { lead: 2, length: 4 }).unwrap();
    desk.before_publish(plan.start);
    assert_eq!(desk.ledger().find("b1").unwrap().state, State::Frozen);
}

#[test]
fn the_end_of_an_event_closes_its_breaks() {
    // Published: 50 to 53, and 54 is hinted, so that the event ends before 55; the break is 53 to
    // 58.
    let night = running();
    night.desk.close_at(55).unwrap();
    let range = night.desk.view().dateranges.remove(0);
    assert_eq!((range.duration_ms, range.scte35_in.is_some()), (Some(4000), true));
    let revision = night.desk.ledger().revision();
    night.desk.close_at(55).unwrap();
    assert_eq!(night.desk.ledger().revision(), revision);
    night.desk.before_publish(55);
    assert_eq!(night.desk.ledger().find("b1").unwrap().state, State::Ended);

    let night = Night::new();
    night.announce(6).unwrap();
    night.desk.close_at(51).unwrap();
    assert_eq!(night.desk.ledger().find("b1").unwrap().state, State::Cancelled);
}

#[test]
fn a_break_that_is_frozen_and_never_begins_is_over_too() {
    let mut night = Night::new();
    night.announce(1).unwrap();
    night.take(&Step::Publish(2));
    assert_eq!(night.desk.ledger().find("b1").unwrap().state, State::Frozen);
    night.desk.close_at(53).unwrap();
    assert!(night.desk.view().dateranges.remove(0).scte35_in.is_some());
}

#[test]
fn what_changes_no_pods_has_the_name_of_the_revision_before() {
    let mut night = Night::new();
    let names = |night: &Night| (night.desk.view().revision, night.desk.ledger().revision());
    night.announce(2).unwrap();
    assert_eq!(names(&night), (0, 1));
    night.take(&Step::Publish(2));
    assert_eq!(names(&night), (2, 2));
    night.take(&Step::Publish(4));
    // It ended, and the next is announced.
    night.announce(2).unwrap();
    assert_eq!(names(&night), (2, 4));
    assert_eq!(
        night.desk.pods(4, "x.a", &[]).unwrap().breaks,
        night.desk.pods(2, "x.a", &[]).unwrap().breaks
    );
    let versions = night.desk.view().version;
    night.desk.return_early("b2").unwrap();
    assert!(night.desk.view().version > versions);
}

#[test]
fn an_earlier_revision_is_folded_once_and_few_are_kept() {
    let mut night = Night::new();
    for _ in 0..5 {
        night.announce(1).unwrap();
        for _ in 0..4 {
            night.desk.before_publish(night.next + 1);
            night.next += 1;
        }
    }
    // Each was announced, frozen and ended.
    assert_eq!((night.desk.ledger().revision(), night.desk.view().revision), (15, 14));
    let kept = |night: &Night| -> Vec<u64> {
        let folded = night.desk.folded.lock().unwrap();
        folded.iter().map(|ledger| ledger.revision()).collect()
    };
    let first = night.desk.pods(5, "x.a", &[]).unwrap();
    assert_eq!(night.desk.pods(5, "x.a", &[]).unwrap(), first);
    night.desk.pods(5, "y.a", &[]).unwrap();
    assert_eq!(kept(&night), [5]);
    for revision in 6..6 + FOLDED_MOST as u64 {
        night.desk.pods(revision, "x.a", &[]).unwrap();
    }
    assert_eq!(kept(&night), (6..6 + FOLDED_MOST as u64).collect::<Vec<_>>());
    assert_eq!(night.desk.pods(5, "x.a", &[]).unwrap(), first);
    assert!(night.desk.pods(999, "x.a", &[]).is_none());
}
