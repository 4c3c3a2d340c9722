//! The audit log: who did what, and how it went.
//!
//! A line of the log is written too, so that nothing is lost while the database is gone.

use serde::Serialize;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::Actor;
use super::database::{Database, DatabaseError};
use super::rows::clock;
use crate::documents::keys::random_hex;

const DAY_MS: i64 = 86_400_000;

/// One thing that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Identifier.
    pub id: String,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// The token's identifier, or `configuration`.
    pub actor: String,
    /// The token's name.
    pub actor_name: String,
    /// The token's role.
    pub role: String,
    /// What: a method and a path, and what goes with them.
    pub action: String,
    /// The stream that it was about; may be empty.
    pub target: String,
    /// The status of the answer.
    pub status: i64,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only those about this stream; empty: all.
    pub target: String,
    /// Only those before this one.
    pub after: Option<(i64, String)>,
    /// At most so many.
    pub limit: u32,
}

impl Database {
    /// Notes what somebody did.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn note(
        &self,
        actor: &Actor,
        action: &str,
        target: &str,
        status: u16,
    ) -> Result<(), DatabaseError> {
        let (name, role) = (&actor.name, actor.role.name());
        tracing::info!(event = target, actor = actor.id, name, role, action, status, "audit");
        let insert = sqlx::query(
            "INSERT INTO audit (id, at_ms, actor, actor_name, role, action, target, status) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        let insert = insert.bind(random_hex(12)).bind(clock()).bind(&actor.id).bind(name);
        let insert = insert.bind(role).bind(action).bind(target).bind(i64::from(status));
        self.within(insert.execute(self.pool())).await.map(drop)
    }

    /// Entries, the newest first.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn audit(&self, page: &Page) -> Result<Vec<Entry>, DatabaseError> {
        let (at_ms, id) = page.after.clone().unwrap_or((i64::MAX, String::new()));
        let list = sqlx::query(
            "SELECT id, at_ms, actor, actor_name, role, action, target, status FROM audit \
             WHERE ($1 = '' OR target = $1) AND (at_ms < $2 OR (at_ms = $2 AND id < $3)) \
             ORDER BY at_ms DESC, id DESC LIMIT $4",
        );
        let list = list.bind(&page.target).bind(at_ms).bind(id).bind(i64::from(page.limit));
        let rows = self.within(list.fetch_all(self.pool())).await?;
        Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
    }

    /// Forgets what is older than that.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn trim_audit(&self, days: u32) -> Result<(), DatabaseError> {
        let before = clock().saturating_sub(i64::from(days).saturating_mul(DAY_MS));
        let delete = sqlx::query("DELETE FROM audit WHERE at_ms < $1").bind(before);
        self.within(delete.execute(self.pool())).await.map(drop)
    }
}

fn entry(from: &AnyRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        id: from.try_get("id")?,
        at_ms: from.try_get("at_ms")?,
        actor: from.try_get("actor")?,
        actor_name: from.try_get("actor_name")?,
        role: from.try_get("role")?,
        action: from.try_get("action")?,
        target: from.try_get("target")?,
        status: from.try_get("status")?,
    })
}
