//! The built-in test match, as an ffmpeg filter graph. What is drawn into frame `n` of the grid
//! depends on `n` alone, so that a restarted encoder goes on with the same match, and a player can
//! compute when a picture it shows was made.
//!
//! # The strip
//! Along the top edge lie [`STRIP_SQUARES`] squares, each `width / 32` wide and high; the first
//! begins at `x = width / 8`. Read at their centres, left to right: white, black, then 20 bits of
//! the frame number from the most significant (white is 1), then black, white. The frame number
//! counts from the start of the grid, modulo 2^20, so that the picture's time is
//! `start + frame * 1000 * den / num` milliseconds for a rate of `num/den`. The four fixed squares
//! tell the strip from another picture.

use std::path::Path;

use crate::encode::encoder::Encoder;
use crate::encode::ladder::{Plan, Shape};
use crate::grid::Grid;

/// Squares of the strip.
pub const STRIP_SQUARES: u32 = 24;

/// Bits of the frame number in the strip.
pub const STRIP_BITS: u32 = 20;

/// The picture's size.
pub const SHAPE: Shape = Shape { width: 1280, height: 720 };

/// Frames a second unless set.
pub const FPS: (u32, u32) = (25, 1);

/// Notes of the languages' bells in hertz, by position.
const NOTES: [f64; 8] = [523.25, 392.0, 659.26, 440.0, 587.33, 349.23, 493.88, 698.46];

/// Arguments for ffmpeg up to the labels `[v0]`.., `[a0]`... Texts are written into `folder`.
///
/// # Errors
/// When the texts cannot be written.
pub fn arguments(
    plan: &Plan,
    encoder: Encoder,
    grid: &Grid,
    first_frame: u64,
    folder: &Path,
) -> std::io::Result<Vec<String>> {
    let Shape { width, height } = SHAPE;
    let (num, den) = grid.fps;
    let mut args = Vec::new();
    let mut input = |source: String| {
        args.extend(["-re", "-f", "lavfi", "-i"].map(str::to_owned));
        args.push(source);
    };
    input(format!("color=c=0x2f7d3b:s={width}x{height}:r={num}/{den},format=yuv420p"));
    let start =
        (grid.sample_ms(crate::grid::Kind::Video, first_frame) - grid.zero_ms) as f64 / 1000.0;
    for note in NOTES.iter().cycle().take(plan.audio.len()) {
        // A bell on each second of the event, an octave higher on every tenth.
        input(format!(
            "aevalsrc=exprs='0.25*sin(2*PI*{note}*(1+not(mod(floor(t+{start}),10)))*t)*exp(-6*mod(t+{start},1))':s={}",
            grid.audio_rate
        ));
    }
    let text = Texts::write(grid, first_frame, folder)?;
    let mut graph = picture(&text, grid, first_frame);
    graph.push_str(&plan.video_filters("[match]", Some(SHAPE), encoder));
    for j in 0..plan.audio.len() {
        graph.push_str(&format!(";[{}:a]aformat=channel_layouts=stereo[a{j}]", j + 1));
    }
    args.extend(["-filter_complex".to_owned(), graph]);
    Ok(args)
}

/// Files that hold what is drawn, which spares a filter graph's quoting.
struct Texts {
    wall: String,
    frame: String,
    clock: String,
    score: String,
}

impl Texts {
    fn write(grid: &Grid, first_frame: u64, folder: &Path) -> std::io::Result<Self> {
        let write = |name: &str, text: String| -> std::io::Result<String> {
            let path = folder.join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let (num, den) = grid.fps;
        let ms = grid.sample_ms(crate::grid::Kind::Video, first_frame);
        let (whole, rest) = (ms / 1000, ms % 1000);
        let n = format!("(n+{first_frame})");
        // The event's age in seconds, half a frame late so that floor() does not fall short.
        let s = format!("(({n}+0.5)*{den}/{num})");
        Ok(Self {
            wall: write(
                "wall",
                format!(
                    "%{{pts:gmtime:{whole}.{rest:03}1:%H\\:%M\\:%S}}.%{{eif:mod(floor((t+0.{rest:03})*1000+0.5),1000):d:3}} UTC"
                ),
            )?,
            frame: write("frame", format!("frame %{{eif:{n}:d}}"))?,
            clock: write(
                "clock",
                format!("%{{eif:floor({s}/60):d:2}}:%{{eif:mod(floor({s}),60):d:2}}"),
            )?,
            score: write(
                "score",
                format!(
                    "HOME %{{eif:floor({s}/4):d}}/%{{eif:mod(floor({s}/97),10):d}}  \
                     (%{{eif:floor({s}/30):d}}.%{{eif:mod(floor({s}/5),6):d}})"
                ),
            )?,
        })
    }
}

fn picture(text: &Texts, grid: &Grid, first_frame: u64) -> String {
    let (num, den) = grid.fps;
    let side = SHAPE.width / 32;
    let strip = format!("{}:{side}", side * STRIP_SQUARES);
    let high = STRIP_BITS + 1;
    let frame = first_frame % (1 << STRIP_BITS);
    let write = |path: &str, size: u32, x: &str, y: u32| {
        format!(
            ",drawtext=textfile={path}:fontsize={size}:fontcolor=white:x={x}:y={y}:box=1:boxcolor=0x0b2e17@0.7:boxborderw=10"
        )
    };
    let mut graph = String::from("[0:v]");
    // Boundary rope, pitch and creases.
    for (x, y, w, h, color) in [
        (70, 100, 1140, 510, "white@0.5:t=4"),
        (560, 170, 160, 370, "0xc8b27a:t=fill"),
        (560, 215, 160, 4, "white:t=fill"),
        (560, 491, 160, 4, "white:t=fill"),
    ] {
        graph.push_str(&format!("drawbox=x={x}:y={y}:w={w}:h={h}:c={color},"));
    }
    graph.push_str("null");
    graph.push_str(&write(&text.score, 44, "40", 56));
    graph.push_str(&write(&text.clock, 44, "w-tw-40", 56));
    graph.push_str(&write(&text.wall, 36, "40", 650));
    graph.push_str(&write(&text.frame, 36, "w-tw-40", 650));
    let s = format!("((n+{first_frame})*{den}/{num})");
    graph.push_str(&format!(
        "[field];color=c=black:s={STRIP_SQUARES}x1:r={num}/{den},format=gray,\
         geq=lum='16+219*if(lt(X,2),eq(X,0),if(gt(X,{high}),eq(X,{last}),mod(floor((N+{frame})/pow(2,{high}-X)),2)))',\
         scale={strip}:flags=neighbor,format=yuv420p[strip];\
         color=c=white:s=36x36:r={num}/{den},format=yuva420p,\
         geq=lum=235:cb=128:cr=128:a='if(lte(hypot(X-17.5,Y-17.5),17),255,0)'[ball];\
         [field][strip]overlay=x={left}:y=0:format=yuv420[marked];\
         [marked][ball]overlay=x='622+500*sin({s}*0.9)':y='420-240*abs(cos({s}*1.7))':format=yuv420[match];",
        last = STRIP_SQUARES - 1,
        left = SHAPE.width / 8,
    ));
    graph
}
