//! The score of the test match, from its clock: at every second what the test match has burnt into
//! its picture (`testmatch.rs`).

use crate::event::score::Score;

/// The score `seconds` after the event began.
#[must_use]
pub fn score(seconds: u64) -> Score {
    let (runs, wickets) = (seconds / 4, seconds / 97 % 10);
    let overs = format!("{}.{}", seconds / 30, seconds / 5 % 6);
    Score {
        teams: ["Home", "Away"].map(str::to_owned).into(),
        score: format!("{runs}/{wickets}"),
        detail: format!("{overs} overs"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_the_pictures() {
        let score = score(245);
        assert_eq!((score.score.as_str(), score.detail.as_str()), ("61/2", "8.1 overs"));
    }
}
