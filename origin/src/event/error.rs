//! Why an event does not start. Each says what to do.

use std::path::PathBuf;

use crate::breaks::log::LogError;
use crate::documents::publish::PublishError;
use crate::encode::EncodeError;
use crate::grid::GridError;
use crate::ingest::KeyTaken;

/// Why an event does not start.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// No ledger.
    #[error(transparent)]
    Ledger(#[from] LogError),
    /// No documents.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No media.
    #[error(transparent)]
    Media(#[from] StartError),
}

/// Why an event's media cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Datagrams cannot be received.
    #[error(
        "--input {input}: nothing can be received there ({source}): name an address of this machine or \
         a group, and a free port"
    )]
    Receive {
        /// The input.
        input: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Lengths and frame rate do not fit.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A folder or file cannot be used.
    #[error("{path}: {source}: check that the folder is writable and the disk is not full")]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// ffmpeg cannot be used, or not for this input.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Two events with one key.
    #[error(transparent)]
    Key(#[from] KeyTaken),
    /// What was kept of the event was damaged from outside.
    #[error(
        "{path} cannot be read ({reason}): restore it, or choose another data folder to start the \
         event anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The data folder belongs to an event made with other settings.
    #[error(
        "the data folder {path} was made with other settings ({reason}): choose another folder, or \
         these settings"
    )]
    Changed {
        /// The event's folder.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
}
