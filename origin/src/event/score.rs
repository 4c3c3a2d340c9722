//! The score, where somebody gives one. Nothing is invented for a real match.

use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::disk::write_whole;

/// Longest text of a score, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// Most sides of a match.
const TEAMS_MAX: usize = 4;

/// A score, as viewers are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Who plays.
    pub teams: Vec<String>,
    /// How it stands, such as `2 - 1`.
    pub score: String,
    /// What there is to say besides, such as the minute.
    #[serde(default)]
    pub detail: String,
}

/// Where an event's score stands; kept over a restart.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    score: RwLock<Option<Score>>,
}

/// Why a score is not shown.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// It cannot be shown.
    #[error(
        "a score has 1 to {TEAMS_MAX} teams, a score and perhaps a detail, each of at most \
         {TEXT_BYTES_MAX} bytes without control characters"
    )]
    Unfit,
    /// It cannot be kept.
    #[error("the score cannot be kept: {0}")]
    Disk(#[from] std::io::Error),
}

impl Board {
    /// The board with what was kept in that file. One that cannot be read shows nothing.
    #[must_use]
    pub fn open(path: PathBuf) -> Self {
        let kept = std::fs::read(&path).ok();
        let score = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, score: RwLock::new(score) }
    }

    /// What it shows.
    #[must_use]
    pub fn score(&self) -> Option<Score> {
        self.score.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a score, or nothing. Blocks until it is on disk.
    ///
    /// # Errors
    /// See [`ScoreError`]; it shows what it did.
    pub fn show(&self, score: Option<Score>) -> Result<(), ScoreError> {
        if score.as_ref().is_some_and(|score| !score.is_fit()) {
            return Err(ScoreError::Unfit);
        }
        let bytes = serde_json::to_vec(&score).map_err(std::io::Error::from)?;
        write_whole(&self.path, &bytes)?;
        *self.score.write().unwrap_or_else(PoisonError::into_inner) = score;
        Ok(())
    }
}

impl Score {
    fn is_fit(&self) -> bool {
        let fits = |text: &String| text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control);
        (1..=TEAMS_MAX).contains(&self.teams.len())
            && self.teams.iter().all(|team| fits(team) && !team.is_empty())
            && fits(&self.score)
            && fits(&self.detail)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn score(text: &str) -> Score {
        let teams = ["Reds", "Blues"].map(str::to_owned).into();
        Score { teams, score: text.to_owned(), detail: String::new() }
    }

    #[test]
    fn what_is_given_is_shown_and_kept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Board::open(folder.path().join("score.json"));
        let board = open();
        assert_eq!(board.score(), None);
        board.show(Some(score("2 - 1"))).unwrap();
        assert_eq!(open().score(), Some(score("2 - 1")));
        for unfit in [
            Score { teams: Vec::new(), ..score("0") },
            Score { teams: vec![String::new()], ..score("0") },
            score(&"9".repeat(65)),
            score("2\n1"),
        ] {
            assert!(matches!(board.show(Some(unfit)), Err(ScoreError::Unfit)));
        }
        assert_eq!(board.score(), Some(score("2 - 1")));
        board.show(None).unwrap();
        assert_eq!((board.score(), open().score()), (None, None));
    }
}
