//! The multivariant playlist, written from the event document for one viewer.
//!
//! All URIs are relative and carry the pass, so that a player keeps it through every request.

use std::fmt::Write;

use crate::document::{Event, Plan, Rendition, RenditionKind};

/// For whom.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// What is paid for.
    pub plan: &'a Plan,
    /// Whether to start small.
    pub mobile: bool,
    /// Preferred language, where one of the event's is.
    pub language: Option<&'a str>,
}

/// Lines of the rendition to start with, on a phone and elsewhere: the picture comes fast, and
/// players move on from there.
const START_HEIGHT_MOBILE: u32 = 480;
const START_HEIGHT: u32 = 720;

/// The playlist; `folder` is the relative path to the folder of renditions, ending with `/` or
/// empty.
#[must_use]
pub fn multivariant(event: &Event, viewer: Viewer<'_>, folder: &str) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let audio = audio_in_order(event, viewer.language);
    for (index, rendition) in audio.iter().enumerate() {
        write_audio(&mut text, rendition, index == 0, folder);
    }
    for rendition in video_in_order(event, viewer) {
        write_video(&mut text, rendition, &audio, folder);
    }
    text
}

/// Whether the plan includes the rendition.
#[must_use]
pub fn includes(plan: &Plan, rendition: &Rendition) -> bool {
    rendition.height.is_none_or(|height| height <= plan.max_height)
}

/// The viewer's language first, else the event's default; then the origin's order.
fn audio_in_order<'a>(event: &'a Event, language: Option<&str>) -> Vec<&'a Rendition> {
    let mut audio: Vec<&Rendition> =
        event.renditions.iter().filter(|r| r.kind == RenditionKind::Audio).collect();
    let preferred = |r: &&Rendition| language.is_some() && r.language.as_deref() == language;
    let first = audio.iter().position(preferred).or_else(|| audio.iter().position(|r| r.default));
    if let Some(first) = first {
        audio[..=first].rotate_right(1);
    }
    audio
}

/// The rendition to start with first, then from the best down. A plan below every rendition still
/// gets the smallest.
fn video_in_order<'a>(event: &'a Event, viewer: Viewer<'_>) -> Vec<&'a Rendition> {
    let all = || event.renditions.iter().filter(|r| r.kind == RenditionKind::Video);
    let mut video: Vec<&Rendition> = all().filter(|r| includes(viewer.plan, r)).collect();
    if video.is_empty() {
        video.extend(all().min_by_key(|r| r.bandwidth));
    }
    video.sort_by_key(|r| std::cmp::Reverse(r.bandwidth));
    let start = if viewer.mobile { START_HEIGHT_MOBILE } else { START_HEIGHT };
    if let Some(first) = video.iter().position(|r| r.height.is_some_and(|height| height <= start)) {
        video[..=first].rotate_right(1);
    }
    video
}

fn write_audio(text: &mut String, rendition: &Rendition, first: bool, folder: &str) {
    let language = rendition.language.as_deref().unwrap_or("und");
    let name = rendition.name.as_deref().unwrap_or(&rendition.id);
    let default = if first { "YES" } else { "NO" };
    let channels = rendition.channels.unwrap_or(2);
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"{name}\",LANGUAGE=\"{language}\",DEFAULT={default},AUTOSELECT=YES,CHANNELS=\"{channels}\",URI=\"{folder}{}/index.m3u8\"",
        rendition.id
    );
}

fn write_video(text: &mut String, rendition: &Rendition, audio: &[&Rendition], folder: &str) {
    // RFC 8216bis 4.4.6.2: the bandwidth is that of the variant with the audio rendition that makes
    // it largest.
    let peak = audio.iter().map(|r| r.bandwidth).max().unwrap_or(0);
    let mean = audio.iter().map(|r| r.average_bandwidth).max().unwrap_or(0);
    let _ = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={}",
        rendition.bandwidth.saturating_add(peak),
        rendition.average_bandwidth.saturating_add(mean)
    );
    let _ = write!(text, ",CODECS=\"{}", rendition.codecs);
    let mut codecs: Vec<&str> = audio.iter().map(|r| r.codecs.as_str()).collect();
    codecs.dedup();
    for codec in codecs {
        let _ = write!(text, ",{codec}");
    }
    text.push('"');
    if let (Some(width), Some(height)) = (rendition.width, rendition.height) {
        let _ = write!(text, ",RESOLUTION={width}x{height}");
    }
    if let Some(rate) = rendition.frame_rate {
        let _ = write!(text, ",FRAME-RATE={rate:.3}");
    }
    if !audio.is_empty() {
        text.push_str(",AUDIO=\"audio\"");
    }
    let _ = writeln!(text, "\n{folder}{}/index.m3u8", rendition.id);
}
