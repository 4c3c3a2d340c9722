//! How long an answer is used.

use sightscreen_core::{Sharing, Want, forbids_sharing};

/// Longest that a copy which stands in for a failed origin is used without asking again, in
/// milliseconds.
const HOLD_MAX_MS: u32 = 5000;
/// Milliseconds after that in which everyone but the one who tries again has the copy. Longer than
/// any want waits for an origin.
const HOLD_STALE_MS: u32 = 60_000;
/// Longest that an absence is kept, in milliseconds: it may end at any time.
const ABSENT_MAX_MS: u32 = 1000;

/// How long an answer is used, in milliseconds counted from its arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Used without asking.
    pub fresh_ms: u64,
    /// After that, used while one request refreshes it.
    pub stale_ms: u64,
}

/// What an answer of some age is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Use it.
    Fresh,
    /// Use it, and let one request refresh it.
    Stale,
    /// Do not use it.
    Gone,
}

impl Lifetime {
    /// Fresh for so many milliseconds, and then gone.
    #[must_use]
    pub fn fresh(fresh_ms: u32) -> Self {
        Self { fresh_ms: fresh_ms.into(), stale_ms: 0 }
    }

    /// What `want` allows for an answer, or `None` when it may be neither stored nor shared.
    ///
    /// A lifetime of zero is an answer for those who already wait for it, and for nobody else.
    #[must_use]
    pub fn of(want: &Want, status: u16, cache_control: Option<&str>) -> Option<Self> {
        if want.sharing == Sharing::OneViewer || cache_control.is_some_and(forbids_sharing) {
            return None;
        }
        Some(match status {
            200 => Self { fresh_ms: want.fresh_ms.into(), stale_ms: want.stale_ms.into() },
            404 | 410 => Self::fresh(want.missing_ms),
            _ => Self::default(),
        })
    }

    /// Of a document that says that there is none.
    #[must_use]
    pub fn of_absence(want: &Want) -> Self {
        Self::fresh(want.fresh_ms.min(ABSENT_MAX_MS))
    }

    /// Of a copy that stands in for a failed origin: for a moment without asking, and after it
    /// while one request tries again, so that an outage costs one viewer the wait and not each.
    #[must_use]
    pub fn of_copy(want: &Want) -> Self {
        Self {
            fresh_ms: want.fresh_ms.clamp(1, HOLD_MAX_MS).into(),
            stale_ms: HOLD_STALE_MS.into(),
        }
    }

    /// Of a response that stands in for those that cannot be made, and may itself be used for
    /// `left_ms`: for `hold_ms` without trying, and after it while one exchange tries again.
    #[must_use]
    pub fn of_stand_in(hold_ms: u32, left_ms: u64) -> Self {
        let fresh_ms = left_ms.min(hold_ms.into());
        Self { fresh_ms, stale_ms: left_ms - fresh_ms }
    }

    /// What the answer is good for at `age_ms`; `None` is an age of less than nothing, which a
    /// clock that stepped back makes.
    #[must_use]
    pub fn at(&self, age_ms: Option<u64>) -> Use {
        match age_ms.map(|age_ms| age_ms.checked_sub(self.fresh_ms)) {
            Some(None) => Use::Fresh,
            Some(Some(over)) if over < self.stale_ms => Use::Stale,
            Some(Some(_)) | None => Use::Gone,
        }
    }

    /// Milliseconds after which the answer is good for nothing.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.fresh_ms.saturating_add(self.stale_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::want;

    #[test]
    fn lifetimes_follow_the_want_and_not_the_origin() {
        let lifetime = Lifetime::of(&want(), 200, Some("max-age=9999")).unwrap_or_default();
        assert_eq!(lifetime, Lifetime { fresh_ms: 100, stale_ms: 50 });
        let at = |age_ms| lifetime.at(Some(age_ms));
        assert_eq!((at(99), at(100), at(150)), (Use::Fresh, Use::Stale, Use::Gone));
        assert_eq!(lifetime.at(None), Use::Gone);
        assert_eq!(Lifetime::of(&want(), 404, None), Some(Lifetime::fresh(30)));
        assert_eq!(Lifetime::of(&want(), 502, None), Some(Lifetime::default()));
    }

    #[test]
    fn nothing_of_one_viewer_is_shared() {
        let personal = Want { sharing: Sharing::OneViewer, ..want() };
        assert_eq!(Lifetime::of(&personal, 200, None), None);
        assert_eq!(Lifetime::of(&want(), 200, Some("max-age=1, Private")), None);
        assert_eq!(Lifetime::of(&want(), 200, Some("no-store")), None);
        assert!(Lifetime::of(&want(), 200, Some("no-store-not")).is_some());
    }
}
