//! The component, compiled once, and its new instances.

use crate::outbound::Outbound;
use crate::spin::{self, Settings, State};
use std::path::Path;
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, Result, Store};
use wasmtime_wasi_http::handler::{Proxy, ProxyPre};
use wasmtime_wasi_http::p3::bindings::ServicePre;

/// A component that is ready to be run.
pub(crate) struct Component {
    engine: Engine,
    service: ServicePre<State>,
    settings: Arc<Settings>,
    outbound: Outbound,
}

impl Component {
    /// Compiles the component in `file`.
    ///
    /// # Errors
    /// What keeps it from being compiled, or from being linked with what Spin offers.
    pub(crate) fn compile(file: &Path, settings: Settings) -> Result<Self> {
        let mut config = Config::new();
        config.wasm_component_model_async(true);
        let engine = Engine::new(&config)?;
        let component = wasmtime::component::Component::from_file(&engine, file)?;
        let mut linker = Linker::new(&engine);
        spin::add_to_linker(&mut linker)?;
        let service = ServicePre::new(linker.instantiate_pre(&component)?)?;
        let outbound = Outbound::new(&settings.allowed_hosts);
        Ok(Self { engine, service, settings: Arc::new(settings), outbound })
    }

    /// A new instance, with the store it lives in.
    pub(crate) async fn instantiate(&self) -> Result<(Store<State>, Proxy)> {
        let state = State::new(Arc::clone(&self.settings), self.outbound.clone());
        let mut store = Store::new(&self.engine, state);
        let proxy = ProxyPre::P3(self.service.clone()).instantiate_async(&mut store).await?;
        Ok((store, proxy))
    }
}
