//! A file, played in real time and again and again.
//!
//! Each track is read by itself, as far ahead as it needs: one that has nothing for a while holds
//! up no other. Generated inputs that ffmpeg paces beat the time. With each beat the picture that
//! stands then goes out, and sound is mixed with the beat's silence. So a picture that stands for
//! long and sound that ends early cost nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::encode::encoder::Encoder;
use crate::encode::graph::{self, Deinterlace, SLATE, SLATE_COLOR};
use crate::encode::ladder::{Plan, Shape};
use crate::encode::probe::{Picture, Probed};
use crate::grid::{AAC_FRAME, Grid};

/// How long a run plays, unless it needs too many turns.
const RUN_S: u64 = 7 * 86_400;

/// Turns of the longest list: ffmpeg reads it whole before the first picture.
const TURNS_MAX: u64 = 50_000;

/// What is played, and how.
pub(super) struct Played<'a> {
    pub(super) path: &'a Path,
    pub(super) source: &'a Probed,
    pub(super) plan: &'a Plan,
    pub(super) encoder: Encoder,
    pub(super) grid: &'a Grid,
    pub(super) deinterlace: Deinterlace,
}

impl Played<'_> {
    /// Arguments for ffmpeg up to the labels of the outputs. The list of turns is written into
    /// `folder`.
    pub(super) fn arguments(&self, folder: &Path) -> std::io::Result<Vec<String>> {
        let length_ms = self.source.duration_ms.filter(|ms| *ms > 0).ok_or_else(|| {
            std::io::Error::other("the file's length cannot be found: convert it to MP4")
        })?;
        let turns = (RUN_S * 1000).div_ceil(length_ms).min(TURNS_MAX);
        let list = write_list(self.path, length_ms, turns, folder)?;
        let end_s = length_ms * turns / 1000;
        let (mut inputs, mut graphs) = (Inputs::default(), Vec::new());
        let picture = self.source.picture.as_ref();
        let head = match picture {
            Some(picture) => self.picture(picture, &list, end_s, &mut inputs),
            None => format!("[{}:v]", inputs.beat(&color(SLATE, self.grid, end_s))),
        };
        let shape = Some(graph::shape(picture));
        graphs.push(self.plan.video_filters(&head, shape, self.encoder));
        for j in 0..self.plan.audio.len() {
            let silence =
                format!("anullsrc=r={}:cl=stereo:n={AAC_FRAME}:d={end_s}", self.grid.audio_rate);
            let beat = inputs.beat(&silence);
            graphs.push(match self.source.sounds.get(j) {
                Some(sound) => format!(
                    "[{}:{}]{}[s{j}];[{beat}:a][s{j}]amix=inputs=2:duration=first:normalize=0:\
                     dropout_transition=0[a{j}]",
                    inputs.list(&list),
                    sound.stream,
                    graph::level(self.grid)
                ),
                None => format!("[{beat}:a]anull[a{j}]"),
            });
        }
        inputs.args.extend(graph::arguments(picture, self.grid, graphs));
        Ok(inputs.args)
    }

    /// The graph up to pictures at the grid's rate.
    fn picture(&self, picture: &Picture, list: &Path, end_s: u64, inputs: &mut Inputs) -> String {
        let beat = inputs.beat(&color(Shape { width: 16, height: 16 }, self.grid, end_s));
        format!(
            "[{}:{}]{}[p];[{beat}:v][p]streamselect=inputs=2:map=1,{},",
            inputs.list(list),
            picture.stream,
            graph::upright_alike(picture, self.deinterlace),
            graph::steady(self.grid)
        )
    }
}

fn color(Shape { width, height }: Shape, grid: &Grid, end_s: u64) -> String {
    let (num, den) = grid.fps;
    format!("color=c={SLATE_COLOR}:s={width}x{height}:r={num}/{den}:d={end_s}")
}

/// ffmpeg's inputs, counted.
#[derive(Default)]
struct Inputs {
    args: Vec<String>,
    count: usize,
}

impl Inputs {
    /// A generated input, in real time.
    fn beat(&mut self, source: &str) -> usize {
        self.add(["-re", "-f", "lavfi", "-i", source])
    }

    /// The file's turns, as fast as they are wanted.
    fn list(&mut self, path: &Path) -> usize {
        let path = path.display().to_string();
        self.add(["-fflags", "+genpts", "-f", "concat", "-safe", "0", "-i", &path])
    }

    fn add<const N: usize>(&mut self, args: [&str; N]) -> usize {
        self.args.extend(args.map(str::to_owned));
        self.count += 1;
        self.count - 1
    }
}

/// A list for ffmpeg's concat demuxer. Each turn takes the file's whole length, whichever of its
/// tracks ends first.
fn write_list(path: &Path, length_ms: u64, turns: u64, folder: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let name = absolute.to_str().filter(|name| !name.contains('\n')).ok_or_else(|| {
        std::io::Error::other("the file's name is not text in one line: give it another")
    })?;
    let turn = format!(
        "file '{}'\nduration {}.{:03}\n",
        name.replace('\'', "'\\''"),
        length_ms / 1000,
        length_ms % 1000
    );
    let mut list = String::from("ffconcat version 1.0\n");
    for _ in 0..turns {
        let _ = list.write_str(&turn);
    }
    let path = folder.join("turns");
    std::fs::write(&path, list)?;
    Ok(path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_long_and_bounded_whatever_the_files_length_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let lines = |ms| {
            let turns = (RUN_S * 1000_u64).div_ceil(ms).min(TURNS_MAX);
            let list = write_list(Path::new("/a/it's 5%.mp4"), ms, turns, folder.path()).unwrap();
            let text = std::fs::read_to_string(list).unwrap();
            assert!(text.starts_with("ffconcat version 1.0\nfile '/a/it'\\''s 5%.mp4'\n"));
            text.lines().count()
        };
        assert_eq!(lines(86_400_000), 1 + 2 * 7);
        assert_eq!(lines(1), 1 + 2 * 50_000);
        assert!(write_list(Path::new("/a/b\nfile c"), 1, 1, folder.path()).is_err());
    }
}
