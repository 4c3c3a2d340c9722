//! Settings of how pictures are made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Value;

use super::reader::Reader;
use crate::encode::encoder::{Encoder, Preset};
use crate::encode::graph::Deinterlace;
use crate::encode::ladder::{RungRule, USUAL_RUNGS};
use crate::encode::rate;

/// Most rungs that a ladder may be made of.
const RUNGS_MAX: usize = 16;

const RUNGS: &str = "write [[rungs]] and below it height = 720, bitrate = 3000000 and, if it is for \
                     high rates alone, min_fps = 50, or to have half the frames of them, \
                     half_from_fps = 50";

/// One `[[rungs]]`.
#[derive(Deserialize)]
struct RungRow {
    height: Option<Value>,
    bitrate: Option<Value>,
    min_fps: Option<Value>,
    half_from_fps: Option<Value>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// The rungs that there may be, in the order in which they are taken; without tables, the usual.
pub(super) fn rungs(reader: &mut Reader) -> Vec<RungRule> {
    let rows: Vec<RungRow> = reader.tables("rungs", |s| &s.rungs, RUNGS);
    if rows.is_empty() {
        return USUAL_RUNGS.to_vec();
    }
    let place = reader.place("rungs", |s| &s.rungs);
    if rows.len() > RUNGS_MAX {
        reader.fault(place.clone(), "are too many", &format!("leave at most {RUNGS_MAX}"));
    }
    let (mut rules, mut known) = (Vec::new(), BTreeSet::new());
    for (at, row) in rows.iter().enumerate().take(RUNGS_MAX) {
        let mut fault = |what: &str, remedy: &str| {
            reader.fault(place.clone(), &format!("table {}: {what}", at + 1), remedy);
        };
        for name in row.unknown.keys() {
            fault(&format!("there is no field {name:?}"), RUNGS);
        }
        let height = number(row.height.as_ref(), 2, 4320).filter(|lines| lines % 2 == 0);
        if height.is_none() {
            fault("height is missing or no number of lines", "write an even number from 2 to 4320");
        }
        let bitrate = number(row.bitrate.as_ref(), 50_000, 100_000_000);
        if bitrate.is_none() {
            let remedy = "write bits a second, from 50000 to 100000000";
            fault("bitrate is missing or out of range", remedy);
        }
        let min_fps = match &row.min_fps {
            None => Some(0),
            given => number(given.as_ref(), 0, 120),
        };
        if min_fps.is_none() {
            fault("min_fps is no rate", "write a whole number from 0 to 120");
        }
        let half_from_fps = number(row.half_from_fps.as_ref(), 2, 120);
        if row.half_from_fps.is_some() && half_from_fps.is_none() {
            fault("half_from_fps is no rate", "write a whole number from 2 to 120");
        }
        let Some(((height, bitrate), min_fps)) = height.zip(bitrate).zip(min_fps) else { continue };
        if !known.insert((height, min_fps)) {
            fault("height and min_fps are those of an earlier table", "remove one of the two");
        }
        rules.push(RungRule { height, bitrate, min_fps, half_from_fps });
    }
    rules
}

fn number(value: Option<&Value>, least: u32, most: u32) -> Option<u32> {
    let number = u32::try_from(value?.as_integer()?).ok()?;
    (least..=most).contains(&number).then_some(number)
}

/// `None` is what works.
pub(super) fn encoder(reader: &mut Reader) -> Option<Encoder> {
    let text = reader.text(|s| &s.encoder);
    let encoder = Encoder::of_name(&text);
    if encoder.is_none() && text != "auto" {
        let place = reader.place("encoder", |s| &s.encoder);
        let remedy = "write auto, nvenc, qsv, vaapi or x264";
        reader.fault(place, &format!("{text:?} is no encoder"), remedy);
    }
    encoder
}

pub(super) fn preset(reader: &mut Reader) -> Preset {
    let text = reader.text(|s| &s.x264_preset);
    let preset = Preset::ALL.into_iter().find(|preset| preset.name() == text);
    preset.unwrap_or_else(|| {
        let place = reader.place("x264-preset", |s| &s.x264_preset);
        let remedy = "write ultrafast, superfast, veryfast, faster, fast or medium";
        reader.fault(place, &format!("{text:?} is none of the presets"), remedy);
        Preset::default()
    })
}

/// Below, stereo sounds broken; above, it gains nothing.
pub(super) fn audio_bitrate(reader: &mut Reader) -> u32 {
    reader.number("audio-bitrate", |s| &s.audio_bitrate, 32_000..=320_000)
}

/// `None` is the source's own.
pub(super) fn frame_rate(reader: &mut Reader) -> Option<(u32, u32)> {
    let text = reader.text(|s| &s.frame_rate);
    if text == "source" {
        return None;
    }
    let rate = rate::parse(&text);
    if rate.is_none() {
        let place = reader.place("frame-rate", |s| &s.frame_rate);
        let remedy = "write source, 23.976, 24, 25, 29.97, 30, 50, 59.94 or 60";
        reader.fault(place, &format!("{text:?} is no rate in use"), remedy);
    }
    rate
}

pub(super) fn deinterlace(reader: &mut Reader) -> Deinterlace {
    match reader.text(|s| &s.deinterlace).as_str() {
        "frame" => Deinterlace::Frame,
        "field" => Deinterlace::Field,
        other => {
            let place = reader.place("deinterlace", |s| &s.deinterlace);
            reader.fault(place, &format!("{other:?} is neither"), "write frame or field");
            Deinterlace::Frame
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn rate_and_fields_are_set() {
        let set = read("frame-rate = 59.94\ndeinterlace = \"field\"", &[]).unwrap();
        assert_eq!((set.frame_rate, set.deinterlace), (Some((60_000, 1001)), Deinterlace::Field));
        let usual = read("", &[]).unwrap();
        assert_eq!((usual.frame_rate, usual.deinterlace), (None, Deinterlace::Frame));
        let faults =
            read("encoder = \"gpu\"\nframe-rate = 31\ndeinterlace = \"both\"", &[]).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn preset_and_bits_of_the_sound_are_an_events_own() {
        let toml = "x264-preset = \"medium\"\naudio-bitrate = 320000\n\
            [[events]]\nevent = \"a\"\n\
            [[events]]\nevent = \"b\"\nx264-preset = \"fast\"\naudio-bitrate = 32000\n";
        let limits = |toml: &str| -> Vec<(Preset, u32)> {
            let all = super::super::tests::read_all(toml, &[]).unwrap();
            let limits = all.iter().map(|config| config.event_settings().live.ladder);
            limits.map(|ladder| (ladder.preset, ladder.audio_bitrate)).collect()
        };
        assert_eq!(limits(toml), [(Preset::Medium, 320_000), (Preset::Fast, 32_000)]);
        assert_eq!(limits(""), [(Preset::Superfast, 96_000)]);
        let wrong = "x264-preset = \"slow\"\naudio-bitrate = 320001";
        let said: Vec<String> =
            read(wrong, &[]).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 2, "{said:#?}");
        assert!(said.iter().any(|fault| fault.contains("write ultrafast, superfast")), "{said:#?}");
        assert!(said.iter().any(|fault| fault.contains("from 32000 to 320000")), "{said:#?}");
    }

    #[test]
    fn a_ladder_of_ones_own() {
        let toml = "[[rungs]]\nheight = 240\nbitrate = 400000\n\
            [[rungs]]\nheight = 240\nbitrate = 600000\nmin_fps = 50\nhalf_from_fps = 60\n";
        let rungs = read(toml, &[]).unwrap().rungs;
        let own = RungRule { height: 240, bitrate: 600_000, min_fps: 50, half_from_fps: Some(60) };
        assert_eq!(rungs[1], own);
        assert_eq!(read("", &[]).unwrap().rungs, USUAL_RUNGS);
        let toml = "[[rungs]]\nheight = 241\nbitrate = 1\nmin_fps = -1\nhalf_from_fps = 0\n\
            colour = 1\n[[rungs]]\nheight = 2\nbitrate = 50000\n[[rungs]]\nheight = 2\nbitrate = 60000\n";
        let faults = read(toml, &[]).unwrap_err();
        assert_eq!(faults.len(), 6, "{faults:#?}");
    }
}
