use super::*;

fn part(msn: u64, index: u64, data: &'static [u8]) -> Part {
    let data = (!data.is_empty()).then(|| Bytes::from_static(data));
    Part { msn, index, independent: index == 0, data }
}

fn open(folder: &Path) -> Store {
    let grid = Grid::new(0, (25, 1), 2000, 1000).unwrap();
    Store::open(folder, grid, &[("v".to_owned(), Kind::Video)], 3).unwrap()
}

#[tokio::test]
async fn a_killed_store_comes_back_byte_for_byte() {
    let folder = std::env::temp_dir().join(format!("sightscreen-store-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let mut store = open(&folder);
    for (msn, index, data) in [(4, 0, &b"ab"[..]), (4, 1, b"cde"), (6, 0, b"fg")] {
        store.publish(0, &part(msn, index, data)).unwrap();
    }
    drop(store);
    // A part that was written but not indexed, and an index line cut short.
    fs::write(folder.join("media/v/6.m4s"), b"fgXXXX").unwrap();
    let mut index = OpenOptions::new().append(true).open(folder.join("index")).unwrap();
    index.write_all(b"v 6 1 2 4").unwrap();
    let mut store = open(&folder);
    let track = Arc::clone(&store.tracks()[0]);
    assert_eq!(track.cursor(), Cursor { msn: 6, part: 1 });
    assert_eq!(track.segment(4).await.unwrap(), Found::Bytes(Bytes::from_static(b"abcde")));
    assert_eq!(track.part(4, 1).await.unwrap(), Found::Bytes(Bytes::from_static(b"cde")));
    assert_eq!(track.segment(5).await.unwrap(), Found::Never);
    assert_eq!(track.segment(6).await.unwrap(), Found::Later);
    store.publish(0, &part(6, 1, b"")).unwrap();
    assert_eq!(track.part(6, 0).await.unwrap(), Found::Bytes(Bytes::from_static(b"fg")));
    assert_eq!(track.segment(6).await.unwrap(), Found::Never);
    assert_eq!(track.part(7, 0).await.unwrap(), Found::Later);
    store.publish(0, &part(9, 0, b"z")).unwrap();
    assert_eq!(track.oldest(), Some(6));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_failed_compaction_does_not_publish_a_part_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    // A folder in the place of the new index stands for a disk that is full.
    fs::create_dir(folder.path().join("index.new")).unwrap();
    store.lines = COMPACT_AFTER;
    store.publish(0, &part(4, 0, b"ab")).unwrap();
    assert_eq!(store.lines, COMPACT_AFTER + 1 - COMPACT_RETRY);
    store.publish(0, &part(4, 1, b"cd")).unwrap();
    let segments = store.tracks()[0].window(0).1;
    assert_eq!(segments[&4].parts.len(), 2);
    fs::remove_dir(folder.path().join("index.new")).unwrap();
    store.lines = COMPACT_AFTER;
    store.publish(0, &part(5, 0, b"ef")).unwrap();
    assert_eq!(store.lines, 0);
    drop(store);
    assert_eq!(open(folder.path()).tracks()[0].cursor(), Cursor { msn: 5, part: 1 });
}

#[test]
fn segments_that_left_the_disk_are_forgotten_and_not_taken_for_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for msn in 0..9 {
        store.publish(0, &part(msn, 0, b"ab")).unwrap();
        store.publish(0, &part(msn, 1, b"cd")).unwrap();
    }
    store.publish(0, &part(9, 0, b"ab")).unwrap();
    store.publish(0, &part(9, 1, b"")).unwrap();
    drop(store);
    let track = Arc::clone(&open(folder.path()).tracks()[0]);
    assert_eq!((track.oldest(), track.cursor().msn, track.whole_segments()), (Some(6), 10, 3));
}

#[test]
fn what_an_outage_longer_than_the_disk_keeps_left_is_gaps_and_not_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    for msn in [4, 5] {
        store.publish(0, &part(msn, 0, b"ab")).unwrap();
        store.publish(0, &part(msn, 1, b"cd")).unwrap();
    }
    assert_eq!(store.tracks()[0].oldest(), Some(4));
    store.publish(0, &part(50, 0, b"ab")).unwrap();
    assert_eq!(store.tracks()[0].oldest(), Some(47));
    drop(store);
    // From the index as it grew, and from the one that is written anew at each start.
    for _ in 0..2 {
        let track = Arc::clone(&open(folder.path()).tracks()[0]);
        assert_eq!(
            (track.oldest(), track.cursor(), track.whole_segments()),
            (Some(47), Cursor { msn: 50, part: 1 }, 0)
        );
        assert!(track.window(47).1[&47].gap());
    }
    let mut store = open(folder.path());
    store.publish(0, &part(51, 0, b"ef")).unwrap();
    assert_eq!(store.tracks()[0].oldest(), Some(48));
}
