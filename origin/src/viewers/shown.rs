//! What snapshots are taken of: the API's answers and the page's files.

use std::sync::Arc;

use super::api::Api;
use super::page::Page;
use crate::event::snapshots::{PageFile, Shown};

/// One event's API, and the page.
pub(crate) struct ApiAndPage {
    pub(crate) api: Arc<Api>,
    pub(crate) page: Option<Arc<Page>>,
}

impl Shown for ApiAndPage {
    fn answer(&self, path: &str) -> Option<(String, String)> {
        self.api.take(path)
    }

    fn files(&self) -> std::io::Result<Vec<PageFile>> {
        self.page.as_ref().map_or(Ok(Vec::new()), |page| page.texts())
    }
}
