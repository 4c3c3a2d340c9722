//! Tells once that the database is gone, and once that it is back.

use tokio::time::Instant;

use super::DatabaseError;
use crate::told::Told;

/// Whether the database answers.
#[derive(Debug, Default)]
pub(super) struct Outage {
    since: Option<Instant>,
    refused: Told,
}

impl Outage {
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// What came of asking it.
    pub(super) fn tell(&mut self, outcome: Result<(), DatabaseError>) {
        match outcome {
            Ok(()) => {
                let Some(since) = self.since.take() else { return };
                tracing::info!(
                    event = "database-back",
                    gone_s = since.elapsed().as_secs(),
                    "the database answers again: what happened meanwhile is kept now"
                );
            }
            Err(error @ DatabaseError::Gone(_)) => {
                if self.since.is_none() {
                    self.since = Some(Instant::now());
                    tracing::error!(
                        event = "database-gone", %error, "what is on the air goes on; the API waits"
                    );
                }
            }
            Err(error) if self.refused.due() => {
                tracing::error!(event = "database-refused", %error, "the API waits");
            }
            Err(_) => {}
        }
    }
}
