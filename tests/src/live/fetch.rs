//! URLs and their fetching, over plain HTTP.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::wire::{self, Reply, Request};

/// Longer than three target durations and what an origin may take on top.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A place to fetch from: an authority and a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Url {
    authority: String,
    /// Path and query.
    pub(super) target: String,
}

impl Url {
    /// Reads `http://host:port/path`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix("http://")
            .ok_or_else(|| format!("{text}: expected http://HOST:PORT/PATH"))?;
        let (authority, path) =
            rest.split_once('/').ok_or_else(|| format!("{text}: there is no path"))?;
        Ok(Self { authority: authority.to_owned(), target: format!("/{path}") })
    }

    /// The URL of a reference as it stands in the playlist at this URL (RFC 3986, 5.2, for relative
    /// paths and whole URLs).
    pub(super) fn join(&self, reference: &str) -> Result<Self, String> {
        if reference.starts_with("http://") {
            return Self::parse(reference);
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let base = if reference.starts_with('/') {
            ""
        } else {
            path.rsplit_once('/').map_or("", |(folder, _)| folder)
        };
        let (path, query) = reference
            .split_once('?')
            .map_or((reference, None), |(path, query)| (path, Some(query)));
        let mut segments: Vec<&str> = Vec::new();
        for segment in base
            .split('/')
            .chain(path.split('/'))
            .filter(|segment| !segment.is_empty() && *segment != ".")
        {
            if segment == ".." {
                segments.pop().ok_or_else(|| format!("{reference} climbs above the root"))?;
            } else {
                segments.push(segment);
            }
        }
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            authority: self.authority.clone(),
            target: format!("/{}{query}", segments.join("/")),
        })
    }

    /// This URL with a query in place of its own.
    pub(super) fn with_query(&self, query: &str) -> Self {
        let path = self.target.split('?').next().unwrap_or_default();
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        Self { target, ..self.clone() }
    }

    /// Whether the other is in the same folder.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let folder = |url: &Self| {
            let path = url.target.split('?').next().unwrap_or_default();
            path.rsplit_once('/').map(|(folder, _)| folder.to_owned())
        };
        self.authority == other.authority && folder(self) == folder(other)
    }

    pub(super) fn get(&self) -> io::Result<Reply> {
        self.request(&[], TIMEOUT)
    }

    /// As [`Url::get`], where the answer comes in time.
    pub(super) fn get_within(&self, limit: Duration) -> io::Result<Reply> {
        self.request(&[], limit)
    }

    /// As [`Url::get`], for one who accepts gzip.
    pub(super) fn get_packed(&self) -> io::Result<Reply> {
        self.request(&[("accept-encoding", "gzip")], TIMEOUT)
    }

    fn request(&self, headers: &[(&str, &str)], limit: Duration) -> io::Result<Reply> {
        let default = || format!("{}:80", self.authority);
        let authority =
            if self.authority.contains(':') { self.authority.clone() } else { default() };
        let addr: SocketAddr =
            authority.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let headers = [("host", self.authority.as_str())]
            .iter()
            .chain(headers)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let request = Request { method: "GET".into(), target: self.target.clone(), headers };
        let reply = wire::send(addr, &request, limit)?;
        if reply.cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(reply) }
    }

    /// The body of a 200, else what came.
    pub(super) fn body(&self) -> Result<Vec<u8>, String> {
        match self.get() {
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(reply) => Err(format!("status {}", reply.status)),
            Err(e) => Err(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    #[test]
    fn references_are_resolved_in_the_playlist_s_folder() {
        let base = Url::parse("http://h:1/live/e/P/v720/index.m3u8?x=1").unwrap();
        let target = |reference: &str| base.join(reference).unwrap().target;
        assert_eq!(target("1.m4s"), "/live/e/P/v720/1.m4s");
        assert_eq!(target("../ads/c/0.m4s?y"), "/live/e/P/ads/c/0.m4s?y");
        assert_eq!(target("/a"), "/a");
        assert!(Url::parse("https://h/").is_err());
        let beside = |reference: &str| base.join(reference).unwrap().is_beside(&base);
        assert!(beside("init.mp4?y=a/b") && beside("../v720/init.mp4"));
        assert!(
            !beside("../ads/c/v720/0/init.mp4") && !beside("http://i:1/live/e/P/v720/init.mp4")
        );
    }
}
