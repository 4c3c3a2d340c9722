//! One running origin: everything opened, joined and, at the end, closed in order. Nothing is
//! served before the ledger and the documents have been read back, and nothing is published after
//! the ledger is closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock;
use crate::config::{Config, Template};
use crate::control::Control;
use crate::control::edges::Edges;
use crate::disk::make_folder;
use crate::documents::keys::{self, KeyringFileError};
use crate::documents::publish::{DocumentPublisher, PublishError};
use crate::encode::budget::Budget;
use crate::encode::encoder::Chosen;
use crate::encode::speed::Speed;
use crate::event::snapshots::Snapshots;
use crate::event::{Registry, Runner, RunnerError, Settings, Shared};
use crate::http::{self, ListenError};
use crate::ingest::Publishers;
use crate::streams::{Database, DatabaseError, Load, Streams, StreamsError};
use crate::viewers::ApiAndPage;
use crate::viewers::api::Api;
use crate::viewers::front::Front;
use crate::viewers::page::{OPERATOR, Page, VIEWER};

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
    Runner(#[from] RunnerError),
    /// The database's URL cannot be used.
    #[error("--database: {0}")]
    Database(#[from] DatabaseError),
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

/// Runs an origin until `stop` changes: an event for each of these settings, of which the first
/// says what the origin has once.
///
/// # Errors
/// See [`RunError`]; once it runs, nothing ends it but `stop`.
pub async fn run(
    configs: Vec<Config>,
    template: Template,
    load: Load,
    mut stop: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let Some(config) = configs.first() else { return Ok(()) };
    let front_port = http::listen("listen", config.listen).await?;
    let control_port = http::listen("control", config.control).await?;
    make_folder(&config.data)
        .map_err(|source| RunError::Data { path: config.data.clone(), source })?;
    let _lock = lock(config)?;
    let keyring = keys::read_or_make(&config.keyring)?;
    let publisher = Arc::new(DocumentPublisher::open(&config.data.join("documents"), &keyring)?);
    let page = config.page.as_ref().map(|page| open_page(&page.join(VIEWER))).transpose()?;
    let events = Registry::default();
    let api = Arc::new(Api::new(events.clone(), config.open_playback));
    let shown = ApiAndPage { api: Arc::clone(&api), page: page.clone() };
    let snapshots =
        Snapshots::new(Arc::new(shown), Arc::clone(&publisher), config.snapshot_every_s);
    let snapshots = Arc::new(snapshots);
    let shared = Shared {
        keyring_file: config.keyring.clone(),
        keyring,
        publisher: Arc::clone(&publisher),
        publishers: Publishers::default(),
        snapshots: Arc::clone(&snapshots),
        budget: Budget::of_machine(config.cpu_share, Speed::kept_in(config.data.join("speed"))),
        encoder: Chosen::choose(config.encoder).await.at(config.encoder_nice),
    };
    let runner = Arc::new(Runner::new(events.clone(), shared, config.entrances()));
    let database = Database::new(&config.streams)?;
    let streams = Streams::new(database, Arc::clone(&runner), &configs, template, load);
    let Some(streams) = streams.map(Arc::new) else { return Ok(()) };
    runner.start(settings(&configs)).await?;
    // What is configured needs no database.
    let opened = streams.open().await;
    clock::up();
    let mut jobs = JoinSet::new();
    jobs.spawn(snapshots.keep());
    jobs.spawn(Arc::clone(&streams).keep(opened));
    jobs.spawn(reload_at_a_signal(Arc::clone(&streams)));
    let edge_secrets = config.edge_secrets.clone();
    let front =
        Front { events: events.clone(), publisher, api: Arc::clone(&api), page, edge_secrets };
    let control = Control {
        token: config.operator_token.clone(),
        events: events.clone(),
        api,
        streams: Arc::clone(&streams),
        page: operators_page(config)?,
        edges: Edges::new(config.edges.clone()),
    };
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
    runner.quiet().await;
    while servers.join_next().await.is_some() {}
    runner.shutdown().await;
    streams.database().close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Reads the configuration again at each SIGHUP, for as long as it is polled.
async fn reload_at_a_signal(streams: Arc<Streams>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be watched: POST /api/v1/reload does the same");
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        if let Err(error) = streams.reload().await {
            tracing::error!(
                event = "reload", %error, "reload failed: keeping the old configuration"
            );
            if let StreamsError::Reload(faults) = &error {
                faults.iter().for_each(|fault| tracing::error!(event = "reload", %fault));
            }
        }
    }
}

/// What the configured events are started with.
fn settings(configs: &[Config]) -> Vec<Settings> {
    let leads_site = configs.len() == 1;
    configs.iter().map(|config| Settings { leads_site, ..config.event_settings() }).collect()
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

/// The operator's page; none where the folder of pages is of viewers alone.
fn operators_page(config: &Config) -> Result<Option<Arc<Page>>, RunError> {
    let folder = config.page.as_ref().map(|page| page.join(OPERATOR));
    folder.filter(|folder| folder.is_dir()).map(|folder| open_page(&folder)).transpose()
}

fn open_page(folder: &Path) -> Result<Arc<Page>, RunError> {
    let page = Page::open(folder).map(Arc::new);
    page.map_err(|source| RunError::Page { path: folder.to_owned(), source })
}
