//! What all threads of a node share, and what each has of its own.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;

use crate::cache::Cache;
use crate::config::Config;
use crate::documents::{Documents, Keyring};
use crate::engine::{EMBEDDED, Engine, Seat};
use crate::flights::Flights;
use crate::metrics::Metrics;
use crate::results::Pending;
use crate::transfer::Transfer;
use crate::upstream::Upstream;

/// Instances beside one for each thread: for a moment a thread may hold one while it throws one
/// away.
const INSTANCES_SPARE: usize = 8;

/// Shared by all threads.
pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) transfers: Flights<Transfer>,
    pub(crate) results: Flights<Pending>,
    pub(crate) documents: Documents,
    pub(crate) keyring: Keyring,
    pub(crate) engine: Engine,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) geo_header: Option<HeaderName>,
    /// Whether a serving thread ended unasked.
    pub(crate) unwell: AtomicBool,
}

/// One thread's own: connections to the origin, and an instance of the component.
pub(crate) struct Worker {
    pub(crate) node: Arc<Node>,
    pub(crate) upstream: Upstream,
    /// Never contended: the lock is there because tasks must be `Send`.
    seat: Mutex<Seat>,
}

impl Node {
    /// Opens the data folder and compiles the component.
    pub(crate) fn open(config: &Config) -> io::Result<Self> {
        let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
        let embedded = || Ok(EMBEDDED.to_vec());
        let component = config.component.as_ref().map_or_else(embedded, std::fs::read)?;
        let compiled = std::path::absolute(config.data.join("compiled"))?;
        let instances = u32::try_from(config.threads + INSTANCES_SPARE).unwrap_or(u32::MAX);
        let engine = Engine::new(&component, &compiled, instances, Arc::clone(&metrics)).map_err(
            |error| io::Error::other(format!("the component cannot be used: {error:#}")),
        )?;
        Ok(Self {
            cache: Cache::new(config.cache_bytes),
            transfers: Flights::default(),
            results: Flights::default(),
            documents: Documents::open(config.data.join("documents"))?,
            keyring: Keyring::open(config.keyring.clone())?,
            engine,
            metrics,
            geo_header: config.geo_header.clone(),
            unwell: AtomicBool::new(false),
        })
    }

    /// The metrics as text, with the gauges brought up to date.
    pub(crate) fn metrics_text(&self) -> Vec<u8> {
        self.metrics.cache_bytes.set(i64::try_from(self.cache.weight()).unwrap_or(i64::MAX));
        self.metrics.flights.set((self.transfers.len() + self.results.len()) as i64);
        self.metrics.text()
    }
}

impl Worker {
    pub(crate) fn new(node: Arc<Node>, origin: &str) -> io::Result<Self> {
        let upstream = Upstream::new(origin, Arc::clone(&node.metrics))?;
        Ok(Self { node, upstream, seat: Mutex::new(Seat::new()) })
    }

    /// The thread's instance. Never held across a wait.
    pub(crate) fn instance(&self) -> MutexGuard<'_, Seat> {
        // A seat is whole after every call; a panic elsewhere left it so.
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
