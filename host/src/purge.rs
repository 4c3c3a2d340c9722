//! Forgetting what is cached, at the operator's word.
//!
//! An answer that is on its way when its key is purged goes to those who wait for it and is not
//! kept. Copies of documents on disk stay: they answer only where the origin does not.

use sightscreen_core::route::decode;

use crate::node::Node;

/// What is purged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Purge {
    /// All of an event.
    Event(String),
    /// One cache key.
    Key(String),
}

impl Purge {
    /// From `event=EVENT` or `key=KEY`, escaped as in any query.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        let (name, value) = query.split_once('=')?;
        let value = decode(value).filter(|value| !value.is_empty())?.into_owned();
        match name {
            "event" => Some(Self::Event(value)),
            "key" => Some(Self::Key(value)),
            _ => None,
        }
    }

    /// Whether `key` goes. A key of an event has the event's name between slashes; what has it
    /// there for another reason is fetched once more, which harms nobody.
    fn takes(&self, key: &str) -> bool {
        match self {
            Self::Key(wanted) => wanted == key,
            Self::Event(event) => key.split(['/', '?']).any(|segment| segment == event),
        }
    }
}

impl Node {
    /// Forgets what `purge` takes, and says how many entries that were.
    pub(crate) fn purge(&self, purge: &Purge) -> usize {
        // Flights first: one that has ended by then is in the cache, and goes with it.
        self.transfers.forget(|key| purge.takes(key));
        self.results.forget(|key| purge.takes(key));
        self.cache.forget(|key| purge.takes(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_whole_segment_and_a_key_is_whole() {
        let event = Purge::Event("demo".to_owned());
        for key in [
            "origin/live/demo/v720/1.m4s",
            "document/events/demo",
            "playlist/demo/generic/v720/low/gzip/7.1",
            "origin/api/events/demo?lang=en",
        ] {
            assert!(event.takes(key), "{key}");
        }
        for key in ["origin/live/demo2/v720/1.m4s", "document/flags/site", ""] {
            assert!(!event.takes(key), "{key}");
        }
        let key = Purge::parse("key=origin%2Flive/demo/v720/index.m3u8%3F_HLS_msn=7");
        assert!(key.is_some_and(|key| key.takes("origin/live/demo/v720/index.m3u8?_HLS_msn=7")));
        for none in ["", "event", "event=", "other=1"] {
            assert_eq!(Purge::parse(none), None, "{none}");
        }
    }
}
