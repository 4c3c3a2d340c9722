//! The edges that the settings name: what their metrics say, in the few numbers that an operator
//! watches. An edge that does not answer is told with the reason, and holds up nobody for long.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::KnownEdge;
use crate::outbound::{self, AskError, Bounds, Target};

/// The operator names them: unlike a webhook's, their addresses may be private.
const BOUNDS: Bounds = Bounds { private: true, within: Duration::from_secs(2), body_max: 1 << 20 };
/// For so long an answer is told again: several pages may be open.
const KEPT: Duration = Duration::from_secs(2);
/// How an edge's wants were served from what it had.
const HITS: [&str; 3] = ["hit", "stale", "collapsed"];

/// Why an edge has no numbers.
#[derive(Debug, thiserror::Error)]
enum EdgeError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("what answers there is no edge")]
    NoEdge,
}

/// The known edges, and what they said last.
pub(crate) struct Edges {
    known: Vec<KnownEdge>,
    last: Mutex<Option<(Instant, Value)>>,
}

impl Edges {
    /// These edges.
    pub(crate) fn new(known: Vec<KnownEdge>) -> Self {
        Self { known, last: Mutex::default() }
    }

    /// Each edge with its numbers, or with why it has none.
    pub(super) async fn told(&self) -> Value {
        // Who asks meanwhile gets the same.
        let mut last = self.last.lock().await;
        if let Some((_, value)) = last.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return value.clone();
        }
        let mut asked = JoinSet::new();
        for (at, edge) in self.known.iter().cloned().enumerate() {
            asked.spawn(async move { (at, told(&edge).await) });
        }
        let mut edges = asked.join_all().await;
        edges.sort_unstable_by_key(|(at, _)| *at);
        let edges: Vec<Value> = edges.into_iter().map(|(_, edge)| edge).collect();
        let value = json!({"edges": edges});
        *last = Some((Instant::now(), value.clone()));
        value
    }
}

async fn told(edge: &KnownEdge) -> Value {
    match numbers_of(edge).await {
        Ok(mut numbers) => {
            numbers["name"] = json!(edge.name);
            numbers["reachable"] = json!(true);
            numbers
        }
        Err(error) => {
            json!({"name": edge.name, "reachable": false, "reason": error.to_string()})
        }
    }
}

async fn numbers_of(edge: &KnownEdge) -> Result<Value, EdgeError> {
    let target = Target::read(&edge.url).map_err(AskError::from)?;
    let mut request = Request::get("/metrics");
    if let Some(token) = &edge.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.0));
    }
    let answer = outbound::ask(&target, request, Bytes::new(), BOUNDS).await?;
    std::str::from_utf8(&answer).ok().and_then(numbers).ok_or(EdgeError::NoEdge)
}

/// The numbers of an edge's metrics, all counted since its start; `None` where they are not an
/// edge's.
fn numbers(text: &str) -> Option<Value> {
    const REQUESTS: &str = "sightscreen_requests_total";
    const WANTS: &str = "sightscreen_wants_total";
    let connections = sum(text, "sightscreen_connections", |_| true)?;
    let of_hits = |labels: &str| HITS.iter().any(|hit| has(labels, "served", hit));
    Some(json!({
        "connections": connections,
        "requests": sum(text, REQUESTS, |_| true).unwrap_or(0),
        "failures": sum(text, REQUESTS, |labels| has(labels, "status", "5xx")).unwrap_or(0),
        "wants": sum(text, WANTS, |_| true).unwrap_or(0),
        "hits": sum(text, WANTS, of_hits).unwrap_or(0),
    }))
}

fn has(labels: &str, name: &str, value: &str) -> bool {
    labels.split(',').any(|label| {
        label.split_once('=').is_some_and(|(n, v)| n == name && v.trim_matches('"') == value)
    })
}

/// The sum of a metric over the samples whose labels fit; `None` where there is no sample of it.
fn sum(text: &str, metric: &str, fits: impl Fn(&str) -> bool) -> Option<u64> {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(metric)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((labels, value.trim().parse::<u64>().ok()?))
    });
    samples.fold(None, |sum: Option<u64>, (labels, value)| {
        let more = if fits(labels) { value } else { 0 };
        Some(sum.unwrap_or(0).saturating_add(more))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const METRICS: &str = "# HELP sightscreen_connections Open ones.\n\
        sightscreen_connections 7\n\
        sightscreen_connections_refused_total 3\n\
        sightscreen_requests_total{answer=\"relay\",status=\"2xx\"} 90\n\
        sightscreen_requests_total{answer=\"respond\",status=\"5xx\"} 10\n\
        sightscreen_wants_total{served=\"hit\"} 60\n\
        sightscreen_wants_total{served=\"collapsed\"} 20\n\
        sightscreen_wants_total{served=\"stale_on_error\"} 5\n\
        sightscreen_wants_total{served=\"miss\"} 15\n";

    #[test]
    fn numbers_are_sums_of_samples() {
        let told = numbers(METRICS).unwrap();
        let expected = json!({
            "connections": 7, "requests": 100, "failures": 10, "wants": 100, "hits": 80,
        });
        assert_eq!(told, expected);
        assert_eq!(numbers("<html>sightscreen_connections"), None);
    }

    /// Answers one request with this, and says what it was asked.
    async fn edge_that_says(answer: String) -> (String, tokio::task::JoinHandle<String>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        (url, asked)
    }

    fn known(url: &str, token: Option<&str>) -> KnownEdge {
        let token = token.map(|token| Secret(token.to_owned()));
        KnownEdge { name: "one".to_owned(), url: url.to_owned(), token }
    }

    #[tokio::test]
    async fn an_edge_is_asked_with_its_token_and_one_that_is_none_is_told_why() {
        let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        let (url, asked) = edge_that_says(head(METRICS.len()) + METRICS).await;
        let edges = Edges::new(vec![known(&url, Some("secret-of-it"))]);
        let first = edges.told().await;
        assert_eq!(first["edges"][0]["reachable"], true, "{first}");
        assert_eq!(first["edges"][0]["hits"], 80);
        assert!(asked.await.unwrap().contains("authorization: Bearer secret-of-it"));
        // It answered once, and is told again from memory.
        assert_eq!(edges.told().await, first);

        let reason = async |answer: String| {
            let (url, _asked) = edge_that_says(answer).await;
            let told = told(&known(&url, None)).await;
            assert_eq!(told["reachable"], false);
            told["reason"].as_str().unwrap().to_owned()
        };
        assert!(reason(head(2) + "ok").await.contains("no edge"));
        assert!(reason("HTTP/1.1 404 Not Found\r\n\r\n".to_owned()).await.contains("404"));
        assert!(reason(head(BOUNDS.body_max + 1)).await.contains("too large"));
        assert!(reason(String::new()).await.contains("no answer"));
        let gone = told(&known("http://127.0.0.1:1", None)).await;
        assert!(gone["reason"].as_str().unwrap().contains("no connection"), "{gone}");
    }
}
