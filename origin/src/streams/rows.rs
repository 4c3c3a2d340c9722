//! The streams in the database.

use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _, Transaction};

use super::database::{Database, DatabaseError};
use crate::clock::wall_ms;
use crate::documents::keys::random_hex;
use crate::event::State;

/// Who says that there is a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// A request to the API.
    Api,
    /// Flags or file.
    Configuration,
}

impl MadeBy {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Configuration => "configuration",
        }
    }
}

/// A stream as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its identifier, which is its event's.
    pub id: String,
    /// Who says that there is one.
    pub source: MadeBy,
    /// Where it is in its life.
    pub status: State,
    /// All of its settings.
    pub settings: Value,
    /// Digest of its key in hex; empty where the configuration has it.
    pub key: String,
    /// Digest of the key before; empty where there is none.
    pub old_key: String,
    /// Until when that one is good, in Unix milliseconds.
    pub old_key_until_ms: i64,
    /// When it was made, in Unix milliseconds.
    pub created_ms: i64,
    /// When its status changed last.
    pub changed_ms: i64,
    /// When it ended; 0 before.
    pub ended_ms: i64,
    /// How often its status has changed.
    pub steps: i64,
}

/// Which streams are asked for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Only those of this status.
    pub status: Option<State>,
    /// Only those of this category; empty: all.
    pub category: String,
    /// Only those with this in their identifier, title, category or tags; empty: all.
    pub text: String,
    /// Only those after this one in the list.
    pub after: Option<(i64, String)>,
    /// At most so many.
    pub limit: u32,
}

const INSERT: &str = "INSERT INTO streams (id, source, status, category, search, settings, \
    key_digest, old_key_digest, old_key_until_ms, created_ms, changed_ms, ended_ms, steps) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, $8, $8, 0, 1)";
const SELECT: &str = "SELECT id, source, status, settings, key_digest, old_key_digest, \
    old_key_until_ms, created_ms, changed_ms, ended_ms, steps FROM streams WHERE id = $1";
const LIST: &str = "SELECT id, source, status, settings, key_digest, old_key_digest, \
    old_key_until_ms, created_ms, changed_ms, ended_ms, steps FROM streams \
    WHERE ($1 = '' OR status = $1) AND ($2 = '' OR category = $2) \
    AND ($3 = '' OR search LIKE $3 ESCAPE '\\') \
    AND (created_ms < $4 OR (created_ms = $4 AND id < $5)) \
    ORDER BY created_ms DESC, id DESC LIMIT $6";
const SETTINGS: &str = "UPDATE streams SET category = $2, search = $3, settings = $4 WHERE id = $1";
const STATUS: &str = "UPDATE streams SET status = $2, changed_ms = $3, ended_ms = $4, \
    steps = steps + 1 WHERE id = $1 AND status <> $2 \
    AND NOT (source = 'api' AND status = 'ended')";
const STEPS: &str = "SELECT steps FROM streams WHERE id = $1";
const ROTATE: &str = "UPDATE streams SET old_key_digest = key_digest, old_key_until_ms = $3, \
    key_digest = $2 WHERE id = $1 AND key_digest <> ''";
const FORGET: &str = "UPDATE streams SET old_key_digest = '', old_key_until_ms = 0 \
    WHERE id = $1 AND old_key_until_ms <= $2";
const DELIVER: &str = "INSERT INTO deliveries (id, webhook, stream, step, body, attempts, next_ms) \
    SELECT $1 || webhooks.id, webhooks.id, $2, $3, $4, 0, $5 FROM webhooks";

impl Database {
    /// Adds a stream, and tells it to the webhooks. Returns it as it is kept.
    ///
    /// # Errors
    /// [`DatabaseError::Taken`] for a name that is there.
    pub async fn insert(
        &self,
        id: &str,
        source: MadeBy,
        settings: &Value,
        key: &str,
    ) -> Result<Row, DatabaseError> {
        let now = clock();
        let row = Row {
            id: id.to_owned(),
            source,
            status: State::Ready,
            settings: settings.clone(),
            key: key.to_owned(),
            old_key: String::new(),
            old_key_until_ms: 0,
            created_ms: now,
            changed_ms: now,
            ended_ms: 0,
            steps: 1,
        };
        self.within(async {
            let mut all = self.pool().begin().await?;
            sqlx::query(INSERT)
                .bind(id)
                .bind(source.name())
                .bind(State::Ready.name())
                .bind(category(settings))
                .bind(search(id, settings))
                .bind(settings.to_string())
                .bind(key)
                .bind(now)
                .execute(&mut *all)
                .await?;
            tell(&mut all, id, State::Ready, 1, now).await?;
            all.commit().await
        })
        .await?;
        Ok(row)
    }

    /// The stream of that name.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn stream(&self, id: &str) -> Result<Option<Row>, DatabaseError> {
        let found = sqlx::query(SELECT).bind(id).fetch_optional(self.pool());
        let found = self.within(found).await?;
        Ok(found.as_ref().map(row).transpose()?)
    }

    /// Streams, the newest first.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn streams(&self, query: &Query) -> Result<Vec<Row>, DatabaseError> {
        let (created_ms, id) = query.after.clone().unwrap_or((i64::MAX, String::new()));
        let rows = sqlx::query(LIST)
            .bind(query.status.map_or("", State::name))
            .bind(&query.category)
            .bind(pattern(&query.text))
            .bind(created_ms)
            .bind(id)
            .bind(i64::from(query.limit))
            .fetch_all(self.pool());
        let rows = self.within(rows).await?;
        Ok(rows.iter().map(row).collect::<Result<_, _>>()?)
    }

    /// How many have not ended.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn running(&self) -> Result<u64, DatabaseError> {
        let count = sqlx::query("SELECT COUNT(*) FROM streams WHERE status <> 'ended'");
        let count: i64 = self.within(count.fetch_one(self.pool())).await?.try_get(0)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Keeps other settings of a stream.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn set_settings(&self, id: &str, settings: &Value) -> Result<(), DatabaseError> {
        let update = sqlx::query(SETTINGS)
            .bind(id)
            .bind(category(settings))
            .bind(search(id, settings))
            .bind(settings.to_string());
        self.within(update.execute(self.pool())).await.map(drop)
    }

    /// Keeps that a stream's status changed, and tells it to the webhooks. The status that it has
    /// already is no change, and a stream of the API that has ended has ended for good: a look that
    /// was taken before it ended may be told after it. A configured event may begin again.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn set_status(
        &self,
        id: &str,
        status: State,
        at_ms: i64,
    ) -> Result<(), DatabaseError> {
        let ended_ms = if status == State::Ended { at_ms } else { 0 };
        self.within(async {
            let mut all = self.pool().begin().await?;
            let update = sqlx::query(STATUS).bind(id).bind(status.name()).bind(at_ms);
            if update.bind(ended_ms).execute(&mut *all).await?.rows_affected() > 0 {
                let steps: i64 =
                    sqlx::query(STEPS).bind(id).fetch_one(&mut *all).await?.try_get(0)?;
                tell(&mut all, id, status, steps, at_ms).await?;
            }
            all.commit().await
        })
        .await
    }

    /// Keeps a new key beside the one before; whether there is such a stream.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn rotate(&self, id: &str, key: &str, until_ms: i64) -> Result<bool, DatabaseError> {
        let update = sqlx::query(ROTATE).bind(id).bind(key).bind(until_ms);
        Ok(self.within(update.execute(self.pool())).await?.rows_affected() > 0)
    }

    /// Forgets the key before if its time is over.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn forget_old_key(&self, id: &str, now_ms: i64) -> Result<(), DatabaseError> {
        self.within(sqlx::query(FORGET).bind(id).bind(now_ms).execute(self.pool())).await.map(drop)
    }

    /// Removes a stream; whether it was there.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn remove(&self, id: &str) -> Result<bool, DatabaseError> {
        let delete = sqlx::query("DELETE FROM streams WHERE id = $1").bind(id);
        Ok(self.within(delete.execute(self.pool())).await?.rows_affected() > 0)
    }
}

/// Unix milliseconds, as the database has them.
pub(super) fn clock() -> i64 {
    i64::try_from(wall_ms()).unwrap_or(i64::MAX)
}

async fn tell(
    all: &mut Transaction<'_, Any>,
    id: &str,
    status: State,
    step: i64,
    at_ms: i64,
) -> Result<(), sqlx::Error> {
    let body = serde_json::json!({
        "type": format!("stream.{}", status.name()),
        "stream": id, "status": status, "step": step, "at_ms": at_ms,
    });
    let told = sqlx::query(DELIVER).bind(random_hex(12)).bind(id).bind(step);
    told.bind(body.to_string()).bind(at_ms).execute(&mut **all).await.map(drop)
}

fn row(from: &AnyRow) -> Result<Row, sqlx::Error> {
    let text = |name: &str| from.try_get::<String, _>(name);
    let number = |name: &str| from.try_get::<i64, _>(name);
    let settings = serde_json::from_str(&text("settings")?);
    Ok(Row {
        id: text("id")?,
        source: match text("source")?.as_str() {
            "api" => MadeBy::Api,
            _ => MadeBy::Configuration,
        },
        status: State::named(&text("status")?)
            .ok_or_else(|| sqlx::Error::Decode("a status that is none".into()))?,
        settings: settings.map_err(|error| sqlx::Error::Decode(error.into()))?,
        key: text("key_digest")?,
        old_key: text("old_key_digest")?,
        old_key_until_ms: number("old_key_until_ms")?,
        created_ms: number("created_ms")?,
        changed_ms: number("changed_ms")?,
        ended_ms: number("ended_ms")?,
        steps: number("steps")?,
    })
}

fn category(settings: &Value) -> String {
    settings["category"].as_str().unwrap_or_default().to_owned()
}

/// What a stream is searched in.
fn search(id: &str, settings: &Value) -> String {
    let texts = [id, settings["title"].as_str().unwrap_or_default()];
    let tags = settings["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let all: Vec<&str> = texts.into_iter().chain(tags).collect();
    format!("{} {}", all.join(" "), category(settings)).to_lowercase()
}

/// What LIKE takes; empty for all.
fn pattern(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
