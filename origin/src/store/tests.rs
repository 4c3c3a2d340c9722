use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Objects in memory that remember which of them would outlast a power cut, and a disk that can
/// fail or hang.
#[derive(Default)]
struct Shim {
    objects: Mutex<BTreeMap<String, (Bytes, Lasts)>>,
    fails: AtomicBool,
    hangs: AtomicBool,
    /// Most bytes that it takes; 0: any number.
    room: AtomicUsize,
}

impl Shim {
    async fn meet_disk(&self) -> io::Result<()> {
        while self.hangs.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        match self.fails.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    /// What is left after a power cut: of what was not synced, `keep` says how many bytes are, and
    /// whether the rest is zeros or not there.
    fn after_power_cut(&self, mut keep: impl FnMut(usize) -> (usize, bool)) -> Arc<Self> {
        let mut left = BTreeMap::new();
        for (name, (bytes, lasts)) in &*self.objects.lock().unwrap() {
            let mut bytes = bytes.clone();
            if *lasts == Lasts::Soon {
                let (length, zeros) = keep(bytes.len());
                let mut torn = bytes.to_vec();
                match zeros {
                    true => torn[length..].fill(0),
                    false => torn.truncate(length),
                }
                bytes = torn.into();
            }
            left.insert(name.clone(), (bytes, *lasts));
        }
        Arc::new(Self { objects: Mutex::new(left), ..Self::default() })
    }

    fn bytes(&self) -> usize {
        self.objects.lock().unwrap().values().map(|(bytes, _)| bytes.len()).sum()
    }

    fn names(&self) -> Vec<String> {
        self.objects.lock().unwrap().keys().cloned().collect()
    }
}

impl Objects for Shim {
    fn put<'a>(&'a self, name: &'a str, bytes: Bytes, lasts: Lasts) -> Outcome<'a, ()> {
        Box::pin(async move {
            self.meet_disk().await?;
            let room = self.room.load(Ordering::Relaxed);
            if room > 0 && self.bytes() + bytes.len() > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.objects.lock().unwrap().insert(name.to_owned(), (bytes, lasts));
            Ok(())
        })
    }

    fn append<'a>(&'a self, name: &'a str, at: u64, bytes: Bytes) -> Outcome<'a, u64> {
        Box::pin(async move {
            let mut whole = self.get(name).await?.map_or_else(Vec::new, Vec::from);
            whole.truncate(usize::try_from(at).unwrap());
            whole.extend_from_slice(&bytes);
            let end = whole.len() as u64;
            self.put(name, whole.into(), Lasts::Soon).await?;
            Ok(end)
        })
    }

    fn get<'a>(&'a self, name: &'a str) -> Outcome<'a, Option<Bytes>> {
        Box::pin(async move {
            Ok(self.objects.lock().unwrap().get(name).map(|(bytes, _)| bytes.clone()))
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> Outcome<'a, ()> {
        Box::pin(async move {
            self.meet_disk().await?;
            self.objects.lock().unwrap().remove(name);
            Ok(())
        })
    }

    fn list<'a>(&'a self, folder: &'a str) -> Outcome<'a, Vec<String>> {
        let names = self.names();
        let within = names.iter().filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'));
        let within = within.map(str::to_owned).collect();
        Box::pin(async move { Ok(within) })
    }
}

fn grid() -> Grid {
    Grid::new(0, (25, 1), 2000, 1000).unwrap()
}

fn limits() -> DiskLimits {
    DiskLimits { wait: Duration::from_secs(5), backlog_bytes: 1 << 20 }
}

fn part(msn: u64, index: u64, data: &'static [u8]) -> Part {
    let data = (!data.is_empty()).then(|| Bytes::from_static(data));
    Part { msn, index, independent: index == 0, data }
}

fn open(folder: &Path) -> Store {
    Store::open(folder, grid(), &[("v".to_owned(), Kind::Video)], 3, limits()).unwrap()
}

fn over(shim: &Arc<Shim>, dvr_segments: u64, limits: DiskLimits) -> Store {
    let objects: Arc<dyn Objects> = Arc::<Shim>::clone(shim);
    let renditions = [("v".to_owned(), Kind::Video)];
    Store::over(&objects, grid(), &renditions, dvr_segments, limits).unwrap()
}

fn bytes(data: &'static [u8]) -> Found {
    Found::Bytes(Bytes::from_static(data))
}

#[tokio::test]
async fn a_killed_store_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for (msn, index, data) in [(4, 0, &b"ab"[..]), (4, 1, b"cde"), (6, 0, b"fg")] {
        store.publish(0, &part(msn, index, data));
    }
    drop(store);
    // What a killed writer left of a part that was not listed.
    let parts = folder.path().join("media/v/6.parts");
    let torn = [fs::read(&parts).unwrap(), b"fgXXXX".repeat(99)].concat();
    fs::write(&parts, torn).unwrap();
    let mut store = open(folder.path());
    let track = Arc::clone(&store.tracks()[0]);
    assert_eq!(track.cursor(), Cursor { msn: 6, part: 1 });
    assert_eq!(track.segment(4).await.unwrap(), bytes(b"abcde"));
    assert_eq!(track.part(4, 1).await.unwrap(), bytes(b"cde"));
    assert_eq!(track.segment(5).await.unwrap(), Found::Never);
    assert_eq!(track.segment(6).await.unwrap(), Found::Later);
    store.publish(0, &part(6, 1, b""));
    assert_eq!(track.part(6, 0).await.unwrap(), bytes(b"fg"));
    assert_eq!(track.segment(6).await.unwrap(), Found::Never);
    assert_eq!(track.part(7, 0).await.unwrap(), Found::Later);
    store.publish(0, &part(9, 0, b"z"));
    assert_eq!(track.oldest(), Some(6));
    drop(store);
    assert!(!folder.path().join("media/v/4.m4s").exists());
}

#[tokio::test]
async fn an_unfinished_segment_is_finished_after_a_restart_and_is_one_object_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    store.publish(0, &part(4, 0, b"ab"));
    drop(store);
    let mut store = open(folder.path());
    store.publish(0, &part(4, 1, b"cd"));
    drop(store);
    let names = |folder: &Path| -> Vec<String> {
        let entries = fs::read_dir(folder.join("media/v")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(folder.path()), ["4.m4s"]);
    let store = open(folder.path());
    assert_eq!(store.tracks()[0].segment(4).await.unwrap(), bytes(b"abcd"));
    assert_eq!(store.tracks()[0].part(4, 1).await.unwrap(), bytes(b"cd"));
}

#[tokio::test]
async fn a_segment_goes_on_behind_its_last_whole_part_at_each_restart() {
    let folder = tempfile::tempdir().unwrap();
    let grid = Grid::new(0, (25, 1), 2000, 400).unwrap();
    let open = || {
        let renditions = [("v".to_owned(), Kind::Video)];
        Store::open(folder.path(), grid, &renditions, 3, limits()).unwrap()
    };
    let file = folder.path().join("media/v/4.parts");
    // The third is a gap, and has no record.
    let all = [&b"one"[..], b"two", b"", b"four"];
    for count in 1..=all.len() {
        let mut store = open();
        // A gap leaves no trace at the end, and is published again.
        let known = store.tracks()[0].cursor().part as usize;
        for (index, data) in all.iter().enumerate().take(count).skip(known) {
            store.publish(0, &part(4, index as u64, data));
        }
        drop(store);
        // A part that was torn, longer than the one that takes its place.
        let torn = [fs::read(&file).unwrap(), b"torn".repeat(99)].concat();
        fs::write(&file, torn).unwrap();
        let store = open();
        let track = &store.tracks()[0];
        for (index, data) in all[..count].iter().enumerate() {
            let found = track.part(4, index as u64).await.unwrap();
            match data.is_empty() {
                true => assert!(matches!(found, Found::Later | Found::Never)),
                false => assert_eq!(found, bytes(data)),
            }
        }
    }
}

#[test]
fn segments_that_left_the_disk_are_forgotten_and_not_taken_for_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for msn in 0..9 {
        store.publish(0, &part(msn, 0, b"ab"));
        store.publish(0, &part(msn, 1, b"cd"));
    }
    store.publish(0, &part(9, 0, b"ab"));
    store.publish(0, &part(9, 1, b""));
    drop(store);
    let store = open(folder.path());
    let track = &store.tracks()[0];
    assert_eq!(
        (track.oldest(), track.cursor(), track.whole_segments()),
        (Some(6), Cursor { msn: 9, part: 1 }, 3)
    );
}

#[test]
fn what_an_outage_longer_than_the_disk_keeps_left_is_gaps_and_not_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for msn in [4, 5] {
        store.publish(0, &part(msn, 0, b"ab"));
        store.publish(0, &part(msn, 1, b"cd"));
    }
    assert_eq!(store.tracks()[0].oldest(), Some(4));
    store.publish(0, &part(50, 0, b"ab"));
    assert_eq!(store.tracks()[0].oldest(), Some(47));
    drop(store);
    for _ in 0..2 {
        let store = open(folder.path());
        let track = &store.tracks()[0];
        assert_eq!(
            (track.oldest(), track.cursor(), track.whole_segments()),
            (Some(47), Cursor { msn: 50, part: 1 }, 0)
        );
        assert!(track.window(47).1[&47].gap());
    }
    let mut store = open(folder.path());
    store.publish(0, &part(51, 0, b"ef"));
    assert_eq!(store.tracks()[0].oldest(), Some(48));
}

#[tokio::test]
async fn a_disk_that_fails_or_hangs_holds_up_nobody_and_is_written_when_it_is_back() {
    for hangs in [false, true] {
        let shim = Arc::<Shim>::default();
        let wait = Duration::from_millis(20);
        let mut store = over(&shim, 100, DiskLimits { wait, ..limits() });
        let disk = store.disk();
        store.publish(0, &part(0, 0, b"ab"));
        let switch = if hangs { &shim.hangs } else { &shim.fails };
        switch.store(true, Ordering::Relaxed);
        store.publish(0, &part(0, 1, b"cd"));
        // Past what memory holds of a disk that keeps up.
        for msn in 1..2 * HOT_SEGMENTS {
            store.publish(0, &part(msn, 0, b"ef"));
            store.publish(0, &part(msn, 1, b"gh"));
        }
        let track = Arc::clone(&store.tracks()[0]);
        assert_eq!(track.cursor(), Cursor { msn: 2 * HOT_SEGMENTS, part: 0 });
        assert_eq!(track.segment(1).await.unwrap(), bytes(b"efgh"));
        assert!(disk.status().late && disk.status().backlog_bytes > 0);
        assert_eq!(shim.names(), ["v/0.parts"]);
        switch.store(false, Ordering::Relaxed);
        while disk.status().late {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(disk.status(), DiskStatus { late: false, backlog_bytes: 0, lost_segments: 0 });
        assert!(track.window(1).1[&1].in_memory().is_none());
        assert_eq!(track.segment(1).await.unwrap(), bytes(b"efgh"));
        drop(store);
        let store = over(&shim, 100, limits());
        assert_eq!(store.tracks()[0].whole_segments() as u64, 2 * HOT_SEGMENTS);
        assert_eq!(store.tracks()[0].segment(0).await.unwrap(), bytes(b"abcd"));
    }
}

#[tokio::test]
async fn what_waits_for_a_disk_is_bounded() {
    let shim = Arc::<Shim>::default();
    shim.fails.store(true, Ordering::Relaxed);
    let limits = DiskLimits { wait: Duration::from_millis(20), backlog_bytes: 64 };
    let mut store = over(&shim, 100, limits);
    for msn in 0..40 {
        store.publish(0, &part(msn, 0, b"0123456789"));
        store.publish(0, &part(msn, 1, b"0123456789"));
    }
    let status = store.disk().status();
    assert!(status.backlog_bytes <= 64 && status.lost_segments > 30, "{status:?}");
    let track = &store.tracks()[0];
    assert_eq!(track.segment(39).await.unwrap(), bytes(b"01234567890123456789"));
    // It was never written, and memory does not hold it for ever.
    assert_eq!(track.segment(20).await.unwrap(), Found::Never);
}

#[test]
fn a_disk_that_is_full_of_old_media_makes_room_by_itself() {
    let shim = Arc::<Shim>::default();
    let limits = DiskLimits { wait: Duration::from_millis(20), ..limits() };
    let mut store = over(&shim, 3, limits);
    let mut publish = |segments: std::ops::Range<u64>| {
        for msn in segments {
            store.publish(0, &part(msn, 0, b"0123456789"));
            store.publish(0, &part(msn, 1, b"0123456789"));
        }
    };
    let wait_for = |what: &str, is_there: &dyn Fn(Vec<String>) -> bool| {
        let mut polls = (0..2000).map(|_| std::thread::sleep(Duration::from_millis(10)));
        assert!(polls.any(|()| is_there(shim.names())), "{what}: {:?}", shim.names());
    };
    publish(0..6);
    wait_for("four segments, and no parts", &|names| names.len() == 4);
    // Not even for the first part of the next segment, behind which the oldest one is deleted.
    shim.room.store(shim.bytes() + 40, Ordering::Relaxed);
    publish(6..12);
    wait_for("the ninth", &|names| names.contains(&names::whole("v", 8)));
    assert!(!shim.names().contains(&names::whole("v", 3)));
}

/// What each part of a random event is: its bytes, or a gap.
fn data(msn: u64, index: u64, random: u64) -> Option<Bytes> {
    let media = !random.is_multiple_of(11);
    media.then(|| Bytes::from(format!("{msn}.{index} with {random} and more")))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A segment that another follows is as before, and of the last each part is as before or a
    /// gap.
    #[test]
    fn after_a_power_cut_nothing_that_was_published_is_otherwise(
        parts in prop::collection::vec(any::<u64>(), 1..60),
        cuts in prop::collection::vec((any::<usize>(), any::<bool>()), 1..20),
    ) {
        let shim = Arc::<Shim>::default();
        let mut store = over(&shim, 10, limits());
        for (at, random) in (0..).zip(&parts) {
            let (msn, index) = (at / 2, at % 2);
            let data = data(msn, index, *random);
            store.publish(0, &Part { msn, index, independent: index == 0, data });
        }
        let before = Arc::clone(&store.tracks()[0]);
        // The power is cut here: what the store still does is not seen.
        let mut cuts = cuts.iter().cycle();
        let left = shim.after_power_cut(|length| {
            let (cut, zeros) = cuts.next().unwrap();
            (cut % (length + 1), *zeros)
        });
        drop(store);
        let store = over(&left, 10, limits());
        let after = Arc::clone(&store.tracks()[0]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let cursor = before.cursor();
        for msn in before.oldest().unwrap_or(0)..=cursor.msn {
            let get = |track: &Arc<Track>| runtime.block_on(track.segment(msn)).unwrap();
            let is_followed = (parts.len() as u64 - 1) / 2 > msn;
            if let (Found::Bytes(whole), true) = (get(&before), is_followed) {
                prop_assert_eq!(get(&after), Found::Bytes(whole));
            }
            for index in 0..2 {
                let get = |track: &Arc<Track>| runtime.block_on(track.part(msn, index)).unwrap();
                match (get(&before), get(&after)) {
                    (Found::Bytes(before), Found::Bytes(after)) => prop_assert_eq!(before, after),
                    (Found::Never | Found::Later, Found::Bytes(_)) => {
                        prop_assert!(false, "{}.{} came out of nothing", msn, index);
                    }
                    (_, Found::Never | Found::Later) => {}
                }
            }
        }
        prop_assert!(after.cursor() <= cursor);
    }
}

/// What a part waits for its disk before it is shown. Run it by name, with `--nocapture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "what was measured")]
fn how_long_parts_wait_for_the_disk() {
    let folder = std::env::var("SIGHTSCREEN_MEASURE").map(std::path::PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder.unwrap_or_else(|_| temporary.path().to_owned());
    let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
    let renditions: Vec<_> = (0..8).map(|track| (format!("v{track}"), Kind::Video)).collect();
    let mut store = Store::open(&folder, grid, &renditions, 300, limits()).unwrap();
    let (mut parts, mut last) = (Vec::new(), Vec::new());
    for at in 0..600 {
        let (msn, index) = (at / 10, at % 10);
        for track in 0..8 {
            let data = Some(Bytes::from(vec![track as u8; 37_500]));
            let begun = std::time::Instant::now();
            store.publish(track, &Part { msn, index, independent: index == 0, data });
            if index == 9 { &mut last } else { &mut parts }.push(begun.elapsed());
        }
    }
    for (name, mut times) in [("a part", parts), ("the last of a segment", last)] {
        times.sort();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("{name}: median {:?}, p99 {:?}, most {:?}", at(50), at(99), at(100));
    }
}
