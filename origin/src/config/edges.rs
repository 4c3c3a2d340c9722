//! The edges whose numbers the operator's page draws.

use super::reader::Reader;
use crate::secret::Secret;

/// Most edges.
const EDGES_MAX: usize = 64;

/// An edge that the settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEdge {
    /// What people call it: its host and port.
    pub name: String,
    /// Base URL of its operator's port.
    pub url: String,
    /// What it is asked with, where something in front of it wants a token.
    pub token: Option<Secret>,
}

/// From a list of `URL` or `URL#TOKEN`.
pub(super) fn edges(reader: &mut Reader) -> Vec<KnownEdge> {
    let items = reader.found(|s| &s.edges).map(|list| list.0).unwrap_or_default();
    let edges: Option<Vec<KnownEdge>> = items.iter().map(|item| edge(item)).collect();
    edges.filter(|edges| edges.len() <= EDGES_MAX).unwrap_or_else(|| {
        let place = reader.place("edges", |s| &s.edges);
        // One may have a token, so none is repeated.
        let remedy = format!("list at most {EDGES_MAX} of http://HOST:PORT or https://HOST:PORT");
        reader.fault(place, "is no list of edges", &remedy);
        Vec::new()
    })
}

fn edge(item: &str) -> Option<KnownEdge> {
    let (url, token) = match item.trim().split_once('#') {
        Some((url, token)) => (url, Some(token)),
        None => (item.trim(), None),
    };
    let url = url.trim_end_matches('/');
    let name = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let is_host = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
    let is_token = |token: &str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if name.is_empty() || !name.bytes().all(is_host) || !token.is_none_or(is_token) {
        return None;
    }
    let token = token.map(|token| Secret(token.to_owned()));
    Some(KnownEdge { name: name.to_owned(), url: url.to_owned(), token })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::read;

    #[test]
    fn edges_are_addresses_perhaps_with_a_token() {
        let toml = "edges = [\"http://127.0.0.1:8081/\", \"https://edge.example.com#abc\"]";
        let edges = read(toml, &[]).unwrap().edges;
        let told: Vec<_> = edges.iter().map(|edge| (&*edge.name, &*edge.url)).collect();
        let first = ("127.0.0.1:8081", "http://127.0.0.1:8081");
        assert_eq!(told, [first, ("edge.example.com", "https://edge.example.com")]);
        assert!(edges[0].token.is_none() && edges[1].token.as_ref().unwrap().0 == "abc");
        assert!(read("", &[]).unwrap().edges.is_empty());
        for wrong in
            ["edge:8081", "http://", "http://a/b", "http://a b", "http://me@a", "http://a#"]
        {
            let faults = read(&format!("edges = [{wrong:?}]"), &[]).unwrap_err();
            assert!(faults[0].remedy.contains("http://HOST:PORT"), "{wrong}: {faults:?}");
        }
    }
}
