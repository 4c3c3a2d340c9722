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

/// Lines from which on a source that does not say how its colours are coded has those of HD.
pub(super) const HD_LINES: u32 = 720;

/// Makes pictures upright, square and of the colours of HD. ffmpeg turns them itself.
#[must_use]
pub fn upright(picture: &Picture, deinterlace: Deinterlace) -> String {
    let whole = match picture.is_interlaced {
        true => format!("bwdif=mode={}:deint=interlaced,", deinterlace.mode()),
        false => String::new(),
    };
    format!("{whole}{},setsar=1,{HD_COLORS}", hd_colors(picture))
}

/// Gives pictures square pixels and the colours of HD.
fn hd_colors(picture: &Picture) -> String {
    let square = "scale=round(iw*sar):ih:flags=bilinear";
    match (picture.transfer.as_str(), picture.matrix.as_str()) {
        (curve @ ("smpte2084" | "arib-std-b67"), _) => format!("{square},{}", tone_mapped(curve)),
        (_, "") if picture.height >= HD_LINES => {
            format!("{square}:in_color_matrix=bt709:out_color_matrix=bt709:out_range=tv")
        }
        _ => format!("{square}:out_color_matrix=bt709:out_range=tv"),
    }
}

/// Brings the brightness of HDR (PQ or HLG, ITU-R BT.2100) to what a screen without it can show. It
/// is computed in linear light, so it costs more than all else that is done to a picture.
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
            let head = format!("[0:v:0]{},{},", upright(picture, deinterlace), steady(grid));
            plan.video_filters(&head, used.encoder)
        }
        None => {
            let head = format!("color=c={SLATE_COLOR}:s={width}x{height}:r={num}/{den},");
            plan.video_filters(&head, used.encoder)
        }
    };
    let sounds = (0..plan.audio.len()).map(|j| match j < sounds {
        true => format!("[0:a:{j}]{}[a{j}]", level(grid)),
        false => format!("anullsrc=r={}:cl=stereo[a{j}]", grid.audio_rate),
    });
    arguments([pictures].into_iter().chain(sounds))
}

/// Each graph with ffmpeg's flag for it.
pub fn arguments(graphs: impl IntoIterator<Item = String>) -> Vec<String> {
    graphs.into_iter().flat_map(|graph| ["-filter_complex".to_owned(), graph]).collect()
}
