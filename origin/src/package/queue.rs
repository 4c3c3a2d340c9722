//! The queue between the encoder's runs and the packager.
//!
//! Of two runs only the newer is heard, however their messages interleave. A packager that stands
//! still (a full disk) costs at most [`BYTES_MAX`] of memory: samples past it are dropped and
//! become gaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::package::end::EndError;
use crate::package::filler::Filler;
use crate::package::message::Message;

/// Coded bytes that may wait: half a minute of a full ladder.
pub const BYTES_MAX: usize = 64 << 20;

#[derive(Debug, Default)]
struct Shared {
    runs: AtomicU64,
    bytes: AtomicUsize,
    /// Set from the first dropped sample until half of the bytes are gone, so that one stretch is
    /// lost and not every second sample.
    full: AtomicBool,
}

/// Where runs begin. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Sink {
    sender: mpsc::UnboundedSender<(u64, Message)>,
    shared: Arc<Shared>,
}

/// A [`Sink`] that does not keep the packager working.
#[derive(Debug, Clone)]
pub struct WeakSink(mpsc::WeakUnboundedSender<(u64, Message)>);

/// Where one run's messages go. Clones are the same run.
#[derive(Debug, Clone)]
pub struct RunSink {
    sink: Sink,
    run: u64,
}

/// The packager's end.
#[derive(Debug)]
pub struct Queue {
    messages: mpsc::UnboundedReceiver<(u64, Message)>,
    shared: Arc<Shared>,
    newest: u64,
    /// Whether the newest run has not ended yet.
    open: bool,
}

/// The packager is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packager ended")]
pub struct Closed;

/// Makes a queue.
#[must_use]
pub fn queue() -> (Sink, Queue) {
    let (sender, messages) = mpsc::unbounded_channel();
    let shared = Arc::<Shared>::default();
    let queue = Queue { messages, shared: Arc::clone(&shared), newest: 0, open: false };
    (Sink { sender, shared }, queue)
}

impl Sink {
    /// A run newer than all before it.
    #[must_use]
    pub fn begin(&self) -> RunSink {
        RunSink { run: self.shared.runs.fetch_add(1, Ordering::Relaxed) + 1, sink: self.clone() }
    }

    /// A handle that does not keep the packager working.
    #[must_use]
    pub fn downgrade(&self) -> WeakSink {
        WeakSink(self.sender.downgrade())
    }
}

impl WeakSink {
    /// Whether nothing comes any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.upgrade().is_none_or(|sender| sender.is_closed())
    }

    /// Hands over what stands in for missing parts, by track.
    pub fn fill_with(&self, fillers: Vec<Filler>) {
        self.tell(Message::Fillers(fillers));
    }

    /// What stands in for missing parts is not there yet, and nothing should wait for it.
    pub fn fill_later(&self) {
        self.tell(Message::FillersLater);
    }

    fn tell(&self, message: Message) {
        if let Some(sender) = self.0.upgrade() {
            // Of no run. Nobody needs it once the packager is gone.
            let _ = sender.send((0, message));
        }
    }

    /// Ends the event, and returns the first segment that will never be.
    ///
    /// # Errors
    /// See [`EndError`].
    pub async fn finish(&self) -> Result<u64, EndError> {
        let (reply, end) = oneshot::channel();
        let sender = self.0.upgrade().ok_or(EndError::Gone)?;
        // Of no run.
        sender.send((0, Message::Finish { reply })).map_err(|_| EndError::Gone)?;
        drop(sender);
        end.await.map_err(|_| EndError::Gone)?
    }
}

impl RunSink {
    /// Hands a message over. Samples for which there is no room are dropped.
    ///
    /// # Errors
    /// When nobody takes messages any more.
    pub fn send(&self, message: Message) -> Result<(), Closed> {
        let Sink { sender, shared } = &self.sink;
        let bytes = weight(&message);
        if bytes > 0 && !shared.has_room(bytes) {
            return Ok(());
        }
        shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        sender.send((self.run, message)).map_err(|_| Closed)
    }
}

impl Shared {
    fn has_room(&self, bytes: usize) -> bool {
        let waiting = self.bytes.load(Ordering::Relaxed);
        let full = self.full.load(Ordering::Relaxed);
        let most = if full { BYTES_MAX / 2 } else { BYTES_MAX };
        let room = waiting.saturating_add(bytes) <= most;
        if room == full {
            self.full.store(!room, Ordering::Relaxed);
            match room {
                true => tracing::warn!("the packager works again"),
                false => tracing::error!(
                    waiting,
                    "the packager is stuck (is the disk full?): samples are dropped and become gaps"
                ),
            }
        }
        room
    }
}

impl Queue {
    /// The newest run's next message; `None` when all sinks are gone.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let (run, message) = self.messages.recv().await?;
            self.shared.bytes.fetch_sub(weight(&message), Ordering::Relaxed);
            if self.admits(run, &message) {
                return Some(message);
            }
        }
    }

    fn admits(&mut self, run: u64, message: &Message) -> bool {
        match message {
            Message::Start { .. } if run > self.newest => {
                (self.newest, self.open) = (run, true);
                true
            }
            Message::Start { .. } => false,
            Message::Finish { .. } | Message::Fillers(_) | Message::FillersLater => true,
            Message::End => {
                let heard = self.hears(run);
                self.open &= !heard;
                heard
            }
            Message::Header { .. } | Message::Samples { .. } => self.hears(run),
        }
    }

    fn hears(&self, run: u64) -> bool {
        self.open && run == self.newest
    }
}

/// Bytes that a message keeps in memory, of those that may be dropped.
fn weight(message: &Message) -> usize {
    match message {
        Message::Samples { samples, .. } => samples.iter().map(|one| one.data.len()).sum(),
        Message::Start { .. }
        | Message::Header { .. }
        | Message::End
        | Message::Fillers(_)
        | Message::FillersLater
        | Message::Finish { .. } => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::package::message::Placed;
    use bytes::Bytes;

    fn sample(index: u64, bytes: usize) -> Message {
        let samples = vec![Placed { index, sync: true, data: Bytes::from(vec![0; bytes]) }];
        Message::Samples { track: 0, samples, came: std::time::Instant::now() }
    }

    async fn drain(queue: &mut Queue) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(message) = queue.next().await {
            heard.push(match message {
                Message::Start { frame } => format!("start {frame}"),
                Message::Header { .. } => "header".to_owned(),
                Message::Samples { samples, .. } => format!("sample {}", samples[0].index),
                Message::End => "end".to_owned(),
                Message::Fillers(_) => "fillers".to_owned(),
                Message::FillersLater => "fillers later".to_owned(),
                Message::Finish { .. } => "finish".to_owned(),
            });
        }
        heard
    }

    #[tokio::test]
    async fn an_older_run_is_not_heard_once_a_newer_one_began() {
        let (sink, mut queue) = queue();
        let (old, new, late) = (sink.begin(), sink.begin(), sink.begin());
        let early = sink.begin();
        for (run, message) in [
            (&old, Message::Start { frame: 1 }),
            (&old, sample(1, 1)),
            (&new, Message::Start { frame: 2 }),
            (&old, sample(2, 1)),
            (&old, Message::End),
            (&new, sample(3, 1)),
            (&new, Message::End),
            (&new, sample(4, 1)),
            (&new, Message::End),
            (&early, Message::Start { frame: 5 }),
            (&late, Message::Start { frame: 4 }),
            (&late, sample(5, 1)),
            (&early, sample(6, 1)),
        ] {
            run.send(message).unwrap();
        }
        drop((old, new, late, early, sink));
        assert_eq!(
            drain(&mut queue).await,
            ["start 1", "sample 1", "start 2", "sample 3", "end", "start 5", "sample 6"]
        );
    }

    #[tokio::test]
    async fn past_the_limit_samples_are_dropped_until_half_is_gone() {
        let (sink, mut queue) = queue();
        let run = sink.begin();
        run.send(Message::Start { frame: 0 }).unwrap();
        let quarter = BYTES_MAX / 4;
        (0..6).for_each(|index| run.send(sample(index, quarter)).unwrap());
        for _ in 0..3 {
            queue.next().await.unwrap();
        }
        // Half is left, so another quarter would be past it.
        run.send(sample(6, quarter)).unwrap();
        queue.next().await.unwrap();
        run.send(sample(7, quarter)).unwrap();
        run.send(Message::End).unwrap();
        drop((run, sink));
        assert_eq!(drain(&mut queue).await, ["sample 3", "sample 7", "end"]);
        assert_eq!(queue.shared.bytes.load(Ordering::Relaxed), 0);
    }
}
