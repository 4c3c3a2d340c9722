//! What a door writes beside a stored body, as one line of text that fits a header field or a
//! platform's metadata.

use super::{Lifetime, Use};
use crate::Failure;

/// Status, headers and times of a stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The answer's status, or why there was none: a failure is shared with those who wait, and
    /// kept for nobody.
    pub outcome: Result<u16, Failure>,
    /// Headers with names in lower case.
    pub headers: Vec<(String, String)>,
    /// How long it is used.
    pub lifetime: Lifetime,
    /// When it came, in milliseconds since the Unix epoch.
    pub stored_ms: u64,
}

impl Stamp {
    /// What the answer is good for at `now_ms`.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> Use {
        self.lifetime.at(now_ms.saturating_sub(self.stored_ms))
    }

    /// The line: five numbers, then the headers, with tabs between.
    #[must_use]
    pub fn to_text(&self) -> String {
        let outcome = match self.outcome {
            Ok(status) => status,
            Err(Failure::Timeout) => 1,
            Err(Failure::Unreachable) => 2,
            Err(Failure::TooLarge) => 3,
        };
        let Lifetime { fresh_ms, stale_ms, stale_error_ms } = self.lifetime;
        let numbers =
            format!("{outcome} {} {fresh_ms} {stale_ms} {stale_error_ms}", self.stored_ms);
        self.headers.iter().fold(numbers, |text, (name, value)| text + "\t" + name + ": " + value)
    }

    /// Reads such a line; `None` for anything else, which a door treats as nothing stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('\t');
        let numbers: Vec<u64> =
            fields.next()?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [outcome, stored_ms, fresh_ms, stale_ms, stale_error_ms] = numbers[..] else {
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
        let lifetime = Lifetime { fresh_ms, stale_ms, stale_error_ms };
        Some(Self { outcome, headers, lifetime, stored_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let lifetime = Lifetime { fresh_ms: 5, stale_ms: 0, stale_error_ms: 7 };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (outcome, headers) in [
            (Ok(200), vec![header("content-type", "text/plain; a=b"), header("x", "")]),
            (Ok(404), Vec::new()),
            (Err(Failure::Timeout), Vec::new()),
            (Err(Failure::Unreachable), Vec::new()),
            (Err(Failure::TooLarge), Vec::new()),
        ] {
            let stamp = Stamp { outcome, headers, lifetime, stored_ms: 17 };
            assert_eq!(Stamp::parse(&stamp.to_text()), Some(stamp));
        }
    }

    #[test]
    fn anything_else_is_nothing() {
        for text in ["", "200", "200 1 2 3", "200 1 2 3 x", "7 1 2 3 4", "200 1 2 3 4\tnothing"] {
            assert_eq!(Stamp::parse(text), None, "{text:?}");
        }
    }
}
