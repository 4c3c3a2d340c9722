use super::*;
use crate::breaks::on_air::NoBreaks;
use crate::creative::{CreativeRules, Library};
use crate::encode::ladder::Plan;
use crate::event::newest::Newest;
use crate::package::end::End;
use crate::package::inits::Inits;
use crate::store::{DiskLimits, Part, Store};

fn blocks(msn: Option<u64>, part: Option<u64>) -> Result<Option<(u64, u64)>, &'static str> {
    let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
    let cursor = Cursor { msn: 10, part: 4 };
    wanted(&grid, Kind::Video, cursor, Directives { msn, part })
        .map(|until| until.map(|until| (until.msn, until.part)))
}

#[test]
fn blocking_follows_the_rules() {
    assert_eq!(blocks(None, None), Ok(None));
    assert!(blocks(None, Some(0)).is_err());
    // An old one is there already; the answer comes at once.
    assert_eq!(blocks(Some(3), None), Ok(Some((4, 0))));
    assert_eq!(blocks(Some(10), None), Ok(Some((11, 0))));
    assert_eq!(blocks(Some(10), Some(4)), Ok(Some((10, 5))));
    // Past the end of the segment: part 0 of the next.
    assert_eq!(blocks(Some(10), Some(10)), Ok(Some((11, 1))));
    assert_eq!(blocks(Some(10), Some(77)), Ok(Some((11, 1))));
    assert_eq!(blocks(Some(11), Some(9)), Ok(Some((11, 10))));
    assert!(blocks(Some(12), None).is_err());
    assert!(blocks(Some(11), Some(10)).is_err());
}

#[test]
fn directives_are_plain_decimals() {
    let all = Directives { msn: Some(7), part: Some(2) };
    assert_eq!(directives("_HLS_msn=7&_HLS_part=2&_HLS_skip=YES&x=1"), Some(all));
    assert_eq!(directives(""), Some(Directives::default()));
    for bad in ["_HLS_msn=-1", "_HLS_msn=", "_HLS_part=1e3", "_HLS_msn=99999999999999999999"] {
        assert_eq!(directives(bad), None, "{bad}");
    }
}

#[test]
fn ranges_are_cut_to_what_is_there() {
    assert_eq!(byte_range("bytes=0-3", 10), Some(Some((0, 4))));
    assert_eq!(byte_range("bytes=4-", 10), Some(Some((4, 10))));
    assert_eq!(byte_range("bytes=-3", 10), Some(Some((7, 10))));
    assert_eq!(byte_range("bytes=9-99", 10), Some(Some((9, 10))));
    assert_eq!(byte_range("bytes=10-", 10), Some(None));
    for ignored in ["bytes=-", "bytes=3-1", "bytes=1-2,4-5", "items=1-2", "bytes=+1-2"] {
        assert_eq!(byte_range(ignored, 10), None, "{ignored}");
    }
}

/// An event of one picture in segments of a second, without an encoder.
struct Stage {
    store: Store,
    media: Media,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let grid = Grid::new(0, (25, 1), 1000, 200).unwrap();
        let tracks = [("v".to_owned(), Kind::Video)];
        let store = Store::open(folder.path(), grid, &tracks, 20, DiskLimits::default()).unwrap();
        let media = Media {
            epoch: "1a2b".into(),
            grid,
            plan: Plan::default(),
            tracks: store.tracks().to_vec(),
            inits: Arc::new(Inits::open(folder.path(), ["v"].into_iter()).unwrap()),
            playlists: vec![Newest::default()],
            window_segments: 8,
            listed_from: 0,
            end: Arc::new(End::open(folder.path()).unwrap()),
            disk: store.disk(),
            breaks: Arc::new(NoBreaks),
            library: Library::new(folder.path().join("creatives"), CreativeRules::default()),
        };
        Self { store, media, _folder: folder }
    }

    fn publish(&mut self, msn: u64) {
        for index in 0..self.media.grid.parts(Kind::Video, msn) {
            let part = Part {
                msn,
                index,
                independent: index == 0,
                data: Some(Bytes::from_static(b"media")),
            };
            self.store.publish(0, &part);
        }
    }
}

#[test]
fn after_an_outage_longer_than_the_disk_keeps_the_whole_window_is_listed() {
    let mut stage = Stage::new();
    let listed = |stage: &Stage| {
        let listing = stage.media.listing(0).unwrap();
        (listing.first, listing.cursor.msn)
    };
    // Nothing was before the event began.
    stage.publish(5);
    assert_eq!(listed(&stage), (5, 6));
    stage.publish(6);
    stage.publish(100);
    assert_eq!(listed(&stage), (93, 101));
    let text = render(&stage.media.listing(0).unwrap());
    assert_eq!(text.matches("#EXT-X-GAP\n").count(), 7, "{text}");
}

/// Status, `cache-control`, `retry-after` and body of a playlist request.
async fn ask(media: &Media, query: &str) -> (u16, String, Option<String>, String) {
    let request = Request::get(format!("/live/demo/v/index.m3u8{query}"));
    let answer = answer(media, &Asked::of(&request.body(()).unwrap()), "v/index.m3u8").await;
    let header = |name: &str| {
        let value = answer.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    (
        answer.status().as_u16(),
        header("cache-control").unwrap(),
        header("retry-after"),
        String::from_utf8(answer.body().to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn caches_are_told_how_long_each_answer_holds() {
    let mut stage = Stage::new();
    let (status, cache, retry, body) = ask(&stage.media, "").await;
    assert_eq!((status, cache.as_str()), (503, "no-store"));
    assert!(retry.is_some() && body.contains("starting"), "{body}");
    stage.publish(7);
    for (query, status, cache) in [
        ("", 200, "public, max-age=1"),
        ("?_HLS_msn=7", 200, "public, max-age=6"),
        ("?_HLS_msn=7&_HLS_part=2", 200, "public, max-age=6"),
        ("?_HLS_msn=x", 400, "public, max-age=1"),
        ("?_HLS_msn=10", 400, "public, max-age=4"),
        ("?_HLS_part=1", 400, "public, max-age=4"),
    ] {
        let said = ask(&stage.media, query).await;
        assert_eq!((said.0, said.1.as_str()), (status, cache), "{query}");
    }
}

#[tokio::test]
async fn when_the_encoder_stands_still_who_waits_is_told_so_and_no_stale_playlist() {
    let mut stage = Stage::new();
    stage.publish(7);
    let asked = ["?_HLS_msn=8", "?_HLS_msn=8&_HLS_part=0"];
    let (whole, part) = tokio::join!(ask(&stage.media, asked[0]), ask(&stage.media, asked[1]));
    for (status, cache, retry, body) in [whole, part] {
        assert_eq!((status, cache.as_str()), (503, "no-store"));
        assert_eq!(retry.as_deref(), Some("1"));
        assert!(body.contains("urn:sightscreen:problem:stalled"), "{body}");
    }
    // Who does not wait is answered all the same, and so is who waits once it goes on.
    assert_eq!(ask(&stage.media, "").await.0, 200);
    stage.publish(8);
    assert_eq!(ask(&stage.media, asked[0]).await.0, 200);
}

#[tokio::test]
async fn objects_of_another_epoch_are_not_there() {
    let mut stage = Stage::new();
    stage.publish(7);
    let media = &stage.media;
    media.inits.settle(0, b"init").unwrap();
    media.inits.change(0, b"other", 9).unwrap();
    let status = async |object: &str| {
        let request = Request::get(format!("/live/demo/v/{object}")).body(()).unwrap();
        answer(media, &Asked::of(&request), &format!("v/{object}")).await.status().as_u16()
    };
    for object in ["1a2b-7.m4s", "1a2b-7.0.m4s", "1a2b-init.mp4", "1a2b-init-1.mp4"] {
        assert_eq!(status(object).await, 200, "{object}");
    }
    for object in [
        "7.m4s",
        "7.0.m4s",
        "init.mp4",
        "init-1.mp4",
        "1a2b-init-0.mp4",
        "1a2b-init-01.mp4",
        "1a2b-init-+1.mp4",
        "1a2b-init-2.mp4",
        "-7.m4s",
        "3c4d-7.m4s",
        "1a2-7.m4s",
        "1a2bc-7.m4s",
        "3c4d-init.mp4",
        "1a2b-1a2b-7.m4s",
    ] {
        assert_eq!(status(object).await, 404, "{object}");
    }
}

#[tokio::test]
async fn a_playlist_is_made_once_for_all_and_compressed_for_those_who_accept_it() {
    let mut stage = Stage::new();
    stage.publish(7);
    let ask = async |stage: &Stage, accepts: Option<&str>| {
        let mut request = Request::get("/live/demo/v/index.m3u8");
        if let Some(accepts) = accepts {
            request = request.header("accept-encoding", accepts);
        }
        answer(&stage.media, &Asked::of(&request.body(()).unwrap()), "v/index.m3u8").await
    };
    let first = ask(&stage, None).await;
    // The very same bytes, not equal ones.
    assert_eq!(ask(&stage, None).await.body().as_ptr(), first.body().as_ptr());
    for (accepts, gzip) in [("br, gzip", true), ("gzip;q=0, br", false), ("deflate", false)] {
        let answer = ask(&stage, Some(accepts)).await;
        assert_eq!(answer.headers().contains_key("content-encoding"), gzip, "{accepts}");
        assert_eq!(answer.body().starts_with(&[0x1f, 0x8b]), gzip, "{accepts}");
        assert_eq!(answer.headers()["vary"], "accept-encoding");
    }
    stage.publish(8);
    assert_ne!(ask(&stage, None).await.body(), first.body());
}

/// From a part to the last answer of those who wait for it. Run it by name, with `--nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "what was measured")]
async fn how_long_the_last_of_five_thousand_waits_for_a_part() {
    const WAITING: usize = 5000;
    for shared in [true, false] {
        let mut stage = Stage::new();
        (7..40).for_each(|msn| stage.publish(msn));
        let Stage { mut store, media, _folder } = stage;
        let media = Arc::new(media);
        let mut times = Vec::new();
        for index in 0..media.grid.parts(Kind::Video, 40) {
            let mut waiting = tokio::task::JoinSet::new();
            for _ in 0..WAITING {
                let media = Arc::clone(&media);
                waiting.spawn(async move {
                    let until = Cursor { msn: 40, part: index + 1 };
                    assert!(reached(&media, &media.tracks[0], until).await);
                    let own = Newest::default();
                    let make = || Some((Default::default(), render(&media.listing(0)?)));
                    let text = match shared {
                        true => media.playlist(0),
                        false => own.text(Default::default(), make),
                    };
                    assert!(!text.unwrap().gzip().is_empty());
                    std::time::Instant::now()
                });
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            let data = Some(Bytes::from_static(b"media"));
            let begun = std::time::Instant::now();
            store.publish(0, &Part { msn: 40, index, independent: index == 0, data });
            let answers = waiting.join_all().await;
            times.push(*answers.iter().max().unwrap() - begun);
        }
        times.sort();
        let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
        println!("shared {shared}: the last after {median:?} (median), {most:?} (most)");
    }
}
