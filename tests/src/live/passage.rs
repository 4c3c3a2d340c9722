//! Whether a rendition was followed through a break: content, creative, content.
//!
//! What the first playlist lists does not count, and neither do gaps.

use super::multivariant::Rendition;
use super::playlist::{Media, Segment};

/// How far a rendition has been followed.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// The first segment that has not been looked at; none before the first playlist.
    next: Option<u64>,
    stage: Stage,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stage {
    #[default]
    Joined,
    Content,
    Break,
    Back,
}

impl Passage {
    pub(super) fn saw(&mut self, rendition: &Rendition, media: &Media) {
        let end = media.all().last().map(|segment| segment.sequence + 1);
        let next = self.next.max(end).or(Some(media.next()));
        if let Some(from) = std::mem::replace(&mut self.next, next) {
            for segment in media.all().filter(|segment| segment.sequence >= from) {
                self.pass(rendition, segment);
            }
        }
    }

    fn pass(&mut self, rendition: &Rendition, segment: &Segment) {
        let Some(init) = segment.map.as_ref().filter(|_| segment.gap.is_none()) else {
            return;
        };
        self.stage = match (self.stage, rendition.is_content(init)) {
            (Stage::Joined, true) => Stage::Content,
            (Stage::Content, false) => Stage::Break,
            (Stage::Break, true) => Stage::Back,
            (stage, _) => stage,
        };
    }

    /// What did not come; none after a whole break.
    pub(super) fn missing(&self) -> Option<&'static str> {
        match self.stage {
            Stage::Joined => Some("no content came"),
            Stage::Content => Some("no break began"),
            Stage::Break => Some("no content came after the break"),
            Stage::Back => None,
        }
    }
}
