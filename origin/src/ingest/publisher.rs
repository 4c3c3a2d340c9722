//! From a publisher's pieces to runs of the encoder.
//!
//! Within a run, pieces stand on the grid where the publisher's clock says, which is followed.
//! Where that clock is set anew, the run ends, and the next begins at the next key picture. A
//! publisher that sends sound alone for some time goes on the air with the slate for its picture.

mod run;

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::encode::probe::Picture;
use crate::encode::rate;
use crate::ingest::group::Group;
use crate::ingest::piece::{Piece, Setup, SetupChange, Track};
use crate::ingest::publishers::{Said, Step, Steps};
use crate::ingest::source_clock::SourceClock;
use crate::ingest::{Backoff, Intake};
use crate::package::queue::Sink;
use crate::told::Told;
use run::{Run, probe_picture};

/// How long a run waits for the publisher's sound to announce itself, in milliseconds of its clock.
const AUDIO_WAIT: i64 = 500;

/// How long no picture may come, while sound does, before the last one is shown again, in
/// milliseconds of the publisher's clock: an encoder gives none without one.
const AGAIN_MS: u64 = 1000;

/// How long a publisher's clock may stand while data come before it is told, in milliseconds.
const STILL_MS: u64 = 2000;

/// How long an event's first pictures are counted for their rate, in milliseconds of the
/// publisher's clock.
const COUNT_MS: u32 = 500;

/// Pictures whose times are kept for it.
const COUNTED_MAX: usize = 240;

/// Follows publishers for as long as it is polled.
pub(crate) async fn follow<E: Intake>(event: E, mut steps: Steps, sink: Option<Sink>) {
    let mut source = Feed::new(event, sink);
    let mut newest = 0;
    while let Some(step) = steps.next().await {
        match step {
            // Of two that begin at once the older one may be told last.
            Step::Begin(number) if number > newest => {
                newest = number;
                source.reset(Some(number));
            }
            Step::Said(number, said) if source.number == Some(number) => match said {
                Said::Setup(setup) => source.set_up(setup),
                Said::Piece(piece) => source.take(piece).await,
                Said::Lost(count) => source.event.input().note_lost(count),
            },
            Step::End(number) if source.number == Some(number) => source.reset(None),
            Step::Begin(_) | Step::Said(..) | Step::End(_) => {}
        }
    }
}

/// The last picture, as long as no other comes.
#[derive(Debug, Clone, Copy)]
struct Stands {
    /// Its time on the publisher's clock.
    time: u32,
    /// When it was shown again, on that clock.
    again: u32,
    /// When it arrived, on the origin's clock.
    arrived_ms: u64,
}

/// When the next run may begin, so that an encoder that fails at once is not started at each piece.
#[derive(Debug, Default)]
struct Pace {
    pause: Backoff,
    not_before: Option<Instant>,
}

impl Pace {
    /// A run failed now, after so long.
    fn failed(&mut self, lasted: Duration, now: Instant) {
        self.not_before = Some(now + self.pause.after(lasted));
    }

    fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }
}

struct Feed<E> {
    event: E,
    sink: Option<Sink>,
    number: Option<u64>,
    setup: Option<Setup>,
    /// Pieces since the last one with which a lost encoder can start again.
    group: Group,
    /// The picture that stands.
    stands: Option<Stands>,
    /// When the first pictures came, on the publisher's clock.
    times: Vec<u32>,
    /// What was found in the picture of this configuration.
    picture: Option<(Bytes, Picture)>,
    clock: Option<SourceClock>,
    run: Option<Run>,
    pace: Pace,
    /// From when on nothing came with which decoding could start, on its clock.
    waits_since: Option<u32>,
    warned_of_key: bool,
    warned_of_still: bool,
    told_of_jump: Told,
    told_of_settings: Told,
    /// Whether it is on the air without a picture.
    is_sound_alone: bool,
    /// Encoders that run or come to their end. A new one takes the place of all before it.
    encoders: JoinSet<()>,
}

impl<E: Intake> Feed<E> {
    fn new(event: E, sink: Option<Sink>) -> Self {
        Self {
            event,
            sink,
            number: None,
            setup: None,
            group: Group::default(),
            stands: None,
            times: Vec::new(),
            picture: None,
            clock: None,
            run: None,
            pace: Pace::default(),
            waits_since: None,
            warned_of_key: false,
            warned_of_still: false,
            told_of_jump: Told::default(),
            told_of_settings: Told::default(),
            is_sound_alone: false,
            encoders: JoinSet::new(),
        }
    }

    /// Forgets the publisher; the run ends with its pipe.
    fn reset(&mut self, number: Option<u64>) {
        let (event, sink) = (self.event.clone(), self.sink.take());
        event.input().note_fault(None);
        event.input().note_publisher(number.is_some());
        let encoders = std::mem::take(&mut self.encoders);
        *self = Self { number, encoders, ..Self::new(event, sink) };
    }

    /// Takes what decoders must know. A run that began with something else, or with less, ends.
    fn set_up(&mut self, setup: Setup) {
        let change = self.setup.as_ref().map_or(SetupChange::More, |older| setup.after(older));
        match change {
            SetupChange::Nothing => return,
            SetupChange::Sound | SetupChange::Other => {
                let of = if change == SetupChange::Sound { "sound" } else { "picture" };
                self.end_run_of_others(of);
                match change {
                    SetupChange::Sound => self.group.drop_sound(),
                    _ => self.group.clear(),
                }
            }
            // Pieces so far are good: the next run begins with the last key picture.
            // The picture of one that sent sound alone: it begins with its first key.
            SetupChange::More if self.is_sound_alone && self.hears(&setup) => {}
            SetupChange::More if self.run.take().is_some() => tracing::warn!(
                event = self.event.name(),
                "the publisher sends more than it began with: starting the encoder again with it"
            ),
            SetupChange::More => {}
        }
        self.setup = Some(setup);
    }

    /// Ends a run whose picture or sound was coded otherwise than what comes from now on.
    fn end_run_of_others(&mut self, of: &str) {
        if self.run.is_some() && self.told_of_settings.due() {
            tracing::warn!(
                event = self.event.name(),
                of,
                "the publisher's settings changed: starting the encoder again with them"
            );
        }
        self.end_run();
    }

    /// Ends a run that something else takes the place of. A publisher that changes all the time
    /// gets ever fewer.
    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.pace.failed(run.lasted(), Instant::now());
        }
    }

    fn hears(&self, setup: &Setup) -> bool {
        self.setup.as_ref().is_some_and(|older| older.sounds == setup.sounds)
    }

    async fn take(&mut self, piece: Piece) {
        if let Track::Sound(at) = piece.track
            && self.setup.as_ref().is_none_or(|setup| setup.sounds.len() <= at)
        {
            return;
        }
        self.event.input().note_bytes(piece.data.len());
        self.look_for_picture(&piece);
        let is_start = piece.is_key || (self.is_sound_alone && !piece.is_picture());
        self.follow_clock(piece.time, is_start);
        if piece.is_picture() && self.times.len() < COUNTED_MAX {
            self.times.push(piece.time);
        }
        if is_start {
            self.group.clear();
        } else if self.group.is_empty() {
            return;
        }
        self.group.push(piece.clone());
        if piece.is_picture() {
            let (time, arrived_ms) = (piece.time, now_ms());
            self.stands = Some(Stands { time, again: time, arrived_ms });
        } else {
            self.show_again(piece.time);
        }
        match &mut self.run {
            Some(run) => {
                let taken = self.clock.as_ref().is_none_or(|clock| run.send(&piece, clock));
                if run.is_over() || !taken {
                    self.lose_run();
                }
            }
            None => self.start_when_known().await,
        }
    }

    /// Begins at a key picture, and ends the run where the clock cannot be followed.
    fn follow_clock(&mut self, time: u32, is_start: bool) {
        let now = now_ms();
        let Some(clock) = &mut self.clock else {
            self.clock = is_start.then(|| SourceClock::new(time, now));
            return;
        };
        match clock.place(time, now) {
            Ok(_) => {
                self.event.input().note_clock(clock.offset_ms(), clock.drift_ppm());
                let still_ms = clock.still_ms();
                self.warn_of_still(still_ms);
            }
            Err(jump) => {
                if self.told_of_jump.due() {
                    tracing::warn!(
                        event = self.event.name(),
                        %jump,
                        "the publisher's clock was set anew: continuing at its next key picture"
                    );
                }
                // The key picture may be this one.
                self.clock = is_start.then(|| SourceClock::new(time, now));
                (self.waits_since, self.stands) = (None, None);
                self.group.clear();
                self.end_run();
            }
        }
    }

    /// Once for each time that it stands.
    fn warn_of_still(&mut self, still_ms: u64) {
        if still_ms < STILL_MS {
            self.warned_of_still = false;
        } else if !std::mem::replace(&mut self.warned_of_still, true) {
            tracing::warn!(
                event = self.event.name(),
                still_ms,
                "the publisher's clock stands still while data come: what is on the air waits for \
                 it"
            );
        }
    }

    /// Has the picture that stands encoded once more at this time of the sound, unless it has stood
    /// for so long that it must be lost.
    fn show_again(&mut self, time: u32) {
        let Some((run, clock)) = self.run.as_mut().zip(self.clock.as_ref()) else { return };
        let Some(stands) = &mut self.stands else { return };
        let since = |then: u32| u64::try_from(time.wrapping_sub(then) as i32).unwrap_or(0);
        // Pictures that are only late beside their sound arrive all the time.
        let waited = since(stands.again).min(now_ms().saturating_sub(stands.arrived_ms));
        if waited < AGAIN_MS || since(stands.time) > self.event.picture_hold_ms() {
            return;
        }
        stands.again = time;
        // A pipe that is full is told with the next piece.
        let _ = self.group.again(time).iter().all(|piece| run.send(piece, clock));
    }

    /// The encoder failed, or takes no more.
    fn lose_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        tracing::warn!(event = self.event.name(), "the encoder no longer reads: starting it again");
        self.pace.failed(run.lasted(), Instant::now());
    }

    /// Goes on the air without a picture once there has been sound alone for long enough, and with
    /// it as soon as one comes.
    fn look_for_picture(&mut self, piece: &Piece) {
        if self.is_sound_alone && piece.is_key {
            tracing::info!(event = self.event.name(), "the publisher's picture came");
            self.is_sound_alone = false;
            self.run = None;
            // Times of the sound before it are no longer needed to find where it begins.
            self.clock = None;
        }
        if self.is_sound_alone || piece.is_key || !self.group.is_empty() {
            self.waits_since = None;
            return;
        }
        let begun = *self.waits_since.get_or_insert(piece.time);
        let waited = piece.time.wrapping_sub(begun);
        let wait = u32::try_from(self.event.picture_wait().as_millis()).unwrap_or(u32::MAX);
        if !(wait..u32::MAX / 2).contains(&waited) || self.warned_of_key {
            return;
        }
        let (event, waited_ms) = (self.event.name(), waited);
        if self.times.is_empty() {
            self.is_sound_alone = true;
            tracing::warn!(
                event,
                waited_ms,
                "the publisher sends sound and no picture: on the air with the slate"
            );
        } else {
            self.warned_of_key = true;
            tracing::warn!(
                event,
                waited_ms,
                "the publisher sends pictures and no key picture: set its encoder to one every 2 s"
            );
        }
    }

    /// Starts a run from the last key picture, once it is known whether there is sound.
    async fn start_when_known(&mut self) {
        let Some((first, setup)) = self.group.first().cloned().zip(self.setup.clone()) else {
            return;
        };
        if setup.picture.is_none() && !self.is_sound_alone {
            return;
        }
        if !self.pace.is_due(Instant::now()) {
            return;
        }
        if self.sink.is_none() && !self.is_sound_alone && !self.is_counted() {
            return;
        }
        // From the first key picture and not the last: there may be one every few pictures.
        let waited = self.clock.as_ref().map_or(0, SourceClock::passed_ms);
        if setup.sounds.is_empty() && waited < AUDIO_WAIT {
            return;
        }
        match self.start(&first, &setup).await {
            Ok(mut run) => {
                let mut group = self.group.pieces().iter();
                let taken = self
                    .clock
                    .as_ref()
                    .is_none_or(|clock| group.all(|piece| run.send(piece, clock)));
                self.run = Some(run);
                self.event.input().note_fault(None);
                if !taken {
                    self.lose_run();
                }
            }
            Err(reason) => {
                tracing::error!(event = self.event.name(), reason, "the encoder cannot be started");
                self.event.input().note_fault(Some(reason));
                self.pace.failed(Duration::ZERO, Instant::now());
            }
        }
    }

    /// Whether the rate can be told from the pictures that came.
    fn is_counted(&self) -> bool {
        let span = self.times.first().zip(self.times.last());
        self.times.len() == COUNTED_MAX
            || span.is_some_and(|(first, last)| last.wrapping_sub(*first) >= COUNT_MS)
    }

    /// What the publisher's picture is; nothing for sound alone.
    async fn look_at(&mut self, setup: &Setup) -> Result<Option<Picture>, String> {
        if self.is_sound_alone {
            return Ok(None);
        }
        let decoder = setup.picture.clone().unwrap_or_default();
        if let Some((of, picture)) = &self.picture
            && *of == decoder
        {
            return Ok(Some(picture.clone()));
        }
        let mut picture = probe_picture(setup, self.group.pieces()).await?;
        // Of fields, two may be counted for one picture.
        if !picture.is_interlaced {
            picture.fps = rate::of_times(&self.times, picture.fps).unwrap_or(picture.fps);
        }
        self.picture = Some((decoder, picture.clone()));
        Ok(Some(picture))
    }

    async fn start(&mut self, first: &Piece, setup: &Setup) -> Result<Run, String> {
        let picture = self.look_at(setup).await?;
        let sink = match &self.sink {
            Some(sink) => sink.clone(),
            None => {
                let chosen = self.event.choose(picture.as_ref(), setup.sounds.len()).await;
                let plan = chosen.map_err(|error| error.to_string())?;
                let sink = self.event.adopt(plan)?;
                self.sink.insert(sink).clone()
            }
        };
        let first_ms = self.clock.as_ref().ok_or("no key picture")?.at(first.time);
        Run::start(&self.event, setup, picture.as_ref(), first_ms, sink, &mut self.encoders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_that_fails_at_once_is_started_ever_more_seldom() {
        let mut pace = Pace::default();
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        assert!(pace.is_due(now));
        pace.failed(Duration::ZERO, now);
        assert!(pace.is_due(now));
        pace.failed(Duration::from_secs(1), now);
        assert!(!pace.is_due(after(249)) && pace.is_due(after(250)));
        pace.failed(Duration::ZERO, after(250));
        assert!(!pace.is_due(after(749)) && pace.is_due(after(750)));
        // One that held is started at once.
        pace.failed(Duration::from_secs(60), after(750));
        assert!(pace.is_due(after(750)));
    }
}
