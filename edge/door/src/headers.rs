//! Which headers pass a door, in both directions.

use sightscreen_core::{Relay, Sharing, Want, forbids_sharing};

/// Names and values, names in lower case.
pub type Headers = Vec<(String, String)>;

/// Headers of an answer of the origin that anyone reads. A door drops all others.
pub const READ: [&str; 6] =
    ["cache-control", "content-length", "content-range", "content-type", "etag", "retry-after"];

/// With this header a door says to the origin that it is an edge.
pub const SECRET: &str = "sightscreen-edge-secret";

/// Those that become part of an [`Object`](sightscreen_core::Object), and are stored with it.
pub const KEPT: [&str; 4] = ["cache-control", "content-type", "etag", "retry-after"];

/// Those that a relay passes on, unless the core sets them.
const RELAYED: [&str; 4] = ["content-type", "content-length", "content-range", "etag"];

/// What of the origin's answer is read, by `get` (by lower case name).
pub fn read<V: IntoIterator<Item = String>>(get: impl Fn(&str) -> V) -> Headers {
    let line = |name: &str| {
        let mut values = get(name).into_iter();
        let first = values.next()?;
        // A list may stand on several lines (RFC 9110, section 5.3), and `private` on any of them.
        Some(match name {
            "cache-control" => values.fold(first, |list, value| format!("{list}, {value}")),
            _ => first,
        })
    };
    READ.iter().filter_map(|name| Some(((*name).to_owned(), line(name)?))).collect()
}

/// The first value of that name.
#[must_use]
pub fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The length that the origin gives, where it gives a good one.
#[must_use]
pub fn length(headers: &[(String, String)]) -> Option<u64> {
    value(headers, "content-length")?.parse().ok()
}

/// What of these is kept with an object.
#[must_use]
pub fn kept(headers: &[(String, String)]) -> Headers {
    headers.iter().filter(|(name, _)| KEPT.contains(&name.as_str())).cloned().collect()
}

/// The headers of a relayed answer: the origin's few, then the core's, which win.
#[must_use]
pub fn relayed(status: u16, origin: &[(String, String)], relay: &Relay) -> Headers {
    let is_private = value(origin, "cache-control").is_some_and(forbids_sharing);
    let is_set = |name: &str| relay.headers.iter().any(|(own, _)| own == name);
    origin
        .iter()
        .filter(|(name, _)| RELAYED.contains(&name.as_str()) && !is_set(name))
        .cloned()
        .chain(own(status, is_private, relay))
        .collect()
}

/// The core's headers of a relayed answer. What the origin says is for one viewer or for no cache
/// (`is_private`) is so for the viewer's caches too. A range that is not there says nothing of the
/// object, and may be kept by nobody.
#[must_use]
pub fn own(status: u16, is_private: bool, relay: &Relay) -> Headers {
    let instead = match status {
        _ if is_private => Some("private, no-store"),
        416 => Some("no-store"),
        _ => None,
    };
    let is_kept = |name: &str| instead.is_none() || name != "cache-control";
    let instead = instead.map(|value| ("cache-control".to_owned(), value.to_owned()));
    relay.headers.iter().filter(|(name, _)| is_kept(name)).cloned().chain(instead).collect()
}

/// The viewer's headers that go along with `want`.
#[must_use]
pub fn forwarded(want: &Want, viewer: &[(String, String)]) -> Headers {
    let goes = |name: &str| want.sharing == Sharing::OneViewer && name == "authorization";
    viewer.iter().filter(|(name, _)| goes(name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::want;

    #[test]
    fn the_core_s_headers_win_in_a_relay() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let relay = Relay { want: want(), headers: vec![header("content-type", "video/mp4")] };
        let origin = [
            header("content-type", "text/plain"),
            header("content-length", "9"),
            header("set-cookie", "no"),
        ];
        let expected = vec![header("content-length", "9"), header("content-type", "video/mp4")];
        assert_eq!(relayed(200, &origin, &relay), expected);
        let kept = Relay { headers: vec![header("cache-control", "immutable")], ..relay };
        let control = |status| relayed(status, &[], &kept).remove(0).1;
        assert_eq!((control(206), control(416)), ("immutable".to_owned(), "no-store".to_owned()));
    }

    #[test]
    fn what_is_for_one_viewer_is_told_so_to_the_viewer_whatever_the_core_says() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let relay = |headers| Relay { want: want(), headers };
        let told = |status, said: &str, relay: &Relay| {
            relayed(status, &[header("cache-control", said)], relay)
        };
        let immutable = relay(vec![header("cache-control", "public, immutable"), header("x", "1")]);
        let private = vec![header("x", "1"), header("cache-control", "private, no-store")];
        for said in ["private, max-age=60", "No-Store"] {
            assert_eq!(told(200, said, &immutable), private, "{said}");
            assert_eq!(told(416, said, &immutable), private, "{said}");
            assert_eq!(told(200, said, &relay(vec![])), private[1..], "{said}");
        }
        assert_eq!(told(200, "max-age=60", &immutable), immutable.headers);
    }

    #[test]
    fn only_what_is_about_one_viewer_carries_credentials() {
        let viewer = [("authorization", "Bearer x"), ("range", "bytes=0-1")]
            .map(|(n, v)| (n.into(), v.into()));
        assert_eq!(forwarded(&want(), &viewer), vec![]);
        let personal = Want { sharing: Sharing::OneViewer, ..want() };
        assert_eq!(forwarded(&personal, &viewer), vec![viewer[0].clone()]);
    }
}
