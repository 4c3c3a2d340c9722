//! Limits how often a failure that goes on is logged. The first time is logged at once.

use std::time::{Duration, Instant};

/// Pause between two lines about the same.
const TELL: Duration = Duration::from_secs(10);

/// When something was last told.
#[derive(Debug, Default)]
pub(crate) struct Told(Option<Instant>);

impl Told {
    /// Whether to tell it now.
    pub(crate) fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= TELL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
