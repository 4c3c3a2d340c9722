use std::sync::Mutex;

use bytes::Bytes;

use super::*;
use crate::breaks::on_air::{BreaksView, FreezeError};
use crate::mp4::read::Header;
use crate::mp4::write::{InitTrack, init};
use crate::package::queue::queue;
use crate::store::DiskLimits;

mod patience;

/// A ledger that knows what is visible: nothing of a sequence number may be, its hint included,
/// before it is frozen.
#[derive(Default)]
struct Watching {
    tracks: Mutex<Vec<Arc<Track>>>,
    frozen: Mutex<Vec<u64>>,
}

impl Breaks for Watching {
    fn before_publish(&self, msn: u64) {
        for track in &*self.tracks.lock().unwrap() {
            let cursor = track.cursor();
            assert!(
                cursor == Cursor::default() || cursor.msn < msn,
                "{} names {msn} before it is frozen",
                track.id
            );
        }
        self.frozen.lock().unwrap().push(msn);
    }

    fn close_at(&self, _: u64) -> Result<(), FreezeError> {
        Ok(())
    }

    fn view(&self) -> BreaksView {
        BreaksView::default()
    }
}

impl Watching {
    fn check(&self) {
        let frozen = self.frozen.lock().unwrap();
        assert!(frozen.is_sorted_by(|a, b| a < b), "{frozen:?}");
        for track in &*self.tracks.lock().unwrap() {
            let cursor = track.cursor();
            assert!(
                cursor == Cursor::default() || frozen.last() >= Some(&cursor.msn),
                "the hint of {} names {} and {frozen:?} is frozen",
                track.id,
                cursor.msn
            );
        }
    }
}

struct Stage {
    packager: Packager,
    ledger: Arc<Watching>,
    grid: Grid,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let grid = Grid::new(now_ms(), (25, 1), 2000, 200).unwrap();
        Self::over(tempfile::tempdir().unwrap(), grid)
    }

    /// What a killed process leaves, in another one.
    fn restart(self) -> Self {
        let Self { packager, grid, folder, .. } = self;
        drop(packager);
        // What was frozen is not looked at again.
        let stage = Self::over(folder, grid);
        stage.ledger.tracks.lock().unwrap().clear();
        stage
    }

    fn over(folder: tempfile::TempDir, grid: Grid) -> Self {
        let renditions = [("v".to_owned(), Kind::Video), ("a".to_owned(), Kind::Audio)];
        let store =
            Store::open(folder.path(), grid, &renditions, 30, DiskLimits::default()).unwrap();
        let ledger = Arc::new(Watching::default());
        *ledger.tracks.lock().unwrap() = store.tracks().to_vec();
        let boot = Boot::of(folder.path());
        boot.note();
        let packager = Packager::new(Setup {
            event: "demo".to_owned(),
            grid,
            store,
            breaks: Arc::<Watching>::clone(&ledger),
            counters: Arc::default(),
            inits: Arc::new(Inits::open(folder.path(), ["v", "a"].into_iter()).unwrap()),
            end: Arc::new(End::open(folder.path()).unwrap()),
            patience: Patience::default(),
            boot,
        });
        Self { packager, ledger, grid, folder }
    }

    /// Samples of a track up to this time after segment 0 starts.
    fn feed(&mut self, track: usize, from_ms: u64, until_ms: u64) {
        let kind = self.packager.store_kind(track);
        let at = |ms| self.grid.sample_at(kind, self.grid.zero_ms + ms);
        for index in at(from_ms)..at(until_ms) {
            self.packager.take(Message::Samples {
                track,
                samples: vec![Placed {
                    index,
                    sync: index.is_multiple_of(50),
                    data: Bytes::from_static(b"sample"),
                }],
                came: Instant::now(),
            });
            self.ledger.check();
        }
    }

    /// Samples of both tracks, each as far as the other.
    fn feed_both(&mut self, from_ms: u64, until_ms: u64) {
        for from in (from_ms..until_ms).step_by(200) {
            (0..2).for_each(|track| self.feed(track, from, from + 200));
        }
    }

    fn fill(&mut self, profile: u8) {
        let fillers = self.fillers(profile);
        self.packager.take(Message::Fillers(fillers));
    }

    /// Slate and silence whose samples are `slate`, with the init segment of [`header`].
    fn fillers(&self, profile: u8) -> Vec<Filler> {
        let coded = |kind: Kind| -> Vec<(bool, Bytes)> {
            let key = |at| kind == Kind::Audio || at % 5 == 0;
            (0..18).map(|at| (key(at), Bytes::from_static(b"slate"))).collect()
        };
        let filler = |kind, stsd, (width, height)| {
            let timescale = self.grid.timescale(kind);
            let init = Bytes::from(init(&InitTrack { kind, timescale, stsd, width, height }));
            Filler::new(&self.grid, kind, init, &coded(kind)).unwrap()
        };
        let video = filler(Kind::Video, stsd(profile), (284, 160));
        let audio = filler(Kind::Audio, Bytes::from_static(SOUND), (0, 0));
        vec![video, audio]
    }

    /// What was published of a track, by part: `s` for slate or silence, `m` for media, `-` for a
    /// gap; segments apart.
    fn shown(&self, track: usize) -> String {
        let (_, segments) = self.packager.store.tracks()[track].window(0);
        let letter = |part: &crate::store::StoredPart| match &part.data {
            None if part.gap => '-',
            Some(data) if data.ends_with(b"slate") => 's',
            // Not in memory after a restart.
            Some(_) | None => 'm',
        };
        let segment = |segment: &Arc<crate::store::Segment>| {
            segment.parts.iter().map(letter).collect::<String>()
        };
        segments.values().map(segment).collect::<Vec<_>>().join(" ")
    }

    fn cursor(&self, track: usize) -> (u64, u64) {
        let cursor = self.packager.store.tracks()[track].cursor();
        (cursor.msn, cursor.part)
    }
}

#[test]
fn a_track_that_falls_silent_is_filled_with_gaps_while_the_others_go_on() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.feed(0, 0, 2000);
    stage.feed(1, 0, 1000);
    assert_eq!((stage.cursor(0), stage.cursor(1)), ((1, 0), (0, 5)));
    stage.feed(0, 2000, 6000);
    // Four seconds in, less what may still come.
    assert_eq!((stage.cursor(0), stage.cursor(1).0), ((3, 0), 2));
    let audio = Arc::clone(&stage.packager.store.tracks()[1]);
    let segment = audio.window(0).1.remove(&0).unwrap();
    assert_eq!(
        (segment.parts.len() as u64, segment.gap()),
        (stage.grid.parts(Kind::Audio, 0), true)
    );
    // It comes back: late samples are dropped, and the rest goes on where it stands.
    stage.feed(1, 1000, 6000);
    assert_eq!(stage.cursor(1), (3, 0));
}

#[test]
fn a_run_that_begins_later_leaves_a_gap_before_it() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.feed(0, 0, 2400);
    stage.packager.take(Message::End);
    assert_eq!(stage.packager.counters.running.load(Ordering::Relaxed), 0);
    stage.packager.take(Message::Start { frame: 250 });
    stage.ledger.check();
    assert_eq!((stage.cursor(0), stage.cursor(1)), ((5, 0), (5, 0)));
    stage.feed(0, 10_000, 14_000);
    assert_eq!(stage.cursor(0), (7, 0));
    assert_eq!(stage.packager.counters.starts.load(Ordering::Relaxed), 2);
}

#[test]
fn an_event_ends_with_the_segment_that_is_being_made_in_every_track() {
    let mut stage = Stage::new();
    let finish = |stage: &mut Stage| {
        let (reply, mut end) = tokio::sync::oneshot::channel();
        stage.packager.take(Message::Finish { reply });
        end.try_recv().unwrap()
    };
    assert!(finish(&mut stage).is_err());
    stage.packager.take(Message::Start { frame: 0 });
    stage.feed(0, 0, 4400);
    stage.feed(1, 0, 3000);
    // Who asked first is gone: nobody was told that the event ends.
    let (reply, _) = tokio::sync::oneshot::channel();
    stage.packager.take(Message::Finish { reply });
    assert_eq!(stage.packager.end.msn(), None);
    assert_eq!(finish(&mut stage).unwrap(), 3);
    assert!(!stage.packager.is_over());
    stage.feed(0, 4400, 9000);
    assert_eq!(stage.cursor(0), (3, 0));
    // The sound fell silent; what it lacks before the end is gap, and nothing comes after it.
    assert_eq!(stage.cursor(1), (3, 0));
    assert!(stage.packager.is_over());
    assert_eq!(finish(&mut stage).unwrap(), 3);
    assert_eq!(stage.ledger.frozen.lock().unwrap().last(), Some(&3));
}

/// Where the picture's and the sound's init segments change.
fn changes(stage: &Stage) -> [Vec<(u64, usize)>; 2] {
    [0, 1].map(|track| stage.packager.inits.of_track(track))
}

/// How sound is decoded.
fn sound_header() -> Message {
    let stsd = Bytes::from_static(SOUND);
    let header = Header { timescale: 48_000, stsd, width: 0, height: 0 };
    Message::Header { track: 1, header }
}

#[test]
fn another_encoder_begins_with_the_next_whole_segment_in_all_tracks() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.packager.take(sound_header());
    stage.fill(100);
    stage.feed_both(0, 2400);
    // A card failed; what takes its place begins in the middle of the second segment.
    stage.packager.take(Message::End);
    stage.packager.take(Message::Start { frame: 70 });
    stage.packager.take(header(66));
    stage.packager.take(sound_header());
    assert_eq!(changes(&stage), [vec![(2, 1)], vec![(2, 0)]]);
    stage.feed_both(2800, 6000);
    // Until then its pictures do not fit, and the old encoder's slate does.
    assert_eq!(stage.shown(0), "mmmmmmmmmm mmssssssss mmmmmmmmmm");
    // The sound is coded as before.
    assert_eq!(stage.shown(1), "mmmmmmmmmmm mmsssmmmmmm mmmmmmmmmmm");
    // Its slate is no use any more, and the new one's is.
    stage.feed(1, 6000, 9000);
    assert!(stage.shown(0).ends_with(" --"), "{}", stage.shown(0));
    stage.fill(66);
    stage.feed(1, 9000, 10_000);
    assert!(stage.shown(0).ends_with(" --sssss"), "{}", stage.shown(0));
    assert_eq!(changes(&stage)[0], [(2, 1)]);
}

#[test]
fn slate_of_the_new_encoder_is_for_its_own_segments_alone() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.fill(100);
    stage.feed(0, 0, 2400);
    stage.feed(1, 0, 2400);
    stage.packager.take(header(66));
    stage.fill(66);
    // Nothing comes of the picture: both slates are used, each where it fits.
    let old = stage.packager.fillers[0].clone();
    assert_ne!(Some(old.init().clone()), stage.packager.inits.get(0, 0));
    stage.feed(1, 2400, 9000);
    let shown = stage.shown(0);
    assert!(shown.starts_with("mmmmmmmmmm mmssssssss ssssssssss"), "{shown}");
}

#[test]
fn an_encoder_of_an_earlier_start_gives_way_to_slate_of_this_one() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.feed(0, 0, 2400);
    stage.feed(1, 0, 2400);
    let mut stage = stage.restart();
    let ago = stage.grid.zero_ms.saturating_sub(8000);
    stage.grid = Grid { zero_ms: ago, ..stage.grid };
    stage.packager.grid = stage.grid;
    // Nobody publishes, and the slate is another encoder's than the picture was.
    stage.fill(66);
    stage.packager.fill_by_clock();
    assert_eq!(changes(&stage), [vec![(2, 1)], vec![(2, 0)]]);
    assert!(stage.shown(0).starts_with("mmmmmmmmmm mm-------- ssssssssss s"), "{}", stage.shown(0));
    // Who publishes then is coded as the slate is.
    stage.packager.take(header(66));
    assert_eq!(changes(&stage)[0], [(2, 1)]);
    // A restart before anything comes makes no other change, and neither does slate against an
    // encoder that was heard.
    stage.packager.take(header(77));
    stage.packager.fill_by_clock();
    assert_eq!(changes(&stage)[0].len(), 2);
}

/// A packager that starts again 5 s after segment 0 began, of which its predecessor published 1.4 s.
fn restarted_in_a_segment() -> Stage {
    let grid = Grid::new(now_ms() - 5000, (25, 1), 2000, 200).unwrap();
    let mut stage = Stage::over(tempfile::tempdir().unwrap(), grid);
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.feed_both(0, 1400);
    stage.restart()
}

#[test]
fn what_was_lost_with_a_process_is_slate_where_that_is_there_at_once() {
    let runtime = Runtime::new().unwrap();
    for fillers in [true, false] {
        let mut stage = restarted_in_a_segment();
        let (sink, mut messages) = queue();
        // The next run's encoder may be faster than the disk.
        let run = sink.begin();
        run.send(Message::Start { frame: 100 }).unwrap();
        match fillers {
            true => sink.downgrade().fill_with(stage.fillers(100)),
            false => sink.downgrade().fill_later(),
        }
        stage.packager.catch_up(&mut messages, &runtime);
        let shown = stage.shown(0);
        match fillers {
            true => assert!(shown.starts_with("mmmmmmmsss ssssssssss"), "{shown}"),
            false => assert!(shown.starts_with("mmmmmmm---"), "{shown}"),
        }
        assert_eq!(stage.packager.run_from, 2);
    }
}

#[test]
fn what_may_have_been_lost_with_the_power_is_a_gap() {
    let runtime = Runtime::new().unwrap();
    let mut stage = restarted_in_a_segment();
    std::fs::write(stage.folder.path().join("boot"), "another").unwrap();
    let (sink, mut messages) = queue();
    sink.downgrade().fill_with(stage.fillers(100));
    stage.packager.catch_up(&mut messages, &runtime);
    let shown = stage.shown(0);
    assert!(shown.starts_with("mmmmmmm---") && !shown.contains('s'), "{shown}");
}

#[test]
fn a_change_of_which_nothing_was_visible_holds_after_a_restart() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.feed(0, 0, 2400);
    stage.feed(1, 0, 2400);
    stage.packager.take(header(66));
    let mut stage = stage.restart();
    assert_eq!(changes(&stage)[0], [(2, 1)]);
    stage.packager.take(Message::Start { frame: 60 });
    stage.packager.take(header(66));
    stage.feed(0, 2400, 6000);
    assert_eq!(stage.shown(0), "mmmmmmmmmm mm-------- mmmmmmmmmm");
    assert_eq!(changes(&stage)[0], [(2, 1)]);
}

#[test]
fn a_change_that_the_disk_does_not_take_is_tried_again_and_nothing_that_does_not_fit_is_shown() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.feed(0, 0, 2400);
    stage.feed(1, 0, 2400);
    let beside = stage.folder.path().join("changes.json.new");
    std::fs::create_dir(&beside).unwrap();
    stage.packager.take(header(66));
    stage.feed(0, 2400, 6400);
    assert_eq!(changes(&stage)[0], []);
    assert_eq!(stage.shown(0), "mmmmmmmmmm mm-------- ---------- --");
    std::fs::remove_dir(&beside).unwrap();
    std::thread::sleep(RETRY);
    stage.feed(0, 6400, 10_000);
    assert_eq!(changes(&stage)[0], [(4, 1)]);
    assert!(stage.shown(0).ends_with(" mmmmmmmmmm"), "{}", stage.shown(0));
}

#[test]
fn an_event_that_ends_changes_nothing_any_more() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.feed(0, 0, 2400);
    stage.feed(1, 0, 2400);
    stage.packager.end.settle(2).unwrap();
    stage.packager.take(header(66));
    stage.feed(0, 2400, 9000);
    assert_eq!(changes(&stage)[0], []);
    assert_eq!(stage.shown(0), "mmmmmmmmmm mm--------");
}

/// How sound is decoded, as far as an init segment is concerned.
const SOUND: &[u8] = b"\0\0\0\x14stsd\0\0\0\0\0\0\0\0mp4a";

fn stsd(profile: u8) -> Bytes {
    let start = b"\0\0\0\x18stsd\0\0\0\0\0\0\0\0avcC\x01".as_slice();
    [start, &[profile, 0, 31]].concat().into()
}

/// How a picture of this codec profile is decoded.
fn header(profile: u8) -> Message {
    let header = Header { timescale: 25_000, stsd: stsd(profile), width: 284, height: 160 };
    Message::Header { track: 0, header }
}

#[test]
fn a_picture_that_is_lost_while_sound_goes_on_is_slate_until_its_next_key() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.fill(100);
    stage.feed(0, 0, 1000);
    stage.feed(1, 0, 6000);
    // A second of picture; then slate, once it is two seconds behind the sound, as close to it as
    // slate may be.
    assert_eq!(stage.shown(0), "mmmmmsssss ssssssssss sssssss");
    assert!(stage.packager.counters.is_lacking(0) && !stage.packager.counters.is_lacking(1));
    // It comes back in the middle of a segment, later than slate would be; nothing overtakes it.
    stage.feed(0, 5000, 6000);
    stage.feed(1, 6000, 7200);
    assert_eq!(stage.cursor(0), (3, 0));
    stage.feed(0, 6000, 8000);
    assert!(stage.shown(0).ends_with(" ssssssssss mmmmmmmmmm"), "{}", stage.shown(0));
    assert!(!stage.packager.counters.is_lacking(0));
}

#[test]
fn sound_that_never_came_is_silence_with_an_init_segment() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.fill(100);
    let sound = |stage: &Stage| stage.packager.inits.newest(1);
    assert_eq!(sound(&stage), None);
    stage.feed(0, 0, 6000);
    assert!(sound(&stage).is_some());
    assert!(!stage.shown(1).contains(['m', '-']), "{}", stage.shown(1));
    // It begins, and is heard from its next part on.
    stage.feed(1, 5000, 8000);
    assert!(stage.shown(1).ends_with(&"m".repeat(11)), "{}", stage.shown(1));
}

#[test]
fn a_slate_of_another_encoder_is_no_use() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.fill(66);
    stage.feed(0, 0, 1000);
    stage.feed(1, 0, 6000);
    assert!(stage.shown(0).starts_with("mmmmm-----"), "{}", stage.shown(0));
}

#[test]
fn a_publisher_that_leaves_is_followed_by_slate_and_one_that_is_silent_is_waited_for() {
    let mut stage = Stage::new();
    let ago = |stage: &mut Stage, ms| {
        // The clock cannot be moved, so the grid is: segment 0 began so long ago.
        let zero_ms = now_ms() - ms;
        stage.grid = Grid { zero_ms, ..stage.grid };
        stage.packager.grid = stage.grid;
    };
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.fill(100);
    stage.feed(0, 0, 2000);
    stage.feed(1, 0, 2000);
    ago(&mut stage, 2000 + Patience::default().silent_ms - 100);
    stage.packager.fill_by_clock();
    assert_eq!(stage.cursor(0), (1, 0));
    stage.packager.take(Message::End);
    stage.packager.fill_by_clock();
    assert!(stage.shown(0).starts_with("mmmmmmmmmm ssssssssss sss"), "{}", stage.shown(0));
    assert!(stage.packager.counters.is_lacking(0) && stage.packager.counters.is_lacking(1));
    // A new run is waited for, and begins with a key at its first part.
    let frame = stage.packager.grid.part(Kind::Video, 2, 9).0;
    stage.packager.take(Message::Start { frame });
    let data = Bytes::from_static(b"sample");
    let sample = |index| Placed { index, sync: index == frame, data: data.clone() };
    let samples = (frame..frame + 5).map(sample).collect();
    stage.packager.take(Message::Samples { track: 0, samples, came: Instant::now() });
    assert!(stage.shown(0).ends_with(" sssssssssm"), "{}", stage.shown(0));
}

#[test]
fn a_publisher_that_says_nothing_for_too_long_is_followed_up_to_the_clock() {
    let mut stage = Stage::new();
    stage.packager.take(Message::Start { frame: 0 });
    stage.packager.take(header(100));
    stage.fill(100);
    stage.feed(0, 0, 2000);
    stage.feed(1, 0, 2000);
    let zero_ms = now_ms() - 10_000;
    stage.grid = Grid { zero_ms, ..stage.grid };
    stage.packager.grid = stage.grid;
    stage.packager.fill_by_clock();
    assert_eq!(stage.cursor(0).0, 3);
    // It is given up now, and slate goes on as if nobody were there.
    stage.packager.fill_by_clock();
    assert!(stage.cursor(0) >= (4, 6), "{:?}", stage.cursor(0));
}

#[test]
fn an_init_segment_that_cannot_be_written_is_tried_until_it_is() {
    let mut stage = Stage::new();
    let folder = stage.folder.path().join("media/v");
    let path = folder.join("init.mp4");
    std::fs::remove_dir(&folder).unwrap();
    let mended = std::thread::spawn(move || {
        std::thread::sleep(RETRY / 2);
        std::fs::create_dir(folder).unwrap();
    });
    stage.packager.take(header(100));
    mended.join().unwrap();
    assert!(path.exists() && stage.packager.inits.newest(0).is_some());
}
