//! ffmpeg itself: how it is started, which one it is, and what its last words were.

use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::EncodeError;

/// The last line that says something, for an error message.
#[must_use]
pub fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    line.trim().chars().take(300).collect()
}

/// Whether the programs that an event needs sooner or later are there: better told at the start
/// than at the first picture.
///
/// # Errors
/// [`EncodeError::Ffmpeg`] for the first that is not.
pub async fn check_installed() -> Result<(), EncodeError> {
    for program in ["ffmpeg", "ffprobe"] {
        let run = Command::new(program)
            .arg("-version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        run.await.map_err(|error| EncodeError::Ffmpeg { program, reason: error.to_string() })?;
    }
    Ok(())
}

/// What ffmpeg says of itself, read once: another version encodes otherwise.
///
/// # Errors
/// [`EncodeError::Ffmpeg`] when it cannot be started.
pub async fn ffmpeg_version() -> Result<&'static str, EncodeError> {
    static VERSION: OnceCell<String> = OnceCell::const_new();
    let read = async || {
        let run = ffmpeg().arg("-version").stderr(Stdio::null()).output().await;
        let output = run.map_err(|error| EncodeError::Ffmpeg {
            program: "ffmpeg",
            reason: error.to_string(),
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    VERSION.get_or_try_init(read).await.map(String::as_str)
}

/// An ffmpeg that reads no terminal, and dies with this process's handle.
#[must_use]
pub fn ffmpeg() -> Command {
    alone(Command::new("ffmpeg"))
}

/// The same at a lower priority, by so much niceness.
#[must_use]
pub fn nice_ffmpeg(nice: u32) -> Command {
    let mut command = Command::new("nice");
    command.args(["-n", &nice.to_string(), "ffmpeg"]);
    alone(command)
}

fn alone(mut command: Command) -> Command {
    command.args(["-hide_banner", "-nostdin", "-y"]).stdin(Stdio::null()).kill_on_drop(true);
    command
}
