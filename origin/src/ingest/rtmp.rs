//! RTMP: the port at which publishers come in.
//!
//! The newest publisher with the right key is the one that counts, and one that goes away never
//! ends the event. A stranger who has not named the key costs a few seconds and kilobytes at most,
//! and keeps nobody out. What becomes of the tags is in [`publisher`](super::publisher).

mod connection;
mod handshake;
mod pieces;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::ingest::publishers::Publishers;
use crate::told::Told;
use connection::Connection;

/// What publishers may take of the origin's time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection to name a stream key, from its first byte.
    pub admission: Duration,
    /// For a publisher to send nothing, neither picture nor sound.
    pub idle: Duration,
    /// Bytes of a connection's unfinished messages.
    pub unfinished: usize,
    /// Connections at a time that have not named a stream key. One more takes the place of the
    /// oldest.
    pub strangers: usize,
    /// For which a publisher that another replaced is refused at first.
    pub rival_pause: Duration,
}

/// Takes publishers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, publishers: Publishers, limits: Limits) {
    let mut connections = JoinSet::new();
    let mut strangers = Strangers::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a publisher's connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        strangers.make_room(limits.strangers);
        let (publishers, standing) = (publishers.clone(), Standing::default());
        let connection = Connection::new(publishers, limits, peer, standing.clone());
        let task = connections.spawn(connection.run(stream));
        strangers.waiting.push_back((standing, task));
    }
}

/// Whether a connection has named the stream key, or was given up before it did.
#[derive(Debug, Clone, Default)]
struct Standing(Arc<AtomicU8>);

const STRANGER: u8 = 0;
const ADMITTED: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Standing {
    /// Whether it was a stranger until now.
    fn becomes(&self, state: u8) -> bool {
        let Self(now) = self;
        now.compare_exchange(STRANGER, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Admits it; `false` where it was given up.
    fn admit(&self) -> bool {
        self.becomes(ADMITTED) || self.0.load(Ordering::Acquire) == ADMITTED
    }

    fn is_stranger(&self) -> bool {
        self.0.load(Ordering::Acquire) == STRANGER
    }
}

/// The connections that have not named the stream key, the oldest first.
#[derive(Debug, Default)]
struct Strangers {
    waiting: VecDeque<(Standing, AbortHandle)>,
    told: Told,
}

impl Strangers {
    /// Gives up the oldest where there are too many for one more.
    fn make_room(&mut self, most: usize) {
        self.waiting.retain(|(standing, task)| standing.is_stranger() && !task.is_finished());
        while self.waiting.len() >= most {
            let Some((oldest, task)) = self.waiting.pop_front() else {
                return;
            };
            // It may have named the key this very moment.
            if oldest.becomes(GIVEN_UP) {
                task.abort();
                if self.told.due() {
                    tracing::warn!(
                        "more than {most} connections have not named the stream key: the oldest are closed"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_stranger_too_many_takes_the_place_of_the_oldest_and_of_no_publisher() {
        const MOST: usize = 8;
        let mut strangers = Strangers::default();
        let mut tasks = JoinSet::new();
        let mut enter = |strangers: &mut Strangers| {
            strangers.make_room(MOST);
            let standing = Standing::default();
            let task = tasks.spawn(std::future::pending::<()>());
            strangers.waiting.push_back((standing.clone(), task));
            standing
        };
        let publisher = enter(&mut strangers);
        let all: Vec<Standing> = (1..MOST).map(|_| enter(&mut strangers)).collect();
        assert!(publisher.becomes(ADMITTED));
        enter(&mut strangers);
        assert!(all.iter().all(Standing::is_stranger));
        enter(&mut strangers);
        assert!(!all[0].becomes(ADMITTED));
        assert!(all[1..].iter().all(Standing::is_stranger));
        assert_eq!(strangers.waiting.len(), MOST);
        let ended = tasks.join_next().await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    }
}
