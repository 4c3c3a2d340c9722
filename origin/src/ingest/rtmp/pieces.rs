//! From a publisher's tags to pieces.

use sightscreen_wire::flv::{Tag, Unit};

use crate::ingest::piece::{Container, Piece, Setup, Track};
use crate::ingest::publishers::Said;

/// Ticks are for other containers: a tag's data say when it is shown.
const SHOWN_AFTER: i64 = 0;

/// What a publisher's decoders are set up by so far.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    picture: Option<Tag>,
    sound: Option<Tag>,
}

impl Pieces {
    /// What a tag says: a setup that is new, and a piece. Neither for what is not decoded.
    pub(super) fn take(&mut self, tag: Tag) -> [Option<Said>; 2] {
        let track = if tag.video { Track::Picture } else { Track::Sound(0) };
        let (setup, is_key) = match tag.unit() {
            Unit::Aside | Unit::Foreign(_) => return [None, None],
            Unit::Config => return [self.configure(&tag), None],
            // It says by itself how it is coded.
            Unit::Sound { is_plain: true } => (self.configure(&tag), false),
            Unit::Sound { is_plain: false } => (None, false),
            Unit::Picture { is_key, .. } => (None, is_key),
        };
        let Tag { time, data, .. } = tag;
        let piece = Piece { track, time, shown_after: SHOWN_AFTER, is_key, data };
        [setup, Some(Said::Piece(piece))]
    }

    fn configure(&mut self, tag: &Tag) -> Option<Said> {
        let slot = if tag.video { &mut self.picture } else { &mut self.sound };
        if slot.as_ref().is_some_and(|old| tag.is_set_up_like(old)) {
            return None;
        }
        *slot = Some(tag.clone());
        let data = |slot: &Option<Tag>| slot.as_ref().map(|tag| tag.data.clone());
        Some(Said::Setup(Setup {
            container: Container::Flv,
            picture: data(&self.picture),
            sounds: data(&self.sound).into_iter().collect(),
        }))
    }
}
