//! Bodies that pass by the core, on platforms that keep none of them.

use sightscreen_core::{Failure, Got, Object, Relay};

use crate::headers;
use crate::platform::{Answer, Body, Head, Platform};
use crate::time::within;

/// Whether a relay passes this status of the origin on instead of resuming the exchange.
#[must_use]
pub fn passes(status: u16) -> bool {
    matches!(status, 200 | 206 | 416)
}

/// The viewer's headers that go along with a relay.
#[must_use]
pub fn forwarded(viewer: &[(String, String)]) -> headers::Headers {
    viewer.iter().filter(|(name, _)| name == "range").cloned().collect()
}

/// From the origin straight to the viewer, range and all.
///
/// # Errors
/// What came in place of a body.
pub async fn pass<P: Platform>(
    platform: &P,
    relay: &Relay,
    viewer: &[(String, String)],
) -> Result<Answer<P::Stream>, Got> {
    let want = &relay.want;
    let asked = forwarded(viewer);
    let head = within(platform, want.timeout_ms, platform.ask(want, &asked)).await;
    answer(platform, relay, head.unwrap_or(Err(Failure::Timeout)).map_err(Got::Failed)?)
}

/// The answer to the viewer by the origin's.
///
/// # Errors
/// What came in place of a body.
pub fn answer<P: Platform>(
    platform: &P,
    relay: &Relay,
    head: Head<P::Stream>,
) -> Result<Answer<P::Stream>, Got> {
    if !passes(head.status) {
        return Err(Got::Object(without_body(head.status, &head.headers)));
    }
    let headers = headers::relayed(head.status, &head.headers, relay);
    let stream = match headers::length(&head.headers) {
        Some(length) if length > relay.want.max_bytes.into() => {
            return Err(Got::Failed(Failure::TooLarge));
        }
        Some(_) => head.stream,
        None => platform.bounded(head.stream, relay.want.max_bytes),
    };
    Ok(Answer { status: head.status, headers, body: Body::Stream(stream) })
}

/// What the core is told of an answer that is not passed on.
#[must_use]
pub fn without_body(status: u16, headers: &[(String, String)]) -> Object {
    Object { status, headers: headers::kept(headers), body: Vec::new() }
}
