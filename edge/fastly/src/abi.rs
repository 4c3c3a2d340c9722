//! The host calls that the fastly crate does not offer.
//!
//! Owns all `unsafe` of this door. The crate gives the request's URL only after WHATWG parsing,
//! which resolves `..` and `%2e%2e` and turns `\` into `/`, and so hides what the core must refuse;
//! and it can wait for several requests, but not with a time limit, nor for requests and bodies
//! together. Invariant: a handle passed to the host is borrowed from its owner for the length of
//! the call.
#![allow(unsafe_code, reason = "host calls without a safe form; each has its argument beside it")]

use crate::task::wait_for;
use fastly::Request;
use fastly::cache::core::{CacheBusyHandle, PendingTransaction, Transaction};
use fastly::handle::{BodyHandle, PendingRequestHandle};
use std::time::Duration;

/// More than any target the core accepts; what is longer arrives cut, and is refused there.
const MAX_URL_BYTES: usize = 16 * 1024;

/// The request's URL as the platform has it, before any parser.
pub(crate) fn raw_url(request: &Request) -> Vec<u8> {
    let handle = request.as_handles().0.as_u32();
    let mut url = vec![0; MAX_URL_BYTES];
    let mut written = 0;
    // SAFETY: `url` is valid for writes of its length, `written` for one write; the host keeps
    // neither.
    let status = unsafe {
        fastly_sys::fastly_http_req::uri_get(handle, url.as_mut_ptr(), url.len(), &raw mut written)
    };
    url.truncate(if status.is_ok() { written } else { 0 });
    url
}

/// What [`select`] can wait for.
#[derive(Clone, Copy)]
pub(crate) struct Waitable(u32);

/// Ready when the response's head is there, or the request failed.
pub(crate) fn of_request(pending: &PendingRequestHandle) -> Waitable {
    Waitable(pending.as_u32())
}

/// Ready when bytes, the end or an error can be read.
pub(crate) fn of_body(body: &BodyHandle) -> Waitable {
    // SAFETY: the number is used for waiting only, while `body` is borrowed by the caller.
    Waitable(unsafe { body.as_u32() })
}

/// Waits until one of `items` is ready and gives its index, or `None` when `timeout` passed first.
pub(crate) fn select(items: &[Waitable], timeout: Duration) -> Option<usize> {
    let handles: Vec<u32> = items.iter().map(|item| item.0).collect();
    // The host reads 0 as "for ever".
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
    let mut index = u32::MAX;
    // SAFETY: `handles` is valid for reads of its length and outlives the call, `index` is valid
    // for one write.
    let status = unsafe {
        fastly_sys::fastly_async_io::select(
            handles.as_ptr(),
            handles.len(),
            timeout_ms,
            &raw mut index,
        )
    };
    if status.is_err() {
        return None;
    }
    usize::try_from(index).ok().filter(|index| *index < items.len())
}

/// Whether `item` is ready.
pub(crate) fn is_ready(item: Waitable) -> bool {
    let mut ready = 0;
    // SAFETY: `ready` is valid for one write. A number that is no handle any more is an error.
    let status = unsafe { fastly_sys::fastly_async_io::is_ready(item.0, &raw mut ready) };
    // What cannot be waited for is tried, and says what is wrong.
    status.is_err() || ready != 0
}

/// A look-up in the cache that may have to wait for another instance.
pub(crate) struct Busy {
    pending: PendingTransaction,
    item: Waitable,
}

impl Busy {
    pub(crate) fn of(pending: PendingTransaction) -> Self {
        // SAFETY: the handle is taken apart for its number and put together again at once, so it
        // keeps one owner. The number is used for waiting only, while `pending` lives.
        let (pending, item) = unsafe {
            let number = pending.into_handle().into_abi();
            let handle = CacheBusyHandle::from_abi(number);
            (PendingTransaction::from_handle(handle), Waitable(number))
        };
        Self { pending, item }
    }

    /// The transaction, once no other instance is before this one; `None` where the cache failed.
    pub(crate) async fn wait(self) -> Option<Transaction> {
        let Self { pending, item } = self;
        wait_for(item, || is_ready(item).then_some(())).await;
        pending.wait().ok()
    }
}
