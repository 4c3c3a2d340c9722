//! Claims of an entry URL that the event does not know, in words: mostly somebody's mistake, which
//! no edge refuses.

use std::path::Path;

use sightscreen_core::document::Event;
use sightscreen_core::signed_url::{self, Claims, UnknownClaim};
use sightscreen_origin::documents::publish;

/// What is unknown of a claim, and the sentence about it.
pub(crate) type Unknown = (&'static str, String);

/// The claims that the event of that name does not know; `None` where the origin's folder has no
/// document of the event.
pub(crate) fn unknown(
    claims: &Claims<'_>,
    event: &str,
    data: &Path,
) -> Result<Option<Vec<Unknown>>, String> {
    let kept = publish::kept(&data.join("documents"), &format!("events/{event}"));
    let Some(payload) = kept.map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let event: Event = serde_json::from_str(&payload)
        .map_err(|error| format!("the document of the event cannot be read: {error}"))?;
    let unknown = signed_url::unknown_claims(claims, &event).into_iter();
    Ok(Some(unknown.map(in_words).collect()))
}

fn in_words(claim: UnknownClaim<'_>) -> Unknown {
    match claim {
        UnknownClaim::Name(name) => {
            ("unknown claim", format!("{name}: the event has none of this name"))
        }
        UnknownClaim::Value(name) => {
            ("unknown value", format!("{name}: the event does not know what it says"))
        }
    }
}

/// What comes from outside may hold terminal escapes.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
