//! Bodies that pass by the core: the platform's own stream from the origin to the viewer.
//!
//! Owns nothing but the choice of headers. Invariant: no byte of a relayed body enters the
//! component.

use crate::fetch::Exchange;
use crate::{upstream, viewer};
use sightscreen_core::{Failure, Got, Relay, door};
use spin_sdk::wasip3::http::types::Response;

/// The response with the object's stream, or what came instead.
pub(crate) async fn relay(exchange: &Exchange, relay: &Relay) -> Result<Response, Got> {
    let want = &relay.want;
    let head = upstream::head(&exchange.origin, want, &door::forwarded(want, &exchange.headers))
        .await
        .map_err(Got::Failed)?;
    if !door::is_relayed(head.status, want) {
        return Err(Got::Object(head.without_body()));
    }
    let length: Option<u64> = head.header("content-length").and_then(|length| length.parse().ok());
    if length.is_some_and(|length| length > want.max_bytes.into()) {
        return Err(Got::Failed(Failure::TooLarge));
    }
    let status = head.status;
    let headers = door::relay_headers(status, |name| head.header(name), relay);
    let (body, ending) = head.into_body();
    viewer::stream(status, &headers, body, ending).map_err(|_| Got::Failed(Failure::Unreachable))
}
