//! Waiting, for platforms that offer no more than a timer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::Platform;

/// What `work` comes to, or `None` when `other` is done first.
pub(crate) async fn first<T>(
    mut work: Pin<&mut impl Future<Output = T>>,
    other: impl Future<Output = ()>,
) -> Option<T> {
    let mut other = pin!(other);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => other.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// What `work` comes to, unless `timeout_ms` pass first.
pub(crate) async fn within<P: Platform, T>(
    platform: &P,
    timeout_ms: u32,
    work: impl Future<Output = T>,
) -> Option<T> {
    first(pin!(work), platform.wait(timeout_ms)).await
}

/// What each of `all` comes to, in their order. They run at the same time; there are few of them.
pub(crate) async fn together<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (one, done) in all.iter_mut().filter(|(_, done)| done.is_none()) {
            match one.as_mut().poll(cx) {
                Poll::Ready(value) => *done = Some(value),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}
