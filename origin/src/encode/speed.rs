//! How fast this machine encodes.

use std::path::{Path, PathBuf};

use tokio::sync::OnceCell;

use super::EncodeError;
use super::encoder::{Encoder, Preset};
use super::ffmpeg::{ffmpeg, last_line};
use super::ladder::{Plan, Rung, Shape};
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

/// The machine's speed, measured once for each preset that an event has.
#[derive(Debug, Default)]
pub struct Speed {
    pixel_costs: [OnceCell<f64>; Preset::ALL.len()],
    file: Option<PathBuf>,
}

impl Speed {
    /// A speed that is kept from one start to the next, in a file for each preset that is named
    /// after this one.
    #[must_use]
    pub fn kept_in(file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::default() }
    }

    /// Where the speed of a preset is kept.
    pub(super) fn file_of(file: &Path, preset: Preset) -> PathBuf {
        file.with_extension(preset.name())
    }

    /// CPU seconds that encoding one pixel takes here.
    ///
    /// # Errors
    /// See [`measure`].
    pub(super) async fn pixel_cost(&self, preset: Preset) -> Result<f64, EncodeError> {
        let file = self.file.as_deref().map(|file| Self::file_of(file, preset));
        let measured = || pixel_cost(preset, file.as_deref());
        match self.pixel_costs.get(preset as usize) {
            Some(cell) => cell.get_or_try_init(measured).await.copied(),
            None => measured().await,
        }
    }
}

async fn pixel_cost(preset: Preset, file: Option<&Path>) -> Result<f64, EncodeError> {
    let text = file.and_then(|file| std::fs::read_to_string(file).ok());
    let kept = text.and_then(|text| text.trim().parse::<f64>().ok());
    if let Some(cost) = kept.filter(|cost| cost.is_finite() && *cost > 0.0) {
        return Ok(cost);
    }
    let Rung { width, height, .. } = SMALL;
    let cost = measure(Encoder::X264, preset, SMALL, (25, 1)).await?;
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
pub async fn measure(
    encoder: Encoder,
    preset: Preset,
    rung: Rung,
    fps: (u32, u32),
) -> Result<Cost, EncodeError> {
    let failed = |reason: String| EncodeError::Ffmpeg { program: "ffmpeg", reason };
    let grid = Grid::new(0, fps, 2000, 200).map_err(|error| failed(error.to_string()))?;
    let plan = Plan { video: vec![rung], preset, ..Plan::default() };
    let Rung { width, height, .. } = rung;
    let (num, den) = fps;
    let source = format!("testsrc2=size={width}x{height}:rate={num}/{den}:duration={MEASURED_S}");
    let graph = plan.video_filters("[0:v]", Some(Shape { width, height }), encoder);
    let output = ffmpeg()
        .args(["-v", "info", "-benchmark"])
        .args(encoder.device())
        .args(["-f", "lavfi", "-i", &source])
        .args(["-filter_complex", &graph])
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
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_preset_has_a_speed_of_its_own_and_finds_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("speed");
        // What an older version kept, and what no machine has.
        for known in [file.clone(), Speed::file_of(&file, Preset::Superfast)] {
            std::fs::write(known, "1e-30").unwrap();
        }
        let is_kept = |cost: f64| cost < 1e-29;
        let speed = Speed::kept_in(file.clone());
        assert!(is_kept(speed.pixel_cost(Preset::Superfast).await.unwrap()));
        let mut costs = Vec::new();
        for preset in Preset::ALL.into_iter().filter(|preset| *preset != Preset::Superfast) {
            let cost = speed.pixel_cost(preset).await.unwrap();
            assert!(!is_kept(cost), "{preset:?}: {cost}");
            let next = Speed::kept_in(file.clone()).pixel_cost(preset).await.unwrap();
            assert!((next / cost - 1.0).abs() < 1e-9, "{preset:?}: {next} after {cost}");
            costs.push(cost);
        }
        // The slowest does several times the work of the fastest.
        assert!(costs.last() > costs.first(), "{costs:?}");
    }

    #[test]
    fn the_benchmark_line_is_read() {
        let text = "x\nbench: utime=0.500s stime=0.250s rtime=0.9s\nbench: maxrss=1kB";
        assert_eq!(took(text), Some((0.75, 0.9)));
        assert_eq!(took("bench: utime=oops"), None);
    }
}
