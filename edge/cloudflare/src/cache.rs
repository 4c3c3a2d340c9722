//! What is kept in the Cache API: documents, playlists, results.
//!
//! An entry is a response of status 200 whose header `sightscreen-stamp` says what it stands for
//! and how long. The stamp decides, to the millisecond; the platform's own age limit only sweeps
//! up.

use sightscreen_door::{Body, Entry, Stamp, tags};
use worker::{Cache, ResponseBuilder};

use crate::upstream::{Stream, header};

const STAMP: &str = "sightscreen-stamp";

/// The entry under `key`, whatever its age.
pub(crate) async fn get(key: &str) -> Option<Entry<Stream>> {
    let response = Cache::default().get(url(key), true).await.ok()??;
    let stamp = Stamp::parse(&header(&response, STAMP)?)?;
    Some(Entry { stamp, body: Body::Stream(response.into_parts().1) })
}

/// Keeps an entry.
pub(crate) async fn put(key: &str, stamp: &Stamp, body: &[u8], life_ms: u64, event: Option<&str>) {
    let life_s = life_ms.div_ceil(1000);
    let tags = tags(event).collect::<Vec<_>>().join(",");
    let builder = ResponseBuilder::new()
        .with_header("cache-control", &format!("max-age={life_s}"))
        .and_then(|builder| builder.with_header("cache-tag", &tags))
        .and_then(|builder| builder.with_header(STAMP, &stamp.to_text()));
    if let Ok(builder) = builder {
        let _ = Cache::default().put(url(key), builder.fixed(body.to_vec())).await;
    }
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
