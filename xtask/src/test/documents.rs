//! Whether the documents are true as far as a machine can tell: links lead somewhere, commands,
//! flags and files exist, every setting is explained, and lines fit the page.

mod examples;
mod markdown;
mod settings;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Outcome;
use crate::paths;

pub(super) use examples::{examples, key_changes};
use markdown::Document;

/// What tools make, not people.
const NOT_OURS: [&str; 8] =
    ["target", "node_modules", "var", "dist", "build", "pkg", "corpus", "artifacts"];

/// The step: everything, which includes what needs the built programs.
pub(super) fn check() -> Result<Outcome> {
    let documents = documents()?;
    let mut faults = plain_faults(&documents)?;
    faults.extend(settings::faults(&documents)?);
    ensure!(faults.is_empty(), "the documents and the code disagree:\n  {}", faults.join("\n  "));
    Ok(Outcome::Passed(format!("{} documents", documents.len())))
}

/// What can be told without building anything.
fn plain_faults(documents: &[Document]) -> Result<Vec<String>> {
    let files = files()?;
    let mut faults = examples::faults(documents)?;
    for document in documents {
        faults.extend(document.long_lines());
        faults.extend(document.dead_links(documents));
        faults.extend(document.unknown_commands());
        faults.extend(document.unknown_files(&files));
        faults.extend(document.unreleased_files());
    }
    Ok(faults)
}

fn find<'a>(documents: &'a [Document], path: &str) -> Result<&'a Document> {
    let found = documents.iter().find(|document| document.path == Path::new(path));
    found.with_context(|| format!("there is no {path}"))
}

fn documents() -> Result<Vec<Document>> {
    let markdown = files()?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(paths::root().join(&path))?;
        Ok(Document { path, text })
    };
    markdown.map(read).collect()
}

/// Every file that people wrote, by its path from the repository's root, in order.
fn files() -> Result<Vec<PathBuf>> {
    let root = paths::root();
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hidden = name.starts_with('.') && name != ".github" && name != ".ci";
            if path.is_dir() && !path.is_symlink() {
                if !hidden && !NOT_OURS.contains(&name) {
                    folders.push(path);
                }
            } else {
                files.push(path.strip_prefix(&root)?.to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_hold_as_far_as_their_texts_tell() {
        let documents = documents().expect("documents");
        let faults = plain_faults(&documents).expect("files and examples");
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
