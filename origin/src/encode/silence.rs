//! Silence as this machine's encoder makes it, for sound that does not come.

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::ffmpeg::{ffmpeg, last_line};
use super::ladder::sound_output;
use crate::mp4::read::{Header, Item, Reader};

/// One frame of silence, which can follow and be followed by any other.
#[derive(Debug, Clone)]
pub(super) struct Silence {
    pub(super) header: Header,
    pub(super) frame: Bytes,
}

/// Silence at this rate, made once; all grids have the same rate. `None` where it cannot be made.
pub(super) async fn silence(rate: u32) -> Option<&'static Silence> {
    static MADE: OnceCell<Silence> = OnceCell::const_new();
    match MADE.get_or_try_init(|| make(rate)).await {
        Ok(silence) => Some(silence),
        Err(reason) => {
            tracing::error!(reason, "no silence can be made: sound that is missing becomes gaps");
            None
        }
    }
}

async fn make(rate: u32) -> Result<Silence, String> {
    let output = ffmpeg()
        .args(["-v", "error", "-f", "lavfi", "-i", &format!("anullsrc=r={rate}:cl=stereo")])
        .args(["-t", "0.5", "-map", "0:a"])
        .args(sound_output(rate).split(' '))
        .arg("pipe:1")
        .output()
        .await
        .map_err(|error| error.to_string())?;
    let items = Reader::default().push(&output.stdout).map_err(|error| error.to_string())?;
    let mut header = None;
    let mut frames = Vec::new();
    for item in items {
        match item {
            Item::Header(found) => header = Some(found),
            Item::Sample(sample) => frames.push(sample.data),
        }
    }
    // Neither the priming nor what the end cuts.
    let frame = frames.get(frames.len() / 2).cloned();
    header
        .zip(frame)
        .map(|(header, frame)| Silence { header, frame })
        .ok_or_else(|| last_line(&String::from_utf8_lossy(&output.stderr)))
}
