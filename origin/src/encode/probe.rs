//! What ffprobe says of a source, as one value.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use super::EncodeError;
use super::ffmpeg::last_line;
use super::graph::HD_LINES;
use super::ladder::Shape;
use super::rate;

/// Longest look at a file's head.
const HEAD: Duration = Duration::from_secs(30);

/// Longest count of a file that does not tell its length: all of it is read.
const COUNT: Duration = Duration::from_secs(120);

/// What a source holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// The first picture that moves; cover art is none.
    pub picture: Option<Picture>,
    /// In the file's order.
    pub sounds: Vec<Sound>,
    /// To the end of the longest track, in milliseconds, where the source tells it.
    pub duration_ms: Option<u64>,
}

/// A picture as it is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Position among the source's streams.
    pub stream: usize,
    /// Name of the codec.
    pub codec: String,
    /// Name of the format of its pixels, which says depth and subsampling.
    pub pixels: String,
    /// Name of the matrix by which its colours are coded; empty where the source does not say.
    pub matrix: String,
    /// Name of the curve by which its brightness is coded; empty where the source does not say.
    pub transfer: String,
    /// Name of the range of its values; empty where the source does not say.
    pub range: String,
    /// Pixels of a coded line.
    pub width: u32,
    /// Coded lines.
    pub height: u32,
    /// Width of a pixel over its height.
    pub pixel_aspect: (u32, u32),
    /// Whether it is shown turned by a quarter.
    pub is_turned: bool,
    /// Whether each picture holds two fields.
    pub is_interlaced: bool,
    /// Pictures a second, rounded to a rate in use.
    pub fps: (u32, u32),
}

/// A track of sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// Position among the source's streams.
    pub stream: usize,
    /// Name of the codec.
    pub codec: String,
    /// Samples a second.
    pub rate: u32,
    /// Channels.
    pub channels: u32,
    /// Its language, as the source writes it.
    pub language: Option<String>,
    /// Seconds at which it begins on the source's clock.
    pub start_s: Option<f64>,
    /// Seconds that it lasts.
    pub duration_s: Option<f64>,
}

impl Picture {
    /// Its size as it is shown: upright, with square pixels.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let (num, den) = self.pixel_aspect;
        let width = (u64::from(self.width) * u64::from(num) + u64::from(den) / 2) / u64::from(den);
        let width = u32::try_from(width).unwrap_or(u32::MAX).max(1);
        match self.is_turned {
            true => Shape { width: self.height, height: width },
            false => Shape { width, height: self.height },
        }
    }

    /// Whether its colours are those of HD, or taken for them, in their usual range.
    #[must_use]
    pub fn is_hd(&self) -> bool {
        let is_hd = match self.matrix.as_str() {
            "" => self.height >= HD_LINES,
            matrix => matrix == "bt709",
        };
        let is_video = self.pixels.starts_with("yuv4") && self.range != "pc";
        is_hd && is_video && !self.is_hdr()
    }

    /// Whether its brightness goes beyond that of a usual screen: PQ or HLG, ITU-R BT.2100.
    #[must_use]
    pub fn is_hdr(&self) -> bool {
        ["smpte2084", "arib-std-b67"].contains(&self.transfer.as_str())
    }
}

/// ffmpeg's name of a file. Without the protocol a colon in it would be taken for one.
#[must_use]
pub fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// Asks ffprobe about a file.
///
/// # Errors
/// When ffprobe cannot be started, does not answer, or finds neither picture nor sound.
pub async fn probe_file(path: &Path) -> Result<Probed, EncodeError> {
    let name = path.display().to_string();
    let told = ask(path, &["-show_streams", "-show_format"], HEAD).await?;
    source_of(&told).map_err(|reason| EncodeError::Input { input: name, reason })
}

/// What a source holds, of ffprobe's JSON. A file says much of it, so it is hostile.
///
/// # Errors
/// What is wrong, in words.
pub fn source_of(told: &[u8]) -> Result<Probed, String> {
    serde_json::from_slice::<Told>(told).map_err(|error| error.to_string())?.source()
}

/// The length of a source in milliseconds, of ffprobe's JSON of all its packets.
#[must_use]
pub fn length_of(told: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Packets>(told).ok()?.duration_ms()
}

/// The same, with the length counted where the file does not tell it.
///
/// # Errors
/// As [`probe_file`].
pub async fn probe_whole(path: &Path) -> Result<Probed, EncodeError> {
    let mut source = probe_file(path).await?;
    if source.duration_ms.is_none() {
        let told = ask(path, &["-show_entries", PACKETS], COUNT).await?;
        source.duration_ms = length_of(&told);
    }
    Ok(source)
}

async fn ask(path: &Path, wanted: &[&str], longest: Duration) -> Result<Vec<u8>, EncodeError> {
    let run = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json"])
        .args(wanted)
        .arg("-i")
        .arg(file_url(path))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let refuse = |reason: String| EncodeError::Input { input: path.display().to_string(), reason };
    let output = timeout(longest, run)
        .await
        .map_err(|_| refuse(format!("ffprobe says nothing for {} s", longest.as_secs())))?
        .map_err(|error| EncodeError::Ffmpeg { program: "ffprobe", reason: error.to_string() })?;
    if !output.status.success() {
        return Err(refuse(last_line(&String::from_utf8_lossy(&output.stderr))));
    }
    Ok(output.stdout)
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    streams: Vec<ToldStream>,
    #[serde(default)]
    format: ToldFormat,
}

#[derive(Default, Deserialize)]
struct ToldFormat {
    duration: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToldStream {
    index: usize,
    codec_type: String,
    codec_name: String,
    pix_fmt: String,
    color_space: String,
    color_transfer: String,
    color_range: String,
    width: u32,
    height: u32,
    sample_aspect_ratio: String,
    field_order: String,
    r_frame_rate: String,
    avg_frame_rate: String,
    sample_rate: String,
    channels: u32,
    start_time: Option<String>,
    duration: Option<String>,
    disposition: Disposition,
    tags: Tags,
    side_data_list: Vec<SideData>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Disposition {
    attached_pic: u8,
    timed_thumbnails: u8,
}

#[derive(Default, Deserialize)]
struct Tags {
    language: Option<String>,
}

#[derive(Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl Told {
    fn source(&self) -> Result<Probed, String> {
        let still = |stream: &&ToldStream| {
            stream.disposition.attached_pic != 0 || stream.disposition.timed_thumbnails != 0
        };
        let of = |kind: &'static str| {
            self.streams.iter().filter(move |stream| stream.codec_type == kind)
        };
        let picture = of("video").find(|stream| !still(stream)).map(ToldStream::picture);
        let source = Probed {
            picture: picture.transpose()?,
            sounds: of("audio").map(ToldStream::sound).collect(),
            duration_ms: self.format.duration.as_deref().and_then(seconds).map(milliseconds),
        };
        match source.picture.is_none() && source.sounds.is_empty() {
            true => Err("it has neither picture nor sound".to_owned()),
            false => Ok(source),
        }
    }
}

impl ToldStream {
    fn picture(&self) -> Result<Picture, String> {
        if self.width == 0 || self.height == 0 {
            return Err("its picture has no size".to_owned());
        }
        let rotation = self.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
        let is_interlaced = ["tt", "bb", "tb", "bt"].contains(&self.field_order.as_str());
        Ok(Picture {
            stream: self.index,
            codec: self.codec_name.clone(),
            pixels: self.pix_fmt.clone(),
            matrix: self.color_space.clone(),
            transfer: self.color_transfer.clone(),
            range: self.color_range.clone(),
            width: self.width,
            height: self.height,
            pixel_aspect: aspect(&self.sample_aspect_ratio),
            is_turned: (rotation.abs() % 180.0 - 90.0).abs() < 45.0,
            is_interlaced,
            fps: rate::of_stream(&self.avg_frame_rate, &self.r_frame_rate, is_interlaced),
        })
    }

    fn sound(&self) -> Sound {
        Sound {
            stream: self.index,
            codec: self.codec_name.clone(),
            rate: self.sample_rate.parse().unwrap_or(0),
            channels: self.channels,
            language: self.tags.language.clone(),
            start_s: self.start_time.as_deref().and_then(|text| text.parse().ok()),
            duration_s: self.duration.as_deref().and_then(seconds),
        }
    }
}

const PACKETS: &str = "packet=pts_time,duration_time";

/// Every packet of a file.
#[derive(Deserialize)]
struct Packets {
    #[serde(default)]
    packets: Vec<ToldPacket>,
}

#[derive(Deserialize)]
struct ToldPacket {
    pts_time: Option<String>,
    duration_time: Option<String>,
}

impl Packets {
    /// From the first packet's start to the last one's end.
    fn duration_ms(&self) -> Option<u64> {
        let number = |text: &Option<String>| text.as_deref()?.parse::<f64>().ok();
        let spans = self.packets.iter().filter_map(|packet| {
            let start = number(&packet.pts_time)?;
            Some((start, start + number(&packet.duration_time).unwrap_or(0.0)))
        });
        let all = spans.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))?;
        Some(all.1 - all.0).filter(|s| s.is_finite() && *s > 0.0).map(milliseconds)
    }
}

/// A pixel's aspect; square where none is told, or one that no picture has.
fn aspect(text: &str) -> (u32, u32) {
    let told = text
        .split_once(':')
        .and_then(|(num, den)| Some((num.parse::<u32>().ok()?, den.parse::<u32>().ok()?)));
    let sane = |(num, den): &(u32, u32)| {
        *num > 0 && *den > 0 && *num <= den.saturating_mul(16) && *den <= num.saturating_mul(16)
    };
    told.filter(sane).unwrap_or((1, 1))
}

fn seconds(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|s| s.is_finite() && *s > 0.0)
}

fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// A picture of 720 lines with nothing about it that must be computed, for tests.
#[cfg(test)]
pub(super) fn plain() -> Picture {
    Picture {
        stream: 0,
        codec: "h264".to_owned(),
        pixels: "yuv420p".to_owned(),
        matrix: "bt709".to_owned(),
        transfer: "bt709".to_owned(),
        range: "tv".to_owned(),
        width: 1280,
        height: 720,
        pixel_aspect: (1, 1),
        is_turned: false,
        is_interlaced: false,
        fps: (30, 1),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn source(streams: &str) -> Result<Probed, String> {
        source_of(format!("{{\"streams\":[{streams}]}}").as_bytes())
    }

    #[test]
    fn cover_art_is_not_the_film() {
        let cover = r#"{"index":0,"codec_type":"video","width":300,"height":300,
            "disposition":{"attached_pic":1}}"#;
        let film = r#"{"index":1,"codec_type":"video","width":640,"height":360}"#;
        let sound = r#"{"index":2,"codec_type":"audio","sample_rate":"44100","channels":1}"#;
        let found = source(&format!("{cover},{film},{sound}")).unwrap();
        assert_eq!(found.picture.unwrap().stream, 1);
        let found = source(&format!("{cover},{sound}")).unwrap();
        assert_eq!((found.picture, found.sounds[0].stream), (None, 2));
        assert!(source(cover).unwrap_err().contains("neither picture nor sound"));
    }

    #[test]
    fn a_picture_is_shown_upright_with_square_pixels() {
        let shape = |more: &str| {
            let told = format!(
                r#"{{"codec_type":"video","width":720,"height":576,"field_order":"tt"{more}}}"#
            );
            let picture = source(&told).unwrap().picture.unwrap();
            assert!(picture.is_interlaced);
            (picture.shape().width, picture.shape().height)
        };
        assert_eq!(shape(r#","sample_aspect_ratio":"64:45""#), (1024, 576));
        assert_eq!(shape(r#","side_data_list":[{"rotation":-90}]"#), (576, 720));
        assert_eq!(shape(r#","side_data_list":[{},{"rotation":180}]"#), (720, 576));
        for odd in ["0:1", "1:0", "N/A", "4000000000:1", "1:4294967295"] {
            assert_eq!(shape(&format!(r#","sample_aspect_ratio":"{odd}""#)), (720, 576), "{odd}");
        }
    }

    #[test]
    fn a_length_is_counted_from_first_to_last() {
        let told = r#"{"packets":[{"pts_time":"1.5","duration_time":"0.04"},
            {"pts_time":"-0.007"},{"pts_time":"N/A"},{"pts_time":"4.0","duration_time":"0.02"}]}"#;
        assert_eq!(length_of(told.as_bytes()), Some(4027));
        assert_eq!((length_of(b"{}"), length_of(b"[")), (None, None));
    }
}
