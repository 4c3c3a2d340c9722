//! Tasks on a platform that only waits: an instance serves one request at a time, and every wait is
//! a host call for some handles and a time.
//!
//! A future that cannot go on notes what it waits for. When all that is polled has done so, the
//! instance waits for the first of them, and polls again. There are few futures, so all are polled.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::abi::{self, Waitable};

/// How long the instance sleeps where nothing says what it waits for.
const IDLE: Duration = Duration::from_millis(1);

thread_local! {
    static NOTED: RefCell<Noted> = RefCell::default();
    static LATER: RefCell<VecDeque<Pin<Box<dyn Future<Output = ()>>>>> = RefCell::default();
}

#[derive(Default)]
struct Noted {
    items: Vec<Waitable>,
    until: Option<Instant>,
}

/// Drives `work` to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        NOTED.take();
        if let Poll::Ready(done) = work.as_mut().poll(&mut cx) {
            return done;
        }
        let Noted { items, until } = NOTED.take();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if items.is_empty() {
            std::thread::sleep(left.unwrap_or(IDLE));
        } else {
            abi::select(&items, left.unwrap_or(Duration::MAX));
        }
    }
}

/// What `look` finds, as soon as it finds something; until then the task waits for `item`.
pub(crate) async fn wait_for<T>(item: Waitable, mut look: impl FnMut() -> Option<T>) -> T {
    poll_fn(|_| match look() {
        Some(found) => Poll::Ready(found),
        None => {
            NOTED.with_borrow_mut(|noted| noted.items.push(item));
            Poll::Pending
        }
    })
    .await
}

/// Lets the time pass.
pub(crate) async fn sleep(span: Duration) {
    let end = Instant::now() + span;
    poll_fn(|_| {
        if Instant::now() >= end {
            return Poll::Ready(());
        }
        NOTED.with_borrow_mut(|noted| {
            noted.until = Some(noted.until.map_or(end, |until| until.min(end)));
        });
        Poll::Pending
    })
    .await;
}

/// Has `work` done after the answer.
pub(crate) fn later(work: impl Future<Output = ()> + 'static) {
    LATER.with_borrow_mut(|later| later.push_back(Box::pin(work)));
}

/// Does what was left for after the answer, and what that leaves in its turn. In its order: a body
/// that a viewer waits for was left first.
pub(crate) fn finish_later() {
    while let Some(work) = LATER.with_borrow_mut(VecDeque::pop_front) {
        block_on(work);
    }
}

/// What `work` comes to, unless the time passes first.
pub(crate) async fn within<T>(span: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut end) = (pin!(work), pin!(sleep(span)));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}
