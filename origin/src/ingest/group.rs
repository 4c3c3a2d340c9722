//! What a publisher sent since its last key picture: an encoder can be started with it, and the
//! picture that stands can be shown again.

use super::piece::Piece;
use crate::weighed::Bounds;

/// Most that is kept: 20 s of 60 pictures a second and their sound, at 12 Mbit/s.
pub(super) const HELD: Bounds = Bounds { items: 4096, bytes: 32 << 20 };

/// Most pictures that are decoded again for the last of them, which costs a part of a core.
const AGAIN_MAX: usize = 300;

/// Pieces from a key picture on, or the last one of sound alone. Where one is missing a decoder can
/// start again with the next key picture only, so past [`HELD`] there are none.
#[derive(Debug, Default)]
pub(super) struct Group {
    pieces: Vec<Piece>,
    bytes: usize,
    is_torn: bool,
}

impl Group {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether no key picture has come.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && !self.is_torn
    }

    /// Its first piece, if nothing after it is missing.
    pub(super) fn first(&self) -> Option<&Piece> {
        self.pieces.first()
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.bytes += piece.data.len();
        let fits = self.pieces.len() < HELD.items && self.bytes <= HELD.bytes as usize;
        if self.is_torn || !fits {
            *self = Self { is_torn: true, ..Self::default() };
            return;
        }
        self.pieces.push(piece);
    }

    pub(super) fn drop_sound(&mut self) {
        self.pieces.retain(Piece::is_picture);
    }

    /// Its pictures once more, a millisecond apart, the last of them at `time`. A decoder that has
    /// them all is where it was, and of pictures so close the last is shown. None where they are
    /// too many.
    pub(super) fn again(&self, time: u32) -> Vec<Piece> {
        let pictures: Vec<&Piece> = self.pieces.iter().filter(|piece| piece.is_picture()).collect();
        if pictures.len() > AGAIN_MAX {
            return Vec::new();
        }
        let at = |before: usize| time.wrapping_sub(u32::try_from(before).unwrap_or_default());
        let before = (0..pictures.len()).rev();
        let again = pictures.into_iter().zip(before);
        again.map(|(piece, before)| Piece { time: at(before), ..piece.clone() }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::piece::Track;

    fn piece(video: bool, bytes: usize) -> Piece {
        let track = if video { Track::Picture } else { Track::Sound(0) };
        let data = vec![0; bytes].into();
        Piece { track, time: 7, shown_after: 0, is_key: false, data }
    }

    #[test]
    fn a_group_is_whole_or_nothing_within_its_bounds() {
        for (bytes, fit) in [(1 << 20, 32), (1, HELD.items)] {
            let mut group = Group::default();
            assert!(group.is_empty());
            (0..fit).for_each(|_| group.push(piece(true, bytes)));
            assert_eq!((group.pieces.len(), group.first()), (fit, Some(&piece(true, bytes))));
            group.push(piece(true, bytes));
            assert!(group.first().is_none() && !group.is_empty() && group.pieces.is_empty());
            group.push(piece(true, 1));
            assert!(group.first().is_none());
            group.clear();
            group.push(piece(true, 1));
            group.push(piece(false, 1));
            group.drop_sound();
            assert_eq!(group.pieces, [piece(true, 1)]);
        }
    }

    #[test]
    fn its_pictures_come_again_in_order_and_its_sound_does_not() {
        let mut group = Group::default();
        assert!(group.again(9).is_empty());
        for video in [true, false, true, true] {
            group.push(piece(video, 1));
        }
        let times = |time| group.again(time).iter().map(|piece| piece.time).collect::<Vec<_>>();
        assert_eq!(times(5000), [4998, 4999, 5000]);
        assert_eq!(times(1), [u32::MAX, 0, 1]);
        (0..AGAIN_MAX).for_each(|_| group.push(piece(true, 1)));
        assert!(group.again(9000).is_empty());
    }
}
