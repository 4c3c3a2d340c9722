//! Memory that bodies hold, and the viewers who keep it by not reading.
//!
//! A body is counted once from the moment it is in memory until its last reader let go of it,
//! however many viewers share it. HTTP/2 lets a viewer ask for a hundred bodies and take none, so
//! the count has a limit: past it the connections that have read nothing for longest are closed. A
//! connection that reads nothing for long is closed in any case.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::access::Record;

/// A reader is not slow before it has read nothing for so long.
const SLOW: Duration = Duration::from_millis(250);
/// Time between two looks for slow readers.
const LOOK: Duration = Duration::from_millis(20);
/// What a delivery takes beside its body: the state of its stream.
const RESPONSE_BYTES: u64 = 4096;
/// Longest body that may have the last part of the room.
const SMALL: u64 = 128 * 1024;
/// Which part of the room that is.
const KEPT_FOR_SMALL: u64 = 16;
/// In place of a time: the reader waits for us.
const WAITS_FOR_US: u64 = u64::MAX;

/// The bytes of all bodies, with a limit.
pub(crate) struct Memory {
    bytes: AtomicU64,
    limit: u64,
    /// What of the limit is not the cache's: no body waits for more room than this.
    unread: u64,
    since: Instant,
    connections: Mutex<Vec<Weak<Connection>>>,
    looked_ms: AtomicU64,
    closed: IntCounter,
}

/// A viewer's connection.
pub(crate) struct Connection {
    memory: Arc<Memory>,
    deliveries: Mutex<Vec<Weak<Delivery>>>,
    /// Since when its socket takes nothing, in [`Memory::now_ms`], or [`WAITS_FOR_US`].
    blocked_ms: AtomicU64,
    close: Notify,
}

/// A response on its way to its viewer, from its head until its last byte is taken.
pub(crate) struct Delivery {
    connection: Arc<Connection>,
    /// When its viewer last took something, or [`WAITS_FOR_US`].
    read_ms: AtomicU64,
    /// Bytes that the viewer took.
    taken: AtomicU64,
    /// Bytes that the viewer has not taken, where the length is known.
    left: AtomicU64,
    record: Option<Record>,
}

/// Bytes that count until nobody holds them.
struct Counted<T> {
    bytes: T,
    length: u64,
    memory: Arc<Memory>,
}

/// Room for a body that arrives, counted from the start.
pub(crate) struct Room {
    left: u64,
    memory: Arc<Memory>,
}

/// Bytes that were handed to a connection; dropped when it has written them.
struct Piece {
    bytes: Bytes,
    delivery: Arc<Delivery>,
}

impl Memory {
    /// Bodies of at most `cache` bytes in the cache and `unread` bytes outside of it. `closed`
    /// counts connections that were closed because they did not read.
    pub(crate) fn new(cache: u64, unread: u64, closed: IntCounter) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            limit: cache.saturating_add(unread),
            unread,
            since: Instant::now(),
            connections: Mutex::default(),
            looked_ms: AtomicU64::new(0),
            closed,
        })
    }

    /// `bytes`, counted for as long as anybody holds them or a part of them.
    pub(crate) fn count(
        self: &Arc<Self>,
        bytes: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Bytes {
        let length = bytes.as_ref().len() as u64;
        self.add(length);
        Bytes::from_owner(Counted { bytes, length, memory: Arc::clone(self) })
    }

    /// All that is held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Waits until there is room for a body of `length`. What has room arrives whole: to stop in
    /// the middle would free nothing. The caller sets a deadline.
    pub(crate) async fn room(self: &Arc<Self>, length: u64) -> Room {
        // Playlists and documents do not wait behind segments.
        let kept = if length > SMALL { self.unread / KEPT_FOR_SMALL } else { 0 };
        let kept = kept.min(self.unread.saturating_sub(length) / 2);
        let free = length.saturating_add(kept).min(self.unread);
        let most = self.limit - free;
        let grow = |bytes: u64| (bytes <= most).then(|| bytes.saturating_add(length));
        while self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).is_err() {
            self.close_slow(free);
            sleep(LOOK).await;
        }
        Room { left: length, memory: Arc::clone(self) }
    }

    /// A new connection.
    pub(crate) fn connection(self: &Arc<Self>) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            memory: Arc::clone(self),
            deliveries: Mutex::default(),
            blocked_ms: AtomicU64::new(WAITS_FOR_US),
            close: Notify::new(),
        });
        let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == all.capacity() {
            all.retain(|connection| connection.strong_count() > 0);
        }
        all.push(Arc::downgrade(&connection));
        connection
    }

    fn add(&self, length: u64) {
        let bytes = self.bytes.fetch_add(length, Ordering::Relaxed) + length;
        if bytes > self.limit {
            self.close_slow(0);
        }
    }

    fn remove(&self, length: u64) {
        self.bytes.fetch_sub(length, Ordering::Relaxed);
    }

    /// Closes the slowest connections until what they hold would be room enough for `length` more.
    /// Bodies that they share make it too few, and the next look closes more.
    fn close_slow(&self, length: u64) {
        let now = self.now_ms();
        let looked = self.looked_ms.load(Ordering::Relaxed);
        let is_time = now.saturating_sub(looked) >= LOOK.as_millis() as u64;
        if !is_time
            || self
                .looked_ms
                .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            return;
        }
        let slow_ms = now.saturating_sub(SLOW.as_millis() as u64);
        let mut slow: Vec<(u64, u64, Arc<Connection>)> = {
            let all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let held = all.iter().filter_map(|connection| {
                let connection = connection.upgrade()?;
                let (read_ms, left) = connection.held()?;
                (read_ms <= slow_ms).then_some((read_ms, left, connection))
            });
            held.collect()
        };
        slow.sort_by_key(|(read_ms, ..)| *read_ms);
        let mut excess = self.bytes().saturating_add(length).saturating_sub(self.limit);
        for (_, left, connection) in slow {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(left);
            connection.close.notify_one();
        }
    }

    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

impl Room {
    /// `bytes` of the body, in the room that was kept for them.
    pub(crate) fn count(&mut self, bytes: Bytes) -> Bytes {
        let kept = self.left.min(bytes.len() as u64);
        self.left -= kept;
        let counted = self.memory.count(bytes);
        self.memory.remove(kept);
        counted
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.memory.remove(self.left);
    }
}

impl Connection {
    /// A delivery begins, with a body of `length` bytes where that is known.
    pub(crate) fn delivery(
        self: &Arc<Self>,
        length: Option<u64>,
        record: Option<Record>,
    ) -> Arc<Delivery> {
        self.memory.add(RESPONSE_BYTES);
        let delivery = Arc::new(Delivery {
            connection: Arc::clone(self),
            read_ms: AtomicU64::new(self.memory.now_ms()),
            taken: AtomicU64::new(0),
            left: AtomicU64::new(length.unwrap_or(0) + RESPONSE_BYTES),
            record,
        });
        let mut deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        deliveries.retain(|delivery| delivery.strong_count() > 0);
        deliveries.push(Arc::downgrade(&delivery));
        delivery
    }

    /// The socket took bytes, or takes none.
    pub(crate) fn wrote(&self, blocked: bool) {
        if !blocked {
            self.blocked_ms.store(WAITS_FOR_US, Ordering::Relaxed);
        } else if self.blocked_ms.load(Ordering::Relaxed) == WAITS_FOR_US {
            self.blocked_ms.store(self.memory.now_ms(), Ordering::Relaxed);
        }
    }

    /// Waits until this connection must be closed, because its viewer has taken nothing of a
    /// delivery for `limit` or because the memory is needed.
    pub(crate) async fn must_close(&self, limit: Duration) {
        let limit_ms = limit.as_millis() as u64;
        loop {
            let read_ms = self.held().map_or(WAITS_FOR_US, |(read_ms, _)| read_ms);
            let stalled = self.memory.now_ms().saturating_sub(read_ms);
            if stalled >= limit_ms {
                break;
            }
            tokio::select! {
                () = self.close.notified() => break,
                () = sleep(Duration::from_millis(limit_ms - stalled)) => {}
            }
        }
        self.memory.closed.inc();
    }

    /// Since when one of its deliveries was not read, and how many bytes they hold; `None` where
    /// nothing waits for the viewer.
    fn held(&self) -> Option<(u64, u64)> {
        let mut since = self.blocked_ms.load(Ordering::Relaxed);
        let mut left = 0_u64;
        let deliveries = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner);
        for delivery in deliveries.iter().filter_map(Weak::upgrade) {
            since = since.min(delivery.read_ms.load(Ordering::Relaxed));
            left = left.saturating_add(delivery.left.load(Ordering::Relaxed));
        }
        (since != WAITS_FOR_US).then_some((since, left))
    }
}

impl Delivery {
    /// Nothing is there to be read at the moment.
    pub(crate) fn waits_for_us(&self) {
        self.read_ms.store(WAITS_FOR_US, Ordering::Relaxed);
    }

    /// `bytes`, for the connection to write.
    pub(crate) fn piece(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        self.is_read();
        Bytes::from_owner(Piece { bytes, delivery: Arc::clone(self) })
    }

    fn is_read(&self) {
        self.read_ms.store(self.connection.memory.now_ms(), Ordering::Relaxed);
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Counted<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

impl<T> Drop for Counted<T> {
    fn drop(&mut self) {
        self.memory.remove(self.length);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let length = self.bytes.len() as u64;
        self.delivery.is_read();
        self.delivery.taken.fetch_add(length, Ordering::Relaxed);
        let left = self.delivery.left.load(Ordering::Relaxed);
        self.delivery.left.store(left.saturating_sub(length), Ordering::Relaxed);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.connection.memory.remove(RESPONSE_BYTES);
        if let Some(record) = self.record.take() {
            record.end(self.taken.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn memory(limit: u64) -> Arc<Memory> {
        Memory::new(0, limit, IntCounter::new("closed", "test").unwrap())
    }

    #[test]
    fn a_body_counts_once_and_until_its_last_part_is_gone() {
        let memory = memory(1000);
        let body = memory.count(vec![0; 100]);
        let (part, whole) = (body.slice(10..20), body.clone());
        assert_eq!(memory.bytes(), 100);
        drop((body, whole));
        assert_eq!(memory.bytes(), 100);
        drop(part);
        assert_eq!(memory.bytes(), 0);
    }

    /// Whether the connection is closed by its own time within a moment.
    async fn closes(connection: &Connection, limit: Duration) -> bool {
        let must_close = connection.must_close(limit);
        tokio::time::timeout(Duration::from_millis(50), must_close).await.is_ok()
    }

    #[tokio::test]
    async fn who_does_not_read_is_closed_and_who_waits_for_us_is_not() {
        let limit = Duration::from_millis(10);
        let memory = memory(1 << 20);
        let connection = memory.connection();
        assert!(!closes(&connection, limit).await, "nothing was asked for");
        let delivery = connection.delivery(Some(10), None);
        delivery.waits_for_us();
        assert!(!closes(&connection, limit).await, "the origin is slow");
        let piece = delivery.piece(Bytes::from_static(b"0123456789"));
        assert!(closes(&connection, limit).await, "the piece is not taken");
        drop((piece, delivery));
        assert!(!closes(&connection, limit).await, "all is taken");
        connection.wrote(true);
        assert!(closes(&connection, limit).await, "the socket takes nothing");
        connection.wrote(false);
        assert!(!closes(&connection, limit).await);
    }

    #[tokio::test]
    async fn past_the_limit_the_slowest_is_closed_and_not_the_quick() {
        let memory = memory(100_000);
        let (slow, quick) = (memory.connection(), memory.connection());
        let body = memory.count(vec![0; 60_000]);
        let unread = slow.delivery(Some(60_000), None);
        std::thread::sleep(SLOW + LOOK);
        let read = quick.delivery(Some(60_000), None);
        let other = memory.count(vec![0; 60_000]);
        assert!(closes(&slow, Duration::from_secs(60)).await);
        assert!(!closes(&quick, Duration::from_secs(60)).await);
        let room = |length| tokio::time::timeout(2 * LOOK, memory.room(length));
        assert!(room(10_000).await.is_err());
        drop((unread, body));
        let mut kept = room(10_000).await.unwrap();
        assert!(room(50_000).await.is_err(), "it is taken");
        let part = kept.count(Bytes::from_static(&[0; 4000]));
        drop((read, other, kept));
        assert_eq!(memory.bytes(), 4000);
        assert!(room(1 << 40).await.is_err(), "larger than all, and all is not free");
        drop(part);
        assert!(room(1 << 40).await.is_ok());
        assert_eq!(memory.bytes(), 0);
    }
}
