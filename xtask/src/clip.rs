//! Clips for publishers and files, as a camera's encoder would make them: a key picture every two
//! seconds, picture and sound.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::run;

/// Makes `file`, so many seconds of what ffmpeg's `picture` shows and a tone; `coding` is how the
/// picture is coded, and more.
pub(crate) fn make(
    file: PathBuf,
    picture: &str,
    seconds: &str,
    coding: &[&str],
) -> Result<PathBuf> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-y", "-v", "error", "-f", "lavfi", "-i", picture])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", seconds])
        .args(["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "60", "-sc_threshold", "0"])
        .args(["-c:a", "aac", "-ac", "2"])
        .args(coding)
        .arg(&file);
    run::logged("make a clip", &mut ffmpeg)?;
    Ok(file)
}
