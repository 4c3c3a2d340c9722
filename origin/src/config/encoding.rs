//! Settings of how pictures are made.

use super::reader::Reader;
use crate::encode::graph::Deinterlace;
use crate::encode::rate;

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
