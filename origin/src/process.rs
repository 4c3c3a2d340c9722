//! One running origin: everything opened, joined and, at the end, closed in order. Nothing is
//! served before the ledger and the documents have been read back, and nothing is published after
//! the ledger is closed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::control::Control;
use crate::documents::keys::{self, KeyringFileError};
use crate::documents::publish::{PublishError, Publisher};
use crate::encode::budget::Budget;
use crate::encode::encoder::Chosen;
use crate::event::{EventError, Registry, RunningEvent, Shared};
use crate::http::{self, ListenError};
use crate::ingest::{self, Input, Publishers};
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
    #[error("event {event}: {source}")]
    Event {
        /// Its identifier.
        event: String,
        /// What is wrong.
        source: EventError,
    },
    /// The RTMP port is taken.
    #[error(
        "--rtmp {address}: cannot listen for publishers ({source}): stop what uses the port, or choose another"
    )]
    Rtmp {
        /// Asked address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
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

/// Runs an origin until `stop` changes: an event for each of these settings, of which the first says
/// what the origin has once.
///
/// # Errors
/// See [`RunError`]; once it runs, nothing ends it but `stop`.
pub async fn run(configs: Vec<Config>, mut stop: watch::Receiver<bool>) -> Result<(), RunError> {
    let Some(config) = configs.first() else { return Ok(()) };
    let front_port = http::listen("listen", config.listen).await?;
    let control_port = http::listen("control", config.control).await?;
    std::fs::create_dir_all(&config.data)
        .map_err(|source| RunError::Data { path: config.data.clone(), source })?;
    let _lock = lock(config)?;
    let keyring = keys::read_or_make(&config.keyring)?;
    let publisher = Arc::new(Publisher::open(&config.data.join("documents"), &keyring)?);
    let page = config.page.as_deref().map(open_page).transpose()?;
    let events = Registry::default();
    let api = Arc::new(Api::new(events.clone(), config.open_playback));
    let shared = Shared {
        keyring_file: config.keyring.clone(),
        keyring,
        publisher: Arc::clone(&publisher),
        publishers: Publishers::default(),
        shown: Arc::new(ApiAndPage { api: Arc::clone(&api), page: page.clone() }),
        is_alone: configs.len() == 1,
    };
    let mut jobs = JoinSet::new();
    let publishers_port = publishers_port(&configs).await?;
    start_events(&configs, &shared, &events).await?;
    // Whoever came meanwhile waits: no key is known before its event is.
    if let Some(port) = publishers_port {
        jobs.spawn(ingest::listen(port, shared.publishers.clone(), config.rtmp_limits));
    }
    let edge_secrets = config.edge_secrets.clone();
    let front =
        Front { events: events.clone(), publisher, api: Arc::clone(&api), page, edge_secrets };
    let control = Control { token: config.operator_token.clone(), events: events.clone(), api };
    let mut servers = JoinSet::new();
    servers.spawn(http::serve(front_port, Arc::new(front), stop.clone()));
    servers.spawn(http::serve(control_port, Arc::new(control), stop.clone()));
    tracing::info!(listen = %config.listen, control = %config.control, "the origin is up");
    if config.edge_secrets.is_empty() {
        tracing::warn!(
            "edge-secret is not set: whoever reaches this port gets media without a pass"
        );
    }

    let _ = stop.changed().await;
    tracing::info!("stopping");
    jobs.shutdown().await;
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

/// One port for all publishers, where there may be one.
async fn publishers_port(configs: &[Config]) -> Result<Option<TcpListener>, RunError> {
    let takes = |config: &&Config| matches!(config.input, Input::Publisher(_));
    let Some(config) = configs.iter().find(takes) else { return Ok(None) };
    let bound = TcpListener::bind(config.rtmp).await;
    bound.map(Some).map_err(|source| RunError::Rtmp { address: config.rtmp, source })
}

/// Starts all events, and then what goes on beside them: snapshots are taken of them all.
async fn start_events(
    configs: &[Config],
    shared: &Shared,
    events: &Registry,
) -> Result<(), RunError> {
    let Some(first) = configs.first() else { return Ok(()) };
    // What the machine may encode is for all of them.
    let budget = Budget::of_machine(first.cpu_share);
    budget.announce(configs.len());
    let encoder = Chosen::choose(first.encoder).await;
    for config in configs {
        let mut settings = config.event_settings();
        settings.live.ladder.budget = budget.clone();
        settings.live.ladder.encoder = encoder.clone();
        let started = RunningEvent::start(settings, shared.clone()).await;
        events.insert(
            started.map_err(|source| RunError::Event { event: config.event.clone(), source })?,
        );
    }
    events.all().iter().for_each(RunningEvent::go_on);
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
