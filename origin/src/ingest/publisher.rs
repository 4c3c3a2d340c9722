//! From a publisher's tags to runs of the encoder.
//!
//! Within a run, tags stand on the grid where the publisher's clock says, which is followed. Where
//! that clock is set anew, the run ends, and the next begins at the next key picture.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::clock::now_ms;
use crate::encode::folder::RunFolder;
use crate::encode::graph;
use crate::encode::probe::{Picture, probe_file};
use crate::encode::rate;
use crate::encode::run::{self, Job};
use crate::grid::Kind;
use crate::ingest::group::{Group, HELD};
use crate::ingest::publishers::{Step, Steps};
use crate::ingest::source_clock::SourceClock;
use crate::ingest::{Backoff, Intake};
use crate::package::queue::Sink;
use crate::told::Told;
use crate::weighed::{self, Bounds};
use sightscreen_wire::flv::{self, Tag, Unit};

/// How long a run waits for the publisher's sound to announce itself, in milliseconds of its clock.
const AUDIO_WAIT: i64 = 500;

/// How long there may be sound without a picture before it is told, in milliseconds of its clock.
const PICTURE_WAIT: u32 = 3000;

/// How long no picture may come, while sound does, before the last one is shown again, in
/// milliseconds of the publisher's clock: an encoder gives none without one.
const AGAIN_MS: u64 = 1000;

/// How long a publisher's clock may stand while data come before it is told, in milliseconds.
const STILL_MS: u64 = 2000;

/// Tags that may wait for the encoder's pipe before a run is given up: all that are held, and what
/// comes while it starts.
const PIPE: Bounds = Bounds { items: HELD.items + 1024, bytes: HELD.bytes + (16 << 20) };

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
            Step::Tag(number, tag) if source.number == Some(number) => source.take(tag).await,
            Step::End(number) if source.number == Some(number) => source.reset(None),
            Step::Begin(_) | Step::Tag(..) | Step::End(_) => {}
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

struct Run {
    pipe: weighed::Sender<Bytes>,
    task: AbortHandle,
    /// When its first picture is on the air, in Unix milliseconds.
    start_ms: u64,
    begun: Instant,
}

/// When the next run may begin, so that an encoder that fails at once is not started at each tag.
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
    video_config: Option<Tag>,
    audio_config: Option<Tag>,
    /// Tags since the last key picture, with which a lost encoder starts again.
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
    warned_of_sound: bool,
    /// When its sound began, on its clock.
    sound_since: Option<u32>,
    warned_of_picture: bool,
    warned_of_still: bool,
    told_of_jump: Told,
    told_of_settings: Told,
    /// Encoders that run or come to their end. A new one takes the place of all before it.
    encoders: JoinSet<()>,
}

impl<E: Intake> Feed<E> {
    fn new(event: E, sink: Option<Sink>) -> Self {
        Self {
            event,
            sink,
            number: None,
            video_config: None,
            audio_config: None,
            group: Group::default(),
            stands: None,
            times: Vec::new(),
            picture: None,
            clock: None,
            run: None,
            pace: Pace::default(),
            warned_of_sound: false,
            sound_since: None,
            warned_of_picture: false,
            warned_of_still: false,
            told_of_jump: Told::default(),
            told_of_settings: Told::default(),
            encoders: JoinSet::new(),
        }
    }

    /// Forgets the publisher; the run ends with its pipe.
    fn reset(&mut self, number: Option<u64>) {
        let (event, sink) = (self.event.clone(), self.sink.take());
        let encoders = std::mem::take(&mut self.encoders);
        *self = Self { number, encoders, ..Self::new(event, sink) };
    }

    async fn take(&mut self, tag: Tag) {
        let unit = tag.unit();
        match unit {
            Unit::Aside => return,
            Unit::Foreign(codec) => {
                self.warn_of_sound(codec);
                return;
            }
            Unit::Config => {
                self.configure(tag);
                return;
            }
            // It says by itself how it is coded.
            Unit::Sound { is_plain: true } => self.configure(tag.clone()),
            Unit::Sound { .. } | Unit::Picture { .. } => {}
        }
        if !tag.video {
            self.miss_picture(tag.time);
        }
        let is_key = matches!(unit, Unit::Picture { is_key: true, .. });
        self.follow_clock(tag.time, is_key);
        if tag.video && self.times.len() < COUNTED_MAX {
            self.times.push(tag.time);
        }
        if is_key {
            self.group.clear();
        } else if self.group.is_empty() {
            return;
        }
        self.group.push(tag.clone());
        if tag.video {
            let (time, arrived_ms) = (tag.time, now_ms());
            self.stands = Some(Stands { time, again: time, arrived_ms });
        } else {
            self.show_again(tag.time);
        }
        match &self.run {
            Some(run) => {
                let taken = self.clock.as_ref().is_none_or(|clock| run.send(&tag, clock));
                if run.task.is_finished() || !taken {
                    self.lose_run();
                }
            }
            None => self.start_when_known().await,
        }
    }

    /// Begins at a key picture, and ends the run where the clock cannot be followed.
    fn follow_clock(&mut self, time: u32, is_key: bool) {
        let now = now_ms();
        let Some(clock) = &mut self.clock else {
            self.clock = is_key.then(|| SourceClock::new(time, now));
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
                self.clock = is_key.then(|| SourceClock::new(time, now));
                self.group.clear();
                self.end_run();
            }
        }
    }

    /// Has the picture that stands encoded once more at this time of the sound, unless it has stood
    /// for so long that it must be lost.
    fn show_again(&mut self, time: u32) {
        let Some((run, clock)) = self.run.as_ref().zip(self.clock.as_ref()) else { return };
        let Some(stands) = &mut self.stands else { return };
        let since = |then: u32| u64::try_from(time.wrapping_sub(then) as i32).unwrap_or(0);
        // Pictures that are only late beside their sound arrive all the time.
        let waited = since(stands.again).min(now_ms().saturating_sub(stands.arrived_ms));
        if waited < AGAIN_MS || since(stands.time) > self.event.picture_hold_ms() {
            return;
        }
        stands.again = time;
        // A pipe that is full is told with the next tag.
        let _ = self.group.again(time).iter().all(|tag| run.send(tag, clock));
    }

    /// The encoder failed, or takes no more.
    fn lose_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        tracing::warn!(event = self.event.name(), "the encoder no longer reads: starting it again");
        self.pace.failed(run.begun.elapsed(), Instant::now());
    }

    /// Takes the settings of a decoder. A run that began with others, or without them, ends.
    fn configure(&mut self, tag: Tag) {
        let slot = match tag.video {
            true => &mut self.video_config,
            false => &mut self.audio_config,
        };
        let is_change = slot.is_some();
        match slot {
            Some(old) if tag.is_set_up_like(old) => return,
            Some(_) => {
                if self.told_of_settings.due() {
                    tracing::warn!(
                        event = self.event.name(),
                        of = if tag.video { "picture" } else { "sound" },
                        "the publisher's settings changed: starting the encoder again with them"
                    );
                }
                match tag.video {
                    true => self.group.clear(),
                    false => self.group.drop_sound(),
                }
            }
            // Pictures so far are good: the next run begins with the last key picture.
            None if self.run.take().is_some() => tracing::warn!(
                event = self.event.name(),
                "the publisher's sound began late: starting the encoder again with it"
            ),
            None => {}
        }
        *slot = Some(tag);
        if is_change {
            self.end_run();
        }
    }

    /// Ends a run that something else takes the place of. A publisher that changes all the time
    /// gets ever fewer.
    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.pace.failed(run.begun.elapsed(), Instant::now());
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
                "the publisher's clock stands still while data come: what is on the air waits for it"
            );
        }
    }

    /// Once for each publisher.
    fn warn_of_sound(&mut self, codec: &str) {
        if !std::mem::replace(&mut self.warned_of_sound, true) {
            tracing::warn!(
                event = self.event.name(),
                codec,
                "the publisher's sound cannot be read and is replaced by silence: set its encoder to AAC"
            );
        }
    }

    /// Tells once for each publisher that there is sound at this time and no picture so far.
    fn miss_picture(&mut self, time: u32) {
        let begun = *self.sound_since.get_or_insert(time);
        let waited = time.wrapping_sub(begun);
        let is_missing = self.group.is_empty() || self.video_config.is_none();
        if is_missing && !self.warned_of_picture && (PICTURE_WAIT..u32::MAX / 2).contains(&waited) {
            self.warned_of_picture = true;
            tracing::warn!(
                event = self.event.name(),
                "the publisher sends sound and no H.264 picture, without which nothing is on the air: add a picture at its encoder"
            );
        }
    }

    /// Starts a run from the last key picture, once it is known whether there is sound.
    async fn start_when_known(&mut self) {
        let Some((key, config)) = self.group.key().cloned().zip(self.video_config.clone()) else {
            return;
        };
        if !self.pace.is_due(Instant::now()) {
            return;
        }
        if self.sink.is_none() && !self.is_counted() {
            return;
        }
        // From the first key picture and not the last: there may be one every few pictures.
        let waited = self.clock.as_ref().map_or(0, SourceClock::passed_ms);
        if self.audio_config.is_none() && waited < AUDIO_WAIT {
            return;
        }
        match self.start(&key, &config).await {
            Ok(run) => {
                let mut group = self.group.tags().iter();
                let taken =
                    self.clock.as_ref().is_none_or(|clock| group.all(|tag| run.send(tag, clock)));
                self.run = Some(run);
                if !taken {
                    self.lose_run();
                }
            }
            Err(reason) => {
                tracing::error!(event = self.event.name(), reason, "the encoder cannot be started");
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

    /// What the publisher's picture is.
    async fn look_at(&mut self, config: &Tag) -> Result<Picture, String> {
        if let Some((of, picture)) = &self.picture
            && *of == config.data
        {
            return Ok(picture.clone());
        }
        let mut picture = probe_picture(config, self.group.tags()).await?;
        picture.fps = rate::of_times(&self.times, picture.fps).unwrap_or(picture.fps);
        self.picture = Some((config.data.clone(), picture.clone()));
        Ok(picture)
    }

    async fn start(&mut self, key: &Tag, config: &Tag) -> Result<Run, String> {
        let picture = self.look_at(config).await?;
        let sink = match &self.sink {
            Some(sink) => sink.clone(),
            None => {
                let chosen = self.event.choose(Some(&picture)).await;
                let plan = chosen.map_err(|error| error.to_string())?;
                let sink = self.event.adopt(plan)?;
                self.sink.insert(sink).clone()
            }
        };
        let plan = self.event.plan().ok_or("no ladder")?;
        let grid = self.event.grid();
        let key_ms = self.clock.as_ref().ok_or("no key picture")?.at(key.time);
        let frame = grid.sample_at(Kind::Video, key_ms);
        let first_frame = frame - frame % u64::from(grid.part_frames);
        let (pipe, stdin) = weighed::queue(PIPE);
        let sound = self.audio_config.as_ref();
        let head = [
            Some(flv::header(sound.is_some())),
            flv::tag(config, 0),
            sound.and_then(|tag| flv::tag(tag, 0)),
        ];
        if !head.into_iter().flatten().all(|bytes| put(&pipe, bytes)) {
            return Err("the encoder's pipe is full".to_owned());
        }
        let (sounds, deinterlace) = (usize::from(sound.is_some()), self.event.deinterlace());
        let encoder = self.event.encoder();
        let used = encoder.current();
        let graphs = graph::of_stream(Some(&picture), sounds, &plan, used, &grid, deinterlace);
        let input = arguments(graphs);
        let folder = RunFolder::new().map_err(|error| error.to_string())?;
        let job = Job { plan, grid, first_frame, encoder, input, folder, stdin: Some(stdin) };
        self.encoders.abort_all();
        while self.encoders.try_join_next().is_some() {}
        let task = self.encoders.spawn(async move {
            run::run(job, &sink).await;
        });
        let start_ms = grid.sample_ms(Kind::Video, first_frame).min(key_ms);
        Ok(Run { pipe, task, start_ms, begun: Instant::now() })
    }
}

impl Run {
    /// Whether the encoder still takes tags. What lies before its first picture is left out.
    fn send(&self, tag: &Tag, clock: &SourceClock) -> bool {
        let Some(time) = clock.at(tag.time).checked_sub(self.start_ms) else {
            return true;
        };
        let time = u32::try_from(time).unwrap_or(u32::MAX);
        flv::tag(tag, time).is_none_or(|bytes| put(&self.pipe, bytes))
    }
}

/// Whether the encoder's pipe took it.
fn put(pipe: &weighed::Sender<Bytes>, bytes: Bytes) -> bool {
    let length = bytes.len();
    pipe.try_send(bytes, length)
}

fn arguments(graphs: Vec<String>) -> Vec<String> {
    let input = "-f flv -probesize 32768 -analyzeduration 0 -i pipe:0";
    input.split(' ').map(str::to_owned).chain(graphs).collect()
}

/// Asks ffprobe about a publisher's picture.
async fn probe_picture(config: &Tag, group: &[Tag]) -> Result<Picture, String> {
    let folder = RunFolder::new().map_err(|error| error.to_string())?;
    let path = folder.path().join("pictures.flv");
    let base = group.first().map_or(0, |tag| tag.time);
    let pictures = group.iter().filter(|tag| tag.video);
    let pictures = pictures.map(|tag| flv::tag(tag, tag.time.wrapping_sub(base)));
    let pieces = [Some(flv::header(false)), flv::tag(config, 0)].into_iter().chain(pictures);
    let bytes: Vec<u8> = pieces.flatten().flatten().collect();
    std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
    let source = probe_file(&path).await.map_err(|error| error.to_string())?;
    source.picture.ok_or_else(|| "the publisher's picture cannot be read".to_owned())
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
