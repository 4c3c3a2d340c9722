//! What ffprobe says of a media file.

use std::path::Path;

use serde::Deserialize;
use tokio::process::Command;

use super::EncodeError;
use super::ffmpeg::last_line;
use super::ladder::Shape;

/// What is known of a media file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileShape {
    /// The picture's size.
    pub shape: Shape,
    /// Frames a second, rounded to a rate in use.
    pub fps: (u32, u32),
    /// Tracks of sound.
    pub audio_tracks: usize,
    /// Length in milliseconds, where the file tells it.
    pub duration_ms: Option<u64>,
}

#[derive(Deserialize)]
struct Probe {
    #[serde(default)]
    streams: Vec<ProbeStream>,
    format: Option<ProbeFormat>,
}

#[derive(Deserialize)]
struct ProbeStream {
    codec_type: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    avg_frame_rate: Option<String>,
}

#[derive(Deserialize)]
struct ProbeFormat {
    duration: Option<String>,
}

/// Asks ffprobe about a file.
///
/// # Errors
/// When ffprobe cannot be started, or finds no picture.
pub async fn probe_file(path: &Path) -> Result<FileShape, EncodeError> {
    let name = path.display().to_string();
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_entries"])
        .arg("stream=codec_type,width,height,avg_frame_rate:format=duration")
        .arg("-i")
        .arg(path)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| EncodeError::Ffmpeg { program: "ffprobe", reason: error.to_string() })?;
    let refuse = |reason: String| EncodeError::Input { input: name.clone(), reason };
    if !output.status.success() {
        return Err(refuse(last_line(&String::from_utf8_lossy(&output.stderr))));
    }
    let probe: Probe =
        serde_json::from_slice(&output.stdout).map_err(|error| refuse(error.to_string()))?;
    let is = |kind: &'static str| {
        move |stream: &&ProbeStream| stream.codec_type.as_deref() == Some(kind)
    };
    let video = probe
        .streams
        .iter()
        .find(is("video"))
        .ok_or_else(|| refuse("it has no picture".to_owned()))?;
    let (Some(width @ 1..), Some(height @ 1..)) = (video.width, video.height) else {
        return Err(refuse("its picture has no size".to_owned()));
    };
    let seconds =
        probe.format.and_then(|format| format.duration).and_then(|text| text.parse::<f64>().ok());
    Ok(FileShape {
        shape: Shape { width, height },
        fps: usual_rate(video.avg_frame_rate.as_deref().unwrap_or_default()),
        audio_tracks: probe.streams.iter().filter(is("audio")).count(),
        duration_ms: seconds.filter(|s| s.is_finite() && *s > 0.0).map(|s| (s * 1000.0) as u64),
    })
}

/// The nearest of the frame rates in use; files often tell theirs with an error.
fn usual_rate(text: &str) -> (u32, u32) {
    const RATES: [(u32, u32); 8] = [
        (24_000, 1001),
        (24, 1),
        (25, 1),
        (30_000, 1001),
        (30, 1),
        (50, 1),
        (60_000, 1001),
        (60, 1),
    ];
    let told = text
        .split_once('/')
        .and_then(|(num, den)| Some(num.parse::<f64>().ok()? / den.parse::<f64>().ok()?));
    let told = told.filter(|rate| rate.is_finite() && *rate > 0.0).unwrap_or(25.0);
    let far = |rate: &(u32, u32)| (f64::from(rate.0) / f64::from(rate.1) - told).abs();
    RATES.into_iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or((25, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_rates_are_rounded_to_those_in_use() {
        assert_eq!(usual_rate("30013/1000"), (30, 1));
        assert_eq!(usual_rate("30000/1001"), (30_000, 1001));
        assert_eq!(usual_rate("59940/1000"), (60_000, 1001));
        assert_eq!(usual_rate("0/0"), (25, 1));
    }
}
