//! One running origin: everything opened, joined and, at the end, closed in order. Nothing is
//! served before the ledger and the documents have been read back, and nothing is published after
//! the ledger is closed.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use sightscreen_core::flags::ADS;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::breaks::decision::{Decision, Table};
use crate::breaks::desk::{Decide, Desk};
use crate::breaks::log::LogError;
use crate::config::Config;
use crate::control::Control;
use crate::creative::shelf::Shelf;
use crate::demo::cohorts;
use crate::documents::in_force::InForce;
use crate::documents::keys::{self, KeyringFileError};
use crate::documents::publish::{PublishError, Publisher};
use crate::encode::ladder::LadderLimits;
use crate::event::describe;
use crate::event::schedule;
use crate::event::snapshots::Snapshots;
use crate::event::switches::Switches;
use crate::event::{Live, LiveConfig, StartError};
use crate::http::{self, ListenError};
use crate::viewers::ApiAndPage;
use crate::viewers::api::{Api, Gate};
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
    /// No ledger.
    #[error(transparent)]
    Ledger(#[from] LogError),
    /// No documents.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No media.
    #[error(transparent)]
    Media(#[from] StartError),
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

/// The static decision: the table over what is on the shelf.
struct StaticDecision {
    table: Table,
    cohorts: Vec<String>,
    shelf: Shelf,
    switches: Arc<Switches>,
}

impl Decide for StaticDecision {
    fn decide(&self, length: u64) -> Decision {
        self.table.decide(&self.cohorts, length, &self.shelf)
    }

    fn ads_on(&self) -> bool {
        self.switches.is_on(ADS)
    }
}

/// What is opened before the media starts.
struct Base {
    keys: Arc<InForce>,
    publisher: Arc<Publisher>,
    switches: Arc<Switches>,
    shelf: Shelf,
    desk: Arc<Desk>,
    cohorts: Vec<String>,
    page: Option<Arc<Page>>,
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
    let base = open(&config)?;
    let live = Live::start(live_config(&config), Arc::<Desk>::clone(&base.desk)).await?;
    base.desk.resume_at(live.position().next_msn);

    let (ready, is_ready) = watch::channel(false);
    let api = Arc::new(api(&config, &base.keys, &live, is_ready));
    let snapshots = Arc::new(Snapshots {
        event: config.event.clone(),
        shown: Arc::new(ApiAndPage { api: Arc::clone(&api), page: base.page.clone() }),
        publisher: Arc::clone(&base.publisher),
        rules: config.snapshots.clone(),
        every_s: config.snapshot_every_s,
        missed: Mutex::default(),
    });
    let mut jobs = jobs(&config, &base, &live, ready, &snapshots);
    let mut servers =
        servers(&config, base, &live, api, snapshots, (front_port, control_port), &stop);
    tracing::info!(event = config.event, listen = %config.listen, control = %config.control, "the origin is up");
    if config.edge_secrets.is_empty() {
        tracing::warn!(
            "edge-secret is not set: whoever reaches this port gets media without a pass"
        );
    }

    let _ = stop.changed().await;
    tracing::info!("stopping");
    jobs.shutdown().await;
    while servers.join_next().await.is_some() {}
    live.shutdown().await;
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

fn open(config: &Config) -> Result<Base, RunError> {
    let event = config.event.as_str();
    let keyring = keys::read_or_make(&config.keyring)?;
    let publisher = Arc::new(Publisher::open(&config.data.join("documents"), &keyring)?);
    let switches = Arc::new(Switches::open(event, Arc::clone(&publisher))?);
    let file = config.keyring.clone();
    let keys = Arc::new(InForce::open(event, file, keyring, Arc::clone(&publisher))?);
    let (cohorts, shelf) = (cohorts::all(&config.admission.schema), Shelf::default());
    let decide = StaticDecision {
        table: config.table.clone(),
        cohorts: cohorts.clone(),
        shelf: shelf.clone(),
        switches: Arc::clone(&switches),
    };
    let ledger = config.data.join("events").join(event).join("ledger.jsonl");
    let desk = Arc::new(Desk::open(&ledger, event, config.dvr_s, Arc::new(decide))?);
    let page = config.page.as_deref().map(|path| {
        let page = Page::open(path).map(Arc::new);
        page.map_err(|source| RunError::Page { path: path.to_owned(), source })
    });
    Ok(Base { keys, publisher, switches, shelf, desk, cohorts, page: page.transpose()? })
}

fn live_config(config: &Config) -> LiveConfig {
    LiveConfig {
        event: config.event.clone(),
        data: config.data.join("events").join(&config.event).join("media"),
        input: config.input.clone(),
        languages: config.languages.clone(),
        ladder: LadderLimits { max_height: config.max_height, cpu_share: config.cpu_share },
        frame_rate: None,
        segment_ms: config.segment_ms,
        part_ms: config.part_ms,
        window_s: config.window_s,
        dvr_s: config.dvr_s,
    }
}

fn api(config: &Config, keys: &Arc<InForce>, live: &Live, ready: watch::Receiver<bool>) -> Api {
    Api {
        event: config.event.clone(),
        title: config.title.clone(),
        live: live.clone(),
        ready,
        keys: Arc::clone(keys),
        dimensions: config
            .admission
            .schema
            .iter()
            .map(|dimension| dimension.name.clone())
            .collect(),
        open_playback: config.open_playback,
        playback_plan: config.admission.playback_plan.clone(),
        gate: RwLock::new(Gate::Up),
    }
}

/// What goes on beside the requests.
fn jobs(
    config: &Config,
    base: &Base,
    live: &Live,
    ready: watch::Sender<bool>,
    snapshots: &Arc<Snapshots>,
) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    let (shelf, names, slate) =
        (base.shelf.clone(), config.table.creatives(), config.slate.clone());
    let (library, grid) = (live.creatives(), live.grid());
    jobs.spawn(async move { shelf.keep_stocked(library, grid, names, slate).await });
    jobs.spawn(Arc::clone(snapshots).keep());
    jobs.spawn(Arc::clone(&base.keys).follow_the_file());
    let (publisher, desk) = (Arc::clone(&base.publisher), Arc::clone(&base.desk));
    jobs.spawn(go_live(
        config.clone(),
        live.clone(),
        publisher,
        desk,
        Arc::clone(snapshots),
        ready,
    ));
    jobs
}

/// Waits for the first segments, tells everyone, and keeps the schedule from then on.
async fn go_live(
    config: Config,
    live: Live,
    publisher: Arc<Publisher>,
    desk: Arc<Desk>,
    snapshots: Arc<Snapshots>,
    ready: watch::Sender<bool>,
) {
    live.ready().await;
    let document = describe::event(config.document(), &live);
    let renditions = document.renditions.len();
    let name = format!("events/{}", config.event);
    if let Some(fault) = document.fault() {
        tracing::error!(
            fault,
            "edges would refuse the event's document, so it is not published; they keep the one before"
        );
    } else {
        let publish = move || publisher.publish(&name, &document);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(publish).await {
            tracing::error!(%error, "the event's document could not be stored; doors keep the one before");
        }
    }
    ready.send_replace(true);
    // Those from before say that the event is not live yet.
    snapshots.take_apart().await;
    tracing::info!(event = config.event, renditions, "the event is live");
    schedule::keep(config.schedule, live, desk).await;
}

fn servers(
    config: &Config,
    base: Base,
    live: &Live,
    api: Arc<Api>,
    snapshots: Arc<Snapshots>,
    (front_port, control_port): (TcpListener, TcpListener),
    stop: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let control = Control {
        event: config.event.clone(),
        token: config.operator_token.clone(),
        live: live.clone(),
        desk: Arc::clone(&base.desk),
        switches: base.switches,
        keys: base.keys,
        snapshots,
        api: Arc::clone(&api),
    };
    let front = Front {
        event: config.event.clone(),
        live: live.clone(),
        desk: base.desk,
        cohorts: base.cohorts,
        publisher: base.publisher,
        api,
        page: base.page,
        edge_secrets: config.edge_secrets.clone(),
    };
    let mut servers = JoinSet::new();
    servers.spawn(http::serve(front_port, Arc::new(front), stop.clone()));
    servers.spawn(http::serve(control_port, Arc::new(control), stop.clone()));
    servers
}
