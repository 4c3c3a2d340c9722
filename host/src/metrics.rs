//! Counts and times of the node, as Prometheus reads them.
//!
//! Labels are of small, fixed sets: nothing of a request's target or of a viewer. Invariant: an
//! observation is a few atomic additions, because it happens for every request.

use std::time::Duration;

use http::StatusCode;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use sightscreen_core::{Class, Failure, UnknownClaims};

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// A response of another exchange.
    Result = 0,
    /// A body that passed by the component.
    Relay = 1,
    /// A response of its own exchange.
    Respond = 2,
    /// The node itself: the component failed.
    Failed = 3,
}

const ANSWERS: [&str; 4] = ["result", "relay", "respond", "failed"];

impl Answered {
    /// Its name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        ANSWERS[self as usize]
    }
}

/// How a want was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    Hit = 0,
    Stale = 1,
    Miss = 2,
    Collapsed = 3,
    StaleOnError = 4,
    Copy = 5,
}

const LOOKUPS: [&str; 6] = ["hit", "stale", "miss", "collapsed", "stale_on_error", "copy"];

/// What may be unknown of a claim. Its name or value would be a label without bounds, and of a
/// viewer.
const UNKNOWN_OF_CLAIMS: [&str; 2] = ["name", "value"];

/// Everything that the node counts.
pub(crate) struct Metrics {
    registry: Registry,
    requests: [[IntCounter; CLASSES.len()]; ANSWERS.len()],
    lookups: [IntCounter; LOOKUPS.len()],
    upstream: IntCounterVec,
    upstream_seconds: Histogram,
    exchange_seconds: Histogram,
    pub(crate) traps: IntCounter,
    pub(crate) deadlines: IntCounter,
    pub(crate) instances: IntGauge,
    connections: IntGauge,
    pub(crate) connections_refused: IntCounter,
    pub(crate) connections_unread: IntCounter,
    pub(crate) abandoned: IntCounter,
    pub(crate) access_lines_lost: IntCounter,
    unknown_claims: [IntCounter; UNKNOWN_OF_CLAIMS.len()],
    pub(crate) cache_bytes: IntGauge,
    pub(crate) body_bytes: IntGauge,
    pub(crate) flights: IntGauge,
    pub(crate) upstream_room: [IntGauge; Class::ALL.len()],
}

/// Counts a connection for as long as it is there.
pub(crate) struct Counted(IntGauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// One connection more, until what is returned is dropped.
    pub(crate) fn connection(&self) -> Counted {
        self.connections.inc();
        Counted(self.connections.clone())
    }

    /// All at zero.
    ///
    /// # Errors
    /// When two metrics have the same name, which a test would show.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let vec = |name: &str, help: &str, labels: &[&str]| {
            let vec = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok::<_, prometheus::Error>(vec)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let histogram =
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let requests = vec(
            "sightscreen_requests_total",
            "Requests by kind of answer and status class.",
            &["answer", "status"],
        )?;
        let lookups =
            vec("sightscreen_wants_total", "Wants by how they were served.", &["served"])?;
        let claims = vec(
            "sightscreen_unknown_claims_total",
            "Claims of entry URLs that the event does not know, by what of them is unknown.",
            &["unknown"],
        )?;
        let room = IntGaugeVec::new(
            Opts::new("sightscreen_upstream_room", "Requests to the origin that may still begin."),
            &["class"],
        )?;
        registry.register(Box::new(room.clone()))?;
        let micro = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 2.5];
        let wire = [1e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
        Ok(Self {
            requests: ANSWERS
                .map(|answer| CLASSES.map(|class| requests.with_label_values(&[answer, class]))),
            lookups: LOOKUPS.map(|served| lookups.with_label_values(&[served])),
            upstream: vec(
                "sightscreen_upstream_total",
                "Requests to the origin by class and outcome.",
                &["class", "outcome"],
            )?,
            upstream_seconds: histogram(
                "sightscreen_upstream_seconds",
                "Origin's time to its head.",
                &wire,
            )?,
            exchange_seconds: histogram(
                "sightscreen_compute_seconds",
                "Time in the component for a request.",
                &micro,
            )?,
            traps: counter(
                "sightscreen_traps_total",
                "Instances that trapped and were thrown away.",
            )?,
            deadlines: counter(
                "sightscreen_deadlines_total",
                "Instances that passed their deadline.",
            )?,
            instances: gauge("sightscreen_instances", "Instances of the component alive.")?,
            connections: gauge("sightscreen_connections", "Connections of viewers.")?,
            connections_refused: counter(
                "sightscreen_connections_refused_total",
                "Connections closed at once because there were too many.",
            )?,
            connections_unread: counter(
                "sightscreen_connections_unread_total",
                "Connections closed because their viewers did not read.",
            )?,
            abandoned: counter(
                "sightscreen_abandoned_total",
                "Objects that stopped arriving because their viewers had left.",
            )?,
            access_lines_lost: counter(
                "sightscreen_access_lines_lost_total",
                "Lines of the access log that came too fast to be written.",
            )?,
            unknown_claims: UNKNOWN_OF_CLAIMS.map(|what| claims.with_label_values(&[what])),
            cache_bytes: gauge("sightscreen_cache_bytes", "Bytes in the cache.")?,
            body_bytes: gauge(
                "sightscreen_body_bytes",
                "Bytes of bodies in memory: cached, arriving, or not read yet.",
            )?,
            flights: gauge("sightscreen_flights", "Keys being fetched or computed.")?,
            upstream_room: Class::ALL.map(|class| room.with_label_values(&[class.name()])),
            registry,
        })
    }

    pub(crate) fn request(&self, answered: Answered, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.requests[answered as usize][class].inc();
    }

    pub(crate) fn lookup(&self, lookup: Lookup) {
        self.lookups[lookup as usize].inc();
    }

    pub(crate) fn unknown_claims(&self, unknown: UnknownClaims) {
        let counts = [unknown.names, unknown.values];
        for (counter, count) in self.unknown_claims.iter().zip(counts) {
            counter.inc_by(count.into());
        }
    }

    pub(crate) fn exchange(&self, computed: Duration) {
        self.exchange_seconds.observe(computed.as_secs_f64());
    }

    pub(crate) fn upstream(
        &self,
        class: Class,
        outcome: Result<StatusCode, Failure>,
        took: Duration,
    ) {
        let outcome = match outcome {
            Ok(status) => CLASSES[usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1],
            Err(Failure::Timeout) => "timeout",
            Err(Failure::Unreachable) => "unreachable",
            Err(Failure::TooLarge) => "too_large",
        };
        self.upstream.with_label_values(&[class.name(), outcome]).inc();
        self.upstream_seconds.observe(took.as_secs_f64());
    }

    /// In Prometheus's text format.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics not written");
        }
        text
    }
}
