//! `/`, `/watch/...` and `/page/...`: the viewers' page, passed on from the origin, else from its
//! snapshot.

use crate::context::{Context, Flow, is_missing, refuse};
use crate::exchange::{Class, Got, Relay, Response, Sharing, Source, Want};
use crate::live::header;
use crate::problem::Problem;

/// Milliseconds for which a file is used.
const FRESH_MS: u32 = 5000;
const TIMEOUT_MS: u32 = 5000;
const BYTES_MAX: u32 = 8 << 20;
/// The page itself, which a browser shows.
pub(crate) const INDEX: &str = "index.html";
/// In place of it, while the origin is away and no copy is to be had.
const UNAVAILABLE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<meta http-equiv=\"refresh\" content=\"5\">
<title>Not available</title>
<p>The stream is not available at the moment. This page tries again in five seconds.
</html>
";

/// A file of the page.
pub(crate) fn answer(cx: &mut Context<'_>, file: &str) -> Flow<Response> {
    let target = format!("/page/{file}");
    let want = Want {
        key: format!("origin{target}"),
        source: Source::Origin(target),
        event: None,
        class: Class::Page,
        sharing: Sharing::Everyone,
        fresh_ms: FRESH_MS,
        stale_ms: FRESH_MS,
        missing_ms: FRESH_MS,
        timeout_ms: TIMEOUT_MS,
        max_bytes: BYTES_MAX,
    };
    match cx.relay(Relay { want, headers: headers() })? {
        Got::Object(object) if is_missing(object.status) => {
            refuse(Problem::ObjectUnknown.response())
        }
        _ => stored(cx, file),
    }
}

/// The file as it was when the origin last could give it.
fn stored(cx: &mut Context<'_>, file: &str) -> Flow<Response> {
    let Some(snapshot) = cx.snapshot(&format!("/page/{file}"))? else {
        let refusal = cx.unavailable();
        return refuse(if file == INDEX { readable(refusal) } else { refusal });
    };
    let mut headers = headers();
    headers.push(("content-type".to_owned(), snapshot.content_type));
    Ok(Response { status: 200, headers, body: snapshot.body.into_bytes(), ..Response::default() })
}

/// The refusal for one who looks at it in a browser.
fn readable(mut refusal: Response) -> Response {
    for (name, value) in &mut refusal.headers {
        if name == "content-type" {
            "text/html; charset=utf-8".clone_into(value);
        }
    }
    Response { body: UNAVAILABLE.as_bytes().to_vec(), ..refusal }
}

fn headers() -> Vec<(String, String)> {
    vec![
        header("cache-control", "public, max-age=5"),
        header("x-content-type-options", "nosniff"),
        header("referrer-policy", "no-referrer"),
    ]
}
