//! What all threads of a node share, and what each has of its own.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderName;
use sightscreen_core::Class;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::cache::Cache;
use crate::config::{Config, Limits};
use crate::documents::{Documents, KeyringFile};
use crate::engine::{Allowance, EMBEDDED, Engine, Seat};
use crate::flights::Flights;
use crate::metrics::Metrics;
use crate::readers::Memory;
use crate::results::Pending;
use crate::transfer::Transfer;
use crate::trouble::Troubles;
use crate::upstream::{Places, Upstream};

/// Instances beside one for each thread: for a moment a thread may hold one while it throws one
/// away.
const INSTANCES_SPARE: usize = 8;

/// Shared by all threads.
pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) transfers: Flights<Transfer>,
    pub(crate) results: Flights<Pending>,
    pub(crate) documents: Documents,
    pub(crate) keyring: KeyringFile,
    pub(crate) engine: Engine,
    pub(crate) metrics: Arc<Metrics>,
    /// Bodies in memory.
    pub(crate) memory: Arc<Memory>,
    /// Requests that may be under way at the origin.
    pub(crate) places: Arc<Places>,
    /// Why the origin cannot be reached.
    pub(crate) troubles: Arc<Troubles>,
    /// Connections of viewers that may still be opened.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) access: Option<Arc<Access>>,
    pub(crate) limits: Limits,
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
    pub(crate) fn open(
        config: &Config,
        metrics: Arc<Metrics>,
        access: Option<Arc<Access>>,
    ) -> io::Result<Self> {
        let limits = config.limits.clone();
        let embedded = || Ok(EMBEDDED.to_vec());
        let component = config.component.as_ref().map_or_else(embedded, std::fs::read)?;
        let compiled = std::path::absolute(config.data.join("compiled"))?;
        let instances = u32::try_from(config.threads + INSTANCES_SPARE).unwrap_or(u32::MAX);
        let engine = Engine::new(
            &component,
            &compiled,
            instances,
            Allowance::of(&limits),
            Arc::clone(&metrics),
        )
        .map_err(|error| io::Error::other(format!("the component cannot be used: {error:#}")))?;
        Ok(Self {
            cache: Cache::new(limits.cache_bytes),
            transfers: Flights::default(),
            results: Flights::default(),
            documents: Documents::open(config.data.join("documents"))?,
            keyring: KeyringFile::open(config.keyring.clone())?,
            engine,
            memory: Memory::new(
                limits.cache_bytes,
                limits.unread_bytes,
                metrics.connections_unread.clone(),
            ),
            metrics,
            places: Arc::new(Places::new(&limits.requests)),
            troubles: Arc::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            access,
            limits,
            geo_header: config.geo_header.clone(),
            unwell: AtomicBool::new(false),
        })
    }

    /// The metrics as text, with the gauges brought up to date.
    pub(crate) fn metrics_text(&self) -> Vec<u8> {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.metrics.cache_bytes.set(bytes(self.cache.weight()));
        self.metrics.body_bytes.set(bytes(self.memory.bytes()));
        for class in Class::ALL {
            self.metrics.upstream_room[class as usize].set(self.places.left(class) as i64);
        }
        self.metrics.flights.set((self.transfers.len() + self.results.len()) as i64);
        self.metrics.text()
    }
}

impl Worker {
    pub(crate) fn new(node: Arc<Node>, config: &Config) -> io::Result<Self> {
        let upstream = Upstream::new(config, &node)?;
        Ok(Self { node, upstream, seat: Mutex::new(Seat::new()) })
    }

    /// The thread's instance. Never held across a wait.
    pub(crate) fn instance(&self) -> MutexGuard<'_, Seat> {
        // A seat is whole after every call; a panic elsewhere left it so.
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
