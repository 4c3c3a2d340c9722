//! The ladder: which rungs an event has, by the speed of this machine, and how ffmpeg encodes them.
//! Content and creatives share the encoder's settings. A plan never changes during an event, and
//! never scales up.

use serde::{Deserialize, Serialize};

use super::EncodeError;
use super::budget::{Budget, Claim};
use super::encoder::{Chosen, Encoder, Preset};
use super::graph::HD_COLORS;
use super::speed::Speed;
use crate::grid::{AAC_FRAME, Grid, Kind};

/// Added to every timestamp that ffmpeg writes, in seconds: with it, an AAC encoder's priming does
/// not fall below zero.
pub const OFFSET_S: u64 = 10;

/// Bits a second of every audio track, unless set.
const AUDIO_BITRATE: u32 = 96_000;

/// What decoding, filtering and generating costs beside encoding, as a share of the tallest rung's
/// encoding.
const OVERHEAD: f64 = 1.0;

/// How far a rung's width may be from its picture's before it would look wrong, in pixels.
const APART_MAX: u64 = 2;

/// What the ladder may use.
#[derive(Debug, Clone)]
pub struct LadderLimits {
    /// Tallest rung in lines; the source's own height limits as well.
    pub max_height: u32,
    /// What there may be, in the order in which it is taken while the machine can bear it.
    pub rungs: Vec<RungRule>,
    /// What the machine can bear.
    pub budget: Budget,
    /// What encodes.
    pub encoder: Chosen,
    /// How x264 encodes.
    pub preset: Preset,
    /// Bits a second of every audio track.
    pub audio_bitrate: u32,
}

/// A rung that an event may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RungRule {
    /// Lines.
    pub height: u32,
    /// Bits a second.
    pub bitrate: u32,
    /// Only for events of this many frames a second or more, where it takes the place of another of
    /// the same height.
    pub min_fps: u32,
    /// From this many frames a second on it has every second frame. A small picture gains more by
    /// the bits than by the frames.
    pub half_from_fps: Option<u32>,
}

/// The usual six. The first two stay on every machine that can bear them.
pub const USUAL_RUNGS: [RungRule; 6] = [
    RungRule { height: 360, bitrate: 700_000, min_fps: 0, half_from_fps: HALVED },
    RungRule { height: 720, bitrate: 3_000_000, min_fps: 0, half_from_fps: None },
    RungRule { height: 160, bitrate: 300_000, min_fps: 0, half_from_fps: HALVED },
    RungRule { height: 1080, bitrate: 6_000_000, min_fps: 0, half_from_fps: None },
    RungRule { height: 480, bitrate: 1_500_000, min_fps: 0, half_from_fps: HALVED },
    RungRule { height: 1080, bitrate: 8_000_000, min_fps: 50, half_from_fps: None },
];

/// From where on the small ones of the usual rungs have half the frames.
const HALVED: Option<u32> = Some(50);

impl Default for LadderLimits {
    fn default() -> Self {
        let budget = Budget::of_machine(0.25, Speed::default());
        Self {
            max_height: 1080,
            rungs: USUAL_RUNGS.to_vec(),
            budget,
            encoder: Chosen::new(Encoder::X264),
            preset: Preset::default(),
            audio_bitrate: AUDIO_BITRATE,
        }
    }
}

/// The tracks of an event, and how they are encoded: what shapes their init segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Pictures, the tallest first.
    pub video: Vec<Rung>,
    /// Languages of the sound, the default first.
    pub audio: Vec<String>,
    /// Bits a second of every audio track.
    #[serde(default = "usual_audio_bitrate")]
    pub audio_bitrate: u32,
    /// How x264 encodes.
    #[serde(default)]
    pub preset: Preset,
}

/// What events had that were begun before there was a setting.
fn usual_audio_bitrate() -> u32 {
    AUDIO_BITRATE
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            video: Vec::new(),
            audio: Vec::new(),
            audio_bitrate: AUDIO_BITRATE,
            preset: Preset::default(),
        }
    }
}

/// One size of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits a second.
    pub bitrate: u32,
    /// Whether it has every second frame only.
    #[serde(default)]
    pub half_rate: bool,
}

impl Rung {
    /// What a sample of its track is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.half_rate { Kind::HalfVideo } else { Kind::Video }
    }

    /// Whether a picture of this shape fills it, but for what nobody sees.
    #[must_use]
    pub fn is_filled_by(&self, Shape { width, height }: Shape) -> bool {
        let due = u64::from(width) * u64::from(self.height) / u64::from(height.max(1));
        due.abs_diff(u64::from(self.width)) <= APART_MAX
    }
}

/// A source, as far as a ladder depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LadderInput {
    /// The size of its picture.
    pub shape: Shape,
    /// Frames a second as numerator and denominator.
    pub fps: (u32, u32),
    /// See [`Grid::can_halve`].
    pub can_halve: bool,
}

/// The size of a source's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// The identifier of the audio rendition in that language.
#[must_use]
pub(crate) fn audio_id(language: &str) -> String {
    format!("a-{}", language.to_ascii_lowercase())
}

impl Plan {
    /// Identifier and kind of each track, in the order of all that counts tracks.
    #[must_use]
    pub fn tracks(&self) -> Vec<(String, Kind)> {
        let video = self.video.iter().map(|rung| (format!("v{}", rung.height), rung.kind()));
        let audio = self.audio.iter().map(|language| (audio_id(language), Kind::Audio));
        video.chain(audio).collect()
    }

    /// Filters from the picture `[source]` to `[v0]`, `[v1]`, ...: its shape is kept, and bars fill
    /// the rest. Where `shape` is known to be that of all its pictures, what would be a bar of a
    /// line is cut off instead, which also saves a copy of each picture.
    #[must_use]
    pub fn video_filters(&self, source: &str, shape: Option<Shape>, encoder: Encoder) -> String {
        let upload = encoder.upload();
        self.split(source, |rung| {
            let Rung { width, height, .. } = rung;
            let (side, fit) = match shape.is_some_and(|shape| rung.is_filled_by(shape)) {
                true => ("increase", format!("crop={width}:{height}")),
                false => ("decrease", format!("pad={width}:{height}:-1:-1")),
            };
            format!(
                "scale={width}:{height}:flags=bilinear:force_original_aspect_ratio={side},{fit},\
                 setsar=1,{HD_COLORS},{upload}"
            )
        })
    }

    /// Filters from the picture `[source]` to `[v0]`, `[v1]`, ...: `filters` are those of a rung.
    #[must_use]
    pub(super) fn split(&self, source: &str, filters: impl Fn(&Rung) -> String) -> String {
        let count = self.video.len();
        let mut graph = format!("{source}split={count}");
        (0..count).for_each(|i| graph.push_str(&format!("[s{i}]")));
        for (i, rung) in self.video.iter().enumerate() {
            let every = if rung.half_rate { "framestep=2," } else { "" };
            graph.push_str(&format!(";[s{i}]{every}{}[v{i}]", filters(rung)));
        }
        graph
    }

    /// Arguments for every output: the labels `[v0]`.. and `[a0]`.. of a filter graph, encoded on
    /// the grid and written to `url(track)`. The first frame of the graph is frame `first_frame` of
    /// the grid.
    #[must_use]
    pub fn outputs(
        &self,
        grid: &Grid,
        first_frame: u64,
        encoder: Encoder,
        url: impl Fn(usize) -> String,
    ) -> Vec<String> {
        self.outputs_of_run(grid, first_frame, 0, encoder, url)
    }

    /// The same, with a key picture in every part of the first `eager` frames besides.
    #[must_use]
    pub fn outputs_of_run(
        &self,
        grid: &Grid,
        first_frame: u64,
        eager: u64,
        encoder: Encoder,
        url: impl Fn(usize) -> String,
    ) -> Vec<String> {
        let (num, den) = grid.fps;
        let (segment, part) = (grid.segment_frames, grid.part_frames);
        let shift = first_frame % u64::from(segment);
        // In frames of the whole rate, also for half of them: both have those that begin a part.
        let at = format!("round(t*{num}/{den})");
        let mut keys = format!("expr:eq(mod({at}+{shift},{segment}),0)");
        if eager > 0 {
            keys.push_str(&format!("+lt({at},{eager})*eq(mod({at}+{shift},{part}),0)"));
        }
        let mut args = Vec::new();
        let mut add = |text: &str| args.extend(text.split(' ').map(str::to_owned));
        for (i, rung) in self.video.iter().enumerate() {
            let (Rung { bitrate, .. }, (num, den)) = (rung, grid.rate(rung.kind()));
            add(&format!("-map [v{i}] {}", encoder.codec(rung, self.preset)));
            add(&format!("-b:v {bitrate} -maxrate {bitrate} -bufsize {}", bitrate / 2));
            add(&format!("-g {} -force_key_frames {keys} -r {num}/{den}", segment * 2));
            add(&format!("-video_track_timescale {}", grid.timescale(rung.kind())));
            add(&format!("{} {}", muxer(&pieces(grid)), url(i)));
        }
        for j in 0..self.audio.len() {
            let url = url(self.video.len() + j);
            add(&format!("-map [a{j}] {} {url}", self.sound_output(grid.audio_rate)));
        }
        args
    }

    /// Arguments for an output of sound, but for what goes in and where it goes. Its parts differ
    /// in length, so it comes by few frames: by two, which is about as late as a picture and takes
    /// half of the fragments. The limit is 1.5 frames, so that rounding never makes it three.
    fn sound_output(&self, rate: u32) -> String {
        let limit_us = 3 * AAC_FRAME * 1_000_000 / (2 * u64::from(rate));
        let muxer = muxer(&format!(" -frag_duration {limit_us}"));
        format!("-c:a aac -b:a {} -ar {rate} -ac 2 {muxer}", self.audio_bitrate)
    }
}

/// Pictures come as fragments as long as a part, or up to a key picture: a fragment for each would
/// come no sooner, for ffmpeg writes one with the picture after it. The packager makes the parts,
/// however they come. The limit is half a frame below a part, for times are rounded.
fn pieces(grid: &Grid) -> String {
    let (num, den) = (u64::from(grid.fps.0), u64::from(grid.fps.1));
    let half_frames = 2 * u64::from(grid.part_frames) - 1;
    format!("+frag_keyframe -frag_duration {}", half_frames * den * 1_000_000 / (2 * num))
}

/// `cut` ends the flags of the muxer.
fn muxer(cut: &str) -> String {
    format!(
        "-output_ts_offset {OFFSET_S} -flush_packets 1 -f mp4 \
         -movflags +empty_moov+default_base_moof+cmaf+frag_discont{cut}"
    )
}

/// Chooses rungs for a source: none taller than it or the limit, and together within what the
/// event may take of the budget.
///
/// # Errors
/// When ffmpeg cannot be started or cannot encode H.264, or when other events leave no room.
pub async fn choose(
    source: LadderInput,
    limits: &LadderLimits,
    claim: &Claim,
) -> Result<Vec<Rung>, EncodeError> {
    let cost = claim.pixel_cost(limits.preset).await?;
    let cores = |rungs: &[Rung]| load(rungs, source.fps) * cost;
    claim.take(|room| {
        let mut rungs = fit(source, limits, room.share / cost);
        if cores(&rungs) > room.free && !room.is_untouched() {
            rungs = vec![smallest(source, limits)];
        }
        let needs = cores(&rungs);
        if needs > room.free && !room.is_untouched() {
            return Err(EncodeError::NoRoom { needs, free: room.free, total: room.total });
        }
        tracing::info!(
            rungs = ?rungs.iter().map(|rung| rung.height).collect::<Vec<_>>(),
            cores = needs, share = room.share, free = room.free, total = room.total,
            cpu_seconds_per_megapixel = cost * 1e6, "the ladder is chosen"
        );
        Ok((rungs, needs))
    })
}

/// Takes what an event needs that has its rungs already. They stay, whatever else there is.
///
/// # Errors
/// When ffmpeg cannot be started or cannot encode H.264.
pub async fn keep(plan: &Plan, fps: (u32, u32), claim: &Claim) -> Result<(), EncodeError> {
    let needs = load(&plan.video, fps) * claim.pixel_cost(plan.preset).await?;
    claim.take(|room| {
        if needs > room.free {
            tracing::warn!(
                needs,
                free = room.free,
                "the event's ladder is more than encoding may use"
            );
        }
        Ok(((), needs))
    })
}

/// Pixels a second that a ladder costs, with what is beside encoding.
fn load(rungs: &[Rung], fps: (u32, u32)) -> f64 {
    let rate = f64::from(fps.0) / f64::from(fps.1);
    let pixels = |rung: &Rung| f64::from(rung.width) * f64::from(rung.height) * rate;
    let share = |rung: &Rung| if rung.half_rate { 0.5 } else { 1.0 };
    let encoded: f64 = rungs.iter().map(|rung| pixels(rung) * share(rung)).sum();
    encoded + OVERHEAD * rungs.iter().map(pixels).fold(0.0, f64::max)
}

/// The rules that hold for a source: of those of one height, the one for the highest rate.
fn rules(source: LadderInput, limits: &LadderLimits) -> Vec<RungRule> {
    let (height, rate) = (source.shape.height.min(limits.max_height), source.nominal_rate());
    let holds = |rule: &&RungRule| rule.height <= height && rule.min_fps <= rate;
    let mut held: Vec<RungRule> = Vec::new();
    for rule in limits.rungs.iter().filter(holds) {
        match held.iter_mut().find(|other| other.height == rule.height) {
            Some(other) if other.min_fps < rule.min_fps => *other = *rule,
            Some(_) => {}
            None => held.push(*rule),
        }
    }
    held
}

/// Takes rungs in the rules' order while their pixels a second stay below `most`; always at least
/// one. The tallest comes first.
fn fit(source: LadderInput, limits: &LadderLimits, most: f64) -> Vec<Rung> {
    let mut taken: Vec<Rung> = Vec::new();
    for rule in rules(source, limits) {
        taken.push(rung(source, rule));
        if taken.len() > 1 && load(&taken, source.fps) > most {
            taken.pop();
        }
    }
    if taken.is_empty() {
        taken.push(smallest(source, limits));
    }
    taken.sort_by_key(|rung| std::cmp::Reverse(rung.height));
    taken
}

/// The least that an event may have: a source below every rung has one of its own height.
fn smallest(source: LadderInput, limits: &LadderLimits) -> Rung {
    if let Some(rule) = rules(source, limits).into_iter().min_by_key(|rule| rule.height) {
        return rung(source, rule);
    }
    let bitrate = limits.rungs.iter().map(|rule| rule.bitrate).min().unwrap_or(300_000);
    let height = source.shape.height.min(limits.max_height).max(2);
    rung(source, RungRule { height, bitrate, min_fps: 0, half_from_fps: HALVED })
}

fn rung(source: LadderInput, rule: RungRule) -> Rung {
    let Shape { width, height: lines } = source.shape;
    let height = rule.height & !1;
    let width = u64::from(width) * u64::from(height) / u64::from(lines.max(1));
    let is_fast = rule.half_from_fps.is_some_and(|from| source.nominal_rate() >= from);
    Rung {
        width: (width as u32 & !1).max(2),
        height,
        bitrate: rule.bitrate,
        half_rate: is_fast && source.can_halve,
    }
}

impl LadderInput {
    /// 29.97 counts as 30.
    fn nominal_rate(&self) -> u32 {
        self.fps.0.div_ceil(self.fps.1.max(1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn heights(source: (u32, u32), most: f64) -> Vec<u32> {
        let limits = LadderLimits::default();
        fit(at(source, (25, 1)), &limits, most).iter().map(|rung| rung.height).collect()
    }

    fn at((width, height): (u32, u32), fps: (u32, u32)) -> LadderInput {
        LadderInput { shape: Shape { width, height }, fps, can_halve: true }
    }

    #[test]
    fn an_event_from_before_preset_and_bits_of_the_sound_were_set_keeps_what_it_had() {
        let older = r#"{"video":[{"width":640,"height":360,"bitrate":700000}],"audio":["en"]}"#;
        let plan: Plan = serde_json::from_str(older).unwrap();
        assert_eq!((plan.audio_bitrate, plan.preset), (96_000, Preset::Superfast));
        let set = Plan { audio_bitrate: 128_000, preset: Preset::Medium, ..plan.clone() };
        let kept = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&kept).unwrap(), set);

        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let args = |plan: &Plan| plan.outputs(&grid, 0, Encoder::X264, |i| i.to_string()).join(" ");
        for (plan, preset, bits) in [
            (&plan, " -preset superfast ", " -b:a 96000 "),
            (&set, " -preset medium ", " -b:a 128000 "),
        ] {
            let args = args(plan);
            assert!(args.contains(preset) && args.contains(bits), "{args}");
        }
    }

    #[test]
    fn rungs_never_exceed_the_source() {
        assert_eq!(heights((640, 360), f64::MAX), [360, 160]);
        assert_eq!(heights((1920, 1080), f64::MAX), [1080, 720, 480, 360, 160]);
        assert_eq!(heights((160, 120), f64::MAX), [120]);
    }

    #[test]
    fn a_slow_machine_gets_few_rungs_and_at_least_one() {
        assert_eq!(heights((1280, 720), 0.0), [360]);
        assert_eq!(heights((1920, 1080), 60e6), [720, 360, 160]);
    }

    #[test]
    fn the_tallest_rung_has_more_bits_at_a_high_rate() {
        let bits = |fps| fit(at((1920, 1080), fps), &LadderLimits::default(), f64::MAX)[0].bitrate;
        assert_eq!(
            (bits((30, 1)), bits((60_000, 1001)), bits((50, 1))),
            (6_000_000, 8_000_000, 8_000_000)
        );
    }

    #[test]
    fn small_pictures_have_half_of_a_high_rate_where_parts_can_be_halved() {
        let halved = |fps, can_halve| {
            let source = LadderInput { can_halve, ..at((1920, 1080), fps) };
            let rungs = fit(source, &LadderLimits::default(), f64::MAX);
            let halved = rungs.iter().filter(|rung| rung.half_rate);
            halved.map(|rung| rung.height).collect::<Vec<_>>()
        };
        assert_eq!(halved((50, 1), true), [480, 360, 160]);
        assert_eq!(halved((60_000, 1001), true), [480, 360, 160]);
        assert!(halved((50, 1), false).is_empty() && halved((30, 1), true).is_empty());
        let whole =
            |half_rate| load(&[Rung { width: 100, height: 10, bitrate: 1, half_rate }], (50, 1));
        // What is beside encoding is paid for all frames.
        assert!((whole(true) / whole(false) - 0.75).abs() < 1e-9);
    }

    #[tokio::test]
    async fn an_event_that_does_not_fit_has_fewer_rungs_or_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("speed");
        // A core makes 100 million pixels a second.
        std::fs::write(Speed::file_of(&file, Preset::default()), "1e-8").unwrap();
        let cores = std::thread::available_parallelism().unwrap().get() as f64;
        let budget = Budget::of_machine(1.0 / cores, Speed::kept_in(file));
        let limits = LadderLimits { budget: budget.clone(), ..LadderLimits::default() };
        let source = at((1920, 1080), (25, 1));
        let choose = async |claim: &Claim| {
            let rungs = choose(source, &limits, claim).await?;
            Ok::<Vec<u32>, EncodeError>(rungs.iter().map(|rung| rung.height).collect())
        };
        let (mut claims, mut chosen) = (Vec::new(), Vec::new());
        let refused = loop {
            let claim = budget.claim();
            match choose(&claim).await {
                Ok(heights) => chosen.push(heights),
                Err(refused) => break refused,
            }
            claims.push(claim);
        };
        assert!(matches!(refused, EncodeError::NoRoom { .. }), "{refused}");
        assert_eq!(chosen.first().unwrap(), &[720, 480, 360, 160]);
        assert_eq!(chosen.last().unwrap(), &[160]);
        assert!(chosen.is_sorted_by_key(|heights| std::cmp::Reverse(heights.len())), "{chosen:?}");
        drop(claims);
        assert_eq!(choose(&budget.claim()).await.unwrap(), chosen[0]);
    }

    #[test]
    fn widths_are_even_and_keep_the_shape() {
        let rung = rung(at((1280, 720), (25, 1)), USUAL_RUNGS[2]);
        assert_eq!((rung.width, rung.height), (284, 160));
    }
}
