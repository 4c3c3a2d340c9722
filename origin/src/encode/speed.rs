//! How fast this machine encodes.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

use super::EncodeError;
use super::encoder::Encoder;
use super::ffmpeg::{ffmpeg, last_line};
use super::ladder::{Plan, Rung};
use crate::grid::Grid;

/// Seconds of picture that are encoded for a measurement.
const MEASURED_S: f64 = 2.0;

/// What the ladder's speed is measured with: small, so that a start is not held up.
const SMALL: Rung = Rung { width: 640, height: 360, bitrate: 700_000, half_rate: false };

/// What a rung costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// CPU seconds for each second of picture: cores that are busy with it.
    pub cores: f64,
    /// Seconds of picture made in one second, alone on the machine.
    pub times: f64,
}

/// The machine's speed, measured once.
#[derive(Debug, Default)]
pub struct Speed {
    pixel_cost: OnceCell<f64>,
    file: Option<PathBuf>,
}

impl Speed {
    /// A speed that is kept in a file from one start to the next.
    #[must_use]
    pub fn kept_in(file: PathBuf) -> Self {
        Self { pixel_cost: OnceCell::new(), file: Some(file) }
    }

    /// CPU seconds that encoding one pixel takes here.
    ///
    /// # Errors
    /// See [`measure`].
    pub(super) async fn pixel_cost(&self) -> Result<f64, EncodeError> {
        self.pixel_cost.get_or_try_init(|| pixel_cost(self.file.as_deref())).await.copied()
    }
}

async fn pixel_cost(file: Option<&Path>) -> Result<f64, EncodeError> {
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let kept = text.and_then(|text| text.trim().parse::<f64>().ok());
    if let Some(cost) = kept.filter(|cost| cost.is_finite() && *cost > 0.0) {
        return Ok(cost);
    }
    let Rung { width, height, .. } = SMALL;
    let cost = measure(Encoder::X264, SMALL, (25, 1)).await?;
    let cost = cost.cores / (f64::from(width) * f64::from(height) * 25.0);
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, format!("{cost:e}\n"))
    {
        tracing::warn!(path = %file.display(), %error, "the measured speed is not kept");
    }
    Ok(cost)
}

/// Encodes a generated picture as a rung, and says what that took.
///
/// # Errors
/// When ffmpeg cannot be started, or does not encode.
pub async fn measure(encoder: Encoder, rung: Rung, fps: (u32, u32)) -> Result<Cost, EncodeError> {
    let failed = |reason: String| EncodeError::Ffmpeg { program: "ffmpeg", reason };
    let grid = Grid::new(0, fps, 2000, 200).map_err(|error| failed(error.to_string()))?;
    let plan = Plan { video: vec![rung], audio: Vec::new() };
    let Rung { width, height, .. } = rung;
    let (num, den) = fps;
    let source = format!("testsrc2=size={width}x{height}:rate={num}/{den}:duration={MEASURED_S}");
    let output = ffmpeg()
        .args(["-v", "info", "-benchmark"])
        .args(encoder.device())
        .args(["-f", "lavfi", "-i", &source])
        .args(["-filter_complex", &plan.video_filters("[0:v]", encoder)])
        .args(plan.outputs(&grid, 0, encoder, |_| "/dev/null".to_owned()))
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let took = took(&text).filter(|_| output.status.success()).ok_or_else(|| {
        failed(format!("it cannot encode H.264 with {}: {}", encoder.name(), last_line(&text)))
    })?;
    Ok(Cost { cores: took.0.max(0.01) / MEASURED_S, times: MEASURED_S / took.1.max(0.01) })
}

/// CPU seconds and seconds, of `bench: utime=0.123s stime=0.010s rtime=0.140s`.
fn took(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find(|line| line.contains("bench: utime="))?;
    let field = |name: &str| {
        let (_, rest) = line.split_once(name)?;
        rest.split_once('s')?.0.parse::<f64>().ok()
    };
    Some((field("utime=")? + field("stime=")?, field("rtime=")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benchmark_line_is_read() {
        let text = "x\nbench: utime=0.500s stime=0.250s rtime=0.9s\nbench: maxrss=1kB";
        assert_eq!(took(text), Some((0.75, 0.9)));
        assert_eq!(took("bench: utime=oops"), None);
    }
}
