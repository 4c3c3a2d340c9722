//! Case files on disk.
//!
//! Owns finding and reading them, and what is wrong with one, in words that name the file.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Case, Count};

/// Folder below the cases that holds shared payloads.
pub(crate) const FIXTURES: &str = "fixtures";

/// One case as read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Area and name, such as `playlist/in-break`.
    pub name: String,
    /// Folder of the file, in which its golden files lie.
    pub dir: PathBuf,
    /// What the file says.
    pub case: Case,
}

/// Every case below `root` whose name holds `filter`, by name.
///
/// # Errors
/// Every fault of every file, one a line.
pub fn load_all(root: &Path, filter: Option<&str>) -> Result<Vec<Loaded>, String> {
    let mut files = Vec::new();
    find(root, &mut files).map_err(|e| format!("{}: {e}", root.display()))?;
    files.sort();
    let (mut cases, mut faults) = (Vec::new(), Vec::new());
    for file in files {
        let name =
            file.strip_prefix(root).unwrap_or(&file).with_extension("").display().to_string();
        match load(&file, name) {
            Ok(case) if filter.is_none_or(|f| case.name.contains(f)) => cases.push(case),
            Ok(_) => {}
            Err(fault) => faults.push(format!("{}: {fault}", file.display())),
        }
    }
    if faults.is_empty() { Ok(cases) } else { Err(faults.join("\n")) }
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with(FIXTURES) {
            find(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn load(file: &Path, name: String) -> Result<Loaded, String> {
    let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let case: Case = toml::from_str(&text).map_err(|e| e.to_string())?;
    if case.step.is_empty() {
        return Err("a case needs at least one [[step]]".into());
    }
    if let Some(at) =
        case.step.iter().position(|s| s.expect.status == 0 && s.leaves_after_ms.is_none())
    {
        return Err(format!("step {}: expected `expect` with a status", at + 1));
    }
    if let Some(door) =
        case.not_at.keys().find(|door| !crate::doors::NAMES.contains(&door.as_str()))
    {
        return Err(format!("not_at: there is no door {door:?}"));
    }
    if let Some(unknown) =
        capabilities(&case).find(|name| !crate::doors::CAPABILITIES.contains(name))
    {
        return Err(format!("there is no capability {unknown:?}"));
    }
    Ok(Loaded { name, dir: file.parent().unwrap_or(Path::new(".")).to_owned(), case })
}

/// Every capability that the case speaks of.
fn capabilities(case: &Case) -> impl Iterator<Item = &str> {
    let counts = case.step.iter().flat_map(|step| step.upstream.iter().flatten());
    let without = counts.filter_map(|(_, count)| match count {
        Count::Exactly(_) | Count::Between(..) => None,
        Count::Unless(unless) => Some(unless.without.keys()),
    });
    case.needs.iter().chain(without.flatten()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let text = "about = \"x\"\n[[origin]]\ntarget = \"/\"\nstats = 3\n[[step]]\nrequest = \"GET /\"\nexpect = { status = 200 }\n";
        fs::write(dir.path().join("a.toml"), text).unwrap();
        fs::write(
            dir.path().join("b.toml"),
            text.replace("stats = 3\n", "").replace("request", "reqest"),
        )
        .unwrap();
        let faults = load_all(dir.path(), None).unwrap_err();
        assert!(faults.contains("a.toml") && faults.contains("stats"), "{faults}");
        assert!(faults.contains("b.toml") && faults.contains("reqest"), "{faults}");
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let step = "[[step]]\nrequest = \"GET /\"\nexpect = { status = 200 }\n";
        for text in [
            format!("about = \"x\"\nneeds = [\"colapse\"]\n{step}"),
            format!(
                "about = \"x\"\n{step}upstream = {{ \"/\" = {{ times = 1, without = {{ colapse = [1, 2] }} }} }}\n"
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("a.toml"), text).unwrap();
            let faults = load_all(dir.path(), None).unwrap_err();
            assert!(faults.contains("a.toml") && faults.contains("\"colapse\""), "{faults}");
        }
    }
}
