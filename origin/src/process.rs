//! One running origin: everything opened, joined and, at the end, closed in order. Nothing is
//! served before the ledger and the documents have been read back, and nothing is published after
//! the ledger is closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::control::Control;
use crate::documents::keys::{self, KeyringFileError};
use crate::documents::publish::{PublishError, Publisher};
use crate::event::snapshots::Shown;
use crate::event::{Event, EventError, Registry, Shared};
use crate::http::{self, ListenError};
use crate::viewers::ApiAndPage;
use crate::viewers::api::Api;
use crate::viewers::front::Front;
use crate::viewers::page::Page;

/// Why an origin does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringFileError),
    /// No documents.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// An event does not start.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The data folder cannot be used.
    #[error("--data {path}: {source}: name a folder that can be written")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another origin runs there.
    #[error("--data {0}: another origin uses this folder: stop it, or choose another folder")]
    InUse(PathBuf),
    /// The page's folder went away.
    #[error("--page {path}: {source}")]
    Page {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs an origin until `stop` changes.
///
/// # Errors
/// See [`RunError`]; once it runs, nothing ends it but `stop`.
pub async fn run(config: Config, mut stop: watch::Receiver<bool>) -> Result<(), RunError> {
    let front_port = http::listen("listen", config.listen).await?;
    let control_port = http::listen("control", config.control).await?;
    let event_folder = config.data.join("events").join(&config.event);
    std::fs::create_dir_all(&event_folder)
        .map_err(|source| RunError::Data { path: config.data.clone(), source })?;
    let _lock = lock(&config)?;
    let keyring = keys::read_or_make(&config.keyring)?;
    let publisher = Arc::new(Publisher::open(&config.data.join("documents"), &keyring)?);
    let page = config.page.as_deref().map(open_page).transpose()?;
    let events = Registry::default();
    let api = Arc::new(Api::new(events.clone(), config.open_playback));
    let shown: Arc<dyn Shown> = Arc::new(ApiAndPage { api: Arc::clone(&api), page: page.clone() });
    let shared = Shared {
        keyring_file: config.keyring.clone(),
        keyring,
        publisher: Arc::clone(&publisher),
        shown,
    };
    let event = Event::start(config.event_settings(), shared).await?;
    events.insert(Arc::clone(&event));
    event.go_on();
    let front = Front {
        events: events.clone(),
        publisher,
        api: Arc::clone(&api),
        page,
        edge_secrets: config.edge_secrets.clone(),
    };
    let control = Control { token: config.operator_token.clone(), events: events.clone(), api };
    let mut servers = JoinSet::new();
    servers.spawn(http::serve(front_port, Arc::new(front), stop.clone()));
    servers.spawn(http::serve(control_port, Arc::new(control), stop.clone()));
    tracing::info!(event = config.event, listen = %config.listen, control = %config.control, "the origin is up");
    if config.edge_secrets.is_empty() {
        tracing::warn!(
            "edge-secret is not set: whoever reaches this port gets media without a pass"
        );
    }

    let _ = stop.changed().await;
    tracing::info!("stopping");
    for event in events.all() {
        event.stop().await;
    }
    while servers.join_next().await.is_some() {}
    for event in events.all() {
        event.live.shutdown().await;
    }
    tracing::info!("stopped");
    Ok(())
}

/// One process a folder: two would write the same ledger.
fn lock(config: &Config) -> Result<std::fs::File, RunError> {
    let path = config.data.join("lock");
    let file = std::fs::File::create(&path)
        .map_err(|source| RunError::Data { path: config.data.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(RunError::InUse(config.data.clone())),
        Err(std::fs::TryLockError::Error(source)) => Err(RunError::Data { path, source }),
    }
}

fn open_page(folder: &Path) -> Result<Arc<Page>, RunError> {
    let page = Page::open(folder).map(Arc::new);
    page.map_err(|source| RunError::Page { path: folder.to_owned(), source })
}
