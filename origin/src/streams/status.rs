//! Where a stream is in its life.

use serde::Serialize;

use crate::event::{RunningEvent, State};

/// Where a stream is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody can enter yet.
    Ready,
    /// Picture and sound come in.
    Live,
    /// They came, and do not come now.
    Interrupted,
    /// Nothing comes any more.
    Ended,
}

impl Status {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Ready, Self::Live, Self::Interrupted, Self::Ended];

    /// Where a running event is.
    #[must_use]
    pub fn of(event: &RunningEvent) -> Self {
        match event.state() {
            State::Ready => Self::Ready,
            State::Ended => Self::Ended,
            State::Live => Self::Live,
            State::Interrupted => Self::Interrupted,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Live => "live",
            Self::Interrupted => "interrupted",
            Self::Ended => "ended",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}
