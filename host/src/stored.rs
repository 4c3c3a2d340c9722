//! An answer as the node keeps and shares it: status, the few headers that anyone reads, and the
//! whole body.
//!
//! Invariant: never changed once made, so that any number of viewers read the same bytes.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use http::{Response, StatusCode};

use crate::body::Body;

/// Headers of an origin's answer that are kept with it.
const KEPT: [HeaderName; 4] = [CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER];

/// Memory of an entry beside its body and its headers' texts: the map of headers, the tables'
/// slots, counts.
const ENTRY_BYTES: usize = 1024;

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Stored {
    /// What of an origin's headers is kept; the same as [`sightscreen_door::headers::kept`].
    pub(crate) fn kept_headers(headers: &HeaderMap) -> HeaderMap {
        // In memory of its own, not a slice of the connection's read buffer.
        let own = |name| HeaderValue::from_bytes(headers.get(name)?.as_bytes()).ok();
        let kept = KEPT.iter().filter_map(|name| Some((name.clone(), own(name)?)));
        kept.collect()
    }

    /// Headers that the component is told of.
    pub(crate) fn told_headers(&self) -> Vec<(&str, &str)> {
        let told = KEPT.iter().filter_map(|name| {
            let value = self.headers.get(name)?;
            Some((name.as_str(), std::str::from_utf8(value.as_bytes()).ok()?))
        });
        told.collect()
    }

    /// Bytes that it takes in a cache, roughly.
    pub(crate) fn weight(&self) -> u64 {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        (self.body.len() + headers + ENTRY_BYTES) as u64
    }

    /// As a response. Clones no body.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::full(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }
}

/// `headers` from a component: those that are not valid HTTP are left out.
pub(crate) fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let valid = headers.iter().filter_map(|(name, value)| {
        Some((
            HeaderName::from_bytes(name.as_bytes()).ok()?,
            HeaderValue::from_bytes(value.as_bytes()).ok()?,
        ))
    });
    let mut map = HeaderMap::with_capacity(headers.len());
    for (name, value) in valid {
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_all_doors_keep() {
        assert_eq!(KEPT, sightscreen_door::headers::KEPT);
    }
}
