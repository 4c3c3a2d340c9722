//! A script in place of ffmpeg, which it calls in its turn.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Puts it into the folder `bin` of this folder, with the real ffmpeg for `REAL`, and returns the
/// `PATH` by which it is found first.
pub(crate) fn in_place_of_ffmpeg(folder: &Path, text: &str) -> String {
    let real = Command::new("sh").args(["-c", "command -v ffmpeg"]).output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let script = bin.join("ffmpeg");
    fs::write(&script, text.replace("REAL", real.trim())).unwrap();
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}
