//! A named pipe, into which another program writes a transport stream in real time.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::sleep;

use super::{Over, Sender};
use crate::told::Told;

/// Bytes that are read at once: what a pipe holds.
const READ: usize = 64 << 10;

/// How often it is looked whether somebody writes.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads one writer after the other.
pub(super) async fn run(path: &Path, mut sender: Sender) {
    let mut told = Told::default();
    loop {
        match read(path, &mut sender).await {
            Ok(Ok(())) => {}
            Ok(Err(Over)) => return,
            Err(error) if told.due() => {
                let path = path.display();
                tracing::error!(event = sender.event, %path, %error, "the pipe cannot be read");
            }
            Err(_) => {}
        }
        if sender.end().await.is_err() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Reads until there is no writer.
async fn read(path: &Path, sender: &mut Sender) -> std::io::Result<Result<(), Over>> {
    let mut pipe = pipe::OpenOptions::new().open_receiver(path)?;
    let mut buffer = vec![0; READ];
    loop {
        let length = pipe.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            if sender.is_publishing() {
                tracing::info!(event = sender.event, "the writer of the pipe left");
            }
            return Ok(Ok(()));
        };
        if !sender.is_publishing() {
            tracing::info!(event = sender.event, path = %path.display(), "a publisher begins");
        }
        if let Err(over) = sender.take(bytes).await {
            return Ok(Err(over));
        }
    }
}
