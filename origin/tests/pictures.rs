//! Pictures and sounds of many kinds, as files that are played and as creatives: what is published
//! has the right size and rate, no gap, and sound where there is some.
//!
//! The field's own samples are outside of the repository. Without them, only the kinds made here
//! are tried.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use common::loudest_of;
use http::{Request, StatusCode};
use sightscreen_origin::breaks::on_air::{Breaks, BreaksView, FreezeError};
use sightscreen_origin::creative::{Clip, CreativeError, CreativeRules};
use sightscreen_origin::encode::graph::Deinterlace;
use sightscreen_origin::encode::ladder::{LadderLimits, USUAL_RUNGS};
use sightscreen_origin::event::{Live, LiveConfig};
use sightscreen_origin::grid::Kind;
use sightscreen_origin::ingest::{Input, Publishers, TsLimits};
use sightscreen_origin::package::packager::Patience;
use sightscreen_origin::store::DiskLimits;
use sightscreen_origin::viewers::media::handle;
use tokio::sync::Mutex;
use tokio::task::{JoinSet, block_in_place};

/// One at a time: encoders must keep up with the clock.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs a command while other samples are played.
fn output(command: &mut Command) -> Output {
    block_in_place(|| command.output().unwrap())
}

/// A ledger without breaks.
struct NoBreaks;

impl Breaks for NoBreaks {
    fn before_publish(&self, _msn: u64) {}

    fn close_at(&self, _: u64) -> Result<(), FreezeError> {
        Ok(())
    }

    fn view(&self) -> BreaksView {
        BreaksView { revision: 0, version: 0, dateranges: Vec::new() }
    }
}

/// Segments that are looked at; each lasts a second.
const LOOKED_AT: u64 = 5;

/// Twelve seconds of picture, white at 1 s and at 9 s, with four seconds of sound.
const SOUND_THIRD: &str = "sound-third";

/// A grey that is brighter in HDR than its number is elsewhere.
const HDR: &str = "hdr";

/// A kind of file, and what must come of it.
#[derive(Clone)]
struct Sample {
    name: &'static str,
    path: PathBuf,
    fps: (u32, u32),
    size: (u32, u32),
    /// Whether each language is heard.
    heard: &'static [bool],
    deinterlace: Deinterlace,
    /// Whether it has the lines of what is published, so that two moments in one picture show.
    is_combed: bool,
}

impl Sample {
    fn new(name: &'static str, path: PathBuf) -> Self {
        let size = (284, 160);
        let (fps, heard, deinterlace) = ((25, 1), &[true], Deinterlace::Frame);
        Self { name, path, fps, size, heard, deinterlace, is_combed: false }
    }

    fn fps(self, num: u32, den: u32) -> Self {
        Self { fps: (num, den), ..self }
    }

    fn size(self, width: u32, height: u32) -> Self {
        Self { size: (width, height), ..self }
    }

    fn heard(self, heard: &'static [bool]) -> Self {
        Self { heard, ..self }
    }

    fn combed(self) -> Self {
        Self { is_combed: true, ..self }
    }

    /// A picture of each field, at this rate.
    fn by_field(self, num: u32, den: u32) -> Self {
        Self { deinterlace: Deinterlace::Field, ..self.fps(num, den) }
    }

    fn segments(&self) -> u64 {
        // Past the end of its picture, and to the second white of the next turn.
        if self.name == SOUND_THIRD { 19 } else { LOOKED_AT }
    }

    /// Of single fields, also a small rung has each.
    fn ladder(&self) -> LadderLimits {
        let mut rungs = USUAL_RUNGS.to_vec();
        if self.deinterlace == Deinterlace::Field {
            rungs.iter_mut().for_each(|rung| rung.half_from_fps = None);
        }
        LadderLimits { max_height: 160, rungs, ..LadderLimits::default() }
    }

    fn config(&self, folder: &Path) -> LiveConfig {
        LiveConfig {
            event: "demo".to_owned(),
            data: folder.join(self.name),
            input: Input::File(self.path.clone()),
            languages: vec!["en".to_owned(), "hi".to_owned()],
            ladder: self.ladder(),
            frame_rate: None,
            deinterlace: self.deinterlace,
            segment_ms: 1000,
            part_ms: 200,
            window_s: 60,
            dvr_s: 600,
            patience: Patience::default(),
            picture_wait: Duration::from_secs(5),
            ts: TsLimits::default(),
            slate: None,
            disk: DiskLimits::default(),
            creatives: CreativeRules::default(),
        }
    }
}

fn media() -> Option<PathBuf> {
    let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let found = media.join("field").is_dir();
    if !found {
        println!("skipped: the samples of the field, for {} is absent", media.display());
    }
    found.then_some(media)
}

fn ffmpeg(arguments: &str, out: &Path) {
    let mut url = std::ffi::OsString::from("file:");
    url.push(out);
    let made = output(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y"])
            .args(arguments.split_whitespace())
            .arg(url),
    );
    assert!(made.status.success(), "{arguments}: {made:?}");
}

const TONE: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000";

/// Kinds that are made here: each differs from the usual in several ways that do not hide each
/// other.
fn made(folder: &Path) -> Vec<Sample> {
    let at = |name: &str| folder.join(name);
    let picture = |size: &str, rate: &str| format!("-f lavfi -i testsrc2=size={size}:rate={rate}");
    let small = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 50 -t 4";
    ffmpeg(
        &format!(
            "{} {TONE} -t 4 -c:v libx265 -preset ultrafast -x265-params log-level=none \
             -pix_fmt yuv422p10le -c:a ac3 -ac 6 -ar 44100",
            picture("426x240", "30000/1001")
        ),
        &at("hevc.mkv"),
    );
    for (name, size, fields) in [
        ("top_first.ts", "200x160", "interleave_top,setsar=64/45"),
        ("bottom_first.ts", "284x160", "interleave_bottom"),
    ] {
        ffmpeg(
            &format!(
                "{} {TONE} -t 8 -vf scroll=horizontal=0.01,tinterlace={fields} -c:v mpeg2video \
                 -b:v 4M -flags +ildct+ilme -pix_fmt yuv420p -c:a mp2 -ac 1",
                picture(size, "50")
            ),
            &at(name),
        );
        let (interlaced, all) = interlaced_of(&at(name));
        assert!(interlaced * 10 > all * 9, "{name} shows {interlaced} of {all}");
    }
    ffmpeg(&format!("{} {small} -an", picture("284x160", "60")), &at("mute.mp4"));
    ffmpeg(&format!("{TONE} -t 4 -c:a aac -ac 1"), &at("radio 50%d: it's.m4a"));
    ffmpeg(&format!("{} {TONE} {small} -c:a aac", picture("284x160", "25")), &at("upright.mp4"));
    ffmpeg(
        &format!("-i {} -c copy -metadata:s:v rotate=90", at("upright.mp4").display()),
        &at("turned.mp4"),
    );
    ffmpeg(
        &format!(
            "{} {TONE} -t 4 -vf format=yuv444p,crop=285:161:exact=1 -c:v libx264 -preset ultrafast \
             -c:a libopus -live 1 -f matroska",
            picture("286x162", "15")
        ),
        &at("odd.mkv"),
    );
    ffmpeg(
        &format!(
            "-f lavfi -i color=c=0xb4b4b4:s=284x160:r=25 {TONE} -t 4 -pix_fmt yuv420p10le \
             -c:v libx264 -preset ultrafast -color_primaries bt2020 -color_trc smpte2084 \
             -colorspace bt2020nc -color_range tv -c:a aac"
        ),
        &at("hdr.mp4"),
    );
    vec![
        Sample::new(HDR, at("hdr.mp4")),
        Sample::new("hevc-10-bit-422-ac3-51", at("hevc.mkv")).fps(30_000, 1001),
        Sample::new("mpeg2-interlaced-anamorphic-mp2", at("top_first.ts")).combed(),
        Sample::new("bottom-field-first-by-field", at("bottom_first.ts")).combed().by_field(50, 1),
        Sample::new("without-sound-60", at("mute.mp4")).fps(60, 1).heard(&[false]),
        Sample::new("without-picture", at("radio 50%d: it's.m4a")),
        Sample::new("turned", at("turned.mp4")).size(90, 160),
        Sample::new("odd-444-15-without-length", at("odd.mkv")).fps(30, 1).size(282, 160),
    ]
}

fn of_the_field(media: &Path) -> Vec<Sample> {
    let field = |name| media.join("field").join(name);
    vec![
        Sample::new(SOUND_THIRD, field("sound_third.mp4")),
        Sample::new("50-mono-441", field("fps50_mono44.flv")).fps(50, 1),
        Sample::new("interlaced", field("inter25i.mp4")),
        Sample::new("anamorphic", field("sar.mp4")),
        Sample::new("late-language", field("two_tracks.mp4")).heard(&[true, true]),
        Sample::new("cover-first", field("cover_first.mp4")).fps(30, 1),
        Sample::new("standing", field("vfr.mp4")).fps(30, 1),
        Sample::new("without-length", field("c_recorder.webm")),
        Sample::new("1080i-by-field", media.join("kyrion_dirtystart.ts"))
            .by_field(60_000, 1001)
            .heard(&[true; 2]),
        Sample::new("phone", media.join("skyline_360p.mp4")).fps(30, 1),
    ]
}

async fn get(live: &Live, path: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::get(format!("/live/demo/{path}")).body(()).unwrap();
    let answer = handle(live, request, path.split('?').next().unwrap()).await;
    (answer.status(), answer.into_body().to_vec())
}

async fn object(live: &Live, path: &str) -> Vec<u8> {
    let (mut status, mut body) = get(live, path).await;
    // What is held too long on a slow machine is asked again.
    while status == StatusCode::SERVICE_UNAVAILABLE {
        (status, body) = get(live, path).await;
    }
    assert_eq!(status, StatusCode::OK, "{path}");
    body
}

/// Init and segments of a rendition, as one file.
async fn file(live: &Live, id: &str, segments: std::ops::Range<u64>, to: &Path) {
    let epoch = live.epoch();
    let mut bytes = object(live, &format!("{id}/{epoch}-init.mp4")).await;
    for msn in segments {
        bytes.extend(object(live, &format!("{id}/{epoch}-{msn}.m4s")).await);
    }
    std::fs::write(to, bytes).unwrap();
}

/// What ffmpeg says of a file through a filter.
fn said(file: &Path, filter: [&str; 2]) -> String {
    let output = output(
        Command::new("ffmpeg")
            .args(["-hide_banner", "-nostdin", "-i"])
            .arg(file)
            .args(filter)
            .args(["-f", "null", "-"]),
    );
    String::from_utf8(output.stderr).unwrap()
}

/// The part of a picture that is not black, as `width:height`.
fn lit(file: &Path) -> (u32, u32) {
    let said = said(file, ["-vf", "cropdetect=limit=24:round=2:reset=0"]);
    let (_, last) = said.rsplit_once("crop=").unwrap_or_else(|| panic!("{said}"));
    let mut numbers = last.split(':').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// In how many pictures two moments show, and how many there are.
fn interlaced_of(file: &Path) -> (u32, u32) {
    let said = said(file, ["-vf", "idet"]);
    let (_, last) = said.rsplit_once("Single frame detection:").unwrap_or_else(|| panic!("{said}"));
    let of = |kind: &str| -> u32 {
        let (_, number) = last.split_once(kind).unwrap();
        number.split_whitespace().next().unwrap().parse().unwrap()
    };
    let interlaced = of("TFF:") + of("BFF:");
    (interlaced, interlaced + of("Progressive:") + of("Undetermined:"))
}

/// Each picture's time in seconds, and how bright it is, from 16 to 235.
fn brightness(file: &Path) -> Vec<(f64, f64)> {
    measured(file, "YAVG")
}

/// Each picture's time in seconds, and this of `signalstats`.
fn measured(file: &Path, what: &str) -> Vec<(f64, f64)> {
    let print = format!("signalstats,metadata=print:key=lavfi.signalstats.{what}:file=-");
    let output = output(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-i"])
            .arg(file)
            .args(["-vf", &print, "-f", "null", "-"]),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let (mut at, mut found) = (0.0, Vec::new());
    for line in said.lines() {
        if let Some((_, time)) = line.split_once("pts_time:") {
            at = time.trim().parse().unwrap();
        } else if let Some((_, value)) = line.split_once('=') {
            found.push((at, value.trim().parse().unwrap()));
        }
    }
    found
}

/// Seconds at which the picture turns white.
fn white(file: &Path) -> Vec<f64> {
    let is_white = |luma: f64| luma > 180.0;
    let pictures = brightness(file);
    let first = pictures.first().filter(|(_, luma)| is_white(*luma)).map(|(at, _)| *at);
    let turns = pictures.windows(2).filter(|two| !is_white(two[0].1) && is_white(two[1].1));
    first.into_iter().chain(turns.map(|two| two[1].0)).collect()
}

/// What ffprobe says of a picture: its size, and its colours as range, matrix, curve and primaries.
fn size_and_colors(file: &Path) -> ((u32, u32), String) {
    let wanted = "stream=width,height,color_range,color_space,color_transfer,color_primaries";
    let output = output(
        Command::new("ffprobe")
            .args(["-v", "error", "-show_entries", wanted, "-of", "csv=p=0"])
            .arg(file),
    );
    let said = String::from_utf8(output.stdout).unwrap();
    let mut parts = said.trim().splitn(3, ',');
    let mut number = || parts.next().unwrap().parse().unwrap();
    ((number(), number()), parts.next().unwrap().to_owned())
}

/// No picture shows two moments but a few, where the clip begins again.
fn check_progressive(file: &Path, name: &str) {
    let (interlaced, all) = interlaced_of(file);
    assert!(all >= 50 && interlaced * 10 < all, "{name}: {interlaced} of {all} are interlaced");
}

/// Each of so many pictures is as far from the one before it as all others are: none is shown
/// twice, and no two are in the wrong order.
fn check_motion(file: &Path, pictures: u64, name: &str) {
    let mut moved: Vec<f64> = measured(file, "YDIF").iter().map(|(_, by)| *by).collect();
    assert_eq!(moved.len() as u64, pictures, "{name}");
    moved.sort_by(f64::total_cmp);
    // The clip begins again somewhere, and the first picture has none before it.
    let (least, most) = (moved[moved.len() / 20], moved[moved.len() * 19 / 20]);
    assert!(least > 1.0 && most < 2.0 * least, "{name}: pictures move by {least} to {most}");
}

/// Plays a sample for some segments, and looks at what came of it.
async fn check_played(sample: Sample, folder: PathBuf) {
    let name = sample.name;
    let publishers = Publishers::default();
    let live = Live::start(sample.config(&folder), Arc::new(NoBreaks), &publishers);
    let live = live.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(live.grid().fps, sample.fps, "{name}");
    let ready = tokio::time::timeout(Duration::from_secs(90), live.ready()).await;
    assert!(ready.is_ok(), "{name} is not ready: {:?}", live.status());
    assert_eq!(live.status().encoder_starts, 1, "{name}");
    let first = live.position().next_msn;
    let ids: Vec<String> = live.renditions().into_iter().map(|one| one.id).collect();
    assert_eq!(ids.len(), 1 + sample.heard.len(), "{name}: {ids:?}");
    for id in &ids {
        for msn in first..first + sample.segments() {
            object(&live, &format!("{id}/index.m3u8?_HLS_msn={msn}")).await;
        }
        let playlist = object(&live, &format!("{id}/index.m3u8")).await;
        let playlist = String::from_utf8(playlist).unwrap();
        assert!(!playlist.contains("GAP"), "{name} {id}: {playlist}");
    }
    let segments = first - 2..first + sample.segments();
    let picture = folder.join(format!("{name}.mp4"));
    file(&live, &ids[0], segments.clone(), &picture).await;
    let colors = "tv,bt709,bt709,bt709".to_owned();
    assert_eq!(size_and_colors(&picture), (sample.size, colors), "{name}");
    if sample.is_combed {
        check_progressive(&picture, name);
    }
    if sample.is_combed && sample.deinterlace == Deinterlace::Field {
        check_motion(&picture, (segments.end - segments.start) * 50, name);
    }
    if name == HDR {
        assert!(brightness(&picture).iter().all(|(_, luma)| *luma > 200.0), "{name} is too dark");
    }
    if name == SOUND_THIRD {
        file(&live, &ids[0], segments.clone(), &picture).await;
        let white = white(&picture);
        let between: Vec<f64> = white.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(between.iter().any(|s| (7.9..8.1).contains(s)), "{white:?}");
        assert!(between.iter().any(|s| (3.9..4.1).contains(s)), "{white:?}");
    }
    for (id, heard) in ids[1..].iter().zip(sample.heard) {
        let sound = folder.join(format!("{name}-{id}.mp4"));
        file(&live, id, segments.clone(), &sound).await;
        let loudest = loudest_of(&sound);
        assert_eq!(loudest > -40.0, *heard, "{name} {id}: {loudest} dB");
    }
    live.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_is_played_without_a_gap() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut samples = made(folder.path());
    samples.extend(media().iter().flat_map(|media| of_the_field(media)));
    // A few at once: each has an encoder that must keep up with the clock.
    for some in samples.chunks(6) {
        let mut checks = JoinSet::new();
        for sample in some {
            checks.spawn(check_played(sample.clone(), folder.path().to_owned()));
        }
        while let Some(check) = checks.join_next().await {
            check.unwrap();
        }
    }
}

/// A creative's segments in its first phase, as one file.
async fn conditioned(live: &Live, id: &str, rendition: &str, segments: u64, to: &Path) {
    let base = format!("ads/{id}/{rendition}/0");
    let mut bytes = object(live, &format!("{base}/init.mp4")).await;
    for segment in 0..segments {
        bytes.extend(object(live, &format!("{base}/{segment}.m4s")).await);
    }
    std::fs::write(to, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_is_a_creative() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let mut samples = made(folder.path());
    samples.extend(media().iter().flat_map(|media| of_the_field(media)));
    let host = Sample::new("host", folder.path().join("upright.mp4"));
    let publishers = Publishers::default();
    let live = Live::start(host.config(folder.path()), Arc::new(NoBreaks), &publishers);
    let live = live.await.unwrap();
    for sample in &samples {
        let name = sample.name;
        let added = live.creatives().add(Clip::File(sample.path.clone())).await;
        let id = added.unwrap_or_else(|error| panic!("{name}: {error}"));
        let segments = live.creatives().get(&id).await.unwrap().segments;
        assert!((4..=17).contains(&segments), "{name}: {segments} segments");
        let picture = folder.path().join("picture.mp4");
        conditioned(&live, &id, "v160", segments, &picture).await;
        // Bars stand beside a picture of another shape, and nowhere else.
        let (width, height) = lit(&picture);
        assert!(width.abs_diff(sample.size.0) <= 6, "{name}: {width}x{height}");
        if sample.is_combed {
            check_progressive(&picture, name);
        }
        let sound = folder.path().join("sound.mp4");
        conditioned(&live, &id, "a-en", segments, &sound).await;
        let loudest = loudest_of(&sound);
        assert_eq!(loudest > -40.0, sample.heard[0], "{name}: {loudest} dB");
    }
    let grid = live.grid();
    assert_eq!(grid.first_sample(Kind::Video, 1), 25);
    check_damage(&live, folder.path()).await;
    live.shutdown().await;
}

/// One damaged spot is played; a clip that is damaged all over is refused.
async fn check_damage(live: &Live, folder: &Path) {
    ffmpeg(
        &format!("-i {} -c copy -f mpegts", folder.join("upright.mp4").display()),
        &folder.join("whole.ts"),
    );
    let whole = std::fs::read(folder.join("whole.ts")).unwrap();
    let damaged = |name: &str, spot: std::ops::Range<usize>| {
        let mut bytes = whole.clone();
        for (at, byte) in bytes.iter_mut().enumerate().take(spot.end).skip(spot.start) {
            // The packets and their times stay, what they carry does not.
            let begins_picture = whole[at / 188 * 188 + 1] & 0x40 != 0;
            if at % 188 > 20 && !begins_picture {
                *byte = (at * 31) as u8;
            }
        }
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        Clip::File(path)
    };
    let middle = whole.len() / 2;
    let one = live.creatives().add(damaged("spot.ts", middle..middle + 400)).await;
    assert!(one.is_ok(), "{one:?}");
    let all = live.creatives().add(damaged("all.ts", 188 * 60..whole.len())).await;
    assert!(matches!(all, Err(CreativeError::Corrupt { .. })), "{all:?}");
}
