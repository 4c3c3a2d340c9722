//! Filter graphs from what a source holds to the labels `[v0]`.. and `[a0]`.. of the outputs: at a
//! steady rate, upright, in whole frames and square pixels, with sound that has no holes.
//!
//! Picture and sounds have graphs of their own, because ffmpeg begins a graph only when each of its
//! inputs has come: a language that begins late would hold up the picture.

use serde::{Deserialize, Serialize};

use super::card;
use super::encoder::Used;
use super::ladder::{Plan, Shape};
use super::probe::Picture;
use super::rate;
use crate::grid::Grid;

/// What two fields become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deinterlace {
    /// One picture.
    #[default]
    Frame,
    /// A picture each, at twice the rate.
    Field,
}

impl Deinterlace {
    /// Pictures a second that come of a source's, or of the slate.
    #[must_use]
    pub fn fps(self, picture: Option<&Picture>) -> (u32, u32) {
        match picture {
            Some(picture) if picture.is_interlaced && self == Self::Field => {
                rate::doubled(picture.fps)
            }
            Some(picture) => picture.fps,
            None => SLATE_FPS,
        }
    }

    /// As ffmpeg's filters call it.
    pub(super) fn mode(self) -> &'static str {
        match self {
            Self::Frame => "send_frame",
            Self::Field => "send_field",
        }
    }
}

/// A source's size as it is shown, or the slate's.
#[must_use]
pub fn shape(picture: Option<&Picture>) -> Shape {
    picture.map_or(SLATE, Picture::shape)
}

/// Pictures a second of the slate.
const SLATE_FPS: (u32, u32) = (25, 1);

/// Stands for the picture of a source that has none.
pub const SLATE: Shape = Shape { width: 1280, height: 720 };

/// Colour of the slate, as of the built-in creative.
pub const SLATE_COLOR: &str = "0x0f2a24";

/// Says of pictures that their colours are those of HD. All that is encoded says the same, so that
/// content, slate and creatives share an init segment, and rungs of any size have the same colours.
pub const HD_COLORS: &str =
    "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709";

/// Pixels a second that one thread scales beside all else that it does: 1080 lines at 30.
const LIGHT: u64 = 1920 * 1080 * 30;

/// Lines from which on a source that does not say how its colours are coded has those of HD.
pub(super) const HD_LINES: u32 = 720;

/// Makes pictures upright, square and of the colours of HD, whatever comes after the first. ffmpeg
/// turns them itself.
#[must_use]
pub fn upright(picture: &Picture, deinterlace: Deinterlace) -> String {
    format!("{}{},setsar=1,{HD_COLORS}", whole(picture, deinterlace), hd_colors(picture))
}

/// The same of pictures that all are as the first one was. Where it is square and of the colours of
/// HD, nothing is computed, which saves a copy of each.
#[must_use]
pub fn upright_alike(picture: &Picture, deinterlace: Deinterlace) -> String {
    let is_square = picture.pixel_aspect.0 == picture.pixel_aspect.1;
    match is_square && picture.is_hd() {
        true => format!("{}setsar=1,{HD_COLORS}", whole(picture, deinterlace)),
        false => upright(picture, deinterlace),
    }
}

fn whole(picture: &Picture, deinterlace: Deinterlace) -> String {
    match picture.is_interlaced {
        true => format!("bwdif=mode={}:deint=interlaced,", deinterlace.mode()),
        false => String::new(),
    }
}

/// Gives pictures square pixels and the colours of HD.
fn hd_colors(picture: &Picture) -> String {
    let square = "scale=round(iw*sar):ih:flags=bilinear";
    match picture.matrix.as_str() {
        _ if picture.is_hdr() => format!("{square},{}", tone_mapped(&picture.transfer)),
        "" if picture.height >= HD_LINES => {
            format!("{square}:in_color_matrix=bt709:out_color_matrix=bt709:out_range=tv")
        }
        _ => format!("{square}:out_color_matrix=bt709:out_range=tv"),
    }
}

/// Brings the brightness of HDR to what a screen without it can show. It is computed in linear
/// light, so it costs more than all else that is done to a picture.
fn tone_mapped(curve: &str) -> String {
    format!(
        "zscale=tin={curve}:min=bt2020nc:pin=bt2020:rin=tv:t=linear:npl=100,format=gbrpf32le,\
         zscale=p=bt709,tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
    )
}

/// Brings pictures to the grid's rate.
#[must_use]
pub fn steady(grid: &Grid) -> String {
    let (num, den) = grid.fps;
    format!("fps={num}/{den}:start_time=0")
}

/// Brings sound to the grid's rate and two channels. What is missing at its start or between is
/// silence.
#[must_use]
pub fn level(grid: &Grid) -> String {
    let rate = grid.audio_rate;
    format!("aresample={rate}:async=1000:first_pts=0,aformat=channel_layouts=stereo")
}

/// Arguments before ffmpeg's input 0, of which [`of_stream`] makes the graphs.
#[must_use]
pub fn decoding(used: Used) -> &'static [&'static str] {
    if used.on_card { &card::DECODE } else { &[] }
}

/// Graphs for ffmpeg's input 0, whose samples come in real time by themselves. What never comes is
/// replaced: a picture by the slate, a language by silence.
#[must_use]
pub fn of_stream(
    picture: Option<&Picture>,
    sounds: usize,
    plan: &Plan,
    used: Used,
    grid: &Grid,
    deinterlace: Deinterlace,
) -> Vec<String> {
    let (num, den) = grid.fps;
    let Shape { width, height } = SLATE;
    let pictures = match picture {
        Some(picture) if used.on_card => card::graph(picture, plan, grid, deinterlace),
        Some(picture) => {
            let upright = upright_alike(picture, deinterlace);
            let head = format!("[0:v:0]{upright},{},", steady(grid));
            plan.video_filters(&head, Some(picture.shape()), used.encoder)
        }
        None => {
            let head = format!("color=c={SLATE_COLOR}:s={width}x{height}:r={num}/{den},");
            plan.video_filters(&head, Some(SLATE), used.encoder)
        }
    };
    let sounds = (0..plan.audio.len()).map(|j| match j < sounds {
        true => format!("[0:a:{j}]{}[a{j}]", level(grid)),
        false => format!("anullsrc=r={}:cl=stereo[a{j}]", grid.audio_rate),
    });
    arguments(picture, grid, [pictures].into_iter().chain(sounds))
}

/// Each graph with ffmpeg's flag for it, for a source with this picture.
pub fn arguments(
    picture: Option<&Picture>,
    grid: &Grid,
    graphs: impl IntoIterator<Item = String>,
) -> Vec<String> {
    let graphs = graphs.into_iter().flat_map(|graph| ["-filter_complex".to_owned(), graph]);
    threads(picture, grid).iter().map(|arg| (*arg).to_owned()).chain(graphs).collect()
}

/// How many threads a graph has: as many as the machine has cores, which is ffmpeg's own choice, or
/// one where that is enough. To share so little among more takes a hundredth of the whole ladder.
fn threads(picture: Option<&Picture>, grid: &Grid) -> &'static [&'static str] {
    let Shape { width, height } = shape(picture);
    let pixels = u64::from(width) * u64::from(height) * u64::from(grid.fps.0);
    let is_light = pixels <= LIGHT * u64::from(grid.fps.1);
    let is_scaled_alone = picture.is_none_or(|picture| !picture.is_interlaced && !picture.is_hdr());
    match is_light && is_scaled_alone {
        true => &["-filter_complex_threads", "1"],
        false => &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::encode::encoder::Encoder;
    use crate::encode::ladder::Rung;
    use crate::encode::probe::plain as picture;

    const FLAT: Rung = Rung { width: 852, height: 480, bitrate: 1, half_rate: false };

    /// The brightness of every pixel of a white picture of this size in a rung of 852 by 480.
    fn brightness(size: &str, shape: Option<Shape>) -> Vec<u8> {
        let plan = Plan { video: vec![FLAT], ..Plan::default() };
        let source = format!("color=white:s={size}:r=1:d=1,format=yuv420p");
        let graph = plan.video_filters("[0:v]", shape, Encoder::X264);
        let ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", &source, "-filter_complex", &graph])
            .args(["-map", "[v0]", "-f", "rawvideo", "-"])
            .output()
            .unwrap();
        assert!(ffmpeg.status.success(), "{}", String::from_utf8_lossy(&ffmpeg.stderr));
        let pixels = (FLAT.width * FLAT.height) as usize;
        assert_eq!(ffmpeg.stdout.len(), pixels * 3 / 2);
        ffmpeg.stdout[..pixels].to_vec()
    }

    #[test]
    fn a_rung_of_the_pictures_shape_is_filled_and_another_has_bars() {
        let hd = Some(Shape { width: 1280, height: 720 });
        let dark = |size: &str, shape| brightness(size, shape).iter().filter(|y| **y < 200).count();
        assert_eq!(dark("1280x720", hd), 0);
        let square = Some(Shape { width: 960, height: 720 });
        let bars = (852 - 640) * 480;
        assert!(dark("960x720", square).abs_diff(bars) <= 2 * 480);
        assert_eq!(dark("960x720", None), dark("960x720", square));
    }

    #[test]
    fn only_what_is_right_already_is_left_as_it_is() {
        let is_left = |picture: &Picture| {
            let alike = upright_alike(picture, Deinterlace::Frame);
            let is_left = !alike.contains("scale");
            assert!(is_left || alike == upright(picture, Deinterlace::Frame));
            is_left
        };
        assert!(is_left(&picture()));
        assert!(is_left(&Picture { matrix: String::new(), range: String::new(), ..picture() }));
        assert!(is_left(&Picture { pixels: "yuv422p10le".to_owned(), ..picture() }));
        for other in [
            Picture { pixel_aspect: (4, 3), ..picture() },
            Picture { matrix: "smpte170m".to_owned(), ..picture() },
            Picture { matrix: String::new(), height: 576, ..picture() },
            Picture { transfer: "arib-std-b67".to_owned(), ..picture() },
            Picture { range: "pc".to_owned(), ..picture() },
            Picture { pixels: "yuvj420p".to_owned(), ..picture() },
            Picture { pixels: "gbrp".to_owned(), matrix: String::new(), ..picture() },
        ] {
            assert!(!is_left(&other), "{other:?}");
        }
    }

    #[test]
    fn one_thread_does_what_is_light() {
        let grid = |fps| Grid::new(0, fps, 2000, 200).unwrap();
        let hd = Picture { width: 1920, height: 1080, ..picture() };
        let is_one = |picture: Option<&Picture>, fps| !threads(picture, &grid(fps)).is_empty();
        assert!(is_one(None, (25, 1)) && is_one(Some(&hd), (30, 1)));
        assert!(is_one(Some(&hd), (30_000, 1001)));
        assert!(!is_one(Some(&hd), (50, 1)));
        assert!(!is_one(Some(&Picture { is_interlaced: true, ..picture() }), (25, 1)));
        assert!(!is_one(Some(&Picture { transfer: "smpte2084".to_owned(), ..picture() }), (25, 1)));
    }
}
