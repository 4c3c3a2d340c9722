//! Transport streams that come by themselves, without a connection or a key: in datagrams, or
//! through a named pipe.

mod pipe;
mod udp;

use std::path::PathBuf;
use std::time::Duration;

use self::udp::Udp;
pub use self::udp::UdpSource;
use super::publishers::{Said, Step, Teller};
use super::ts::Pieces;

/// How transport streams are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TsLimits {
    /// A sender of datagrams that is silent for so long is gone.
    pub idle: Duration,
    /// Bytes of unfinished pictures and sounds.
    pub unfinished: usize,
    /// Bytes that datagrams may take in the system until they are read.
    pub udp_buffer: usize,
}

/// What is received.
pub(crate) enum Receiver {
    Udp(Udp),
    Pipe(PathBuf),
}

impl Default for TsLimits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(1), unfinished: 8 << 20, udp_buffer: 4 << 20 }
    }
}

impl Receiver {
    /// Receives datagrams.
    ///
    /// # Errors
    /// When the port is taken, or the group cannot be joined.
    pub(crate) fn udp(source: &UdpSource, limits: &TsLimits) -> std::io::Result<Self> {
        Udp::open(source, limits.udp_buffer).map(Self::Udp)
    }

    /// Receives for as long as it is polled, or until nobody takes its steps.
    pub(crate) async fn run(self, steps: Teller, event: String, limits: TsLimits) {
        let sender = Sender { steps, event, limits, number: 0, pieces: None };
        match self {
            Self::Udp(udp) => udp.run(sender).await,
            Self::Pipe(path) => pipe::run(&path, sender).await,
        }
    }
}

/// The event takes nothing any more.
struct Over;

/// Hands over what was received, as of one publisher after the other.
struct Sender {
    steps: Teller,
    event: String,
    limits: TsLimits,
    number: u64,
    /// Set while there is a publisher.
    pieces: Option<Pieces>,
}

impl Sender {
    fn is_publishing(&self) -> bool {
        self.pieces.is_some()
    }

    /// Takes bytes; the first begin a publisher.
    async fn take(&mut self, bytes: &[u8]) -> Result<(), Over> {
        if self.pieces.is_none() {
            self.number += 1;
            self.step(Step::Begin(self.number)).await?;
        }
        let (event, unfinished) = (&self.event, self.limits.unfinished);
        let pieces = self.pieces.get_or_insert_with(|| Pieces::new(event, unfinished));
        pieces.push(bytes);
        let said: Vec<Said> = std::iter::from_fn(|| pieces.next()).collect();
        for said in said {
            self.step(Step::Said(self.number, said)).await?;
        }
        Ok(())
    }

    /// The publisher is gone.
    async fn end(&mut self) -> Result<(), Over> {
        match self.pieces.take() {
            Some(_) => self.step(Step::End(self.number)).await,
            None => Ok(()),
        }
    }

    async fn step(&self, step: Step) -> Result<(), Over> {
        self.steps.tell(step).await.map_err(|_| Over)
    }
}
