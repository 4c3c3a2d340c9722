//! The page's files, from one folder. Nothing outside of it is read, whatever a path says or the
//! folder links to.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Response, StatusCode};

use crate::http::{not_found, reply};

/// Largest file that is served.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Of the folder of pages, the part for viewers.
pub const VIEWER: &str = "viewer";
/// The part for operators.
pub const OPERATOR: &str = "operator";

/// A folder of files.
pub struct Page {
    folder: PathBuf,
}

impl Page {
    /// The files of `folder`.
    ///
    /// # Errors
    /// When the folder is not there.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        Ok(Self { folder: folder.canonicalize()? })
    }

    /// Answers with the file at `path`, relative to the folder; `index.html` where it is empty.
    pub async fn answer(&self, path: &str) -> Response<Bytes> {
        let path = if path.is_empty() { "index.html" } else { path };
        match self.read(path).await {
            Some(body) => {
                reply(StatusCode::OK, content_type(path), "public, max-age=5", body.into())
            }
            None => not_found(),
        }
    }

    /// The files of text that lie in the folder itself: name, content type and text. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn texts(&self) -> std::io::Result<Vec<(String, &'static str, String)>> {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Some(name) =
                entry.file_name().to_str().filter(|name| is_plain(name)).map(str::to_owned)
            else {
                continue;
            };
            let metadata = entry.metadata()?;
            if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
                continue;
            }
            if let Ok(text) = String::from_utf8(std::fs::read(entry.path())?) {
                texts.push((name.clone(), content_type(&name), text));
            }
        }
        texts.sort();
        Ok(texts)
    }

    async fn read(&self, path: &str) -> Option<Vec<u8>> {
        if !path.split('/').all(is_plain) {
            return None;
        }
        let file = tokio::fs::canonicalize(self.folder.join(path)).await.ok()?;
        let metadata = tokio::fs::metadata(&file).await.ok()?;
        let served = file.starts_with(&self.folder)
            && metadata.is_file()
            && metadata.len() <= FILE_BYTES_MAX;
        if served { tokio::fs::read(file).await.ok() } else { None }
    }
}

/// Whether a path segment is a name, and neither hidden nor a step in the tree.
fn is_plain(segment: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_files_of_the_folder_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("page");
        std::fs::create_dir_all(page.join("js")).unwrap();
        std::fs::write(page.join("index.html"), "index").unwrap();
        std::fs::write(page.join("js/a.js"), "a").unwrap();
        std::fs::write(page.join(".secret"), "hidden").unwrap();
        std::fs::write(folder.path().join("keyring.json"), "outside").unwrap();
        std::os::unix::fs::symlink(folder.path().join("keyring.json"), page.join("link.json"))
            .unwrap();
        let page = Page::open(&page).unwrap();
        let served = page.answer("").await;
        assert_eq!(
            (served.headers()["content-type"].as_bytes(), served.body().as_ref()),
            (b"text/html; charset=utf-8".as_slice(), b"index".as_slice())
        );
        assert_eq!(page.answer("js/a.js").await.status(), 200);
        std::fs::write(folder.path().join("page/dot.png"), b"\x89PNG\xff").unwrap();
        let index = ("index.html".to_owned(), "text/html; charset=utf-8", "index".to_owned());
        assert_eq!(page.texts().unwrap(), [index]);
        for path in [
            "../keyring.json",
            "..",
            ".secret",
            "link.json",
            "js",
            "js/",
            "js//a.js",
            "%2e%2e/keyring.json",
            "js\\a.js",
            "nothing",
        ] {
            assert_eq!(page.answer(path).await.status(), 404, "{path}");
        }
    }
}
