//! Instances of the component, as many as the requests need, each with the limits of Spin's
//! defaults.

use crate::outbound::Outbound;
use crate::spin::{self, Settings, State};
use std::future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use wasmtime::component::{Component, GuestTaskId, Linker};
use wasmtime::{Config, Engine, Result, Store, StoreContextMut};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState,
    WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;

/// Requests that one instance serves in its life.
const MAX_REQUESTS: usize = 128;
/// Requests that one instance serves at once.
const MAX_AT_ONCE: usize = 16;
/// How long an instance waits for its next request.
const IDLE: Duration = Duration::from_secs(1);
/// How long a request, or the work after it, may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Workers {
    engine: Engine,
    service: ServicePre<State>,
    settings: Arc<Settings>,
    outbound: Outbound,
}

/// Compiles the component and makes ready to run it.
pub(crate) fn handler(component: &Path, settings: Settings) -> Result<ProxyHandler<Workers>> {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config)?;
    let component = Component::from_file(&engine, component)?;
    let mut linker = Linker::new(&engine);
    spin::add_to_linker(&mut linker)?;
    let service = ServicePre::new(linker.instantiate_pre(&component)?)?;
    let outbound = Outbound::new(&settings.allowed_hosts);
    Ok(ProxyHandler::new(Workers { engine, service, settings: Arc::new(settings), outbound }))
}

impl HandlerState for Workers {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Limits;

    async fn instantiate(&self) -> Result<Instance<State, Expiration, Limits>> {
        let state = State::new(Arc::clone(&self.settings), self.outbound.clone());
        let mut store = Store::new(&self.engine, state);
        let proxy = ProxyPre::P3(self.service.clone()).instantiate_async(&mut store).await?;
        let expiration = Expiration(Box::pin(tokio::time::sleep(IDLE)));
        Ok(Instance { store, proxy, view: State::http_view, expiration, state: Limits })
    }
}

/// When an instance ends.
pub(crate) struct Expiration(Pin<Box<Sleep>>);

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        let limit = if status == WorkerStatus::Idle { IDLE } else { PATIENCE };
        self.0.as_mut().reset((start + limit).into());
        self.0.as_mut().poll(cx)
    }
}

/// How much an instance takes on.
pub(crate) struct Limits;

impl WorkerState for Limits {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, at_once: usize, total: usize) -> ShouldAccept {
        if total >= MAX_REQUESTS {
            ShouldAccept::Never
        } else if at_once >= MAX_AT_ONCE {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _store: StoreContextMut<'_, State>,
        (): (),
        _task: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(future::pending())
    }

    fn drop(&self, _store: Store<State>, result: Result<()>) {
        if let Err(error) = result {
            eprintln!("sightscreen-spin-host: an instance ended: {error:#}");
        }
    }
}
