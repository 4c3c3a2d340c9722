//! Answers to requests with an `Idempotency-Key`: who asks again is told the same, and nothing is
//! done twice. Secrets are not kept with them.

use sqlx::Row as _;

use super::database::{Database, DatabaseError};
use super::rows::clock;

/// After this a request that has no answer yet may be tried again: its process ended.
const STALE_MS: i64 = 60_000;
/// For how long answers are kept.
const KEPT_MS: i64 = 86_400_000;

/// An answer that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its status.
    pub status: u16,
    /// Its `location`; may be empty.
    pub location: String,
    /// Its body, without secrets.
    pub body: String,
}

/// Whether a request is to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is new.
    New,
    /// It was carried out.
    Done(Kept),
    /// It is being carried out.
    Running,
    /// Another request had this key.
    Another,
}

impl Database {
    /// Begins a request of `actor` under a key. `fingerprint` tells it from others.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn begin(
        &self,
        actor: &str,
        key: &str,
        fingerprint: &str,
    ) -> Result<Begun, DatabaseError> {
        let now = clock();
        let insert = sqlx::query(
            "INSERT INTO answers (actor, name, fingerprint, status, location, body, at_ms) \
             VALUES ($1, $2, $3, 0, '', '', $4) ON CONFLICT (actor, name) DO UPDATE \
             SET at_ms = $4, fingerprint = $3, status = 0, location = '', body = '' \
             WHERE answers.at_ms < $6 OR (answers.status = 0 AND answers.at_ms < $5)",
        );
        let insert = insert.bind(actor).bind(key).bind(fingerprint).bind(now);
        let insert = insert.bind(now - STALE_MS).bind(now - KEPT_MS);
        if self.within(insert.execute(self.pool())).await?.rows_affected() > 0 {
            return Ok(Begun::New);
        }
        let select = sqlx::query(
            "SELECT fingerprint, status, location, body FROM answers \
             WHERE actor = $1 AND name = $2",
        );
        let row = self.within(select.bind(actor).bind(key).fetch_optional(self.pool())).await?;
        // It was given up just now.
        let Some(row) = row else { return Ok(Begun::Running) };
        let status: i64 = row.try_get("status")?;
        Ok(match u16::try_from(status).unwrap_or(0) {
            _ if row.try_get::<String, _>("fingerprint")? != fingerprint => Begun::Another,
            0 => Begun::Running,
            status => Begun::Done(Kept {
                status,
                location: row.try_get("location")?,
                body: row.try_get("body")?,
            }),
        })
    }

    /// Keeps the answer to a request that was begun.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn answer(&self, actor: &str, key: &str, kept: &Kept) -> Result<(), DatabaseError> {
        let update = sqlx::query(
            "UPDATE answers SET status = $3, location = $4, body = $5 \
             WHERE actor = $1 AND name = $2",
        );
        let update = update.bind(actor).bind(key).bind(i64::from(kept.status));
        let update = update.bind(&kept.location).bind(&kept.body);
        self.within(update.execute(self.pool())).await.map(drop)
    }

    /// Gives up a request that was begun and changed nothing.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn give_up(&self, actor: &str, key: &str) -> Result<(), DatabaseError> {
        let delete = sqlx::query("DELETE FROM answers WHERE actor = $1 AND name = $2");
        self.within(delete.bind(actor).bind(key).execute(self.pool())).await.map(drop)
    }

    /// Forgets what is older than a day.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn trim_answers(&self) -> Result<(), DatabaseError> {
        let delete = sqlx::query("DELETE FROM answers WHERE at_ms < $1").bind(clock() - KEPT_MS);
        self.within(delete.execute(self.pool())).await.map(drop)
    }
}
