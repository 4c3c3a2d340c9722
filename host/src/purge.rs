//! Forgetting what is cached, at the operator's word.
//!
//! An answer that is on its way when it is purged goes to those who wait for it and is not kept.
//! Copies of documents on disk stay unless the operator asks for them too: signature and version
//! protect a copy, and it answers only where the origin does not.

use std::io;

use sightscreen_core::route::decode;

use crate::node::Node;

/// What is purged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Purge {
    /// All of an event.
    Event {
        event: String,
        /// Whether the copies of its documents on disk go as well.
        copies: bool,
    },
    /// One cache key.
    Key(String),
}

impl Purge {
    /// From `event=EVENT`, `event=EVENT&copies=true` or `key=KEY`, escaped as in any query.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        let (what, copies) = match query.strip_suffix("&copies=true") {
            Some(what) => (what, true),
            None => (query, false),
        };
        let (name, value) = what.split_once('=').filter(|_| !what.contains('&'))?;
        let value = decode(value).filter(|value| !value.is_empty())?.into_owned();
        match (name, copies) {
            ("event", copies) => Some(Self::Event { event: value, copies }),
            ("key", false) => Some(Self::Key(value)),
            _ => None,
        }
    }

    /// Whether what is kept under `key` and belongs to `event` goes.
    pub(crate) fn takes(&self, key: &str, event: Option<&str>) -> bool {
        match self {
            Self::Event { event: purged, .. } => event == Some(purged),
            Self::Key(purged) => key == purged,
        }
    }
}

impl Node {
    /// Forgets what `purge` takes, and says how many entries that were.
    pub(crate) fn purge(&self, purge: &Purge) -> usize {
        // Flights first: one that has ended by then is in the cache, and goes with it.
        self.transfers.forget(purge);
        self.results.forget(purge);
        self.cache.forget(purge)
    }

    /// Removes the copies of documents that `purge` takes; `None` where it takes none.
    pub(crate) async fn purge_copies(&self, purge: &Purge) -> io::Result<Option<usize>> {
        let Purge::Event { event, copies: true } = purge else { return Ok(None) };
        let (documents, event) = (self.documents.clone(), event.clone());
        let removed = tokio::task::spawn_blocking(move || documents.remove(&event));
        removed.await.map_err(io::Error::other)?.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(copies: bool) -> Purge {
        Purge::Event { event: "demo".to_owned(), copies }
    }

    #[test]
    fn an_event_is_known_by_its_name_and_a_key_is_whole() {
        assert!(event(false).takes("origin/live/demo/v720/1.m4s", Some("demo")));
        for other in [Some("demo2"), None] {
            assert!(!event(false).takes("origin/live/demo/v720/1.m4s", other), "{other:?}");
        }
        let key = Purge::parse("key=origin%2Flive/demo/v720/index.m3u8%3F_HLS_msn=7");
        let taken = "origin/live/demo/v720/index.m3u8?_HLS_msn=7";
        assert!(key.is_some_and(|key| key.takes(taken, Some("demo")) && !key.takes("other", None)));
    }

    #[test]
    fn copies_go_only_where_that_is_said() {
        assert_eq!(Purge::parse("event=demo"), Some(event(false)));
        assert_eq!(Purge::parse("event=demo&copies=true"), Some(event(true)));
        let wrong =
            ["", "event", "event=", "other=1", "key=a&copies=true", "event=a&copies=1", "a=b&c=d"];
        for wrong in wrong {
            assert_eq!(Purge::parse(wrong), None, "{wrong}");
        }
    }
}
