//! Media for real: ffmpeg makes the test match for a few seconds, and ffmpeg and ffprobe judge what
//! is served.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{check_decoded, loudest_of};
use http::{Request, StatusCode};
use sightscreen_origin::breaks::on_air::{Breaks, BreaksView, FreezeError};
use sightscreen_origin::creative::{Card, Clip, CreativeError, CreativeRules};
use sightscreen_origin::encode::encoder::Preset;
use sightscreen_origin::encode::graph::Deinterlace;
use sightscreen_origin::encode::ladder::LadderLimits;
use sightscreen_origin::event::{Live, LiveConfig};
use sightscreen_origin::grid::Kind;
use sightscreen_origin::ingest::{Input, Publishers, TsLimits};
use sightscreen_origin::mp4::read::{Item, Reader};
use sightscreen_origin::package::packager::Patience;
use sightscreen_origin::store::DiskLimits;
use sightscreen_origin::viewers::media::handle;
use tokio::sync::Mutex;

/// One at a time: each has encoders that must keep up with the clock.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A ledger that counts, and checks the order.
#[derive(Default)]
struct Counting {
    frozen: AtomicU64,
}

impl Breaks for Counting {
    fn before_publish(&self, msn: u64) {
        let before = self.frozen.swap(msn + 1, Ordering::SeqCst);
        assert!(before <= msn + 1, "{msn} is frozen after {before}");
    }

    fn close_at(&self, _: u64) -> Result<(), FreezeError> {
        Ok(())
    }

    fn view(&self) -> BreaksView {
        let revision = self.frozen.load(Ordering::SeqCst);
        BreaksView { revision, version: revision, dateranges: Vec::new() }
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("sightscreen-media-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn config(data: &Path) -> LiveConfig {
    LiveConfig {
        event: "demo".to_owned(),
        data: data.to_owned(),
        input: Input::TestMatch,
        languages: vec!["en".to_owned(), "hi".to_owned()],
        ladder: LadderLimits { max_height: 360, ..LadderLimits::default() },
        frame_rate: None,
        deinterlace: Deinterlace::Frame,
        segment_ms: 2000,
        part_ms: 200,
        window_s: 60,
        dvr_s: 7200,
        patience: Patience::default(),
        picture_wait: Duration::from_secs(5),
        ts: TsLimits::default(),
        slate: None,
        disk: DiskLimits::default(),
        creatives: CreativeRules::default(),
    }
}

async fn get(live: &Live, path: &str) -> (StatusCode, Bytes) {
    let request = Request::get(format!("/live/demo/{path}")).body(()).unwrap();
    // What is asked is told from the query.
    let path = path.split('?').next().unwrap();
    let answer = handle(live, request, path).await;
    (answer.status(), answer.into_body())
}

async fn text(live: &Live, path: &str) -> String {
    let (status, body) = get(live, path).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    String::from_utf8(body.to_vec()).unwrap()
}

async fn bytes(live: &Live, path: &str) -> Bytes {
    let (status, body) = get(live, path).await;
    assert_eq!(status, StatusCode::OK, "{path}");
    body
}

/// Decodes with ffmpeg, any complaint is a failure, and returns the number of packets.
fn decode(file: &Path) -> u64 {
    check_decoded(file, &file.display().to_string());
    let counted = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets"])
        .args(["-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    let digits = String::from_utf8_lossy(&counted.stdout).trim().trim_end_matches(',').to_owned();
    digits.parse().unwrap()
}

/// The path of one of the content's objects.
fn object(live: &Live, rendition: &str, name: &str) -> String {
    format!("{rendition}/{}-{name}", live.epoch())
}

/// Three segments of a track: contiguous on the grid, parts and whole equal, decodable.
async fn check_track(live: &Live, id: &str, kind: Kind, folder: &Path) {
    let grid = live.grid();
    let mut stream = bytes(live, &object(live, id, "init.mp4")).await.to_vec();
    for msn in 0..3 {
        let whole = bytes(live, &object(live, id, &format!("{msn}.m4s"))).await;
        let mut glued = Vec::new();
        for part in 0..grid.parts(kind, msn) {
            glued.extend(bytes(live, &object(live, id, &format!("{msn}.{part}.m4s"))).await);
        }
        assert_eq!(whole, glued, "{id}/{msn}");
        stream.extend(whole);
    }
    let items = Reader::default().push(&stream).unwrap();
    let samples = items.iter().filter_map(|item| match item {
        Item::Sample(sample) => Some(sample),
        Item::Header(_) => None,
    });
    let each = u64::from(grid.sample_duration(kind));
    let mut count = 0;
    for (index, sample) in samples.enumerate() {
        assert_eq!(sample.time, index as u64 * each, "{id}");
        if kind == Kind::Video {
            assert_eq!(
                sample.sync,
                index % grid.segment_frames as usize == 0,
                "{id} frame {index}"
            );
        }
        count += 1;
    }
    assert_eq!(count, grid.first_sample(kind, 3));
    let file = folder.join(format!("{id}.mp4"));
    std::fs::write(&file, &stream).unwrap();
    assert_eq!(decode(&file), count, "{id}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_match_is_published_on_the_grid() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new("match");
    let data = folder.0.join("demo");
    let usual = config(&data);
    let ladder =
        LadderLimits { preset: Preset::Ultrafast, audio_bitrate: 32_000, ..usual.ladder.clone() };
    let first = LiveConfig { ladder, ..usual };
    let live =
        Live::start(first, Arc::new(Counting::default()), &Publishers::default()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), live.ready())
        .await
        .expect("three segments in 30 s");
    let renditions = live.renditions();
    let ids: Vec<&str> = renditions.iter().map(|rendition| rendition.id.as_str()).collect();
    assert!(ids.starts_with(&["v360"]) && ids.ends_with(&["a-en", "a-hi"]), "{ids:?}");
    for rendition in &renditions {
        check_track(&live, &rendition.id, rendition.kind, &folder.0).await;
    }
    let [en, hi] = ["a-en", "a-hi"].map(|id| object(&live, id, "1.m4s"));
    assert_ne!(bytes(&live, &en).await, bytes(&live, &hi).await);

    // Blocking reload: the answer holds what was asked for; a hinted part comes whole.
    let next = live.position().next_msn;
    let body = text(&live, &format!("v360/index.m3u8?_HLS_msn={next}&_HLS_part=2")).await;
    assert!(body.contains(&format!("-{next}.2.m4s\"")), "{body}");
    let hint = body.split("TYPE=PART,URI=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(!bytes(&live, &format!("v360/{hint}")).await.is_empty());
    for (path, status) in [
        ("v360/index.m3u8?_HLS_part=1", StatusCode::BAD_REQUEST),
        ("v360/index.m3u8?_HLS_msn=999999", StatusCode::BAD_REQUEST),
        (&object(&live, "v360", "999999.m4s"), StatusCode::NOT_FOUND),
        ("v360/0000-1.m4s", StatusCode::NOT_FOUND),
        ("v360/1.m4s", StatusCode::NOT_FOUND),
        ("v1/index.m3u8", StatusCode::NOT_FOUND),
        ("ads/none/v360/0/init.mp4", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(get(&live, path).await.0, status, "{path}");
    }

    let [content, sound] = ["v360", "a-en"].map(|id| object(&live, id, "0.m4s"));
    assert!(holds(&bytes(&live, &content).await, ULTRAFAST));
    let bits = bytes(&live, &sound).await.len() as u64 * 8 / 2;
    let told = renditions.last().unwrap();
    assert_eq!((told.bandwidth, told.average_bandwidth), (48_000, 41_600));
    assert!(bits > 32_000 && bits < told.average_bandwidth, "{bits}");

    // A restart keeps what was published, byte for byte, and the sequence goes on. How it is
    // encoded stays as well, whatever is set now.
    let second = object(&live, "v360", "2.m4s");
    let before = (live.grid(), live.position(), bytes(&live, &second).await);
    live.shutdown().await;
    drop(live);
    let live = Live::start(config(&data), Arc::new(Counting::default()), &Publishers::default())
        .await
        .unwrap();
    assert_eq!(live.grid(), before.0);
    assert_eq!(bytes(&live, &second).await, before.2);
    let until = before.1.next_msn;
    let body = text(&live, &format!("a-en/index.m3u8?_HLS_msn={until}")).await;
    assert!(
        live.position().next_msn > before.1.next_msn && body.contains(&format!("-{until}.m4s\n")),
        "{body}"
    );
    assert_eq!(live.renditions(), renditions);
    for id in ["v360", "a-en"] {
        let body = text(&live, &format!("{id}/index.m3u8")).await;
        assert_eq!(body.matches("#EXT-X-MAP").count(), 1, "{body}");
    }
    let slate = live.creatives().add(Clip::Card(Card::slate(2000))).await.unwrap();
    assert!(holds(&bytes(&live, &format!("ads/{slate}/v360/0/0.m4s")).await, ULTRAFAST));
    check_end(live, &data).await;
}

/// What x264 writes of that preset into the first picture that it encodes.
const ULTRAFAST: &str = " me=dia subme=0 ";

fn holds(media: &[u8], text: &str) -> bool {
    media.windows(text.len()).any(|some| some == text.as_bytes())
}

/// The event ends in every rendition at the same segment, those who wait are answered, and a
/// restart changes nothing.
async fn check_end(live: Live, data: &Path) {
    let end = live.end().await.unwrap();
    assert_eq!(live.end().await.unwrap(), end);
    assert!(live.is_ending());
    let ids: Vec<String> = live.renditions().into_iter().map(|one| one.id).collect();
    // A rendition may lag behind by a segment; asked further ahead than two, it refuses.
    text(&live, &format!("a-hi/index.m3u8?_HLS_msn={}", end - 2)).await;
    // Of the segment that will never be, from before the end.
    let asked = format!("a-hi/index.m3u8?_HLS_msn={end}");
    assert!(text(&live, &asked).await.ends_with("#EXT-X-ENDLIST\n"));
    for id in &ids {
        // Waits for this rendition's end; each reports the others'.
        text(&live, &format!("{id}/index.m3u8?_HLS_msn={}", end - 1)).await;
    }
    let mut said = Vec::new();
    for id in &ids {
        let body = text(&live, &format!("{id}/index.m3u8?_HLS_msn=999999")).await;
        assert!(body.ends_with("#EXT-X-ENDLIST\n") && !body.contains("PRELOAD-HINT"), "{body}");
        assert!(body.contains(&format!("-{}.m4s\n", end - 1)), "{body}");
        assert!(!body.contains(&format!("-{end}.0.m4s")), "{body}");
        let never = object(&live, id, &format!("{end}.0.m4s"));
        assert_eq!(get(&live, &never).await.0, StatusCode::NOT_FOUND);
        said.push(body);
    }
    assert!(live.is_over());
    assert_eq!(live.status().state, "ended");
    live.shutdown().await;
    let live = Live::start(config(data), Arc::new(Counting::default()), &Publishers::default())
        .await
        .unwrap();
    for (id, said) in ids.iter().zip(said) {
        let body = text(&live, &format!("{id}/index.m3u8")).await;
        // Reports of the others are as old as the rendering.
        let segments = |body: &str| -> Vec<String> {
            let lines = body.lines().skip_while(|line| !line.starts_with("#EXT-X-MAP"));
            let own = lines.filter(|line| !line.starts_with("#EXT-X-RENDITION-REPORT"));
            own.map(str::to_owned).collect()
        };
        assert!(segments(&body).len() > 4, "{body}");
        assert_eq!(segments(&body), segments(&said), "{id}");
    }
    live.shutdown().await;
}

/// Decodes a creative in every phase of a picture and a sound.
async fn check_creative(live: &Live, id: &str, segments: u64, folder: &Path) {
    assert_eq!(live.creatives().get(id).await.unwrap().segments, segments);
    let grid = live.grid();
    for (rendition, kind) in [("v360", Kind::Video), ("a-hi", Kind::Audio)] {
        for phase in 0..grid.phases(kind) {
            let base = format!("ads/{id}/{rendition}/{phase}");
            let mut stream = bytes(live, &format!("{base}/init.mp4")).await.to_vec();
            for segment in 0..segments {
                stream.extend(bytes(live, &format!("{base}/{segment}.m4s")).await);
            }
            let file = folder.join(format!("{rendition}-{phase}.mp4"));
            std::fs::write(&file, &stream).unwrap();
            let expected =
                grid.first_sample(kind, phase + segments) - grid.first_sample(kind, phase);
            assert_eq!(decode(&file), expected);
            let past = format!("{base}/{segments}.m4s");
            assert_eq!(get(live, &past).await.0, StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creative_stands_on_the_grid_in_every_phase() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new("creative");
    let live = Live::start(
        config(&folder.0.join("demo")),
        Arc::new(Counting::default()),
        &Publishers::default(),
    )
    .await
    .unwrap();
    let card = Card {
        title: "Tea: 50% off, 'today'".to_owned(),
        subtitle: "a\\b [c]; d".to_owned(),
        color: 0x8a_33_24,
        tone_hz: 330,
        length_ms: 4200,
    };
    let id = live.creatives().add(Clip::Card(card.clone())).await.unwrap();
    assert_eq!(live.creatives().add(Clip::Card(card)).await.unwrap(), id);
    check_creative(&live, &id, 2, &folder.0).await;
    let slate = live.creatives().add(Clip::Card(Card::slate(10_000))).await.unwrap();
    check_creative(&live, &slate, 5, &folder.0).await;
    let corrupt = folder.0.join("corrupt.mp4");
    std::fs::write(&corrupt, b"\0\0\0\x18ftypmp42 and then nothing of use").unwrap();
    let error = live.creatives().add(Clip::File(corrupt)).await.unwrap_err();
    assert!(
        matches!(&error, CreativeError::Corrupt { name, .. } if name.contains("corrupt.mp4")),
        "{error}"
    );
    live.shutdown().await;
}

/// Makes a clip with ffmpeg.
fn clip(path: &Path, arguments: &str) {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split(' '))
        .args(["-pix_fmt", "yuv420p"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_played_past_its_end_without_a_gap_and_its_sounds_become_languages_in_order() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new("file");
    let path = folder.0.join("clip.mp4");
    // The second sound is silence.
    clip(
        &path,
        "-f lavfi -i testsrc2=size=284x160:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 \
         -f lavfi -i anullsrc=r=48000:cl=stereo -map 0 -map 1 -map 2 -t 5 -c:v libx264 -preset ultrafast -c:a aac",
    );
    let config = LiveConfig {
        input: Input::File(path),
        languages: ["hi", "en", "ta"].map(str::to_owned).to_vec(),
        segment_ms: 1000,
        ..config(&folder.0.join("demo"))
    };
    let live =
        Live::start(config, Arc::new(Counting::default()), &Publishers::default()).await.unwrap();
    let ready = tokio::time::timeout(Duration::from_secs(60), live.ready());
    ready.await.expect("three segments");
    let ids: Vec<String> = live.renditions().into_iter().map(|one| one.id).collect();
    assert_eq!(ids, ["v160", "a-hi", "a-en"]);
    // Twice past the end.
    let until = live.position().next_msn + 12;
    for msn in live.position().next_msn..until {
        text(&live, &format!("a-en/index.m3u8?_HLS_msn={msn}")).await;
        text(&live, &format!("v160/index.m3u8?_HLS_msn={msn}")).await;
    }
    assert_eq!(live.status().encoder_starts, 1);
    for (id, kind) in [("v160", Kind::Video), ("a-en", Kind::Audio)] {
        check_loop(&live, id, kind, &folder.0).await;
    }
    let mut loud = Vec::new();
    for id in ["a-hi", "a-en"] {
        loud.push(loudest(&live, id, until - 2, &folder.0).await);
    }
    assert!(loud[0] > -40.0 && loud[1] < -60.0, "{loud:?}");
    live.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_language_that_begins_late_is_silence_and_the_picture_waits_for_no_sound() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new("late");
    let path = folder.0.join("clip.mkv");
    // Eight seconds in, past the patience with a track.
    clip(
        &path,
        "-f lavfi -i testsrc2=size=284x160:rate=25 -f lavfi -i sine=frequency=440:sample_rate=48000 \
         -itsoffset 8 -f lavfi -i sine=frequency=880:sample_rate=48000 -map 0 -map 1 -map 2 -t 60 \
         -c:v libx264 -preset ultrafast -c:a aac",
    );
    let config = LiveConfig {
        input: Input::File(path),
        languages: ["en", "hi"].map(str::to_owned).to_vec(),
        ..config(&folder.0.join("demo"))
    };
    let live =
        Live::start(config, Arc::new(Counting::default()), &Publishers::default()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), live.ready()).await.expect("three segments");
    let until = live.position().next_msn + 5;
    for msn in live.position().next_msn..until {
        text(&live, &format!("a-hi/index.m3u8?_HLS_msn={msn}")).await;
    }
    let status = live.status();
    assert_eq!((status.state, status.encoder_starts, status.lacking.len()), ("live", 1, 0));
    for id in ["v160", "a-en", "a-hi"] {
        assert!(!text(&live, &format!("{id}/index.m3u8")).await.contains("GAP"), "{id}");
    }
    let early = loudest(&live, "a-hi", 1, &folder.0).await;
    let late = loudest(&live, "a-hi", until - 1, &folder.0).await;
    assert!(early < -60.0 && late > -40.0, "{early} {late}");
    live.shutdown().await;
}

/// No gap, dates that follow each other, and media that decodes from the first segment to the last.
async fn check_loop(live: &Live, id: &str, kind: Kind, folder: &Path) {
    let body = text(live, &format!("{id}/index.m3u8")).await;
    assert!(!body.contains("GAP"), "{body}");
    let after = |tag: &'static str| body.lines().filter_map(move |line| line.strip_prefix(tag));
    let dates: Vec<&str> = after("#EXT-X-PROGRAM-DATE-TIME:").collect();
    assert!(dates.is_sorted_by(|a, b| a < b), "{dates:?}");
    let first = after("#EXT-X-MEDIA-SEQUENCE:").next().unwrap();
    let first: u64 = first.parse().unwrap();
    let whole = after("#EXTINF:").count() as u64;
    assert!(whole >= 12, "{body}");
    let mut stream = bytes(live, &object(live, id, "init.mp4")).await.to_vec();
    for msn in first..first + whole {
        stream.extend(bytes(live, &object(live, id, &format!("{msn}.m4s"))).await);
    }
    let file = folder.join(format!("{id}.mp4"));
    std::fs::write(&file, &stream).unwrap();
    let grid = live.grid();
    let samples = grid.first_sample(kind, first + whole) - grid.first_sample(kind, first);
    assert_eq!(decode(&file), samples, "{id}");
}

/// The loudest sample of a segment, in decibels.
async fn loudest(live: &Live, id: &str, msn: u64, folder: &Path) -> f64 {
    let mut stream = bytes(live, &object(live, id, "init.mp4")).await.to_vec();
    stream.extend(bytes(live, &object(live, id, &format!("{msn}.m4s"))).await);
    let file = folder.join("sound.mp4");
    std::fs::write(&file, stream).unwrap();
    loudest_of(&file)
}

/// When each file of the conditioned creatives was last changed.
fn changed(cache: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    // Slate and silence may be coded at the same time.
    let is_filler = |path: &Path| path.to_string_lossy().contains("/filler-");
    let folders = list(cache).into_iter().filter(|path| path.is_dir() && !is_filler(path));
    let mut files: Vec<_> = folders
        .flat_map(|folder| list(&folder))
        .map(|file| {
            let changed = std::fs::metadata(&file).unwrap().modified().unwrap();
            (file, changed)
        })
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_of_another_rate_and_shape_and_without_sound_is_brought_to_the_grid_once() {
    let _alone = ALONE.lock().await;
    let folder = Folder::new("odd");
    let (data, path) = (folder.0.join("demo"), folder.0.join("odd.mp4"));
    clip(
        &path,
        "-f lavfi -i testsrc2=size=240x426:rate=30000/1001 -t 3.3 -c:v libx264 -preset ultrafast",
    );
    let source = Clip::File(path.clone());
    let publishers = Publishers::default();
    let start = || Live::start(config(&data), Arc::new(Counting::default()), &publishers);
    let live = start().await.unwrap();
    let id = live.creatives().add(source.clone()).await.unwrap();
    check_creative(&live, &id, 2, &folder.0).await;
    let size = |init: &[u8]| match Reader::default().push(init).unwrap().as_slice() {
        [Item::Header(header)] => (header.width, header.height),
        other => panic!("{other:?}"),
    };
    let conditioned = bytes(&live, &format!("ads/{id}/v360/0/init.mp4")).await;
    assert_eq!(size(&conditioned), (640, 360));

    let before = changed(&data.join("creatives"));
    assert!(before.len() >= 3, "{before:?}");
    // The same clip under another name is the same creative.
    let other = folder.0.join("again.mp4");
    std::fs::copy(&path, &other).unwrap();
    for source in [source.clone(), Clip::File(other)] {
        assert_eq!(live.creatives().add(source).await.unwrap(), id);
    }
    live.shutdown().await;
    let live = start().await.unwrap();
    assert_eq!(live.creatives().add(source).await.unwrap(), id);
    assert_eq!(changed(&data.join("creatives")), before);
    live.shutdown().await;
}
