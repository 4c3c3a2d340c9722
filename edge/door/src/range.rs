//! Ranges, as a door cuts them from a stored whole (RFC 9110, section 14).

/// What a `range` header asks of a whole of known length.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
