//! The operator's page. Its files are for everybody; the page itself asks for the token.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::http::problem;
use crate::viewers::page::Page;

/// What the page may do: run its own scripts, talk to this port, and show the viewers' page of an
/// edge in a frame. Nobody may show it in a frame, so nobody lays it under a click.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; \
     frame-src https: http://127.0.0.1:* http://localhost:*; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// The file of the page that a path names; empty: its index.
pub(super) fn file(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("/operator")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Answers with a file of the page.
pub(super) async fn answer(page: Option<&Page>, method: &Method, file: &str) -> Response<Bytes> {
    let Some(page) = page else {
        let title = "This origin was started without its pages: see the setting page";
        return problem(StatusCode::NOT_FOUND, "page-absent", title);
    };
    if method != Method::GET && method != Method::HEAD {
        let title = "The page is read with GET";
        return problem(StatusCode::METHOD_NOT_ALLOWED, "method-unknown", title);
    }
    let mut response = page.answer(file).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_page_are_told_from_others() {
        assert_eq!(file("/operator"), Some(""));
        assert_eq!(file("/operator/"), Some(""));
        assert_eq!(file("/operator/page.js"), Some("page.js"));
        assert_eq!(file("/operators"), None);
        assert_eq!(file("/control/operator"), None);
    }

    #[tokio::test]
    async fn every_answer_of_the_page_says_what_it_may_do() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("index.html"), "index").unwrap();
        let page = Page::open(folder.path()).unwrap();
        for (file, status) in [("", 200), ("nothing", 404), ("../x", 404)] {
            let answer = answer(Some(&page), &Method::GET, file).await;
            assert_eq!(answer.status(), status, "{file}");
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors"));
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        }
        assert_eq!(answer(Some(&page), &Method::POST, "").await.status(), 405);
        assert_eq!(answer(None, &Method::GET, "").await.status(), 404);
    }
}
