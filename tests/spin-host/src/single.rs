//! One instance for all requests, however many there are and however long they take.
//!
//! Spin promises no such thing: this is for tests, which can then count on what one instance keeps
//! in its memory. The instance lives until it traps. Requests that it was serving then fail, the
//! log says so, and the next request starts another.

use crate::component::Component;
use crate::spin::State;
use futures::channel::oneshot;
use futures::stream::{FuturesUnordered, StreamExt};
use std::time::Duration;
use tokio::sync::mpsc;
use wasmtime::component::Accessor;
use wasmtime::{AsContextMut, Result, format_err};
use wasmtime_wasi_http::handler::{Prepared, Proxy, Request, Response};

/// How long a request may take until it is answered with a failure; the instance lives on.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to the instance.
pub(crate) struct Single {
    calls: mpsc::UnboundedSender<Call>,
}

/// A request, and where its response goes.
struct Call {
    request: Request,
    reply: oneshot::Sender<Result<Response>>,
}

/// The instance is made by the first request.
pub(crate) fn start(component: Component) -> Single {
    let (calls, received) = mpsc::unbounded_channel();
    tokio::spawn(keep_serving(component, received));
    Single { calls }
}

impl Single {
    /// What the instance responds.
    ///
    /// # Errors
    /// The request's own failure, or that the instance ended.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response> {
        let ended = || format_err!("the instance ended");
        let (reply, response) = oneshot::channel();
        self.calls.send(Call { request, reply }).map_err(|_| ended())?;
        response.await.map_err(|_| ended())?
    }
}

async fn keep_serving(component: Component, mut calls: mpsc::UnboundedReceiver<Call>) {
    while let Some(first) = calls.recv().await {
        if let Err(error) = serve(&component, first, &mut calls).await {
            eprintln!(
                "sightscreen-spin-host: the one instance ended, the next request starts another: \
                 {error:#}"
            );
        }
    }
}

/// Serves `first` and all `calls` after it by one instance, until it traps or there can be no more
/// calls.
async fn serve(
    component: &Component,
    first: Call,
    calls: &mut mpsc::UnboundedReceiver<Call>,
) -> Result<()> {
    let (mut store, proxy) = component.instantiate().await?;
    store
        .run_concurrent(async |accessor| {
            let mut running = FuturesUnordered::new();
            running.push(run(accessor, &proxy, first));
            loop {
                tokio::select! {
                    Some(ended) = running.next() => ended?,
                    call = calls.recv() => match call {
                        Some(call) => running.push(run(accessor, &proxy, call)),
                        None => return Ok(()),
                    },
                }
            }
        })
        .await?
}

/// Runs one request.
///
/// # Errors
/// A trap, after which the instance is of no use.
async fn run(accessor: &Accessor<State>, proxy: &Proxy, call: Call) -> Result<()> {
    let Call { request, reply } = call;
    let prepared = accessor.with(|mut store| {
        Prepared::new(store.as_context_mut(), proxy, request, State::http_view, reply)
    })?;
    prepared.run(accessor, tokio::time::sleep(PATIENCE)).await?;
    Ok(())
}
