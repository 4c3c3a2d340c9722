//! What a door writes beside a stored body, as one line of text that fits a header field or a
//! platform's metadata.

use sightscreen_core::Failure;

use crate::headers::Headers;
use crate::{Lifetime, Use};

/// Milliseconds by which the clock of the machine that stored may be ahead of the one that reads.
const SKEW_MS: u64 = 5000;

/// Status, headers and times of a stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The answer's status, or why there was none: a failure is shared with those who wait, and
    /// kept for nobody.
    pub outcome: Result<u16, Failure>,
    /// Headers with names in lower case.
    pub headers: Headers,
    /// How long it is used.
    pub lifetime: Lifetime,
    /// When it came, in milliseconds since the Unix epoch.
    pub stored_ms: u64,
}

impl Stamp {
    /// What the answer is good for at `now_ms`.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Use {
        let age_ms = match now_ms.checked_sub(self.stored_ms) {
            None if self.stored_ms - now_ms <= SKEW_MS => Some(0),
            age_ms => age_ms,
        };
        self.lifetime.at(age_ms)
    }

    /// Milliseconds for which it may still be used without asking.
    #[must_use]
    pub fn left_ms(&self, now_ms: u64) -> u64 {
        let end_ms = self.stored_ms.saturating_add(self.lifetime.fresh_ms);
        if self.at(now_ms) == Use::Fresh { end_ms.saturating_sub(now_ms) } else { 0 }
    }

    /// The line: four numbers, then the headers, with tabs between.
    #[must_use]
    pub fn to_text(&self) -> String {
        let outcome = match self.outcome {
            Ok(status) => status,
            Err(Failure::Timeout) => 1,
            Err(Failure::Unreachable) => 2,
            Err(Failure::TooLarge) => 3,
        };
        let Lifetime { fresh_ms, stale_ms } = self.lifetime;
        let numbers = format!("{outcome} {} {fresh_ms} {stale_ms}", self.stored_ms);
        self.headers.iter().fold(numbers, |text, (name, value)| text + "\t" + name + ": " + value)
    }

    /// Reads such a line; `None` for anything else, which a door treats as nothing stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('\t');
        let numbers: Vec<u64> =
            fields.next()?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [outcome, stored_ms, fresh_ms, stale_ms] = numbers[..] else {
            return None;
        };
        let outcome = match outcome {
            1 => Err(Failure::Timeout),
            2 => Err(Failure::Unreachable),
            3 => Err(Failure::TooLarge),
            status @ 100..600 => Ok(u16::try_from(status).ok()?),
            _ => return None,
        };
        let header = |field: &str| {
            field.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let headers = fields.map(header).collect::<Option<_>>()?;
        Some(Self { outcome, headers, lifetime: Lifetime { fresh_ms, stale_ms }, stored_ms })
    }

    /// The line, a line end and the body: how an answer lies in a store that keeps bytes alone.
    #[must_use]
    pub fn with_body(&self, body: &[u8]) -> Vec<u8> {
        [self.to_text().as_bytes(), b"\n", body].concat()
    }

    /// Reads what [`Stamp::with_body`] wrote.
    #[must_use]
    pub fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let stamp = Self::parse(std::str::from_utf8(&bytes[..end]).ok()?)?;
        Some((stamp, &bytes[end + 1..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lifetime = Lifetime { fresh_ms: 5, stale_ms: 7 };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (outcome, headers) in [
            (Ok(200), vec![header("content-type", "text/plain; a=b"), header("x", "")]),
            (Ok(404), Vec::new()),
            (Err(Failure::Timeout), Vec::new()),
            (Err(Failure::Unreachable), Vec::new()),
            (Err(Failure::TooLarge), Vec::new()),
        ] {
            let stamp = Stamp { outcome, headers, lifetime, stored_ms: 1_700_000_000_000 };
            assert_eq!(Stamp::parse(&stamp.to_text()), Some(stamp.clone()));
            let whole = stamp.with_body(b"a\nb");
            assert_eq!(Stamp::split(&whole), Some((stamp, &b"a\nb"[..])));
        }
    }

    #[test]
    fn anything_else_is_nothing_stored() {
        for text in ["", "200", "200 1 2", "200 1 2 x", "9 1 2 3", "200 1 2 3\tno-colon"] {
            assert_eq!(Stamp::parse(text), None, "{text:?}");
        }
        assert_eq!(Stamp::split(b"200 1 2 3"), None);
    }
}
