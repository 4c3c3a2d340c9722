//! Delivery directives of a media playlist request: what a player asks, and the few forms in which
//! that reaches a cache key or the origin.

use super::Admitted;
use crate::playlist::{Asked, Position};
use crate::problem::Problem;

/// Past any sequence number. Keeps sums far from overflow.
const NUMBER_MAX: u64 = 1 << 48;
/// Most parts of a segment, where the event does not say.
const PARTS_MAX: u64 = 1000;

/// `_HLS_` directives.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Directives {
    pub(super) msn: Option<u64>,
    pub(super) part: Option<u64>,
    pub(super) skip: bool,
}

impl Directives {
    /// Other parameters are players' and CDNs' own, and no reason for another cache key. Neither
    /// is the order, nor how a number is spelt.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let mut directives = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let repeated = match name {
                "_HLS_msn" => directives.msn.replace(number(value)?).is_some(),
                "_HLS_part" => directives.part.replace(number(value)?).is_some(),
                "_HLS_skip" if matches!(value, "YES" | "v2") => {
                    std::mem::replace(&mut directives.skip, true)
                }
                "_HLS_skip" => return Err(Problem::DirectiveInvalid),
                _ => false,
            };
            if repeated {
                return Err(Problem::DirectiveInvalid);
            }
        }
        if directives.part.is_some() && directives.msn.is_none() {
            return Err(Problem::DirectiveInvalid);
        }
        Ok(directives)
    }

    /// A session that is not offered blocking reload does not get it. Past a segment's last part
    /// stands the next segment's first (RFC 8216bis 6.2.5.2), so that numbers without end are no
    /// requests without end.
    pub(super) fn for_session(self, admitted: &Admitted) -> Self {
        if admitted.low_latency {
            let last = admitted.event.parts.map_or(PARTS_MAX, u64::from);
            Self { part: self.part.map(|part| part.min(last)), ..self }
        } else {
            self.plain()
        }
    }

    /// A request for what has been listed for long is a plain one, whichever number it names.
    pub(super) fn folded(self, position: Option<Position>) -> Self {
        match position.and_then(|position| self.judge(position)) {
            Some(Asked::Old) => self.plain(),
            _ => self,
        }
    }

    /// What a playlist that ends at `position` makes of the request; `None` for a plain one.
    pub(super) fn judge(self, position: Position) -> Option<Asked> {
        self.msn.map(|msn| position.judge(msn, self.part))
    }

    /// The request without blocking.
    pub(super) fn plain(self) -> Self {
        Self { msn: None, part: None, ..self }
    }
}

fn number(text: &str) -> Result<u64, Problem> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|n| is_plain && *n < NUMBER_MAX);
    number.ok_or(Problem::DirectiveInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_request_are_one() {
        let asked = Directives { msn: Some(7), part: Some(2), skip: true };
        for query in [
            "_HLS_msn=7&_HLS_part=2&_HLS_skip=YES",
            "_HLS_skip=v2&_HLS_part=02&_HLS_msn=0007",
            "&&CMCD=a&_HLS_part=2&x&_HLS_msn=7&_HLS_primary_id=8&_HLS_skip=YES&",
        ] {
            assert_eq!(Directives::parse(query), Ok(asked), "{query}");
        }
        for query in
            ["_HLS_msn=+7", "_HLS_msn=", "_HLS_msn=281474976710656", "_HLS_msn=7&_HLS_msn=7"]
        {
            assert_eq!(Directives::parse(query), Err(Problem::DirectiveInvalid), "{query}");
        }
    }
}
