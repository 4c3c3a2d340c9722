//! Pictures that never leave NVIDIA's card: decoded, deinterlaced, scaled and encoded there.
//!
//! The card neither converts colours nor adds bars. Sources that need one of these, and those whose
//! pixels it cannot scale, are scaled by the processor.

use tokio::sync::OnceCell;

use super::ffmpeg::ffmpeg;
use super::graph::{Deinterlace, HD_COLORS, steady};
use super::ladder::{Plan, Rung};
use super::probe::Picture;
use crate::grid::Grid;

/// Arguments before an input that the card decodes. What it cannot decode, the processor does, and
/// the graph takes that too. The frames are those that wait in the graph.
pub const DECODE: [&str; 6] =
    ["-hwaccel", "cuda", "-hwaccel_output_format", "cuda", "-extra_hw_frames", "8"];

/// The better deinterlacer came with ffmpeg 6.1.
const DEINTERLACERS: [&str; 2] = ["bwdif_cuda", "yadif_cuda"];

/// Of these, what this ffmpeg has.
static DEINTERLACER: OnceCell<&str> = OnceCell::const_new();

/// Finds out what this ffmpeg can do; before the first graph.
pub(super) async fn look() {
    DEINTERLACER.get_or_init(deinterlacer).await;
}

async fn deinterlacer() -> &'static str {
    let [better, usual] = DEINTERLACERS;
    let help = ffmpeg().args(["-h", &format!("filter={better}")]).output().await;
    // It fails for no filter that it lacks.
    let is_there = help.is_ok_and(|help| help.stdout.starts_with(b"Filter "));
    if is_there { better } else { usual }
}

/// Whether a source's pictures can stay on the card on their way to these rungs.
#[must_use]
pub fn keeps(picture: &Picture, plan: &Plan) -> bool {
    let is_plain = picture.pixels == "yuv420p" && !picture.is_turned;
    let shape = picture.shape();
    picture.is_hd() && is_plain && plan.video.iter().all(|rung| rung.is_filled_by(shape))
}

/// From the picture of input 0 to `[v0]`, `[v1]`, ....
#[must_use]
pub fn graph(picture: &Picture, plan: &Plan, grid: &Grid, deinterlace: Deinterlace) -> String {
    let whole = match picture.is_interlaced {
        true => {
            let filter = DEINTERLACER.get().copied().unwrap_or(DEINTERLACERS[1]);
            format!("{filter}=mode={}:deint=interlaced,", deinterlace.mode())
        }
        false => String::new(),
    };
    scaled(&format!("[0:v:0]hwupload,{whole}{},", steady(grid)), plan)
}

/// From the pictures on the card `[source]`, that are at the grid's rate, to `[v0]`, `[v1]`, ....
pub(super) fn scaled(source: &str, plan: &Plan) -> String {
    plan.split(source, |Rung { width, height, .. }| {
        format!(
            "scale_cuda=w={width}:h={height}:interp_algo=bilinear:format=yuv420p,\
             setsar=1,{HD_COLORS}"
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::encode::probe::plain;

    fn picture() -> Picture {
        let (width, height, pixel_aspect) = (1440, 1080, (4, 3));
        Picture { width, height, pixel_aspect, is_interlaced: true, fps: (25, 1), ..plain() }
    }

    fn plan() -> Plan {
        let rung = |width, height| Rung { width, height, bitrate: 1, half_rate: height == 360 };
        Plan { video: vec![rung(1920, 1080), rung(640, 360)], ..Plan::default() }
    }

    #[test]
    fn what_a_card_cannot_convert_leaves_it() {
        assert!(keeps(&picture(), &plan()));
        let unsaid = Picture { matrix: String::new(), transfer: String::new(), ..picture() };
        assert!(keeps(&unsaid, &plan()));
        for other in [
            Picture { matrix: "smpte170m".to_owned(), ..picture() },
            Picture { height: 576, ..unsaid },
            Picture { transfer: "smpte2084".to_owned(), ..picture() },
            Picture { pixels: "yuv422p10le".to_owned(), ..picture() },
            Picture { pixels: "yuvj420p".to_owned(), ..picture() },
            Picture { range: "pc".to_owned(), ..picture() },
            Picture { is_turned: true, ..picture() },
            Picture { pixel_aspect: (1, 1), ..picture() },
        ] {
            assert!(!keeps(&other, &plan()), "{other:?}");
        }
    }

    /// The card's filters and their options, for ffmpeg's own parser.
    #[tokio::test]
    async fn ffmpeg_knows_every_filter_and_option_of_the_graph() {
        let filters = Command::new("ffmpeg").args(["-hide_banner", "-filters"]).output().unwrap();
        if !String::from_utf8_lossy(&filters.stdout).contains(" scale_cuda ") {
            eprintln!("skipped: this ffmpeg was built without the filters of NVIDIA's cards");
            return;
        }
        look().await;
        let grid = Grid::new(0, (50, 1), 2000, 200).unwrap();
        let graph = graph(&picture(), &plan(), &grid, Deinterlace::Field);
        let filters = graph.split([',', ';', ']', '[']);
        let mut of_the_card = 0;
        for filter in filters.filter(|filter| filter.contains("_cuda")) {
            of_the_card += 1;
            let (name, options) = filter.split_once('=').unwrap();
            let help = ["-hide_banner", "-h", &format!("filter={name}")];
            let help = Command::new("ffmpeg").args(help).output().unwrap();
            let help = String::from_utf8(help.stdout).unwrap();
            assert!(help.starts_with("Filter "), "{name}: {help}");
            for (option, value) in options.split(':').map(|pair| pair.split_once('=').unwrap()) {
                let lists = |word: &str| {
                    help.lines().any(|line| line.split_whitespace().next() == Some(word))
                };
                assert!(lists(option), "{name} has no {option}");
                let is_free = value.parse::<u32>().is_ok() || option == "format";
                assert!(is_free || lists(value), "{name} {option} has no {value}");
            }
        }
        assert_eq!(of_the_card, 3, "{graph}");
    }
}
