//! A publisher in a seat, from whatever protocol it came.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::publishers::{Said, Seat, Step};

/// The event takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event ended")]
pub(crate) struct NoEvent;

/// A publisher, in the seat for which its key is good.
pub(crate) struct Admitted {
    seat: Seat,
    number: u64,
    newest: watch::Receiver<u64>,
}

impl Admitted {
    /// Takes the seat from whoever has it. An error says how long it is refused.
    pub(crate) async fn to(seat: Seat, from: IpAddr, pause: Duration) -> Result<Self, Duration> {
        let number = seat.contest().enter(from, Instant::now(), pause)?;
        seat.newest.send_modify(|newest| *newest = number.max(*newest));
        let newest = seat.newest.subscribe();
        // An error says that the event takes no publisher any more; what it says will say so too.
        let _ = seat.tell(Step::Begin(number)).await;
        Ok(Self { seat, number, newest })
    }

    /// Identifier of its event, for the log.
    pub(crate) fn event(&self) -> &str {
        &self.seat.event
    }

    /// It sent picture or sound.
    pub(crate) fn heard(&self) {
        self.seat.contest().heard(self.number, Instant::now());
    }

    /// Hands over what it said.
    ///
    /// # Errors
    /// [`NoEvent`].
    pub(crate) async fn say(&self, said: Said) -> Result<(), NoEvent> {
        let sent = self.seat.tell(Step::Said(self.number, said)).await;
        sent.map_err(|_| NoEvent)
    }

    /// Returns when a newer publisher has the seat.
    pub(crate) async fn replaced(&mut self) {
        let number = self.number;
        // An error says that the seat is gone, which what it says next finds out.
        if self.newest.wait_for(|newest| number < *newest).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    pub(crate) async fn leave(self) {
        self.seat.contest().left(self.number);
        let _ = self.seat.tell(Step::End(self.number)).await;
    }
}
