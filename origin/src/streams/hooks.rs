//! Webhooks: who is told of a stream's changes, and what is still to be told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::database::{Database, DatabaseError};
use super::rows::clock;
use crate::documents::keys::random_hex;
use crate::secret::Secret;

/// Random bytes of a webhook's secret.
const SECRET_BYTES: usize = 32;
/// What secrets begin with; the rest is base64.
pub(super) const SECRET_PREFIX: &str = "whsec_";
/// Most webhooks.
const HOOKS_MAX: i64 = 16;

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Identifier.
    pub id: String,
    /// Where.
    pub url: String,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
}

/// One change that somebody is to be told.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) id: String,
    pub(super) webhook: String,
    pub(super) stream: String,
    pub(super) body: String,
    /// How often it was tried.
    pub(super) attempts: u32,
    pub(super) url: String,
    pub(super) secret: Secret,
}

/// Of each webhook and stream the oldest: what comes after waits for it.
const DUE: &str = "SELECT d.id, d.webhook, d.stream, d.body, d.attempts, w.url, w.secret \
    FROM deliveries d JOIN webhooks w ON w.id = d.webhook WHERE d.next_ms <= $1 \
    AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.webhook = d.webhook \
    AND e.stream = d.stream AND e.step < d.step) ORDER BY d.next_ms, d.id LIMIT $2";
const INSERT: &str = "INSERT INTO webhooks (id, url, secret, created_ms) SELECT $1, $2, $3, $4 \
    WHERE (SELECT COUNT(*) FROM webhooks) < $5";

impl Database {
    /// Adds a webhook. Returns it and the secret that its calls are signed with; `None` where there
    /// are too many.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn make_hook(&self, url: &str) -> Result<Option<(Hook, String)>, DatabaseError> {
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).map_err(|e| DatabaseError::Refused(e.to_string()))?;
        let secret = format!("{SECRET_PREFIX}{}", STANDARD.encode(random));
        let hook = Hook { id: random_hex(8), url: url.to_owned(), created_ms: clock() };
        let insert = sqlx::query(INSERT).bind(&hook.id).bind(url).bind(&secret);
        let insert = insert.bind(hook.created_ms).bind(HOOKS_MAX);
        let made = self.within(insert.execute(self.pool())).await?.rows_affected() > 0;
        Ok(made.then_some((hook, secret)))
    }

    /// All webhooks.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn hooks(&self) -> Result<Vec<Hook>, DatabaseError> {
        let all = sqlx::query("SELECT id, url, created_ms FROM webhooks ORDER BY created_ms, id");
        let rows = self.within(all.fetch_all(self.pool())).await?;
        let hook = |row: &AnyRow| {
            Ok::<_, sqlx::Error>(Hook {
                id: row.try_get("id")?,
                url: row.try_get("url")?,
                created_ms: row.try_get("created_ms")?,
            })
        };
        Ok(rows.iter().map(hook).collect::<Result<_, _>>()?)
    }

    /// Removes a webhook and what it was to be told; whether it was there.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn remove_hook(&self, id: &str) -> Result<bool, DatabaseError> {
        self.within(async {
            let mut all = self.pool().begin().await?;
            let told = sqlx::query("DELETE FROM deliveries WHERE webhook = $1").bind(id);
            told.execute(&mut *all).await?;
            let hook = sqlx::query("DELETE FROM webhooks WHERE id = $1").bind(id);
            let was_there = hook.execute(&mut *all).await?.rows_affected() > 0;
            all.commit().await?;
            Ok(was_there)
        })
        .await
    }

    /// What is to be told now, at most `limit`.
    pub(super) async fn due(&self, limit: u32) -> Result<Vec<Delivery>, DatabaseError> {
        let due = sqlx::query(DUE).bind(clock()).bind(i64::from(limit));
        let rows = self.within(due.fetch_all(self.pool())).await?;
        let delivery = |row: &AnyRow| {
            let attempts: i64 = row.try_get("attempts")?;
            Ok::<_, sqlx::Error>(Delivery {
                id: row.try_get("id")?,
                webhook: row.try_get("webhook")?,
                stream: row.try_get("stream")?,
                body: row.try_get("body")?,
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                url: row.try_get("url")?,
                secret: Secret(row.try_get("secret")?),
            })
        };
        Ok(rows.iter().map(delivery).collect::<Result<_, _>>()?)
    }

    /// It was told, or is given up.
    pub(super) async fn told(&self, id: &str) -> Result<(), DatabaseError> {
        let delete = sqlx::query("DELETE FROM deliveries WHERE id = $1").bind(id);
        self.within(delete.execute(self.pool())).await.map(drop)
    }

    /// It is tried again later.
    pub(super) async fn later(&self, id: &str, wait_ms: i64) -> Result<(), DatabaseError> {
        let update = sqlx::query(
            "UPDATE deliveries SET attempts = attempts + 1, next_ms = $2 WHERE id = $1",
        );
        self.within(update.bind(id).bind(clock() + wait_ms).execute(self.pool())).await.map(drop)
    }
}
