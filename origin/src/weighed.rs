//! A queue that is bounded by the number of its items and by their bytes: small items cost more
//! than their bytes, and large ones are few.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What a queue may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most items.
    pub(crate) items: usize,
    /// Most bytes. An item that alone has more passes when the queue is empty.
    pub(crate) bytes: u32,
}

/// Its entrance. Clones lead to the same queue.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    items: mpsc::Sender<(T, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    bytes: u32,
}

/// Its exit.
#[derive(Debug)]
pub struct Receiver<T>(mpsc::Receiver<(T, OwnedSemaphorePermit)>);

/// Nobody takes items any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed")]
pub(crate) struct Closed;

/// Makes a queue.
pub(crate) fn queue<T>(bounds: Bounds) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(bounds.items);
    let room = Arc::new(Semaphore::new(bounds.bytes as usize));
    (Sender { items: sender, room, bytes: bounds.bytes }, Receiver(receiver))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), room: Arc::clone(&self.room), bytes: self.bytes }
    }
}

impl<T> Sender<T> {
    /// Waits for room.
    ///
    /// # Errors
    /// When nobody takes items any more.
    pub(crate) async fn send(&self, item: T, bytes: usize) -> Result<(), Closed> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.weight(bytes)).await;
        let room = room.map_err(|_| Closed)?;
        self.items.send((item, room)).await.map_err(|_| Closed)
    }

    /// Whether there was room, and somebody to take it.
    pub(crate) fn try_send(&self, item: T, bytes: usize) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.weight(bytes));
        room.is_ok_and(|room| self.items.try_send((item, room)).is_ok())
    }

    fn weight(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes)
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` once all senders are gone and it is empty.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        // The room is free again when it is taken, and not when it is used up.
        self.0.recv().await.map(|(item, _room)| item)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn number_and_bytes_are_bounded() {
        let (sender, mut receiver) = queue(Bounds { items: 3, bytes: 100 });
        assert!(sender.try_send(1, 60) && !sender.try_send(2, 60) && sender.try_send(3, 40));
        assert_eq!(receiver.recv().await, Some(1));
        assert!(sender.try_send(4, 60));
        receiver.recv().await;
        receiver.recv().await;
        assert!((0..3).all(|n| sender.try_send(n, 0)) && !sender.try_send(3, 0));
        for _ in 0..3 {
            receiver.recv().await;
        }
        // One that is larger than all goes alone.
        assert!(sender.try_send(5, 1000) && !sender.try_send(6, 1));
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send(7, 50).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(5), Some(7)));
        waiting.await.unwrap().unwrap();
        drop(receiver);
        assert_eq!(sender.send(8, 1).await, Err(Closed));
        assert!(!sender.try_send(9, 1));
    }
}
