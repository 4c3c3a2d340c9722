//! The database: `SQLite` in the data folder, or `PostgreSQL` by URL, with the same queries.
//!
//! Only texts and whole numbers are stored, because both engines read those alike. A connection is
//! made when there is a query, so that a database that is gone comes back by itself.

use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::Migrator;
use sqlx::{AnyPool, AssertSqlSafe, Executor};

use crate::config::StreamsConfig;

/// For bringing the tables to a newer version.
const MIGRATION: Duration = Duration::from_secs(30);

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Where streams, tokens, webhooks and the audit log are kept.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    /// For a query. Longer than any that there is takes, shorter than a client waits.
    timeout: Duration,
    /// Where it is a file.
    file: Option<PathBuf>,
}

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be asked now.
    #[error("the database does not answer ({0}): see that it runs and can be reached")]
    Gone(String),
    /// Something of that name is there.
    #[error("there is one of that name already")]
    Taken,
    /// It is asked wrongly, or holds what it should not.
    #[error("the database refuses ({0}): see that nothing else writes to it")]
    Refused(String),
}

impl Database {
    /// The database of these settings; nothing is connected yet.
    ///
    /// # Errors
    /// [`DatabaseError::Refused`] for a URL that cannot be read.
    pub fn new(config: &StreamsConfig) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let (url, timeout) = (&config.database.0, config.database_timeout);
        let is_file = url.starts_with("sqlite:");
        let file = file_of(url).map(PathBuf::from);
        let url = match is_file && !url.contains('?') {
            true => format!("{url}?mode=rwc"),
            false => url.clone(),
        };
        let busy = format!("PRAGMA busy_timeout = {}", connect(timeout).as_millis());
        let options = AnyPoolOptions::new()
            // `SQLite` has one, because it has one writer.
            .max_connections(if is_file { 1 } else { config.database_connections })
            .acquire_timeout(connect(timeout))
            // A file does not go away as a server does, and the test costs as much as a query.
            .test_before_acquire(!is_file)
            .after_connect(move |connection, _| {
                let busy = busy.clone();
                Box::pin(async move {
                    if is_file {
                        // A key that was told must be there after a power cut: FULL, not NORMAL.
                        connection.execute("PRAGMA journal_mode = WAL").await?;
                        connection.execute("PRAGMA synchronous = FULL").await?;
                        connection.execute(AssertSqlSafe(busy)).await?;
                    }
                    Ok(())
                })
            });
        let pool = options.connect_lazy(&url).map_err(|error| {
            // What the library says of a URL does not repeat it.
            DatabaseError::Refused(error.to_string())
        })?;
        Ok(Self { pool, timeout, file })
    }

    /// Brings its tables to what this version needs.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        if let Some(file) = &self.file {
            // It holds secrets of webhooks, and what publishers by SRT prove themselves with. Where
            // this fails, the connection says why.
            let _ = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
        }
        let migrated = tokio::time::timeout(MIGRATION, MIGRATIONS.run(&self.pool)).await;
        match migrated {
            Ok(Ok(())) => Ok(()),
            Ok(Err(sqlx::migrate::MigrateError::Execute(error))) => Err(error.into()),
            Ok(Err(error)) => Err(DatabaseError::Refused(error.to_string())),
            Err(_) => Err(DatabaseError::Gone("it takes too long".to_owned())),
        }
    }

    pub(super) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// The outcome of work on it, which may not take for ever.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(DatabaseError::Gone("it takes too long".to_owned())),
        }
    }

    /// Closes its connections.
    pub async fn close(&self) {
        let _ = tokio::time::timeout(connect(self.timeout), self.pool.close()).await;
    }
}

/// For a connection to come free or be made. It is less than the time for a query, so that who
/// waits is told that there was no connection.
fn connect(timeout: Duration) -> Duration {
    timeout * 2 / 5
}

/// The file of a URL, where it may be made and its name is written plainly.
fn file_of(url: &str) -> Option<&str> {
    let path = url.strip_prefix("sqlite:")?;
    let (path, query) = path.split_once('?').unwrap_or((path, "mode=rwc"));
    let path = path.strip_prefix("//").unwrap_or(path);
    let is_file = !matches!(path, "" | ":memory:") && !path.contains('%');
    (is_file && query.contains("mode=rwc")).then_some(path)
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(told) if told.is_unique_violation() => Self::Taken,
            sqlx::Error::Database(told) if is_going(told.code().as_deref()) => {
                Self::Gone(told.message().to_owned())
            }
            sqlx::Error::Database(told) => Self::Refused(told.message().to_owned()),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Protocol(_) => Self::Gone(error.to_string()),
            _ => Self::Refused(error.to_string()),
        }
    }
}

/// Whether a server says by this code that it starts, stops or has no room: the classes 08, 53 and
/// 57 of `PostgreSQL`; of `SQLite`, that a file is busy, cannot be opened or read, or the disk is
/// full (5, 6, 8, 10, 13 and 14).
fn is_going(code: Option<&str>) -> bool {
    let Some(code) = code else { return false };
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => matches!(number & 0xff, 5 | 6 | 8 | 10 | 13 | 14),
        _ => ["08", "53", "57"].iter().any(|class| code.starts_with(class)),
    }
}
