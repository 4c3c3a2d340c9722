//! Relays: bodies that pass by the component.
//!
//! From the cache where the object is there, else from the one transfer that all its viewers share
//! while it arrives, else, for what may not be shared, from a transfer of the viewer's own.
//! Invariant: a failure before the first byte goes back to the component; one after it cuts the
//! connection, never ends the body early as if it were whole.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE};
use http::{HeaderMap, Response, StatusCode};
use sightscreen_core::{Failure, Relay, Want};
use sightscreen_door::{Cut, headers};
use tokio::time::{Instant, timeout_at};

use crate::body::Body;
use crate::cache::{Entry, Found};
use crate::metrics::Lookup;
use crate::node::Worker;
use crate::stored::{Stored, header_map};
use crate::transfer::{Head, Transfer};
use crate::wants::{FetchMode, Fetched, timeout};

/// A response, and whether the origin says that it is for one viewer or for no cache.
struct Passed {
    response: Response<Body>,
    is_private: bool,
}

impl Worker {
    /// The response, or what the component is resumed with.
    pub(crate) async fn relay(
        self: &Arc<Self>,
        relay: &Relay,
        viewer: &HeaderMap,
    ) -> Result<Response<Body>, Fetched> {
        let want = &relay.want;
        let deadline = Instant::now() + timeout(want);
        let Passed { mut response, is_private } = self.relay_shared(want, viewer, deadline).await?;
        let headers = header_map(&headers::own(response.status().as_u16(), is_private, relay));
        for name in headers.keys() {
            response.headers_mut().remove(name);
        }
        response.headers_mut().extend(headers);
        Ok(response)
    }

    async fn relay_shared(
        self: &Arc<Self>,
        want: &Want,
        viewer: &HeaderMap,
        deadline: Instant,
    ) -> Result<Passed, Fetched> {
        match self.node.cache.object(want) {
            Found::Fresh(entry) => {
                self.node.metrics.lookup(Lookup::Hit);
                return from_entry(&entry, viewer);
            }
            Found::Stale(entry) => {
                self.node.metrics.lookup(Lookup::Stale);
                self.join(want, FetchMode::Relay).transfer.refreshes();
                return from_entry(&entry, viewer);
            }
            Found::IfFailed(_) | Found::Nothing => {}
        }
        loop {
            let shared = self.join(want, FetchMode::Relay);
            let head =
                timeout_at(deadline, shared.transfer.head()).await.unwrap_or(Err(Failure::Timeout));
            return match head {
                Ok(head) if head.private && !shared.leads => {
                    self.relay_alone(want, viewer, deadline).await
                }
                Ok(head) if head.status == StatusCode::OK => {
                    from_transfer(shared.transfer, &head, viewer, deadline).await
                }
                Ok(head) => self.instead(want, refused(&head), viewer).await,
                // The time of the one that led was over, or nobody waited for it until now.
                Err(failure)
                    if !shared.leads
                        && (failure == Failure::Timeout || shared.transfer.was_abandoned())
                        && Instant::now() < deadline =>
                {
                    continue;
                }
                Err(failure) => self.instead(want, Fetched::Failed(failure), viewer).await,
            };
        }
    }

    /// What the cache may show in place of a failure.
    async fn instead(
        &self,
        want: &Want,
        answer: Fetched,
        viewer: &HeaderMap,
    ) -> Result<Passed, Fetched> {
        match self.or_copy(want, answer).await {
            Fetched::Object(entry) if entry.stored.status == StatusCode::OK => {
                from_entry(&entry, viewer)
            }
            answer => Err(answer),
        }
    }

    /// For this viewer alone. It arrives whether the viewer reads or not: one who does not read
    /// holds none of the requests under way.
    async fn relay_alone(
        self: &Arc<Self>,
        want: &Want,
        viewer: &HeaderMap,
        deadline: Instant,
    ) -> Result<Passed, Fetched> {
        let transfer = self.fetch_alone(want, viewer);
        let head = timeout_at(deadline, transfer.head()).await.unwrap_or(Err(Failure::Timeout));
        match head {
            Ok(head) if head.status == StatusCode::OK => {
                from_transfer(transfer, &head, viewer, deadline).await
            }
            Ok(head) => Err(refused(&head)),
            Err(failure) => Err(Fetched::Failed(failure)),
        }
    }
}

/// What the component is told of an answer that is not relayed: no body.
fn refused(head: &Head) -> Fetched {
    let headers = Stored::kept_headers(&head.headers);
    Fetched::Object(Arc::new(Entry::unkept(Stored {
        status: head.status,
        headers,
        body: Bytes::new(),
    })))
}

/// What the cache keeps is for everyone.
fn from_entry(entry: &Entry, viewer: &HeaderMap) -> Result<Passed, Fetched> {
    let stored = &entry.stored;
    if stored.status != StatusCode::OK {
        return Err(refused(&Head::of(stored)));
    }
    let length = stored.body.len() as u64;
    let response = respond(&stored.headers, length, viewer, |part| {
        Body::full(stored.body.slice(part.start as usize..part.end as usize))
    });
    Ok(Passed { response, is_private: false })
}

async fn from_transfer(
    transfer: Arc<Transfer>,
    head: &Head,
    viewer: &HeaderMap,
    deadline: Instant,
) -> Result<Passed, Fetched> {
    let asks_part = viewer.contains_key(RANGE);
    let passed = |response| Passed { response, is_private: head.private };
    match head.length {
        Some(length) => Ok(passed(respond(&head.headers, length, viewer, |part| {
            let bytes = part.end - part.start;
            Body::stream(transfer.chunks(part), Some(bytes))
        }))),
        None if asks_part => {
            // A range counts from an end that is not known before the last byte is here.
            match timeout_at(deadline, transfer.whole()).await.unwrap_or(Err(Failure::Timeout)) {
                Ok(entry) => Ok(passed(from_entry(&entry, viewer)?.response)),
                Err(failure) => Err(Fetched::Failed(failure)),
            }
        }
        None => {
            let mut response = Response::new(Body::stream(transfer.chunks(0..u64::MAX), None));
            *response.headers_mut() = shown(&head.headers);
            Ok(passed(response))
        }
    }
}

/// The whole or a part of an object of `length` bytes, whose bytes `body` gives.
fn respond(
    headers: &HeaderMap,
    length: u64,
    viewer: &HeaderMap,
    body: impl FnOnce(Range<u64>) -> Body,
) -> Response<Body> {
    // If-Range compares validators of which this node knows too little; the whole is right in every
    // case.
    let range = if viewer.contains_key(IF_RANGE) { None } else { viewer.get(RANGE) };
    let cut = Cut::of(range.and_then(|range| range.to_str().ok()), length);
    let (status, bytes, told) = cut.head(length);
    let first = if let Cut::Part { first, .. } = cut { first } else { 0 };
    let part = first..first + bytes;
    let mut response = Response::new(body(part));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    *response.headers_mut() = shown(headers);
    if let Some(told) = told.and_then(|told| HeaderValue::try_from(told).ok()) {
        response.headers_mut().insert(CONTENT_RANGE, told);
    }
    response
}

/// Headers of the origin that a viewer is shown.
fn shown(headers: &HeaderMap) -> HeaderMap {
    [CONTENT_TYPE, ETAG]
        .into_iter()
        .filter_map(|name| Some((name.clone(), headers.get(&name)?.clone())))
        .collect()
}
