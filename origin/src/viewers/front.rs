//! The main port: media, documents, API and page, by prefix.
//!
//! Media and documents are for edges alone where a secret is set; the API and the page are open.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use subtle::{Choice, ConstantTimeEq};

use super::api::Api;
use super::media;
use super::page::Page;
use crate::documents::publish::DocumentPublisher;
use crate::event::Registry;
use crate::http::{Handler, not_found, problem, reply};
use crate::secret::Secret;

/// Header in which an edge names the secret that it shares with the origin.
const EDGE_SECRET: &str = "sightscreen-edge-secret";
const DOCUMENT_TYPE: &str = "application/vnd.sightscreen.document";
/// Documents are looked at again each second.
const CHANGING: &str = "public, max-age=1";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// What the main port answers from.
pub struct Front {
    pub(crate) events: Registry,
    pub(crate) publisher: Arc<DocumentPublisher>,
    pub(crate) api: Arc<Api>,
    pub(crate) page: Option<Arc<Page>>,
    pub(crate) edge_secrets: Vec<Secret>,
}

impl Handler for Front {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Option<Response<Bytes>> {
        let (head, _) = request.into_parts();
        let path = head.uri.path();
        if path == "/api" || path.starts_with("/api/") {
            return Arc::clone(&self.api).answer(&head.method, path, head.uri.query()).await;
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            return Some(problem(
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The method is not allowed",
            ));
        }
        let (name, live) = (path.strip_prefix("/documents/"), path.strip_prefix("/live/"));
        if (name.is_some() || live.is_some()) && !is_edge(&self.edge_secrets, &head.headers) {
            let title = "Media and documents are for the edges that name the shared secret";
            return Some(problem(StatusCode::FORBIDDEN, "edge-secret", title));
        }
        if let Some(name) = name {
            return Some(self.document(name));
        }
        if let Some(rest) = live {
            let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
            let Some(event) = self.events.get(name) else { return Some(not_found()) };
            let path = path.to_owned();
            let request = Request::from_parts(head, ());
            return Some(media::handle(&event.live, request, &path).await);
        }
        let file = if path == "/" { Some("") } else { path.strip_prefix("/page/") };
        match (&self.page, file) {
            (Some(page), Some(file)) => Some(page.answer(file).await),
            _ => Some(not_found()),
        }
    }
}

/// Whether the request names one of the secrets, or none is asked for. Takes the same time whatever
/// is wrong with a name of the right length.
fn is_edge(secrets: &[Secret], headers: &HeaderMap) -> bool {
    let given = headers.get(EDGE_SECRET).map_or(&b""[..], |value| value.as_bytes());
    let known = |known, secret: &Secret| known | secret.0.as_bytes().ct_eq(given);
    secrets.is_empty() || secrets.iter().fold(Choice::from(0), known).into()
}

impl Front {
    fn document(&self, name: &str) -> Response<Bytes> {
        if let Some(pods) = name.strip_prefix("pods/").and_then(|rest| self.pods(name, rest)) {
            return reply(StatusCode::OK, DOCUMENT_TYPE, IMMUTABLE, pods);
        }
        match self.publisher.get(name) {
            Some(body) => reply(StatusCode::OK, DOCUMENT_TYPE, CHANGING, body),
            None => {
                problem(StatusCode::NOT_FOUND, "document-name", "No document can have this name")
            }
        }
    }

    /// `{event}/{epoch}.{revision}/{cohort}`, rendered from the ledger.
    fn pods(&self, name: &str, rest: &str) -> Option<Bytes> {
        let mut parts = rest.split('/');
        let (event, revision, cohort) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let pods = self.events.get(event)?.pods(revision, cohort)?;
        self.publisher.immutable(name, &pods).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_edge_names_one_of_the_secrets() {
        let secrets = ["the-one-that-goes", "the-one-that-comes"].map(|text| Secret(text.into()));
        let admits = |secrets: &[Secret], given: Option<&str>| {
            let headers = given.map(|given| (EDGE_SECRET.parse().unwrap(), given.parse().unwrap()));
            is_edge(secrets, &headers.into_iter().collect())
        };
        for given in ["the-one-that-goes", "the-one-that-comes"] {
            assert!(admits(&secrets, Some(given)), "{given}");
        }
        for given in
            ["", "the-one-that", "the-one-that-cameX", "the-one-that-goes,the-one-that-comes"]
        {
            assert!(!admits(&secrets, Some(given)), "{given}");
        }
        assert!(!admits(&secrets, None));
        assert!(admits(&[], None) && admits(&[], Some("whatever")));
    }
}
