//! What a component sees of Spin: variables, and the key-value store `default`.
//!
//! The store is a folder with a file for each key. A value is replaced as a whole or not at all.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use wasmtime::component::{Access, Accessor, HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::outbound::Outbound;
use bindings::spin::key_value::key_value::{self, Error as KeyValueError};
use bindings::spin::variables::variables::{self, Error as VariableError};

mod bindings {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "spin",
        imports: { default: trappable | store },
        with: { "spin:key-value/key-value.store": super::Store },
    });
}

/// What all instances share.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) variables: HashMap<String, String>,
    pub(crate) data: PathBuf,
    /// Origins that the component may ask.
    pub(crate) allowed_hosts: Vec<String>,
    /// Key-value stores that it may open.
    pub(crate) stores: Vec<String>,
}

/// The only store there is.
#[derive(Debug)]
#[expect(unreachable_pub, reason = "the generated bindings name it outside of this crate's view")]
pub struct Store;

/// The state of one instance.
pub(crate) struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    settings: Arc<Settings>,
}

impl State {
    pub(crate) fn new(settings: Arc<Settings>, outbound: Outbound) -> Self {
        Self {
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new().inherit_stdout().inherit_stderr().build(),
            http: WasiHttpCtx::new(),
            outbound,
            settings,
        }
    }

    pub(crate) fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http_view()
    }
}

/// Everything that a door imports.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    bindings::Spin::add_to_linker::<_, Imports>(linker, |state| state)
}

struct Imports;

impl HasData for Imports {
    type Data<'a> = &'a mut State;
}

impl variables::Host for &mut State {}

impl<T: Send> variables::HostWithStore<T> for Imports {
    async fn get(
        accessor: &Accessor<T, Self>,
        name: String,
    ) -> wasmtime::Result<Result<String, VariableError>> {
        Ok(accessor.with(|mut access| {
            let variables = &access.get().settings.variables;
            variables.get(&name).cloned().ok_or(VariableError::Undefined(name))
        }))
    }
}

impl key_value::Host for &mut State {}

impl key_value::HostStore for &mut State {}

impl<T: Send> key_value::HostStoreWithStore<T> for Imports {
    async fn open(
        accessor: &Accessor<T, Self>,
        label: String,
    ) -> wasmtime::Result<Result<Resource<Store>, KeyValueError>> {
        if label != "default" {
            return Ok(Err(KeyValueError::NoSuchStore));
        }
        accessor.with(|mut access| {
            let state = access.get();
            if !state.settings.stores.contains(&label) {
                return Ok(Err(KeyValueError::AccessDenied));
            }
            Ok(Ok(state.table.push(Store)?))
        })
    }

    async fn get(
        accessor: &Accessor<T, Self>,
        _store: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, KeyValueError>> {
        Ok(match tokio::fs::read(file(accessor, &key)).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(KeyValueError::Other(error.to_string())),
        })
    }

    async fn set(
        accessor: &Accessor<T, Self>,
        _store: Resource<Store>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), KeyValueError>> {
        let written = replace(&file(accessor, &key), &value).await;
        Ok(written.map_err(|error| KeyValueError::Other(error.to_string())))
    }

    async fn delete(
        accessor: &Accessor<T, Self>,
        _store: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<(), KeyValueError>> {
        Ok(match tokio::fs::remove_file(file(accessor, &key)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(KeyValueError::Other(error.to_string()))
            }
            _ => Ok(()),
        })
    }

    async fn exists(
        accessor: &Accessor<T, Self>,
        _store: Resource<Store>,
        key: String,
    ) -> wasmtime::Result<Result<bool, KeyValueError>> {
        Ok(Ok(tokio::fs::try_exists(file(accessor, &key)).await.unwrap_or(false)))
    }

    fn drop(mut access: Access<'_, T, Self>, store: Resource<Store>) -> wasmtime::Result<()> {
        access.get().table.delete(store)?;
        Ok(())
    }
}

/// The file of a key: its bytes in hexadecimal, so that no key leads out of the folder.
fn file<T>(accessor: &Accessor<T, Imports>, key: &str) -> PathBuf {
    let name: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
    accessor.with(|mut access| access.get().settings.data.join(name))
}

async fn replace(file: &Path, value: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let new = file.with_extension("new");
    tokio::fs::write(&new, value).await?;
    tokio::fs::rename(&new, file).await
}
