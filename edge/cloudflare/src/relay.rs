//! Bodies that pass by the core: the platform's own stream from the origin, or from Cloudflare's
//! cache, to the viewer.
//!
//! Owns nothing but the choice of headers. Invariant: no byte of a relayed body enters Wasm.

use crate::fetch::Exchange;
use crate::upstream::{self, Keep};
use crate::viewer;
use sightscreen_core::{Failure, Got, Relay, door};
use worker::Response;

/// The response with the object's stream, or what came instead.
pub(crate) async fn relay(exchange: &Exchange, relay: &Relay) -> Result<Response, Got> {
    let want = &relay.want;
    let keep = if door::is_shared(want) { Keep::AsWanted } else { Keep::No };
    let response =
        upstream::head(&exchange.origin, want, &door::forwarded(want, &exchange.headers), keep)
            .await
            .map_err(Got::Failed)?;
    if !door::is_relayed(response.status_code(), want) {
        return Err(Got::Object(upstream::without_body(&response)));
    }
    let length: Option<u64> =
        upstream::header(&response, "content-length").and_then(|length| length.parse().ok());
    if length.is_some_and(|length| length > want.max_bytes.into()) {
        return Err(Got::Failed(Failure::TooLarge));
    }
    let status = response.status_code();
    let headers = door::relay_headers(status, |name| upstream::header(&response, name), relay);
    viewer::stream(status, &headers, response.into_parts().1)
        .map_err(|_| Got::Failed(Failure::Unreachable))
}
