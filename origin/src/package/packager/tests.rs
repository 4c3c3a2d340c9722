use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::breaks::on_air::{BreaksView, FreezeError};
use crate::store::DiskLimits;

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
        let folder = tempfile::tempdir().unwrap();
        let grid = Grid::new(now_ms(), (25, 1), 2000, 200).unwrap();
        let renditions = [("v".to_owned(), Kind::Video), ("a".to_owned(), Kind::Audio)];
        let store =
            Store::open(folder.path(), grid, &renditions, 30, DiskLimits::default()).unwrap();
        let ledger = Arc::new(Watching::default());
        *ledger.tracks.lock().unwrap() = store.tracks().to_vec();
        let packager = Packager::new(Setup {
            event: "demo".to_owned(),
            grid,
            store,
            breaks: Arc::<Watching>::clone(&ledger),
            counters: Arc::default(),
            inits: ["v", "a"].map(|id| folder.path().join(format!("media/{id}/init.mp4"))).into(),
            on_header: Box::new(|_| {}),
            end: Arc::new(End::open(folder.path()).unwrap()),
            patience: Patience::default(),
        });
        Self { packager, ledger, grid, folder }
    }

    /// Samples of a track up to this time after segment 0 starts.
    fn feed(&mut self, track: usize, from_ms: u64, until_ms: u64) {
        let kind = self.packager.store_kind(track);
        let at = |ms| self.grid.sample_at(kind, self.grid.zero_ms + ms);
        for index in at(from_ms)..at(until_ms) {
            self.packager.take(Message::Sample {
                track,
                index,
                sync: index.is_multiple_of(50),
                data: Bytes::from_static(b"sample"),
                came: Instant::now(),
            });
            self.ledger.check();
        }
    }

    /// Slate and silence whose samples are `slate`, with the init segment of [`header`].
    fn fill(&mut self, profile: u8) {
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
        self.packager.take(Message::Fillers(vec![video, audio]));
    }

    /// What was published of a track, by part: `s` for slate or silence, `m` for media, `-` for a
    /// gap; segments apart.
    fn shown(&self, track: usize) -> String {
        let (_, segments) = self.packager.store.tracks()[track].window(0);
        let letter = |part: &crate::store::StoredPart| match &part.data {
            None => '-',
            Some(data) if data.ends_with(b"slate") => 's',
            Some(_) => 'm',
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
    let sound = stage.folder.path().join("media/a/init.mp4");
    assert_eq!(kept_init(&sound).unwrap(), None);
    stage.feed(0, 0, 6000);
    assert!(kept_init(&sound).unwrap().is_some());
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
    for index in frame..frame + 5 {
        let data = Bytes::from_static(b"sample");
        stage.packager.take(Message::Sample {
            track: 0,
            index,
            sync: index == frame,
            data,
            came: Instant::now(),
        });
    }
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
fn the_first_init_segment_is_kept_and_one_that_nobody_can_read_is_replaced() {
    let mut stage = Stage::new();
    let path = stage.folder.path().join("media/v/init.mp4");
    // What a full disk left.
    std::fs::write(&path, b"").unwrap();
    stage.packager.take(header(100));
    let first = kept_init(&path).unwrap().unwrap();
    assert_eq!(codec(&first).as_deref(), Some("avc1.64001f"));
    stage.packager.take(header(66));
    assert_eq!(kept_init(&path).unwrap(), Some(first.clone()));
    std::fs::write(&path, &first[..first.len() - 1]).unwrap();
    assert_eq!(kept_init(&path).unwrap(), None);
    stage.packager.take(header(66));
    assert_ne!(kept_init(&path).unwrap(), Some(first));
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
    assert!(kept_init(&path).unwrap().is_some());
}
