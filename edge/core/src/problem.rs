//! Errors as the viewer sees them: RFC 9457 problem JSON, the same bytes at every door.
//!
//! Owns the list of codes. A problem says what kind of thing was wrong and nothing of what was
//! sent.

use crate::exchange::Response;

/// Every way a request can end in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The target has two readings, or none.
    TargetAmbiguous,
    /// A request of HTTP/1.1 that names no host, or more than one.
    HostInvalid,
    /// Request headers longer than the edge reads.
    HeadersTooLarge,
    /// A query that is not `name=value` pairs, or names a thing twice.
    QueryInvalid,
    /// `_HLS_` directives that contradict each other or are out of bounds.
    DirectiveInvalid,
    /// Method other than GET, HEAD and OPTIONS.
    MethodNotAllowed,
    /// No such route.
    RouteUnknown,
    /// No such event.
    EventUnknown,
    /// The event is known, and has no media yet.
    NotLive,
    /// No such rendition in the event.
    RenditionUnknown,
    /// No such segment, part, init or page file at the origin.
    ObjectUnknown,
    /// Not a pass of this version.
    PassMalformed,
    /// A pass by a key that is not in force.
    PassKeyUnknown,
    /// A pass that its key did not sign.
    PassSignature,
    /// A pass whose time is over.
    PassExpired,
    /// A pass whose time has not come.
    PassNotYetValid,
    /// A pass for another event.
    PassEvent,
    /// The plan in the pass does not include the rendition.
    PlanExcludes,
    /// A signed URL that lacks `expires`, `kid` or `sig`, or has one that cannot be read.
    UrlMalformed,
    /// A URL signed by a key that is not in force.
    UrlKeyUnknown,
    /// A URL that its key did not sign.
    UrlSignature,
    /// A signed URL whose time is over.
    UrlExpired,
    /// A signed URL whose time has not come.
    UrlNotYetValid,
    /// An event or an API answer that may not be seen where the viewer is.
    RegionExcluded,
    /// The origin gave no usable answer, and nothing stored may stand in.
    OriginUnavailable,
    /// A snapshot is there, but too old to show.
    SnapshotExpired,
    /// The edge itself failed: its configuration, or a fault in it.
    EdgeFailed,
    /// The edge has more to do than it can.
    EdgeOverloaded,
}

/// Media type of a problem.
pub const PROBLEM_TYPE: &str = "application/problem+json";

impl Problem {
    /// HTTP status, code and title.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::TargetAmbiguous => (400, "target-ambiguous", "The request target is ambiguous"),
            Self::HostInvalid => (400, "host-invalid", "The request must name one host"),
            Self::HeadersTooLarge => {
                (431, "headers-too-large", "The request's headers are too large")
            }
            Self::QueryInvalid => (400, "query-invalid", "The query is not valid"),
            Self::DirectiveInvalid => {
                (400, "directive-invalid", "The delivery directive is not valid")
            }
            Self::MethodNotAllowed => (405, "method-not-allowed", "The method is not allowed"),
            Self::RouteUnknown => (404, "route-unknown", "There is nothing here"),
            Self::EventUnknown => (404, "event-unknown", "There is no such event"),
            Self::NotLive => (503, "not-live", "The event has not begun"),
            Self::RenditionUnknown => (404, "rendition-unknown", "There is no such rendition"),
            Self::ObjectUnknown => (404, "object-unknown", "There is no such object"),
            Self::PassMalformed => (403, "pass-malformed", "The pass cannot be read"),
            Self::PassKeyUnknown => {
                (403, "pass-key-unknown", "The pass is of a key that is not in force")
            }
            Self::PassSignature => (403, "pass-signature", "The pass is not genuine"),
            Self::PassExpired => (403, "pass-expired", "The pass has expired"),
            Self::PassNotYetValid => (403, "pass-not-yet-valid", "The pass is not valid yet"),
            Self::PassEvent => (403, "pass-event", "The pass is for another event"),
            Self::PlanExcludes => {
                (403, "plan-excludes", "The plan does not include this rendition")
            }
            Self::UrlMalformed => (403, "url-malformed", "The URL is not signed"),
            Self::UrlKeyUnknown => {
                (403, "url-key-unknown", "The URL is signed by a key that is not in force")
            }
            Self::UrlSignature => (403, "url-signature", "The URL's signature is not genuine"),
            Self::UrlExpired => (403, "url-expired", "The URL has expired"),
            Self::UrlNotYetValid => (403, "url-not-yet-valid", "The URL is not valid yet"),
            Self::RegionExcluded => (451, "region-excluded", "Not available in this region"),
            Self::OriginUnavailable => (503, "origin-unavailable", "The origin is not available"),
            Self::SnapshotExpired => (503, "snapshot-expired", "The stored answer is too old"),
            Self::EdgeFailed => (500, "edge-failed", "The edge failed"),
            Self::EdgeOverloaded => (503, "edge-overloaded", "The edge is overloaded"),
        }
    }

    /// The body, whole.
    #[must_use]
    pub fn body(self) -> Vec<u8> {
        let (status, code, title) = self.parts();
        format!(
            r#"{{"type":"urn:sightscreen:problem:{code}","title":"{title}","status":{status}}}"#
        )
        .into_bytes()
    }

    /// The response, not to be kept by any cache.
    #[must_use]
    pub fn response(self) -> Response {
        let mut headers = vec![
            ("content-type".to_owned(), PROBLEM_TYPE.to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
            ("access-control-allow-origin".to_owned(), "*".to_owned()),
        ];
        if self == Self::MethodNotAllowed {
            headers.push(("allow".to_owned(), "GET, HEAD, OPTIONS".to_owned()));
        }
        Response { status: self.parts().0, headers, body: self.body(), ..Response::default() }
    }

    /// The response with `retry-after` in seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Response {
        let mut response = self.response();
        response.headers.push(("retry-after".to_owned(), seconds.to_string()));
        let exposed = ("access-control-expose-headers".to_owned(), "retry-after".to_owned());
        response.headers.push(exposed);
        response
    }
}
