//! Connections that have not named a stream key: they cost little, and keep nobody out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::AbortHandle;

use crate::told::Told;

/// Whether a connection has named the stream key, or was given up before it did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing(Arc<AtomicU8>);

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
    pub(crate) fn admit(&self) -> bool {
        self.becomes(ADMITTED) || self.0.load(Ordering::Acquire) == ADMITTED
    }

    pub(crate) fn is_stranger(&self) -> bool {
        self.0.load(Ordering::Acquire) == STRANGER
    }
}

/// The connections that have not named the stream key, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    waiting: VecDeque<(Standing, AbortHandle)>,
    told: Told,
}

impl Strangers {
    /// One more.
    pub(crate) fn admit(&mut self, standing: Standing, task: AbortHandle) {
        self.waiting.push_back((standing, task));
    }

    /// Gives up the oldest where there are too many for one more.
    pub(crate) fn make_room(&mut self, most: usize) {
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
                        "more than {most} connections have not named the stream key: the oldest \
                         are closed"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tokio::task::JoinSet;

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
            strangers.admit(standing.clone(), task);
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
