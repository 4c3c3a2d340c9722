//! Targets: from the bytes that a door received to one route.
//!
//! Owns canonical targets and the route table, the only one in the project. Invariant: two targets
//! that a server behind could read as the same path are the same [`Target`] or are refused, so what
//! is checked is what is fetched.

use std::borrow::Cow;

use memchr::memchr;

use crate::page::INDEX;

/// Longest target that is looked at, in bytes.
pub const TARGET_BYTES_MAX: usize = 4096;
/// Visible characters that no target has unescaped (RFC 3986, section 2), and of which platforms
/// make one thing or another. Others that it rules out are in queries that browsers send.
const NEVER_RAW: &[u8] = b"\"#<>\\";
/// Longest identifier, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 64;
/// Longest epoch of an event, in bytes.
const EPOCH_BYTES_MAX: usize = 16;

/// A target with one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Path: unreserved characters plain, other escapes in capitals, no dot or empty segments.
    pub path: Cow<'a, str>,
    /// Query as received, without `?`.
    pub query: Option<&'a str>,
}

/// The target has more than one reading, or is not in origin form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'a> {
    /// `/live/{event}/main.m3u8`: entry with a signed URL.
    Entry {
        /// Event.
        event: &'a str,
    },
    /// `/live/{event}/{pass}/main.m3u8`.
    Multivariant {
        /// Event.
        event: &'a str,
        /// Pass, unverified.
        pass: &'a str,
    },
    /// `/live/{event}/{pass}/{rendition}/index.m3u8`.
    MediaPlaylist {
        /// Event.
        event: &'a str,
        /// Pass, unverified.
        pass: &'a str,
        /// Rendition.
        rendition: &'a str,
    },
    /// Init, segment or part, of the content or of a creative.
    Object {
        /// Event.
        event: &'a str,
        /// Pass, unverified.
        pass: &'a str,
        /// Rendition.
        rendition: &'a str,
        /// All that follows the pass: the object's path below the event at the origin.
        path: &'a str,
    },
    /// `/api/...`, the whole path.
    Api(&'a str),
    /// `/`, `/watch/{event}` or `/page/{file}`: the file.
    Page(&'a str),
}

impl<'a> Target<'a> {
    /// Reads a raw target.
    ///
    /// # Errors
    /// [`Ambiguous`]: not origin form, too long, a character that is not visible ASCII, a quotation
    /// mark, an angle bracket, a backslash, a fragment, a bad or double escape, an escaped
    /// separator or control character, an empty or dot segment.
    pub fn parse(raw: &'a str) -> Result<Self, Ambiguous> {
        if raw.len() > TARGET_BYTES_MAX || !raw.starts_with('/') || !is_visible(raw) {
            return Err(Ambiguous);
        }
        let (path, query) = match cut(raw, b'?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        let path = canonical_path(path)?;
        if query.is_some_and(|query| {
            memchr(b'%', query.as_bytes()).is_some() && !escapes_are_whole(query)
        }) {
            return Err(Ambiguous);
        }
        Ok(Self { path, query })
    }

    /// The route, if the path has one.
    #[must_use]
    pub fn route(&self) -> Option<Route<'_>> {
        let path = self.path.strip_prefix('/')?;
        if path.is_empty() {
            return Some(Route::Page(INDEX));
        }
        let (area, rest) = cut(path, b'/')?;
        match area {
            "live" => live(rest),
            "api" => (!rest.is_empty()).then_some(Route::Api(&self.path)),
            // The page reads the event in its address.
            "watch" => is_identifier(rest).then_some(Route::Page(INDEX)),
            "page" => is_file(rest).then_some(Route::Page(rest)),
            _ => None,
        }
    }
}

/// Whether a target has only characters that may stand in one. Looks at every byte, without an
/// early end, so that the compiler can look at many at once.
fn is_visible(raw: &str) -> bool {
    let mut is_other = false;
    for byte in raw.bytes() {
        let mut is_raw = byte.is_ascii_graphic();
        for never in NEVER_RAW {
            is_raw &= byte != *never;
        }
        is_other |= !is_raw;
    }
    !is_other
}

/// As `split_once`, for an ASCII character.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

fn live(rest: &str) -> Option<Route<'_>> {
    let (event, rest) = cut(rest, b'/').filter(|(event, _)| is_identifier(event))?;
    if rest == "main.m3u8" {
        return Some(Route::Entry { event });
    }
    let (pass, path) = cut(rest, b'/')?;
    if path == "main.m3u8" {
        return Some(Route::Multivariant { event, pass });
    }
    if let Some(creative) = path.strip_prefix("ads/") {
        let mut parts = creative.split('/');
        let (creative, rendition, phase, object) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Not the content's: what a creative is made of is in its identifier.
        let whole = parts.next().is_none()
            && is_identifier(creative)
            && is_number(phase)
            && is_object(object);
        return (whole && is_identifier(rendition)).then_some(Route::Object {
            event,
            pass,
            rendition,
            path,
        });
    }
    let (rendition, object) = cut(path, b'/').filter(|(rendition, _)| is_identifier(rendition))?;
    if object == "index.m3u8" {
        return Some(Route::MediaPlaylist { event, pass, rendition });
    }
    let name = match object.split_once('-') {
        Some((epoch, name)) if is_epoch(epoch) => name,
        _ => object,
    };
    let is_one = is_object(name) || is_later_init(name) || is_later_init(object);
    is_one.then_some(Route::Object { event, pass, rendition, path })
}

/// Whether `text` may name an event, a rendition, a creative, a cohort or a plan.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    if !(1..=IDENTIFIER_BYTES_MAX).contains(&text.len()) {
        return false;
    }
    // One pass over the bytes: this is on the way of every request, five times.
    let mut before = None;
    for byte in text.bytes() {
        match (byte, before) {
            (b'a'..=b'z' | b'0'..=b'9', _) | (b'-', Some(_)) => {}
            (b'.', Some(before)) if before != b'.' => {}
            _ => return false,
        }
        before = Some(byte);
    }
    true
}

/// Whether `text` may be the epoch of an event, which tells one match from another under the same
/// name.
#[must_use]
pub fn is_epoch(text: &str) -> bool {
    (1..=EPOCH_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// `init.mp4`, `{number}.m4s` or `{number}.{number}.m4s`.
fn is_object(name: &str) -> bool {
    let numbers = |stem: &str| match stem.split_once('.') {
        Some((segment, part)) => is_number(segment) && is_number(part),
        None => is_number(stem),
    };
    name == "init.mp4" || name.strip_suffix(".m4s").is_some_and(numbers)
}

/// `init-{number}.mp4`: the content's, from a change of its encoder on.
fn is_later_init(name: &str) -> bool {
    let stem = name.strip_prefix("init-").and_then(|rest| rest.strip_suffix(".mp4"));
    stem.is_some_and(|number| is_number(number) && number != "0")
}

/// Decimal digits without leading zeros, so that one number has one name.
fn is_number(text: &str) -> bool {
    let digits = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

fn is_file(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=IDENTIFIER_BYTES_MAX).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(plain)
        && !name.contains("..")
}

fn canonical_path(path: &str) -> Result<Cow<'_, str>, Ambiguous> {
    let has_escape = memchr(b'%', path.as_bytes()).is_some();
    let path = if has_escape { Cow::Owned(plain_escapes(path)?) } else { Cow::Borrowed(path) };
    segments_are_plain(&path).then_some(path).ok_or(Ambiguous)
}

/// Whether a path has neither empty segments nor dot segments; the root is whole.
fn segments_are_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    // Hardly a path has a segment that begins so. Again many bytes at once.
    let mut is_strange = bytes.len() > 1 && bytes.ends_with(b"/");
    for (before, byte) in bytes.iter().zip(bytes.iter().skip(1)) {
        is_strange |= *before == b'/' && (*byte == b'/' || *byte == b'.');
    }
    !is_strange || path[1..].split('/').all(|segment| !matches!(segment, "" | "." | ".."))
}

/// RFC 3986 6.2.2: unreserved characters decoded, all other escapes in capitals.
fn plain_escapes(path: &str) -> Result<String, Ambiguous> {
    let mut plain = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let byte = escaped(piece).ok_or(Ambiguous)?;
        let separator =
            matches!(byte, b'/' | b'\\' | b'%' | b'?' | b'#') || byte.is_ascii_control();
        if separator {
            return Err(Ambiguous);
        }
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            plain.push(char::from(byte));
        } else {
            plain.push('%');
            plain.push_str(&piece[..2].to_ascii_uppercase());
        }
        plain.push_str(&piece[2..]);
    }
    Ok(plain)
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|piece| escaped(piece).is_some_and(|byte| !byte.is_ascii_control()))
}

/// The byte that `piece`, which followed a `%`, begins with.
fn escaped(piece: &str) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    match piece.as_bytes() {
        [high, low, ..] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
        _ => None,
    }
}

/// Decodes the escapes of one query name or value; `None` where it is not whole UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(escaped(piece)?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Option<String> {
        Target::parse(raw).ok().map(|target| target.path.into_owned())
    }

    #[test]
    fn one_path_has_one_spelling() {
        assert_eq!(path("/live/%61/%7Ex"), Some("/live/a/~x".into()));
        assert_eq!(path("/api/caf%c3%a9"), Some("/api/caf%C3%A9".into()));
        assert_eq!(path("/"), Some("/".into()));
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for raw in [
            "",
            "x",
            "*",
            "http://h/x",
            "//x",
            "/a//b",
            "/a/",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/b",
            "/a/.%2E",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a%7f",
            "/a%252fb",
            "/a%",
            "/a%4",
            "/a%4p",
            "/a b",
            "/a#b",
            "/a\u{e9}",
            "/a?x=%4",
            "/a?x=%00",
        ] {
            assert_eq!(path(raw), None, "{raw:?}");
        }
        assert_eq!(path(&format!("/{}", "a".repeat(TARGET_BYTES_MAX))), None);
        assert_eq!(path(&"/../".repeat(512)), None);
    }

    #[test]
    fn routes() {
        let route =
            |raw: &str| Target::parse(raw).ok().and_then(|t| t.route().map(|r| format!("{r:?}")));
        let has = |raw: &str, text: &str| {
            assert!(route(raw).is_some_and(|r| r.starts_with(text)), "{raw}: {:?}", route(raw));
        };
        has("/live/e/main.m3u8?x=1", "Entry");
        has("/live/e/PASS/main.m3u8", "Multivariant");
        has("/live/e/PASS/720p/index.m3u8", "MediaPlaylist");
        has("/live/e/PASS/720p/12.3.m4s", "Object");
        has("/live/e/PASS/720p/1a2b-12.3.m4s", "Object");
        has("/live/e/PASS/720p/1a2b-init.mp4", "Object");
        has("/live/e/PASS/720p/1a2b-init-1.mp4", "Object");
        has("/live/e/PASS/720p/init-12.mp4", "Object");
        has("/live/e/PASS/ads/c/720p/0/init.mp4", "Object");
        has("/api/events", "Api");
        has("/", "Page(\"index.html\")");
        has("/page/app.js", "Page(\"app.js\")");
        has("/watch/final.2026?at=1", "Page(\"index.html\")");
        for raw in [
            "/live",
            "/live/e",
            "/live/E/main.m3u8",
            "/live/e/P/720p/12.m3u8",
            "/live/e/P/720p/012.m4s",
            "/live/e/P/720p/-12.m4s",
            "/live/e/P/720p/1A2B-12.m4s",
            "/live/e/P/720p/0123456789abcdefg-12.m4s",
            "/live/e/P/720p/a-b-12.m4s",
            "/live/e/P/ads/c/720p/0/1a2b-0.m4s",
            "/live/e/P/ads/c/720p/init.mp4",
            "/live/e/P/ads/c/720p/0/x/init.mp4",
            "/live/e/P/ads/c/720p/0/init-1.mp4",
            "/live/e/P/720p/1a2b-init-0.mp4",
            "/live/e/P/720p/1a2b-init-01.mp4",
            "/live/e/P/720p/1a2b-init-.mp4",
            "/live/e/P/720p/1a2b-init-1.m4s",
            "/api",
            "/page/.env",
            "/pages",
            "/watch",
            "/watch/",
            "/watch/E",
            "/watch/e/",
            "/watch/e/x",
            "/live/e/P/720p/1.2.3.m4s",
        ] {
            assert_eq!(route(raw), None, "{raw}");
        }
    }
}
