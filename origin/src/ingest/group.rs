//! What a publisher sent since its last key picture: an encoder can be started with it, and the
//! picture that stands can be shown again.

use crate::weighed::Bounds;
use sightscreen_wire::flv::Tag;

/// Most that is kept: 20 s of 60 pictures a second and their sound, at 12 Mbit/s.
pub(super) const HELD: Bounds = Bounds { items: 4096, bytes: 32 << 20 };

/// Most pictures that are decoded again for the last of them, which costs a part of a core.
const AGAIN_MAX: usize = 300;

/// Tags from a key picture on. Where one is missing a decoder can start again with the next key
/// picture only, so past [`HELD`] there are none.
#[derive(Debug, Default)]
pub(super) struct Group {
    tags: Vec<Tag>,
    bytes: usize,
    is_torn: bool,
}

impl Group {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether no key picture has come.
    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && !self.is_torn
    }

    /// The key picture, if nothing after it is missing.
    pub(super) fn key(&self) -> Option<&Tag> {
        self.tags.first()
    }

    pub(super) fn tags(&self) -> &[Tag] {
        &self.tags
    }

    pub(super) fn push(&mut self, tag: Tag) {
        self.bytes += tag.data.len();
        let fits = self.tags.len() < HELD.items && self.bytes <= HELD.bytes as usize;
        if self.is_torn || !fits {
            *self = Self { is_torn: true, ..Self::default() };
            return;
        }
        self.tags.push(tag);
    }

    pub(super) fn drop_sound(&mut self) {
        self.tags.retain(|tag| tag.video);
    }

    /// Its pictures once more, a millisecond apart, the last of them at `time`. A decoder that has
    /// them all is where it was, and of pictures so close the last is shown. None where they are
    /// too many.
    pub(super) fn again(&self, time: u32) -> Vec<Tag> {
        let pictures: Vec<&Tag> = self.tags.iter().filter(|tag| tag.video).collect();
        if pictures.len() > AGAIN_MAX {
            return Vec::new();
        }
        let at = |before: usize| time.wrapping_sub(u32::try_from(before).unwrap_or_default());
        let before = (0..pictures.len()).rev();
        let again = pictures.into_iter().zip(before);
        again.map(|(tag, before)| Tag { time: at(before), ..tag.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(video: bool, bytes: usize) -> Tag {
        Tag { video, time: 7, data: vec![0; bytes].into() }
    }

    #[test]
    fn a_group_is_whole_or_nothing_within_its_bounds() {
        for (bytes, fit) in [(1 << 20, 32), (1, HELD.items)] {
            let mut group = Group::default();
            assert!(group.is_empty());
            (0..fit).for_each(|_| group.push(tag(true, bytes)));
            assert_eq!((group.tags.len(), group.key()), (fit, Some(&tag(true, bytes))));
            group.push(tag(true, bytes));
            assert!(group.key().is_none() && !group.is_empty() && group.tags.is_empty());
            group.push(tag(true, 1));
            assert!(group.key().is_none());
            group.clear();
            group.push(tag(true, 1));
            group.push(tag(false, 1));
            group.drop_sound();
            assert_eq!(group.tags, [tag(true, 1)]);
        }
    }

    #[test]
    fn its_pictures_come_again_in_order_and_its_sound_does_not() {
        let mut group = Group::default();
        assert!(group.again(9).is_empty());
        for video in [true, false, true, true] {
            group.push(tag(video, 1));
        }
        let times = |time| group.again(time).iter().map(|tag| tag.time).collect::<Vec<_>>();
        assert_eq!(times(5000), [4998, 4999, 5000]);
        assert_eq!(times(1), [u32::MAX, 0, 1]);
        (0..AGAIN_MAX).for_each(|_| group.push(tag(true, 1)));
        assert!(group.again(9000).is_empty());
    }
}
