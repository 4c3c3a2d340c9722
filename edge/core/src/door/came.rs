//! What came of asking the origin for a want: its answer, a copy that stands in for it, or nothing.
//!
//! Owns which of the three it is, who may share it and how long it is used. Invariant: a failure
//! that a copy stands in for is seen by nobody.

use super::{Lifetime, genuine, held, is_failure};
use crate::{Failure, Got, Object, Want};

/// A whole answer of the origin, with what decides whether it may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer.
    pub object: Object,
    /// Its `cache-control`, where it has one.
    pub cache_control: Option<String>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// The origin answered, whatever the status.
    Answer(Answer),
    /// Asking failed, and this copy of an earlier answer stands in.
    Copy(Object),
    /// Asking failed.
    Failed(Failure),
}

impl Came {
    /// What came, by what the origin said; a document must be signed by a key of `keyring`.
    #[must_use]
    pub fn of(want: &Want, result: Result<Answer, Failure>, keyring: &[u8]) -> Self {
        let checked = result.and_then(|answer| {
            let Object { status, body, .. } = &answer.object;
            genuine(&want.source, *status, body, keyring)?;
            Ok(answer)
        });
        checked.map_or_else(Self::Failed, Self::Answer)
    }

    /// Whether a copy of an earlier answer is called for.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Answer(answer) => is_failure(Some(answer.object.status)),
            Self::Copy(_) => false,
            Self::Failed(_) => true,
        }
    }

    /// This, or the copy where there is one.
    #[must_use]
    pub fn or_copy(self, copy: Option<Object>) -> Self {
        copy.map_or(self, Self::Copy)
    }

    /// The whole of it, or why there is none.
    ///
    /// # Errors
    /// The failure, where neither the origin nor a copy answered.
    pub fn object(&self) -> Result<&Object, Failure> {
        match self {
            Self::Answer(Answer { object, .. }) | Self::Copy(object) => Ok(object),
            Self::Failed(failure) => Err(*failure),
        }
    }

    /// What those who wait for the same want get; `None` when it is for the one that asked alone.
    #[must_use]
    pub fn shared(&self, want: &Want) -> Option<Result<Object, Failure>> {
        self.lifetime(want).map(|_| self.object().cloned())
    }

    /// What the core is told.
    #[must_use]
    pub fn into_got(self) -> Got {
        match self {
            Self::Answer(Answer { object, .. }) | Self::Copy(object) => Got::Object(object),
            Self::Failed(failure) => Got::Failed(failure),
        }
    }

    /// How long it is used, or `None` when it may be neither stored nor shared.
    #[must_use]
    pub fn lifetime(&self, want: &Want) -> Option<Lifetime> {
        match self {
            Self::Answer(Answer { object, cache_control }) => {
                Lifetime::of(want, object.status, cache_control.as_deref())
            }
            Self::Copy(_) => Some(held(want)),
            Self::Failed(_) => Some(Lifetime::default()),
        }
    }

    /// Whether it is news: an answer of status 200, of which a copy for later outages may be made.
    #[must_use]
    pub fn is_news(&self) -> bool {
        matches!(self, Self::Answer(answer) if answer.object.status == 200)
    }
}
