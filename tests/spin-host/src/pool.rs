//! As many instances as the requests need, each within the limits that are Spin's defaults.
//!
//! Spin uses the same pool, and by it requests that come together often meet different instances:
//! one that is executing code takes no other request, and neither does one that has just taken one
//! until it waits for something. A request that finds no instance ready starts a new one.

use crate::component::Component;
use crate::spin::State;
use std::future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use wasmtime::component::GuestTaskId;
use wasmtime::{Result, Store, StoreContextMut};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

/// Requests that one instance serves in its life.
const MAX_REQUESTS: usize = 128;
/// Requests that one instance serves at once.
const MAX_AT_ONCE: usize = 16;
/// How long an instance waits for its next request.
const IDLE: Duration = Duration::from_secs(1);
/// How long a request, or the work after it, may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The instances of a component.
pub(crate) type Pool = ProxyHandler<Component>;

/// A pool that is empty until the first request.
pub(crate) fn of(component: Component) -> Pool {
    ProxyHandler::new(component)
}

impl HandlerState for Component {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Limits;

    async fn instantiate(&self) -> Result<Instance<State, Expiration, Limits>> {
        let (store, proxy) = Self::instantiate(self).await?;
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
