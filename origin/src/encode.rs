//! From an input to coded samples: ffmpeg, the ladder, and one run after the other.

pub mod budget;
pub mod card;
pub mod encoder;
pub mod ffmpeg;
pub mod folder;
pub mod graph;
pub mod ladder;
pub mod probe;
pub(crate) mod rate;
pub mod run;
pub mod speed;
mod track;

/// Why nothing can be encoded; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// ffmpeg or ffprobe cannot be started.
    #[error(
        "{program} cannot be started ({reason}): install it, for example with `apt-get install \
         ffmpeg`"
    )]
    Ffmpeg {
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
        /// What the system said.
        reason: String,
    },
    /// Other events use what this one needs.
    #[error(
        "the machine has no room for another event: its smallest picture needs {needs:.2} cores, \
         and {free:.2} of {total:.2} are free: end an event, raise cpu-percent, or use a larger \
         machine"
    )]
    NoRoom {
        /// Cores that the smallest picture takes.
        needs: f64,
        /// Cores that are free.
        free: f64,
        /// Cores that encoding may use.
        total: f64,
    },
    /// The input has no picture that can be read.
    #[error("the input {input} cannot be used: {reason}")]
    Input {
        /// File, or the kind of input.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
}
