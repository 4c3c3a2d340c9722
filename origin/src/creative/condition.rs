//! Conditioning: one run of ffmpeg that brings a clip to the ladder and the grid.
//!
//! The result is kept in a folder named by what went into it. The folder is renamed into place, so
//! one that has a `meta.json` holds a whole creative.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::time::timeout;

use super::cut::{CodedTrack, Conditioned};
use super::note::Note;
use super::pieces::{self, Pieces};
use super::{Card, Clip, CreativeError, CreativeRules, Loudness, Target};
use crate::disk::{make_folder, rename_synced};
use crate::encode::EncodeError;
use crate::encode::ffmpeg::{ffmpeg_version, last_line};
use crate::encode::folder::RunFolder;
use crate::encode::graph::{self, Deinterlace, SLATE, SLATE_COLOR};
use crate::encode::ladder::{OFFSET_S, Plan, Rung};
use crate::encode::probe::{Probed, file_url, probe_whole};
use crate::grid::{AAC_FRAME, Grid, Kind};
use crate::mp4::read::{Item, Reader};
use crate::mp4::write::{InitTrack, init};

/// Longest that conditioning may take: this, or so many times the clip's length.
const MAX_WORK: Duration = Duration::from_secs(300);
const MAX_WORK_TIMES: u64 = 10;

/// Share of a clip's frames that may be damaged: one spot is shown as well as it can be, and a file
/// that is broken throughout is refused.
const DAMAGE_MAX: &str = "0.1";

#[derive(Serialize, Deserialize)]
struct Meta {
    segments: u64,
}

/// Goes up with every change of how a clip is conditioned that [`recipe`] does not show.
const CONDITIONING: u32 = 3;

/// All that shapes what comes of a clip: the ladder, the grid, the encoder and what it is told. The
/// grid's start has no part in it, because a creative is cut by phase and counts from its slot. So
/// an event that starts anew finds its creatives.
fn recipe(loudness: Loudness, target: &Target, version: &str) -> String {
    let Target { plan, grid, encoder } = target;
    let outputs = plan.outputs(grid, 0, *encoder, |track| track.to_string());
    let (grid, tail) = (Grid { zero_ms: 0, ..*grid }, tail(target, 1));
    format!("{CONDITIONING} {version} {plan:?} {grid:?} {outputs:?} {tail} {loudness:?}")
}

/// The identifier of what conditioning this clip would give. Caches keep a creative's objects under
/// it for weeks, so it is a digest of the clip and of its [`recipe`]: other bytes have another
/// identifier.
pub(super) async fn identify(
    source: &Clip,
    loudness: Loudness,
    target: &Target,
) -> Result<String, CreativeError> {
    let version = ffmpeg_version().await.map_err(|error| CreativeError::Failed {
        name: source.name(),
        reason: error.to_string(),
    })?;
    let mut hash = Sha256::new();
    hash.update(recipe(loudness, target, version));
    match source {
        Clip::Card(card) => hash.update(format!("{card:?}")),
        Clip::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || -> std::io::Result<Sha256> {
                std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
                Ok(hash)
            });
            let read = read.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
            hash = read.map_err(|error| CreativeError::Unreadable {
                name: source.name(),
                reason: error.to_string(),
            })?;
        }
    }
    let digest: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("c-{digest}"))
}

/// What is conditioned for a source, and how often it is repeated: a slate is one segment again and
/// again.
pub(super) fn unit(source: &Clip, grid: &Grid) -> (Clip, u64) {
    match source {
        Clip::Card(card) if card.tone_hz == 0 => {
            let length_ms = u32::try_from(grid.duration_ms(1)).unwrap_or(u32::MAX);
            let times = whole_segments(u64::from(card.length_ms), grid);
            (Clip::Card(Card { length_ms, ..card.clone() }), times)
        }
        other => (other.clone(), 1),
    }
}

/// What of a clip's picture is coded.
#[derive(Debug, Clone, Copy)]
enum Picture {
    /// All of it, with the sound.
    Moving(CreativeRules),
    /// The first, for so many segments, and silence.
    Standing(u64),
}

/// Makes the creative in its folder, unless it is there.
pub(super) async fn condition(
    source: &Clip,
    rules: &CreativeRules,
    target: &Target,
    folder: &Path,
) -> Result<(), CreativeError> {
    if kept(target, folder).await.is_some() {
        return Ok(());
    }
    make(source, Picture::Moving(*rules), target, folder).await.map(drop)
}

/// A creative that is kept, to be read by the segment. One that an older version kept otherwise is
/// brought to that form. Blocks.
pub(super) fn pieces(target: &Target, folder: &Path, note: &Note) -> Result<Pieces, CreativeError> {
    let failed = |error: std::io::Error| CreativeError::Failed {
        name: note.name.clone(),
        reason: error.to_string(),
    };
    let open = || Pieces::open(folder, note.times, &target.plan, &target.grid);
    if let Some(pieces) = open().map_err(failed)? {
        return Ok(pieces);
    }
    let gone = || failed(std::io::ErrorKind::NotFound.into());
    let kept = load(target, folder, &note.name)?.ok_or_else(gone)?;
    pieces::write(folder, &kept).map_err(failed)?;
    open().map_err(failed)?.ok_or_else(gone)
}

/// What is kept in a folder; `None` where it is not whole.
pub(super) async fn kept(target: &Target, folder: &Path) -> Option<Conditioned> {
    load_apart(target, folder, "").await.ok().flatten()
}

/// Loads a standing picture of so many segments from its folder, or makes it there.
pub(super) async fn stand(
    source: &Clip,
    target: &Target,
    segments: u64,
    folder: &Path,
) -> Result<Conditioned, CreativeError> {
    if let Some(kept) = kept(target, folder).await {
        return Ok(kept);
    }
    make(source, Picture::Standing(segments), target, folder).await
}

async fn make(
    source: &Clip,
    picture: Picture,
    target: &Target,
    folder: &Path,
) -> Result<Conditioned, CreativeError> {
    let name = source.name();
    if let Picture::Moving(rules) = picture {
        check_room(folder.parent().unwrap_or(folder), rules.disk_bytes, &name)?;
    }
    let failed = |error: std::io::Error| CreativeError::Failed {
        name: source.name(),
        reason: error.to_string(),
    };
    let file = match source {
        Clip::File(path) => Some(look_at(path, &name).await?),
        Clip::Card(_) => None,
    };
    let segments = match picture {
        Picture::Standing(segments) => segments,
        Picture::Moving(rules) => length(source, file.as_ref(), rules.most_s, &target.grid)?,
    };
    let fresh = folder.with_extension("new");
    let _ = std::fs::remove_dir_all(&fresh);
    make_folder(&fresh).map_err(failed)?;
    encode(source, file.as_ref(), picture, target, segments, &fresh).await?;
    let meta = serde_json::to_vec(&Meta { segments }).map_err(|error| failed(error.into()))?;
    std::fs::write(fresh.join("meta.json"), meta).map_err(failed)?;
    let conditioned = load_apart(target, &fresh, &name)
        .await?
        .ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
    let (from, to) = (fresh, folder.to_owned());
    let kept = tokio::task::spawn_blocking(move || {
        pieces::write(&from, &conditioned)?;
        rename_synced(&from, &to)?;
        Ok(conditioned)
    });
    let kept = kept.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let conditioned = kept.map_err(failed)?;
    tracing::info!(creative = source.name(), segments, "a creative is conditioned");
    Ok(conditioned)
}

/// Refuses more work for a cache that is full. Nothing in it is deleted here, because a frozen
/// break may still need it.
fn check_room(cache: &Path, most: u64, name: &str) -> Result<(), CreativeError> {
    let files = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = files(cache).map(|entry| entry.path());
    let kept: u64 = folders
        .flat_map(|folder| files(&folder).collect::<Vec<_>>())
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum();
    if kept < most {
        return Ok(());
    }
    Err(CreativeError::Failed {
        name: name.to_owned(),
        reason: format!(
            "the cache {} holds {:.1} GiB already: delete creatives that are not used any more, or \
             raise creative-cache-gb",
            cache.display(),
            kept as f64 / f64::from(1 << 30)
        ),
    })
}

async fn look_at(path: &Path, name: &str) -> Result<Probed, CreativeError> {
    probe_whole(path).await.map_err(|error| match error {
        EncodeError::Ffmpeg { .. } | EncodeError::NoRoom { .. } => {
            CreativeError::Failed { name: name.to_owned(), reason: error.to_string() }
        }
        EncodeError::Input { reason, .. } => {
            CreativeError::Corrupt { name: name.to_owned(), reason }
        }
    })
}

/// Whole segments, at least one: what is missing is filled with the last picture, a tail below half
/// a segment is cut.
fn length(
    source: &Clip,
    file: Option<&Probed>,
    most_s: u64,
    grid: &Grid,
) -> Result<u64, CreativeError> {
    let name = source.name();
    let ms = match source {
        Clip::Card(card) => Some(u64::from(card.length_ms)),
        Clip::File(_) => file.and_then(|file| file.duration_ms),
    };
    let ms = ms.ok_or_else(|| CreativeError::Corrupt {
        name: name.clone(),
        reason: "its length cannot be found".to_owned(),
    })?;
    if ms > most_s * 1000 {
        return Err(CreativeError::TooLong { name, seconds: ms / 1000, most: most_s });
    }
    Ok(whole_segments(ms, grid))
}

fn whole_segments(ms: u64, grid: &Grid) -> u64 {
    let one = grid.duration_ms(1).max(1);
    ((ms + one / 2) / one).max(1)
}

async fn encode(
    source: &Clip,
    file: Option<&Probed>,
    picture: Picture,
    target: &Target,
    segments: u64,
    folder: &Path,
) -> Result<(), CreativeError> {
    let (name, grid) = (source.name(), &target.grid);
    let failed = |reason: String| CreativeError::Failed { name: name.clone(), reason };
    let texts = RunFolder::new().map_err(|error| failed(error.to_string()))?;
    let input = match (source, file) {
        (Clip::File(path), Some(file)) => file_input(path, file, picture),
        (Clip::Card(card), _) => {
            let made = card_input(card, picture, grid, texts.path());
            made.map_err(|error| failed(error.to_string()))?
        }
        (Clip::File(_), None) => return Err(failed("it was not looked at".to_owned())),
    };
    let input = if let Picture::Standing(_) = picture { input.standing() } else { input };
    let plan = Plan { audio: vec!["any".to_owned()], ..target.plan.clone() };
    let graph = [input.graph, tail(target, segments)].join(";");
    let url = |track: usize| folder.join(format!("{track}.mp4")).display().to_string();
    // The live picture comes first on a shared machine.
    let run = Command::new("nice")
        .args(["-n", "15", "ffmpeg", "-hide_banner", "-nostdin", "-y", "-v", "error"])
        .args(["-max_error_rate", DAMAGE_MAX])
        .args(target.encoder.device())
        .args(input.args)
        .args(["-filter_complex", &graph])
        .args(plan.outputs(grid, 0, target.encoder, url))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let longest = MAX_WORK.max(Duration::from_millis(grid.duration_ms(segments) * MAX_WORK_TIMES));
    let output =
        timeout(longest, run).await.map_err(|_| failed("ffmpeg took too long".to_owned()))?;
    let output = output.map_err(|error| failed(format!("ffmpeg cannot be started: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said
        .lines()
        .find(|line| !line.trim().is_empty())
        .map_or_else(|| last_line(&said), last_line);
    Err(match source {
        Clip::File(_) => CreativeError::Corrupt { name, reason },
        Clip::Card(_) => failed(reason),
    })
}

struct EncodeInput {
    args: Vec<String>,
    /// A filter graph to `[picture]` and `[sound]`.
    graph: String,
}

impl EncodeInput {
    /// The first picture for ever.
    fn standing(self) -> Self {
        let graph = self.graph.replace("[picture]", "[moving]");
        let still = "[moving]trim=end_frame=1,tpad=stop_mode=clone:stop=-1[picture]";
        Self { graph: format!("{graph};{still}"), ..self }
    }
}

fn file_input(path: &Path, file: &Probed, picture: Picture) -> EncodeInput {
    let sound = match (file.sounds.first(), picture) {
        (Some(sound), Picture::Moving(CreativeRules { loudness, .. })) => {
            let at = sound.stream;
            format!("[0:{at}]aresample=async=1000:first_pts=0{}", loudness.filter())
        }
        _ => "anullsrc=r=48000:cl=stereo".to_owned(),
    };
    let picture = match &file.picture {
        Some(picture) => {
            format!("[0:{}]{}", picture.stream, graph::upright(picture, Deinterlace::Frame))
        }
        None => format!("color=c={SLATE_COLOR}:s={}x{}", SLATE.width, SLATE.height),
    };
    let url = file_url(path).to_string_lossy().into_owned();
    EncodeInput {
        args: vec!["-i".to_owned(), url],
        graph: format!("{picture}[picture];{sound}[sound]"),
    }
}

/// From `[picture]` and `[sound]` to the labels of the outputs, exactly as long as the grid asks.
fn tail(target: &Target, segments: u64) -> String {
    let Target { plan, grid, encoder } = target;
    let (num, den) = grid.fps;
    let rate = grid.audio_rate;
    let frames = segments * u64::from(grid.segment_frames);
    let picture = plan.video_filters(
        &format!(
            "[picture]fps={num}/{den}:start_time=0,tpad=stop_mode=clone:stop=-1,\
             trim=end_frame={frames},"
        ),
        None,
        *encoder,
    );
    format!(
        "{picture};[sound]aresample={rate}:first_pts=0,aformat=channel_layouts=stereo,apad,atrim=end_sample={},asetnsamples=n=1024:p=1[a0]",
        (coded_audio(grid, segments) + 2) * AAC_FRAME
    )
}

/// AAC frames that the phase with the most needs.
fn coded_audio(grid: &Grid, segments: u64) -> u64 {
    let first = |msn| grid.first_sample(Kind::Audio, msn);
    (0..grid.phases(Kind::Audio))
        .map(|phase| first(phase + segments) - first(phase))
        .max()
        .unwrap_or(0)
}

fn card_input(
    card: &Card,
    picture: Picture,
    grid: &Grid,
    folder: &Path,
) -> std::io::Result<EncodeInput> {
    let (num, den) = grid.fps;
    let Card { color, tone_hz, length_ms, .. } = card;
    let seconds = f64::from(*length_ms) / 1000.0;
    let text = |name: &str, text: &str| -> std::io::Result<String> {
        let path: PathBuf = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let title = text("title", &card.title)?;
    let subtitle = text("subtitle", &card.subtitle)?;
    let countdown = match tone_hz {
        0 => " ".to_owned(),
        _ => format!("%{{eif:max(0,ceil({seconds}-t)):d}}"),
    };
    let left = text("left", &countdown)?;
    let louder = match picture {
        Picture::Moving(rules) => rules.loudness.filter(),
        Picture::Standing(_) => String::new(),
    };
    let font = "fontcolor=white:shadowcolor=black@0.4:shadowx=3:shadowy=3";
    let graph = format!(
        "color=c=0x{color:06x}:s=1280x720:r={num}/{den}:d={seconds},\
         drawbox=x=0:y=600:w=1280:h=120:c=black@0.25:t=fill,\
         drawtext=textfile={title}:expansion=none:fontsize=92:{font}:x=(w-tw)/2:y=220,\
         drawtext=textfile={subtitle}:expansion=none:fontsize=44:{font}:x=(w-tw)/2:y=350,\
         drawtext=textfile={left}:fontsize=64:{font}:x=w-tw-60:y=628[card];\
         color=c=white:s=1280x14:r={num}/{den}:d={seconds}[bar];\
         [card][bar]overlay=x='-1280+1280*t/{seconds}':y=600:format=yuv420[picture];{}",
        match tone_hz {
            0 => format!("anullsrc=r=48000:cl=stereo:d={seconds}[sound]"),
            tone => format!(
                "aevalsrc=exprs='(0.6+0.4*sin(2*PI*2*t))*0.12*(sin(2*PI*{tone}*t)+sin(2*PI*{tone}*1.25*t)+sin(2*PI*{tone}*1.5*t))':s=48000:d={seconds}{louder}[sound]"
            ),
        }
    );
    Ok(EncodeInput { args: Vec::new(), graph })
}

/// [`load`] on a thread that may wait for the disk.
async fn load_apart(
    target: &Target,
    folder: &Path,
    name: &str,
) -> Result<Option<Conditioned>, CreativeError> {
    let (target, folder, owned) = (target.clone(), folder.to_owned(), name.to_owned());
    tokio::task::spawn_blocking(move || load(&target, &folder, &owned)).await.unwrap_or_else(
        |error| Err(CreativeError::Failed { name: name.to_owned(), reason: error.to_string() }),
    )
}

/// Reads a conditioned creative; `Ok(None)` when there is none.
fn load(target: &Target, folder: &Path, name: &str) -> Result<Option<Conditioned>, CreativeError> {
    let Target { plan, grid, .. } = target;
    let Ok(meta) = std::fs::read(folder.join("meta.json")) else {
        return Ok(None);
    };
    let corrupt = |reason: String| CreativeError::Corrupt { name: name.to_owned(), reason };
    let meta: Meta = serde_json::from_slice(&meta).map_err(|error| corrupt(error.to_string()))?;
    let mut tracks = Vec::new();
    for track in 0..=plan.video.len() {
        let kind = plan.video.get(track).map_or(Kind::Audio, Rung::kind);
        let bytes = std::fs::read(folder.join(format!("{track}.mp4")))
            .map_err(|error| corrupt(error.to_string()))?;
        let coded = read_track(&bytes, kind, grid).map_err(&corrupt)?;
        let least = match kind {
            Kind::Audio => coded_audio(grid, meta.segments),
            picture => grid.first_sample(picture, meta.segments),
        };
        if (coded.samples.len() as u64) < least {
            return Err(corrupt(format!(
                "it has {} samples, expected at least {least}",
                coded.samples.len()
            )));
        }
        tracks.push(coded);
    }
    Ok(Some(Conditioned { segments: meta.segments, tracks }))
}

fn read_track(bytes: &[u8], kind: Kind, grid: &Grid) -> Result<CodedTrack, String> {
    let mut track = CodedTrack::default();
    let mut timescale = 1;
    for item in Reader::default().push(bytes).map_err(|error| error.to_string())? {
        match item {
            Item::Header(header) => {
                timescale = header.timescale;
                let scale = grid.timescale(kind);
                let own = InitTrack {
                    kind,
                    timescale: scale,
                    stsd: header.stsd,
                    width: header.width,
                    height: header.height,
                };
                track.init = Bytes::from(init(&own));
            }
            // The encoder's priming lies before the start.
            Item::Sample(sample) if sample.time >= OFFSET_S * u64::from(timescale) => {
                track.samples.push((sample.sync, sample.data));
            }
            Item::Sample(_) => {}
        }
    }
    Ok(track)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::encode::encoder::{Encoder, Preset};

    #[test]
    fn a_recipe_knows_all_but_when_the_event_began() {
        let plan = |height, bitrate, audio: &[&str]| Plan {
            video: vec![Rung { width: 640, height, bitrate, half_rate: false }],
            audio: audio.iter().map(ToString::to_string).collect(),
            ..Plan::default()
        };
        let loudness = Loudness::Lufs(-24);
        let grid = |start, fps, segment, part| Grid::new(start, fps, segment, part).unwrap();
        let usual = || (plan(360, 700_000, &["en"]), grid(0, (25, 1), 2000, 200));
        let target = |(plan, grid)| Target { plan, grid, encoder: Encoder::X264 };
        let of = |settings| recipe(loudness, &target(settings), "ffmpeg 5");
        let known = of(usual());
        assert_eq!(of((usual().0, grid(1_700_000_000_000, (25, 1), 2000, 200))), known);
        for other in [
            (plan(480, 700_000, &["en"]), usual().1),
            (plan(360, 800_000, &["en"]), usual().1),
            (plan(360, 700_000, &["en", "hi"]), usual().1),
            (Plan { audio_bitrate: 128_000, ..usual().0 }, usual().1),
            (Plan { preset: Preset::Medium, ..usual().0 }, usual().1),
            (usual().0, grid(0, (30, 1), 2000, 200)),
            (usual().0, grid(0, (25, 1), 4000, 200)),
            (usual().0, grid(0, (25, 1), 2000, 400)),
        ] {
            assert_ne!(of(other.clone()), known, "{other:?}");
        }
        assert_ne!(recipe(loudness, &target(usual()), "ffmpeg 6"), known);
        let by_a_card = Target { encoder: Encoder::Nvenc, ..target(usual()) };
        assert_ne!(recipe(loudness, &by_a_card, "ffmpeg 5"), known);
        for other in [Loudness::Lufs(-23), Loudness::Keep] {
            assert_ne!(recipe(other, &target(usual()), "ffmpeg 5"), known);
        }
    }
}
