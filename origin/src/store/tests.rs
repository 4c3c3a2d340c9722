use super::*;

fn part(msn: u64, index: u64, data: &'static [u8]) -> Part {
    let data = (!data.is_empty()).then(|| Bytes::from_static(data));
    Part {
        msn,
        index,
        independent: index == 0,
        data,
    }
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
    let mut index = OpenOptions::new()
        .append(true)
        .open(folder.join("index"))
        .unwrap();
    index.write_all(b"v 6 1 2 4").unwrap();
    let mut store = open(&folder);
    let track = Arc::clone(&store.tracks()[0]);
    assert_eq!(track.cursor(), Cursor { msn: 6, part: 1 });
    assert_eq!(
        track.segment(4).await.unwrap(),
        Found::Bytes(Bytes::from_static(b"abcde"))
    );
    assert_eq!(
        track.part(4, 1).await.unwrap(),
        Found::Bytes(Bytes::from_static(b"cde"))
    );
    assert_eq!(track.segment(5).await.unwrap(), Found::Never);
    assert_eq!(track.segment(6).await.unwrap(), Found::Later);
    store.publish(0, &part(6, 1, b"")).unwrap();
    assert_eq!(
        track.part(6, 0).await.unwrap(),
        Found::Bytes(Bytes::from_static(b"fg"))
    );
    assert_eq!(track.segment(6).await.unwrap(), Found::Never);
    assert_eq!(track.part(7, 0).await.unwrap(), Found::Later);
    store.publish(0, &part(9, 0, b"z")).unwrap();
    assert_eq!(track.oldest(), Some(6));
    fs::remove_dir_all(&folder).unwrap();
}
