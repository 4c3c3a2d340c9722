//! The score of the test match, from its clock: at every second what the test match has burnt into
//! its picture (`testmatch.rs`).

use serde::Serialize;

/// The score at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Who plays.
    pub teams: [&'static str; 2],
    /// Runs of the team that bats.
    pub runs: u64,
    /// Its wickets.
    pub wickets: u64,
    /// Overs and balls.
    pub overs: String,
    /// Minutes and seconds since the event began.
    pub clock: String,
}

/// The score `seconds` after the event began.
#[must_use]
pub fn score(seconds: u64) -> Score {
    Score {
        teams: ["Home", "Away"],
        runs: seconds / 4,
        wickets: seconds / 97 % 10,
        overs: format!("{}.{}", seconds / 30, seconds / 5 % 6),
        clock: format!("{:02}:{:02}", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn score_is_the_pictures() {
        let score = score(245);
        assert_eq!(
            (score.runs, score.wickets, score.overs.as_str(), score.clock.as_str()),
            (61, 2, "8.1", "04:05")
        );
    }
}
