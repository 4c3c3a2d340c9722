//! What every door does alike, as pure functions: which headers pass, what may be kept and for how
//! long, how a range is cut.
//!
//! Owns the reading of a [`Want`]'s times and of the few HTTP fields that a door must understand.
//! Owns no cache, no socket and no decision about a viewer. Invariant: two doors that ask here with
//! the same values behave alike.

mod came;
mod flights;
mod led;
mod stamp;

pub use came::{Answer, Came};
pub use flights::{Flights, Lead, Seen, Turn, Waiting};
pub use led::Led;
pub use stamp::Stamp;

use crate::keyring::Keyring;
use crate::{Failure, Relay, Source, Want, document, forbids_sharing};

/// What a door's platform gives. A reader sees here what is missing at a door; the bytes of an
/// answer never depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Who shares a stored answer.
    pub cache: Reach,
    /// Who shares one request upstream.
    pub collapse: Reach,
    /// Whether a stale answer is used while one request refreshes it.
    pub stale: bool,
    /// Whether the platform knows the viewer's country.
    pub geography: bool,
    /// Whether the platform knows phones from other devices.
    pub device: bool,
    /// Whether documents survive a restart of everything but the platform's own store.
    pub durable_documents: bool,
    /// Whether the request target arrives as the viewer sent it, neither decoded nor resolved.
    pub raw_target: bool,
}

/// How far a capability reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Not there.
    Nothing,
    /// The requests of one running instance of the core.
    Instance,
    /// The requests of one node, whatever the number of instances.
    Node,
    /// The requests of one point of presence.
    DataCentre,
}

/// Headers of an upstream answer that become part of an [`Object`](crate::Object).
pub const OBJECT_HEADERS: &[&str] = &["cache-control", "content-type", "etag", "retry-after"];

/// Headers of an upstream answer that a relay passes on, unless the core sets them.
pub const RELAY_HEADERS: &[&str] = &["content-type", "content-length", "content-range", "etag"];

/// The headers of an object, read from the upstream answer by `get` (by lower case name).
pub fn object_headers(get: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    OBJECT_HEADERS.iter().filter_map(|name| Some(((*name).to_owned(), get(name)?))).collect()
}

/// The headers of a relayed answer: the upstream's few, then the core's, which win.
pub fn relay_headers(
    status: u16,
    get: impl Fn(&str) -> Option<String>,
    relay: &Relay,
) -> Vec<(String, String)> {
    RELAY_HEADERS
        .iter()
        .filter(|name| !relay.headers.iter().any(|(own, _)| own == *name))
        .filter_map(|name| Some(((*name).to_owned(), get(name)?)))
        .chain(relay_own(status, relay))
        .collect()
}

/// The core's headers of a relayed answer. A range that is not there says nothing of the object,
/// and may be kept by nobody.
pub fn relay_own(status: u16, relay: &Relay) -> impl Iterator<Item = (String, String)> {
    relay.headers.iter().map(move |(name, value)| {
        let value = if status == 416 && name == "cache-control" { "no-store" } else { value };
        (name.clone(), value.to_owned())
    })
}

/// Whether a relay passes this upstream status on instead of resuming the exchange.
#[must_use]
pub fn is_relayed(status: u16, want: &Want) -> bool {
    matches!(status, 200 | 206) || (matches!(status, 304 | 416) && !want.forward.is_empty())
}

/// Whether the answer to `want` may be stored and shared at all: nothing of one viewer went into
/// the question.
#[must_use]
pub fn is_shared(want: &Want) -> bool {
    want.forward.iter().all(|name| name == "range")
}

/// Whether `want` has anything to do with a cache.
#[must_use]
pub fn uses_cache(want: &Want) -> bool {
    is_shared(want) && (want.collapse || want.fresh_ms > 0 || want.stale_ms > 0)
}

/// The viewer's headers that go along with `want`, out of those that the core's request has.
#[must_use]
pub fn forwarded(want: &Want, headers: &[(String, String)]) -> Vec<(String, String)> {
    headers.iter().filter(|(name, _)| want.forward.contains(name)).cloned().collect()
}

/// `want` with the time that is left of it, waiting for another's request included.
#[must_use]
pub fn left(want: &Want, begun_ms: u64, now_ms: u64) -> Want {
    let gone_ms = u32::try_from(now_ms.saturating_sub(begun_ms)).unwrap_or(u32::MAX);
    Want { timeout_ms: want.timeout_ms.saturating_sub(gone_ms).max(1), ..want.clone() }
}

/// What a door asks the origin for, or `None` where a want is not for the origin.
#[must_use]
pub fn origin_target(source: &Source) -> Option<String> {
    match source {
        Source::Document(name) => Some(format!("/documents/{name}")),
        Source::Origin(target) => Some(target.clone()),
        Source::Keyring | Source::Result => None,
    }
}

/// Sees to it that a document which is not genuine counts as no answer, so that it takes no good
/// copy's place. The core looks again, whatever a door kept.
///
/// # Errors
/// [`Failure::Unreachable`] for a document of status 200 that none of the keyring's document keys
/// signed under its name.
pub fn genuine(source: &Source, status: u16, body: &[u8], keyring: &[u8]) -> Result<(), Failure> {
    match source {
        Source::Document(name) if status == 200 => Keyring::parse(keyring)
            .ok()
            .filter(|keyring| document::read(name, body, keyring).is_ok())
            .map(|_| ())
            .ok_or(Failure::Unreachable),
        _ => Ok(()),
    }
}

/// How long an answer is used, in milliseconds; counted from its arrival, each span after the one
/// before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Used without asking.
    pub fresh_ms: u64,
    /// After that, used while one request refreshes it.
    pub stale_ms: u64,
    /// After `fresh_ms`, used when asking fails.
    pub stale_error_ms: u64,
}

/// What an answer of some age is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Use it.
    Fresh,
    /// Use it, and let one request refresh it.
    Stale,
    /// Use it when asking fails.
    OnFailure,
    /// Do not use it.
    Gone,
}

impl Lifetime {
    /// What `want` allows for an answer, or `None` when it may be neither stored nor shared.
    ///
    /// A lifetime of zero is an answer for those who already wait for it, and for nobody else.
    #[must_use]
    pub fn of(want: &Want, status: u16, cache_control: Option<&str>) -> Option<Self> {
        if !is_shared(want) || cache_control.is_some_and(forbids_sharing) {
            return None;
        }
        Some(match status {
            200 => Self {
                fresh_ms: want.fresh_ms.into(),
                stale_ms: want.stale_ms.into(),
                stale_error_ms: want.stale_error_ms.into(),
            },
            404 | 410 => Self { fresh_ms: want.missing_ms.into(), ..Self::default() },
            _ => Self::default(),
        })
    }

    /// What the answer is good for at `age_ms`.
    #[must_use]
    pub fn at(&self, age_ms: u64) -> Use {
        match age_ms.checked_sub(self.fresh_ms) {
            None => Use::Fresh,
            Some(over) if over < self.stale_ms => Use::Stale,
            Some(over) if over < self.stale_error_ms => Use::OnFailure,
            Some(_) => Use::Gone,
        }
    }

    /// Milliseconds after which the answer is good for nothing.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        self.fresh_ms + self.stale_ms.max(self.stale_error_ms)
    }
}

/// Longest that a copy which stands in for a failed origin is used without asking again, in
/// milliseconds.
pub const HOLD_MAX_MS: u32 = 5000;

/// How a copy of an earlier answer is used once asking failed: for a moment without asking, and
/// after it while one request tries again, so that an outage costs one viewer the wait and not
/// each.
#[must_use]
pub fn held(want: &Want) -> Lifetime {
    Lifetime {
        fresh_ms: want.fresh_ms.clamp(1, HOLD_MAX_MS).into(),
        stale_ms: want.stale_error_ms.into(),
        stale_error_ms: want.stale_error_ms.into(),
    }
}

/// Whether asking failed in the sense of `stale_error_ms`, given the status that came, if any.
#[must_use]
pub fn is_failure(status: Option<u16>) -> bool {
    status.is_none_or(|status| status >= 500)
}

/// What a `range` header asks of a whole of known length (RFC 9110, section 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// No range, or one that a server may ignore: several ranges, another unit, bad syntax.
    Whole,
    /// These bytes, both ends included.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// Nothing of it is there: 416.
    Unsatisfiable,
}

impl Cut {
    /// Reads `range` for a whole of `length` bytes.
    #[must_use]
    pub fn of(range: Option<&str>, length: u64) -> Self {
        let Some((first, last)) = range.and_then(one_byte_range) else {
            return Self::Whole;
        };
        match (first, last) {
            (Some(first), Some(last)) if last < first => Self::Whole,
            (Some(first), _) if first >= length => Self::Unsatisfiable,
            (Some(first), last) => {
                Self::Part { first, last: last.unwrap_or(u64::MAX).min(length - 1) }
            }
            (None, Some(0)) => Self::Unsatisfiable,
            (None, Some(_)) if length == 0 => Self::Unsatisfiable,
            (None, Some(suffix)) => {
                Self::Part { first: length.saturating_sub(suffix), last: length - 1 }
            }
            (None, None) => Self::Whole,
        }
    }

    /// Status, `content-length` and `content-range` of the answer.
    #[must_use]
    pub fn head(&self, length: u64) -> (u16, u64, Option<String>) {
        match *self {
            Self::Whole => (200, length, None),
            Self::Part { first, last } => {
                (206, last - first + 1, Some(format!("bytes {first}-{last}/{length}")))
            }
            Self::Unsatisfiable => (416, 0, Some(format!("bytes */{length}"))),
        }
    }
}

fn one_byte_range(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, spec) = range.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = spec.trim().split_once('-')?;
    Some((offset(first)?, offset(last)?))
}

/// `Some(None)` for an offset that is left out, `None` for one that is no number.
#[expect(clippy::option_option, reason = "left out and malformed differ, and both are local")]
fn offset(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Some)
}

/// The one value of a header that a balancer writes. Of several values a viewer may have sent all
/// but the last: none is to be trusted.
pub fn only<T>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values = values.into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// Country and region from the value of the trusted geography header: `IN` or `IN-MH`. Anything
/// else is not known.
#[must_use]
pub fn geography(value: &str) -> (Option<String>, Option<String>) {
    let (country, region) = match value.split_once('-') {
        Some((country, region)) => (country, Some(region)),
        None => (value, None),
    };
    let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_region = region.is_none_or(is_subdivision);
    if !is_country || !is_region {
        return (None, None);
    }
    (Some(country.to_owned()), region.map(str::to_owned))
}

/// The second half of an ISO 3166-2 code: one to three letters or digits, capitals.
fn is_subdivision(region: &str) -> bool {
    (1..=3).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// The event that an object belongs to, for purging all of an event at once.
#[must_use]
pub fn event_of(source: &Source) -> Option<&str> {
    let path = match source {
        Source::Document(name) => name.strip_prefix("snapshots/api/").unwrap_or(name),
        Source::Origin(target) => {
            let path = target.split('?').next().unwrap_or_default();
            path.strip_prefix("/api/").or_else(|| path.strip_prefix('/'))?
        }
        Source::Keyring | Source::Result => return None,
    };
    let (kind, rest) = path.split_once('/')?;
    if !matches!(kind, "live" | "events" | "keys" | "flags" | "pods") {
        return None;
    }
    rest.split('/').next().filter(|event| !event.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(forward: &[&str]) -> Want {
        Want {
            source: Source::Origin("/live/demo/v/1.m4s".to_owned()),
            key: "k".to_owned(),
            fresh_ms: 100,
            stale_ms: 50,
            stale_error_ms: 400,
            missing_ms: 30,
            collapse: true,
            timeout_ms: 1000,
            forward: forward.iter().map(|name| (*name).to_owned()).collect(),
            max_bytes: 1 << 20,
        }
    }

    #[test]
    fn lifetimes_follow_the_want_and_not_the_origin() {
        let lifetime = Lifetime::of(&want(&["range"]), 200, Some("max-age=9999"));
        let expected = Lifetime { fresh_ms: 100, stale_ms: 50, stale_error_ms: 400 };
        assert_eq!(lifetime, Some(expected));
        assert_eq!(expected.at(99), Use::Fresh);
        assert_eq!(expected.at(100), Use::Stale);
        assert_eq!(expected.at(150), Use::OnFailure);
        assert_eq!(expected.at(500), Use::Gone);
        assert_eq!(expected.end_ms(), 500);
        let missing = Lifetime::of(&want(&[]), 404, None);
        assert_eq!(missing, Some(Lifetime { fresh_ms: 30, ..Lifetime::default() }));
        assert_eq!(Lifetime::of(&want(&[]), 502, None), Some(Lifetime::default()));
    }

    #[test]
    fn nothing_of_one_viewer_is_shared() {
        assert_eq!(Lifetime::of(&want(&["authorization"]), 200, None), None);
        assert_eq!(Lifetime::of(&want(&[]), 200, Some("max-age=1, Private")), None);
        assert_eq!(Lifetime::of(&want(&[]), 200, Some("no-store")), None);
        assert!(Lifetime::of(&want(&[]), 200, Some("no-store-not")).is_some());
    }

    #[test]
    fn a_document_that_is_not_genuine_is_no_answer() {
        let hex = "00112233445566778899aabbccddeeff";
        let keyring = format!(
            r#"{{"document":{{"d1":"{hex}"}},"pass":{{"k1":"{hex}"}},"url":{{"u1":"{hex}"}}}}"#
        );
        let of = |name: &str, status, body: &[u8]| {
            let source = Source::Document(name.to_owned());
            genuine(&source, status, body, keyring.as_bytes())
        };
        let Ok(keys) = Keyring::parse(keyring.as_bytes()) else {
            panic!("the keyring of this test");
        };
        let key = keys.first(crate::keyring::Purpose::Document);
        let body = document::write("flags/demo", 1, b"{}", key);
        assert_eq!(of("flags/demo", 200, &body), Ok(()));
        assert_eq!(of("flags/other", 200, &body), Err(Failure::Unreachable));
        assert_eq!(of("flags/demo", 200, b"{}"), Err(Failure::Unreachable));
        assert_eq!(of("flags/demo", 404, b"{}"), Ok(()));
    }

    #[test]
    fn ranges_are_cut_as_http_says() {
        let part = |first, last| Cut::Part { first, last };
        for (range, cut) in [
            (None, Cut::Whole),
            (Some("bytes=0-3"), part(0, 3)),
            (Some("bytes=4-"), part(4, 9)),
            (Some("bytes=4-99"), part(4, 9)),
            (Some("bytes=-3"), part(7, 9)),
            (Some("bytes=-99"), part(0, 9)),
            (Some("bytes=-0"), Cut::Unsatisfiable),
            (Some("bytes=10-"), Cut::Unsatisfiable),
            (Some("bytes=3-1"), Cut::Whole),
            (Some("bytes=0-1,3-4"), Cut::Whole),
            (Some("bytes=+1-2"), Cut::Whole),
            (Some("lines=0-1"), Cut::Whole),
            (Some("bytes=-"), Cut::Whole),
        ] {
            assert_eq!(Cut::of(range, 10), cut, "{range:?}");
        }
        assert_eq!(Cut::of(Some("bytes=0-"), 0), Cut::Unsatisfiable);
        assert_eq!(part(4, 9).head(10), (206, 6, Some("bytes 4-9/10".to_owned())));
    }

    #[test]
    fn geography_is_known_or_not_known() {
        assert_eq!(only(["IN"]), Some("IN"));
        assert_eq!(only(["US", "IN"]), None);
        assert_eq!(only::<&str>([]), None);
        let known = |country: &str, region: Option<&str>| {
            (Some(country.to_owned()), region.map(str::to_owned))
        };
        assert_eq!(geography("IN"), known("IN", None));
        assert_eq!(geography("IN-MH"), known("IN", Some("MH")));
        for bad in ["", "in", "IND", "IN-", "IN-mh", "IN-MHXX", "IN-MH-X", "IN, US"] {
            assert_eq!(geography(bad), (None, None), "{bad}");
        }
    }

    #[test]
    fn objects_belong_to_their_event() {
        for (source, event) in [
            (Source::Origin("/live/demo/v720/1.m4s".to_owned()), Some("demo")),
            (Source::Origin("/api/events/demo/score?x=1".to_owned()), Some("demo")),
            (Source::Origin("/api/events".to_owned()), None),
            (Source::Origin("/page/index.html".to_owned()), None),
            (Source::Document("pods/demo/17/generic".to_owned()), Some("demo")),
            (Source::Document("snapshots/api/events/demo".to_owned()), Some("demo")),
            (Source::Result, None),
        ] {
            assert_eq!(event_of(&source), event, "{source:?}");
        }
    }

    #[test]
    fn the_core_s_headers_win_in_a_relay() {
        let relay = Relay {
            want: want(&["range"]),
            headers: vec![("content-type".to_owned(), "video/mp4".to_owned())],
        };
        let upstream = |name: &str| match name {
            "content-type" => Some("text/plain".to_owned()),
            "content-length" => Some("9".to_owned()),
            _ => None,
        };
        let expected = vec![
            ("content-length".to_owned(), "9".to_owned()),
            ("content-type".to_owned(), "video/mp4".to_owned()),
        ];
        assert_eq!(relay_headers(200, upstream, &relay), expected);
        let kept =
            Relay { headers: vec![("cache-control".to_owned(), "immutable".to_owned())], ..relay };
        let control = |status| relay_headers(status, |_| None, &kept).remove(0).1;
        assert_eq!((control(206), control(416)), ("immutable".to_owned(), "no-store".to_owned()));
    }
}
