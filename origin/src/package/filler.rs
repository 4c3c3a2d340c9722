//! Slate and silence: what is published where a track has nothing of its own.
//!
//! A filler is coded once, as its track is, so that both have one init segment and neither side of
//! a cut needs a discontinuity. Each of its video parts begins with an IDR picture: it can stand at
//! any part and end at any.

use bytes::Bytes;

use crate::grid::{Grid, Kind};

/// Parts that a picture repeats. Two, because two IDR pictures in a row must differ in their
/// `idr_pic_id` (ITU-T H.264, 7.4.3), and a part may be a single picture.
const TURN: u64 = 2;

/// One track's filler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filler {
    init: Bytes,
    /// The sample at `index` of the grid is the one at `index` modulo their number.
    samples: Vec<Bytes>,
}

/// What was coded is no filler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the coded slate has {found}, expected {expected}")]
pub struct NoFiller {
    found: String,
    expected: &'static str,
}

impl Filler {
    /// A filler of the end of what was coded from a part boundary on: an encoder's first pictures
    /// are larger than its bit rate allows in the long run.
    ///
    /// # Errors
    /// When there are too few samples, or a part does not begin with a picture of its own.
    pub fn new(
        grid: &Grid,
        kind: Kind,
        init: Bytes,
        coded: &[(bool, Bytes)],
    ) -> Result<Self, NoFiller> {
        let part = usize::try_from(grid.part_samples(kind)).unwrap_or(usize::MAX);
        let turn = match kind {
            Kind::Video | Kind::HalfVideo => part.saturating_mul(TURN as usize),
            Kind::Audio => 1,
        };
        let whole = coded.len() - coded.len() % part.max(1);
        let Some(last) = whole.checked_sub(turn).and_then(|from| coded.get(from..whole)) else {
            let found = format!("{} samples", coded.len());
            return Err(NoFiller { found, expected: "two parts or more" });
        };
        let begins = |at: usize| at.is_multiple_of(part) || kind == Kind::Audio;
        if let Some(at) =
            (0..last.len()).find(|at| last.get(*at).is_none_or(|s| s.0 != begins(*at)))
        {
            let found = format!("a key picture too many or too few at {at}");
            return Err(NoFiller { found, expected: "one at the start of each part" });
        }
        Ok(Self { init, samples: last.iter().map(|(_, data)| data.clone()).collect() })
    }

    /// The init segment with which it is decoded.
    #[must_use]
    pub fn init(&self) -> &Bytes {
        &self.init
    }

    /// The samples of the part that begins at sample `first` of the grid.
    #[must_use]
    pub fn part(&self, kind: Kind, first: u64, count: u64) -> Vec<(bool, Bytes)> {
        let turn = self.samples.len() as u64;
        let sample = |index: u64| {
            let at = usize::try_from(index % turn.max(1)).unwrap_or_default();
            let sync = kind == Kind::Audio || index == first;
            (sync, self.samples.get(at).cloned().unwrap_or_default())
        };
        (first..first.saturating_add(count)).map(sample).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn coded(count: u8, key: impl Fn(u8) -> bool) -> Vec<(bool, Bytes)> {
        (0..count).map(|at| (key(at), Bytes::from(vec![at]))).collect()
    }

    #[test]
    fn each_part_begins_with_a_key_picture_and_two_in_a_row_differ() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let pictures = coded(23, |at| at % 5 == 0);
        let filler = Filler::new(&grid, Kind::Video, Bytes::new(), &pictures).unwrap();
        let part = |first| {
            let part = filler.part(Kind::Video, first, 5);
            assert_eq!(
                part.iter().map(|s| s.0).collect::<Vec<_>>(),
                [true, false, false, false, false]
            );
            part.iter().map(|(_, data)| data[0]).collect::<Vec<_>>()
        };
        assert_eq!(part(50), [10, 11, 12, 13, 14]);
        assert_eq!(part(55), [15, 16, 17, 18, 19]);
        assert_eq!(part(60), part(50));
    }

    #[test]
    fn what_cannot_begin_at_every_part_is_refused() {
        let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
        let new = |kind, coded: &[_]| Filler::new(&grid, kind, Bytes::new(), coded);
        assert!(new(Kind::Video, &coded(20, |at| at == 0)).is_err());
        assert!(new(Kind::Video, &coded(20, |_| true)).is_err());
        assert!(new(Kind::Video, &coded(9, |at| at % 5 == 0)).is_err());
        assert!(new(Kind::Audio, &[]).is_err());
        let silence = new(Kind::Audio, &coded(9, |_| true)).unwrap();
        assert_eq!(silence.part(Kind::Audio, 7, 2).len(), 2);
    }
}
