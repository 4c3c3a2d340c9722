//! The component in wasmtime: compiling it, and instances that compute one step after another.
//!
//! Owns the limits of an instance: memory, and the time of one call. Invariant: an instance that
//! trapped or passed its deadline is never used again, and an exchange never goes on in another
//! instance than the one that it began in.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sightscreen_core as core;
use wasmtime::component::{Component, Linker, ResourceAny};
use wasmtime::{
    Cache, CacheConfig, Config, Engine as Wasmtime, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig, ResourceLimiter, Store, Trap, UpdateDeadline,
};

use crate::bindings::{self, Edge, EdgePre, wit};
use crate::config;
use crate::metrics::Metrics;

/// The component that this build embeds; see `build.rs`.
pub const EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/edge.wasm"));

/// An instance is replaced after so many exchanges: what one may have left in it does not stay for
/// ever.
const EXCHANGES_MAX: u32 = 100_000;
/// Bytes of an instance's memory kept resident for the next.
const RESIDENT: usize = 4 * 1024 * 1024;
const TICK: Duration = Duration::from_millis(10);
/// After so long a call is ended however little it computed: every viewer has given up.
const LONGEST: Duration = Duration::from_secs(10);

/// A compiled component, ready to make instances of.
pub(crate) struct Engine {
    pre: EdgePre<InstanceLimits>,
    allowance: Allowance,
    metrics: Arc<Metrics>,
    ticking: Arc<AtomicBool>,
}

/// What an instance may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Bytes of memory.
    memory: usize,
    call: CallTime,
}

/// How long a call may take. Time in which its thread had no processor does not count: a machine
/// with too much to do is no fault of the component's.
#[derive(Debug, Clone, Copy)]
struct CallTime {
    /// Ticks after which a call is looked at, again and again. Few calls take as much as one.
    ticks: u64,
    /// What it may compute from the first look on.
    compute: Duration,
    /// Looks after which it is ended in any case.
    looks: u32,
}

impl Allowance {
    /// By the settings.
    pub(crate) fn of(limits: &config::Limits) -> Self {
        Self { memory: limits.instance_bytes, call: CallTime::of(limits.compute) }
    }
}

impl CallTime {
    /// `compute` in all: one half until the first look, and the other from there on.
    fn of(compute: Duration) -> Self {
        let ticks = (compute / 2).as_millis().div_ceil(TICK.as_millis()).max(1) as u64;
        let looks = LONGEST.as_millis() / (TICK.as_millis() * u128::from(ticks));
        Self { ticks, compute: compute / 2, looks: u32::try_from(looks).unwrap_or(u32::MAX) }
    }
}

/// Why there is no step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The instance trapped, or none could be made.
    Trapped,
    /// The call took too long.
    Late,
    /// The instance that the exchange began in is gone.
    Gone,
}

/// A thread's instance, made where there is none.
pub(crate) struct Seat {
    instance: Option<Instance>,
    /// How many instances there were before this one.
    generation: u64,
}

/// An instance.
struct Instance {
    store: Store<InstanceLimits>,
    edge: Edge,
    exchanges: u32,
    /// Exchanges that run in it now.
    open: u32,
    metrics: Arc<Metrics>,
}

/// An exchange that has begun in an instance.
pub(crate) struct Begun {
    exchange: ResourceAny,
    generation: u64,
}

struct InstanceLimits {
    /// Bytes of memory in use.
    memory: usize,
    memory_max: usize,
    clock: Clock,
}

/// The time of one call.
struct Clock {
    may_take: CallTime,
    looks: u32,
    /// What the thread had computed at the first look.
    first: Option<Duration>,
}

impl Clock {
    fn new(may_take: CallTime) -> Self {
        Self { may_take, looks: 0, first: None }
    }

    /// Whether the call goes on, by what its thread has computed so far. Where the system does not
    /// tell, it goes on once.
    fn look(&mut self, computed: Option<Duration>) -> UpdateDeadline {
        self.looks += 1;
        let first = *self.first.get_or_insert(computed.unwrap_or_default());
        let since = computed.map_or(Duration::MAX, |now| now.saturating_sub(first));
        let CallTime { ticks, compute, looks } = self.may_take;
        if self.looks == 1 || (since < compute && self.looks < looks) {
            UpdateDeadline::Continue(ticks)
        } else {
            UpdateDeadline::Interrupt
        }
    }
}

/// What this thread has computed since it began.
fn computed() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

impl ResourceLimiter for InstanceLimits {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.memory_max {
            return Ok(false);
        }
        self.memory = desired;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 10_000)
    }
}

impl Engine {
    /// Compiles `component`, or takes it from the compile cache in `cache`. `instances`: the most
    /// at one time, each with the same allowance.
    ///
    /// # Errors
    /// When it is no component of the world `sightscreen:edge/edge`, or imports anything.
    pub(crate) fn new(
        component: &[u8],
        cache: &Path,
        instances: u32,
        allowance: Allowance,
        metrics: Arc<Metrics>,
    ) -> wasmtime::Result<Self> {
        let wasmtime = Wasmtime::new(&wasmtime_config(cache, instances, allowance.memory)?)?;
        let component = Component::new(&wasmtime, component)?;
        // An empty linker: a component that imports anything does not pass here.
        let pre = EdgePre::new(Linker::new(&wasmtime).instantiate_pre(&component)?)?;
        let ticking = Arc::new(AtomicBool::new(true));
        tick(wasmtime, Arc::clone(&ticking))?;
        Ok(Self { pre, allowance, metrics, ticking })
    }

    /// A new instance.
    fn instance(&self) -> Result<Instance, Fault> {
        let Allowance { memory, call } = self.allowance;
        let limits = InstanceLimits { memory: 0, memory_max: memory, clock: Clock::new(call) };
        let mut store = Store::new(self.pre.engine(), limits);
        store.limiter(|limits| limits);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().clock.look(computed())));
        store.set_epoch_deadline(call.ticks);
        let edge = self.pre.instantiate(&mut store).map_err(|error| {
            tracing::error!(%error, "no instance of the component");
            Fault::Trapped
        })?;
        self.metrics.instances.inc();
        Ok(Instance { store, edge, exchanges: 0, open: 0, metrics: Arc::clone(&self.metrics) })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.ticking.store(false, Ordering::Relaxed);
    }
}

fn wasmtime_config(cache: &Path, instances: u32, memory: usize) -> wasmtime::Result<Config> {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances * 4)
        .total_memories(instances)
        .total_tables(instances * 4)
        .max_memory_size(memory)
        .linear_memory_keep_resident(RESIDENT)
        .table_keep_resident(64 * 1024);
    let mut compiled = CacheConfig::new();
    compiled.with_directory(cache);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // The world has nothing asynchronous; its support slows every call down.
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cache(Some(Cache::new(compiled)?));
    Ok(config)
}

/// The one clock of an engine's deadlines.
fn tick(wasmtime: Wasmtime, ticking: Arc<AtomicBool>) -> std::io::Result<()> {
    let work = move || {
        while ticking.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
            wasmtime.increment_epoch();
        }
    };
    std::thread::Builder::new().name("ticker".into()).spawn(work).map(drop)
}

impl Seat {
    /// Empty.
    pub(crate) fn new() -> Self {
        Self { instance: None, generation: 0 }
    }

    /// Begins an exchange and computes its first step.
    pub(crate) fn begin(
        &mut self,
        engine: &Engine,
        request: wit::Request<'_>,
    ) -> Result<(Begun, core::Step), Fault> {
        if self.instance.as_ref().is_some_and(Instance::is_worn) {
            self.clear();
        }
        let generation = self.generation;
        let instance = match &mut self.instance {
            Some(instance) => instance,
            empty => empty.insert(engine.instance()?),
        };
        match instance.begin(request) {
            Ok((exchange, step)) => Ok((Begun { exchange, generation }, step)),
            Err(fault) => {
                self.clear();
                Err(fault)
            }
        }
    }

    /// Begins what is due beside the viewers' exchanges, if anything is, and computes its first
    /// step.
    pub(crate) fn upkeep(
        &mut self,
        now_ms: u64,
        entropy: u64,
    ) -> Result<Option<(Begun, core::Step)>, Fault> {
        let generation = self.generation;
        // Without an instance nobody has been here.
        let Some(instance) = &mut self.instance else { return Ok(None) };
        match instance.upkeep(now_ms, entropy) {
            Ok(due) => Ok(due.map(|(exchange, step)| (Begun { exchange, generation }, step))),
            Err(fault) => {
                self.clear();
                Err(fault)
            }
        }
    }

    /// The next step of the exchange.
    pub(crate) fn advance(
        &mut self,
        begun: &Begun,
        got: &[wit::Got<'_>],
    ) -> Result<core::Step, Fault> {
        let step = match &mut self.instance {
            Some(instance) if begun.generation == self.generation => {
                instance.advance(begun.exchange, got)
            }
            _ => return Err(Fault::Gone),
        };
        step.inspect_err(|_| self.clear())
    }

    /// Ends the exchange.
    pub(crate) fn end(&mut self, begun: &Begun) {
        if let Some(instance) = &mut self.instance
            && begun.generation == self.generation
            && instance.end(begun.exchange).is_err()
        {
            self.clear();
        }
    }

    /// Exchanges that run in the instance that is thrown away begin again in the next.
    fn clear(&mut self) {
        self.instance = None;
        self.generation += 1;
    }
}

impl Instance {
    fn upkeep(
        &mut self,
        now_ms: u64,
        entropy: u64,
    ) -> Result<Option<(ResourceAny, core::Step)>, Fault> {
        self.start_clock();
        let exchanges = self.edge.sightscreen_edge_exchanges();
        let due = exchanges.exchange().call_upkeep(&mut self.store, now_ms, entropy);
        let due = due.map_err(|error| self.fault(&error))?;
        self.open += u32::from(due.is_some());
        Ok(due.map(|(exchange, step)| (exchange, bindings::step(step))))
    }

    fn begin(&mut self, request: wit::Request<'_>) -> Result<(ResourceAny, core::Step), Fault> {
        self.exchanges += 1;
        self.open += 1;
        self.start_clock();
        let exchanges = self.edge.sightscreen_edge_exchanges();
        let begun = exchanges.exchange().call_begin(&mut self.store, request);
        let (exchange, step) = begun.map_err(|error| self.fault(&error))?;
        Ok((exchange, bindings::step(step)))
    }

    fn advance(
        &mut self,
        exchange: ResourceAny,
        got: &[wit::Got<'_>],
    ) -> Result<core::Step, Fault> {
        self.start_clock();
        let exchanges = self.edge.sightscreen_edge_exchanges();
        let step = exchanges.exchange().call_advance(&mut self.store, exchange, got);
        step.map(bindings::step).map_err(|error| self.fault(&error))
    }

    fn end(&mut self, exchange: ResourceAny) -> Result<(), Fault> {
        self.open -= 1;
        exchange.resource_drop(&mut self.store).map_err(|error| self.fault(&error))
    }

    /// Whether another is to take its place, now that no exchange would lose by it.
    fn is_worn(&self) -> bool {
        let limits = self.store.data();
        // At half of what it may have, so that its memory cannot only grow.
        let is_large = limits.memory >= limits.memory_max / 2;
        self.open == 0 && (self.exchanges >= EXCHANGES_MAX || is_large)
    }

    fn start_clock(&mut self) {
        let clock = &mut self.store.data_mut().clock;
        let may_take = clock.may_take;
        *clock = Clock::new(may_take);
        self.store.set_epoch_deadline(may_take.ticks);
    }

    fn fault(&self, error: &wasmtime::Error) -> Fault {
        if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            self.metrics.deadlines.inc();
            tracing::error!("an exchange passed its deadline; its instance is thrown away");
            return Fault::Late;
        }
        self.metrics.traps.inc();
        tracing::error!(
            error = %error.root_cause(), "the component trapped; its instance is thrown away"
        );
        Fault::Trapped
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.metrics.instances.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(compute_ms: u64) -> Clock {
        Clock::new(CallTime::of(Duration::from_millis(compute_ms)))
    }

    fn goes_on(clock: &mut Clock, computed_ms: Option<u64>) -> bool {
        let computed = computed_ms.map(Duration::from_millis);
        matches!(clock.look(computed), UpdateDeadline::Continue(_))
    }

    #[test]
    fn a_call_is_ended_by_what_it_computes_and_not_by_what_others_do() {
        let mut starved = clock(250);
        for computed_ms in [5000, 5010, 5100, 5124] {
            assert!(goes_on(&mut starved, Some(computed_ms)));
        }
        assert!(!goes_on(&mut starved, Some(5125)));
    }

    #[test]
    fn a_call_is_looked_at_after_half_of_what_it_may_compute() {
        for (compute_ms, ticks, looks) in [(10, 1, 1000), (250, 13, 76), (5000, 250, 4)] {
            let time = CallTime::of(Duration::from_millis(compute_ms));
            assert_eq!((time.ticks, time.looks), (ticks, looks), "{compute_ms}");
        }
    }

    #[test]
    fn a_call_ends_also_where_the_system_does_not_tell() {
        let mut untold = clock(250);
        assert!(goes_on(&mut untold, None) && !goes_on(&mut untold, None));
        let mut stuck = clock(250);
        assert!((1..stuck.may_take.looks).all(|_| goes_on(&mut stuck, Some(0))));
        assert!(!goes_on(&mut stuck, Some(0)));
    }
}
