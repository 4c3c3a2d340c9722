//! Bodies that pass by the core, on platforms that keep none of them.

use sightscreen_core::{Failure, Got, Object, Relay, Want};

use crate::headers;
use crate::platform::{Answer, Arrival, Body, Platform};
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
    answer(platform, relay, head.unwrap_or(Err(Failure::Timeout)).map_err(Got::Failed)?).await
}

/// The answer to the viewer by the origin's.
///
/// # Errors
/// What came in place of a body.
pub async fn answer<P: Platform>(
    platform: &P,
    relay: &Relay,
    head: Arrival<P::Stream>,
) -> Result<Answer<P::Stream>, Got> {
    if !passes(head.status) {
        return Err(Got::Object(without_body(head.status, &head.headers)));
    }
    let headers = headers::relayed(head.status, &head.headers, relay);
    let body =
        body(platform, &relay.want, &head.headers, head.stream).await.map_err(Got::Failed)?;
    Ok(Answer { status: head.status, headers, body })
}

/// The body, within what is allowed. One whose length nobody gave has to break where it is too
/// large, or where the origin breaks it.
async fn body<P: Platform>(
    platform: &P,
    want: &Want,
    headers: &[(String, String)],
    stream: P::Stream,
) -> Result<Body<P::Stream>, Failure> {
    match headers::length(headers) {
        Some(length) if length > want.max_bytes.into() => return Err(Failure::TooLarge),
        Some(_) => return Ok(Body::Stream(stream)),
        None => {}
    }
    match platform.bounded(stream, want.max_bytes) {
        Ok(bounded) => Ok(Body::Stream(bounded)),
        Err(stream) => {
            let whole = within(platform, want.timeout_ms, platform.read(stream, want.max_bytes));
            whole.await.unwrap_or(Err(Failure::Timeout)).map(Body::Whole)
        }
    }
}

/// What the core is told of an answer that is not passed on.
#[must_use]
pub fn without_body(status: u16, headers: &[(String, String)]) -> Object {
    Object { status, headers: headers::kept(headers), body: Vec::new() }
}
