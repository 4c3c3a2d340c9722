use super::*;
use crate::grid::Kind;
use crate::mp4::write::{InitTrack, init};

/// The init segment of a picture of this codec profile.
fn picture(profile: u8) -> Vec<u8> {
    let start = b"\0\0\0\x18stsd\0\0\0\0\0\0\0\0avcC\x01".as_slice();
    let stsd = [start, &[profile, 0, 31]].concat().into();
    init(&InitTrack { kind: Kind::Video, timescale: 25_000, stsd, width: 284, height: 160 })
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for id in ["v", "w"] {
            std::fs::create_dir_all(folder.path().join("media").join(id)).unwrap();
        }
        Self(folder)
    }

    fn open(&self) -> io::Result<Inits> {
        Inits::open(self.0.path(), ["v", "w"].into_iter())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }
}

#[test]
fn the_first_init_segment_is_kept_and_one_that_nobody_can_read_is_replaced() {
    let folder = Folder::new();
    // What a full disk left.
    folder.write("media/v/init.mp4", b"");
    let inits = folder.open().unwrap();
    assert_eq!((inits.newest(0), inits.codecs(0)), (None, None));
    let first = picture(100);
    assert_eq!(inits.settle(0, &first).unwrap(), Settled::First);
    assert_eq!(inits.codecs(0).as_deref(), Some("avc1.64001f"));
    assert_eq!(inits.settle(0, &first).unwrap(), Settled::Same);
    assert_eq!(inits.settle(0, &picture(66)).unwrap(), Settled::Other);
    assert_eq!(folder.open().unwrap().newest(0).as_deref(), Some(first.as_slice()));
    folder.write("media/v/init.mp4", &first[..first.len() - 1]);
    let torn = folder.open().unwrap();
    assert_eq!(torn.settle(0, &picture(66)).unwrap(), Settled::First);
}

#[test]
fn a_change_is_one_for_all_tracks_and_lasts() {
    let folder = Folder::new();
    let inits = folder.open().unwrap();
    for track in 0..2 {
        inits.settle(track, &picture(100)).unwrap();
    }
    assert_eq!(inits.change(0, &picture(66), 7).unwrap(), Changed::New(7));
    // Nothing of segment 7 is visible, so the other track's is the same.
    assert_eq!(inits.change(1, &picture(77), 5).unwrap(), Changed::Joined(7));
    // The first track's old encoder is back.
    assert_eq!(inits.change(0, &picture(100), 8).unwrap(), Changed::New(8));
    for inits in [inits, folder.open().unwrap()] {
        assert_eq!(inits.of_track(0), [(7, 1), (8, 0)]);
        assert_eq!(inits.of_track(1), [(7, 1), (8, 1)]);
        assert_eq!((inits.since(0), inits.since(1)), (8, 7));
        assert_eq!(inits.newest(0).as_deref(), Some(picture(100).as_slice()));
        assert_eq!(inits.get(1, 1).as_deref(), Some(picture(77).as_slice()));
        assert_eq!(inits.codecs(0).as_deref(), Some("avc1.64001f,avc1.42001f"));
    }
    let names = ["init.mp4", "init-1.mp4"].map(|name| folder.0.path().join("media/v").join(name));
    assert!(names.iter().all(|name| name.exists()));
}

#[test]
fn a_change_that_the_disk_does_not_take_is_none() {
    let folder = Folder::new();
    let inits = folder.open().unwrap();
    inits.settle(0, &picture(100)).unwrap();
    // A folder in its place stands for a disk that fails.
    std::fs::create_dir(folder.0.path().join("changes.json.new")).unwrap();
    assert!(inits.change(0, &picture(66), 7).is_err());
    assert_eq!((inits.changes(), inits.since(0)), (Vec::new(), 0));
    std::fs::remove_dir(folder.0.path().join("changes.json.new")).unwrap();
    assert_eq!(inits.change(0, &picture(66), 9).unwrap(), Changed::New(9));
    assert_eq!(folder.open().unwrap().of_track(0), [(9, 1)]);
}

#[test]
fn an_encoder_that_changes_all_the_time_is_refused_in_the_end() {
    let folder = Folder::new();
    let inits = folder.open().unwrap();
    inits.settle(0, &picture(0)).unwrap();
    for n in 1..=CHANGES_MAX {
        let profile = u8::try_from(n).unwrap();
        let changed = inits.change(0, &picture(profile), n as u64 * 10).unwrap();
        assert_eq!(changed, Changed::New(n as u64 * 10));
    }
    assert_eq!(inits.change(0, &picture(200), 9999).unwrap(), Changed::Refused);
    let again = folder.open().unwrap();
    assert_eq!(again.changes().len(), CHANGES_MAX);
    assert_eq!(again.newest(0).as_deref(), Some(picture(64).as_slice()));
}

#[test]
fn what_is_no_list_of_changes_of_these_tracks_is_damaged() {
    let folder = Folder::new();
    for text in [
        "",
        "{}",
        r#"[{"msn":5,"inits":[1]}]"#,
        r#"[{"msn":5,"inits":[1,0]},{"msn":5,"inits":[1,0]}]"#,
        r#"[{"msn":5,"inits":[1,99999999]}]"#,
        r#"[{"msn":5,"inits":[1,0],"more":1}]"#,
    ] {
        folder.write("changes.json", text.as_bytes());
        assert_eq!(folder.open().unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
    }
    folder.write("changes.json", br#"[{"msn":5,"inits":[1,0]}]"#);
    assert_eq!(folder.open().unwrap().of_track(0), [(5, 1)]);
}

#[test]
fn names_are_read_as_they_are_made() {
    for at in [0, 1, 12] {
        assert_eq!(number(&name(at)), Some(at));
    }
    for other in ["init-0.mp4", "init-01.mp4", "init-+1.mp4", "init-.mp4", "init", "init.m4s", ""] {
        assert_eq!(number(other), None, "{other}");
    }
}
