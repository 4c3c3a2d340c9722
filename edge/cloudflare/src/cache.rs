//! What is kept in the Cache API: documents, playlists, results.
//!
//! Owns the entries' form: a response of status 200 whose header `sightscreen-stamp` says what it
//! stands for and how long. Invariant: the stamp decides, to the millisecond; the platform's own
//! age limit only sweeps up.

use crate::upstream;
use crate::viewer::now_ms;
use sightscreen_core::door::Stamp;
use sightscreen_core::{Object, Response as Answer};
use worker::{Cache, Response, ResponseBody, ResponseBuilder};

const STAMP: &str = "sightscreen-stamp";
/// Seconds that a document's last good copy may lie in a data centre's cache.
const DOCUMENT_LIFE: u64 = 30 * 24 * 3600;

/// A stored answer with its body still to be read.
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    response: Response,
}

impl Entry {
    /// The body as the platform's own stream.
    pub(crate) fn into_body(self) -> ResponseBody {
        self.response.into_parts().1
    }

    /// The whole entry as the core takes it.
    pub(crate) async fn object(mut self, max_bytes: u32) -> Option<Object> {
        let body = upstream::body(&mut self.response, max_bytes).await.ok()?;
        Some(Object { status: self.stamp.outcome.ok()?, headers: self.stamp.headers, body })
    }
}

/// Where a last good copy lies.
pub(crate) fn last_good_key(key: &str) -> String {
    format!("last-good/{key}")
}

/// The entry under `key`, whatever its age.
pub(crate) async fn get(key: &str) -> Option<Entry> {
    let response = Cache::default().get(url(key), true).await.ok()??;
    let stamp = Stamp::parse(&upstream::header(&response, STAMP)?)?;
    Some(Entry { stamp, response })
}

/// Stores an object that came just now. `durable` for documents, which answer however old.
pub(crate) async fn put_object(key: &str, stamp: &Stamp, body: Vec<u8>, durable: bool, tag: &str) {
    let life = if durable { DOCUMENT_LIFE } else { stamp.lifetime.end_ms().div_ceil(1000) };
    if life == 0 {
        return;
    }
    let builder = ResponseBuilder::new()
        .with_header("cache-control", &format!("max-age={life}"))
        .and_then(|builder| builder.with_header("cache-tag", tag))
        .and_then(|builder| builder.with_header(STAMP, &stamp.to_text()));
    if let Ok(builder) = builder {
        // A copy that is not stored is one that will be asked for again.
        let _ = Cache::default().put(url(key), builder.fixed(body)).await;
    }
}

/// Stores a whole response of the core.
pub(crate) async fn put_response(key: &str, answer: Answer, fresh_ms: u32, tag: &str) {
    let stamp = Stamp {
        outcome: Ok(answer.status),
        headers: answer.headers,
        lifetime: sightscreen_core::door::Lifetime {
            fresh_ms: fresh_ms.into(),
            ..Default::default()
        },
        stored_ms: now_ms(),
    };
    put_object(key, &stamp, answer.body, false, tag).await;
}

/// The Cache API takes URLs; this one leads nowhere, and holds the key as one segment. A key may
/// hold a viewer's `/../`, which the platform would resolve: no slash of a key is one of the URL's.
fn url(key: &str) -> String {
    let mut url = "https://sightscreen.invalid/".to_owned();
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => url.push(byte.into()),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}
