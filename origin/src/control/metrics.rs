//! What Prometheus reads: counts, clocks and times of all events. Labels are events and words of
//! small, fixed sets.

use prometheus::{
    CounterVec, Encoder, GaugeVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::breaks::ledger;
use crate::clock;
use crate::documents::publish;
use crate::event::{self, RunningEvent};
use crate::ingest;
use crate::package::packager::part_seconds;
use crate::viewers::media::held_requests;

/// All of it, in the text format.
///
/// # Errors
/// When two metrics have the same name, which a test would show.
pub(super) fn text(events: &[std::sync::Arc<RunningEvent>]) -> prometheus::Result<Vec<u8>> {
    let registry = Registry::new();
    registry.register(Box::new(part_seconds().clone()))?;
    registry.register(Box::new(publish::writes().clone()))?;
    registry.register(Box::new(ingest::refusals().clone()))?;
    let of_events = OfEvents::new(&registry)?;
    events.iter().try_for_each(|event| of_events.note(event))?;
    let ahead = Opts::new(
        "sightscreen_clock_ahead_seconds",
        "How far the origin's clock is ahead of the machine's.",
    );
    let ahead = prometheus::Gauge::with_opts(ahead)?;
    ahead.set(clock::ahead_ms() as f64 / 1e3);
    registry.register(Box::new(ahead))?;
    let held = IntGauge::new("sightscreen_held_requests", "Requests that wait for a part.")?;
    held.set(held_requests());
    registry.register(Box::new(held))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

/// What each event has.
struct OfEvents {
    state: GaugeVec,
    next_sequence: GaugeVec,
    behind: GaugeVec,
    lacking: GaugeVec,
    connected: GaugeVec,
    input_bytes: IntCounterVec,
    input_lost: IntCounterVec,
    clock_offset: GaugeVec,
    clock_drift: GaugeVec,
    encoder_starts: IntCounterVec,
    encoded: CounterVec,
    parts: IntCounterVec,
    disk_backlog: GaugeVec,
    disk_late: GaugeVec,
    segments_lost: IntCounterVec,
    breaks: GaugeVec,
}

impl OfEvents {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str, more: &[&str]| {
            let gauge = GaugeVec::new(Opts::new(name, help), &[&["event"], more].concat())?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str, more: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), &[&["event"], more].concat())?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let encoded = Opts::new(
            "sightscreen_encoded_seconds_total",
            "Seconds of picture that the encoder gave; its rate is the encoder's speed.",
        );
        let encoded = CounterVec::new(encoded, &["event"])?;
        registry.register(Box::new(encoded.clone()))?;
        Ok(Self {
            encoded,
            state: gauge("sightscreen_event_state", "1 for the state that it is in.", &["state"])?,
            next_sequence: gauge(
                "sightscreen_next_sequence",
                "First sequence number of which nothing is published.",
                &[],
            )?,
            behind: gauge(
                "sightscreen_behind_seconds",
                "From the end of the last part on the grid to its publication.",
                &[],
            )?,
            lacking: gauge(
                "sightscreen_lacking_renditions",
                "Renditions that have slate or silence in place of the input.",
                &[],
            )?,
            connected: gauge(
                "sightscreen_input_connected",
                "1 while somebody publishes; 0 for an input that makes itself.",
                &[],
            )?,
            input_bytes: counter(
                "sightscreen_input_bytes_total",
                "Coded bytes of picture and sound from publishers.",
                &[],
            )?,
            input_lost: counter(
                "sightscreen_input_lost_total",
                "Holes in publishers' transport streams, and packets that cannot be read.",
                &[],
            )?,
            clock_offset: gauge(
                "sightscreen_input_clock_offset_seconds",
                "How far the publisher's clock has fallen behind since it was met.",
                &[],
            )?,
            clock_drift: gauge(
                "sightscreen_input_clock_drift_ratio",
                "How fast the publisher's clock falls behind.",
                &[],
            )?,
            encoder_starts: counter(
                "sightscreen_encoder_starts_total",
                "Runs of the encoder.",
                &[],
            )?,
            parts: counter(
                "sightscreen_parts_total",
                "Published parts: of the input, slate and silence, or gaps.",
                &["of"],
            )?,
            disk_backlog: gauge(
                "sightscreen_disk_backlog_bytes",
                "Bytes that are not written yet.",
                &[],
            )?,
            disk_late: gauge(
                "sightscreen_disk_late",
                "1 while viewers are served from memory alone.",
                &[],
            )?,
            segments_lost: counter(
                "sightscreen_segments_lost_total",
                "Segments that were never written.",
                &[],
            )?,
            breaks: gauge("sightscreen_breaks", "Breaks in the ledger, by state.", &["state"])?,
        })
    }

    fn note(&self, event: &RunningEvent) -> prometheus::Result<()> {
        let (name, status) = (event.name(), event.live.status());
        for state in event::State::ALL {
            let is_it = f64::from(u8::from(state == event.state()));
            self.state.get_metric_with_label_values(&[name, state.name()])?.set(is_it);
        }
        let set = |gauge: &GaugeVec, value: f64| {
            gauge.get_metric_with_label_values(&[name]).map(|gauge| gauge.set(value))
        };
        set(&self.next_sequence, status.next_msn as f64)?;
        set(&self.behind, status.behind_ms as f64 / 1e3)?;
        set(&self.lacking, status.lacking.len() as f64)?;
        let input = event.live.input();
        set(&self.connected, f64::from(u8::from(input.is_connected())))?;
        self.input_bytes.get_metric_with_label_values(&[name])?.inc_by(input.bytes());
        self.input_lost.get_metric_with_label_values(&[name])?.inc_by(input.lost());
        set(&self.clock_offset, status.clock_offset_ms as f64 / 1e3)?;
        set(&self.clock_drift, status.clock_drift_ppm as f64 / 1e6)?;
        let starts = self.encoder_starts.get_metric_with_label_values(&[name])?;
        starts.inc_by(status.encoder_starts);
        let encoded = self.encoded.get_metric_with_label_values(&[name])?;
        encoded.inc_by(event.live.encoded_s());
        for (of, parts) in event.live.parts() {
            self.parts.get_metric_with_label_values(&[name, of])?.inc_by(parts);
        }
        if let Some(disk) = status.disk {
            set(&self.disk_backlog, disk.backlog_bytes as f64)?;
            set(&self.disk_late, f64::from(u8::from(disk.late)))?;
            self.segments_lost.get_metric_with_label_values(&[name])?.inc_by(disk.lost_segments);
        }
        self.note_breaks(event)
    }

    fn note_breaks(&self, event: &RunningEvent) -> prometheus::Result<()> {
        let ledger = event.desk.ledger();
        for (state, word) in [
            (ledger::State::Announced, "announced"),
            (ledger::State::Frozen, "frozen"),
            (ledger::State::Ended, "ended"),
            (ledger::State::Cancelled, "cancelled"),
        ] {
            let count = ledger.records().iter().filter(|record| record.state == state).count();
            let gauge = self.breaks.get_metric_with_label_values(&[event.name(), word])?;
            gauge.set(count as f64);
        }
        Ok(())
    }
}
