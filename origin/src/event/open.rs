//! The making of an event: its folder, its grid, and the hand-over from input to packager.
//!
//! `event.json` keeps the epoch, the grid and the plan; once written, they hold for the event's
//! life.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sightscreen_core::route::is_epoch;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::LiveConfig;
use super::error::StartError;
use super::media::Media;
use super::newest::Newest;
use super::tracks::{make_plan, probe_source};
use crate::breaks::on_air::Breaks;
use crate::clock::{self, now_ms};
use crate::creative::{CreativeError, Library};
use crate::disk::{Boot, make_folder, write_whole};
use crate::documents::keys::random_hex;
use crate::encode::EncodeError;
use crate::encode::budget::Claim;
use crate::encode::encoder::{Chosen, Encoder};
use crate::encode::ffmpeg::check_installed;
use crate::encode::folder::RunFolder;
use crate::encode::graph::{self, Deinterlace};
use crate::encode::ladder::{self, Plan};
use crate::encode::probe::Picture;
use crate::grid::Grid;
use crate::ingest::{
    self, Input, InputState, Intake, Publishers, Receiver, Slot, Steps, publisher,
};
use crate::package::end::End;
use crate::package::filler::Filler;
use crate::package::inits::Inits;
use crate::package::packager::{Counters, Packager, Setup};
use crate::package::queue::{Sink, WeakSink, queue};
use crate::store::Store;

/// Frames a second of a publisher's event until its picture is there.
const PUBLISHER_FPS: (u32, u32) = (30, 1);

/// Random bytes of an epoch: few, because it is in every URI, and enough for the events that will
/// ever have one name.
const EPOCH_BYTES: usize = 4;

/// A new event's grid begins this far ahead, so that its first picture is frame 0.
const HEAD_START_MS: u64 = 200;

/// How often it is looked whether the processor took a card's place.
const FALLBACK_LOOK: Duration = Duration::from_millis(250);

/// What of an event never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    /// See [`crate::event::Live::epoch`]. None in a folder that an older version made.
    #[serde(default)]
    epoch: Option<String>,
    grid: Grid,
    plan: Option<Plan>,
    /// Segments that playlists list, as last set.
    #[serde(default)]
    window: Option<u64>,
    /// No playlist begins before this segment any more.
    #[serde(default)]
    listed_from: u64,
}

/// Where playlists may begin after the window was set to `window`. A longer one grows with new
/// segments alone: what has left the playlists does not come back, because `EXT-X-MEDIA-SEQUENCE`
/// never falls. `edge` is the furthest segment that a playlist may have come to.
fn listed_from(before: Option<&Saved>, window: u64, edge: u64) -> u64 {
    let Some(before) = before else { return 0 };
    match before.window {
        Some(shorter) if shorter < window => before.listed_from.max(edge.saturating_sub(shorter)),
        _ => before.listed_from,
    }
}

/// An event as its input and its handle see it. Clones are the same event.
#[derive(Clone)]
pub(crate) struct LiveEvent {
    pub(crate) name: String,
    pub(crate) epoch: Arc<str>,
    grid: watch::Sender<Grid>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) input: Arc<InputState>,
    pub(crate) library: Library,
    pub(crate) media: watch::Sender<Option<Arc<Media>>>,
    /// Set while the packager works; it ends when the last sender of messages is gone.
    pub(crate) packager: Arc<Mutex<Option<Working>>>,
    config: Arc<LiveConfig>,
    /// What it takes of the machine.
    claim: Arc<Claim>,
    breaks: Arc<dyn Breaks>,
}

/// A packager at work.
pub(crate) struct Working {
    pub(crate) thread: std::thread::JoinHandle<()>,
    /// Has the slate coded, into the event's folder.
    pub(crate) fillers: JoinHandle<()>,
    pub(crate) sink: WeakSink,
}

/// What a packager waits in. Where its thread cannot be made, it is dropped among tasks, which a
/// runtime must not be.
struct Waiting(Option<Runtime>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How the input comes in.
enum Entry {
    /// It makes itself.
    Generated,
    /// From whoever names the event's key.
    Steps(Steps),
    /// By itself.
    Receiver(Receiver),
}

impl Entry {
    fn open(config: &LiveConfig, publishers: &Publishers) -> Result<Self, StartError> {
        Ok(match &config.input {
            Input::TestMatch | Input::File(_) => Self::Generated,
            Input::Publisher(key) => {
                Self::Steps(publishers.seat(&config.event, Slot::Primary, key)?)
            }
            Input::Udp(source) => {
                let opened = Receiver::udp(source, &config.ts);
                let error =
                    |error| StartError::Receive { input: source.to_string(), source: error };
                Self::Receiver(opened.map_err(error)?)
            }
            Input::Pipe(path) => Self::Receiver(Receiver::Pipe(path.clone())),
        })
    }
}

/// Runs an event's input for as long as it is polled.
pub(crate) type InputTask = Pin<Box<dyn Future<Output = ()> + Send>>;

impl LiveEvent {
    /// Opens the event's folder and prepares its input.
    pub(crate) async fn open(
        config: LiveConfig,
        breaks: Arc<dyn Breaks>,
        publishers: &Publishers,
    ) -> Result<(Self, InputTask), StartError> {
        make_folder(&config.data).map_err(|error| at(&config.data, error))?;
        RunFolder::sweep();
        check_installed().await?;
        let saved = read_saved(&config.data)?;
        let source = probe_source(&config).await?;
        let fps = config.frame_rate.or(source.as_ref().map(|source| source.fps));
        let kept = saved.as_ref().map(|saved| saved.grid.fps);
        let fps = fps.or(kept).unwrap_or(PUBLISHER_FPS);
        let claim = config.ladder.budget.claim();
        let plan = match (&saved, &source) {
            (Some(Saved { plan: Some(plan), .. }), _) => {
                ladder::keep(plan, fps, &claim).await?;
                Some(plan.clone())
            }
            (_, Some(source)) => {
                Some(make_plan(&config, &claim, source.shape, source.languages, fps).await?)
            }
            (_, None) => None,
        };
        let entry = Entry::open(&config, publishers)?;
        let grid = Grid::new(now_ms() + HEAD_START_MS, fps, config.segment_ms, config.part_ms)?;
        let kept = saved.as_ref().map_or(grid, |saved| saved.grid);
        let grid = same_settings(&config, kept, grid)?;
        let epoch = saved.and_then(|saved| saved.epoch).filter(|epoch| is_epoch(epoch));
        let event = Self {
            name: config.event.clone(),
            epoch: epoch.unwrap_or_else(|| random_hex(EPOCH_BYTES)).into(),
            grid: watch::Sender::new(grid),
            counters: Arc::default(),
            input: Arc::default(),
            library: Library::new(config.data.join("creatives"), config.creatives),
            media: watch::Sender::new(None),
            packager: Arc::default(),
            config: Arc::new(config),
            claim: Arc::new(claim),
            breaks,
        };
        let sink = plan.map(|plan| event.settle(plan)).transpose()?;
        let over = |media: &Arc<Media>| media.end.msn().is_some();
        let ended = event.media.borrow().as_ref().is_some_and(over);
        let input: InputTask = match (entry, sink) {
            _ if ended => Box::pin(std::future::ready(())),
            (Entry::Steps(steps), sink) => Box::pin(publisher::follow(event.clone(), steps, sink)),
            (Entry::Receiver(receiver), sink) => {
                let limits = event.config.ts;
                Box::pin(ingest::receive(event.clone(), receiver, limits, sink))
            }
            (Entry::Generated, Some(sink)) => {
                let input = event.config.input.clone();
                Box::pin(ingest::generate(event.clone(), input, sink))
            }
            (Entry::Generated, None) => {
                return Err(input_error(&event.config.input, "it has no picture"));
            }
        };
        Ok((event, input))
    }

    /// Its time base, see [`crate::event::Live::grid`].
    pub(crate) fn grid(&self) -> Grid {
        *self.grid.borrow()
    }

    /// Name of what encodes now.
    pub(crate) fn encoder_name(&self) -> &'static str {
        self.config.ladder.encoder.current().name()
    }

    /// Nothing is encoded any more.
    pub(crate) fn release(&self) {
        self.claim.release();
    }

    /// Takes the rate of a source, unless it is set or cannot be cut as asked.
    fn follow_rate(&self, fps: (u32, u32)) {
        let LiveConfig { frame_rate, segment_ms, part_ms, .. } = *self.config;
        if frame_rate.is_some() {
            return;
        }
        match Grid::new(self.grid().zero_ms, fps, segment_ms, part_ms) {
            Ok(grid) => drop(self.grid.send_replace(grid)),
            Err(error) => tracing::warn!(
                event = self.name, %error, "the source's frame rate is not followed"
            ),
        }
    }

    /// Settles the ladder, for good: opens the store and starts the packager. Returns where the
    /// encoder's messages go.
    fn settle(&self, plan: Plan) -> Result<Sink, StartError> {
        let (folder, grid) = (&self.config.data, self.grid());
        let seconds = |s: u32| grid.segments_in_ms(u64::from(s) * 1000);
        let window_segments = seconds(self.config.window_s).max(8);
        let before = read_saved(folder)?;
        let end = Arc::new(End::open(folder).map_err(|error| at(&folder.join("end"), error))?);
        let edge = end.before_end(grid.msn_at(now_ms()) + 1);
        let listed_from = listed_from(before.as_ref(), window_segments, edge);
        let saved = Saved {
            epoch: Some(self.epoch.to_string()),
            grid,
            plan: Some(plan.clone()),
            window: Some(window_segments),
            listed_from,
        };
        write_saved(folder, &saved)?;
        let kept = seconds(self.config.dvr_s).max(2 * window_segments);
        let store = Store::open(folder, grid, &plan.tracks(), kept, self.config.disk)
            .map_err(|error| at(&folder.join("media"), error))?;
        store.disk().belongs_to(&self.name);
        let furthest = store.tracks().iter().map(|track| track.cursor().msn).max();
        furthest.into_iter().for_each(|msn| clock::hold_to(&self.name, grid.start_ms(msn)));
        let tracks = plan.tracks();
        let inits = Inits::open(folder, tracks.iter().map(|(id, _)| id.as_str()));
        let inits = Arc::new(inits.map_err(|error| at(&folder.join("changes.json"), error))?);
        let media = Arc::new(Media {
            epoch: Arc::clone(&self.epoch),
            grid,
            plan: plan.clone(),
            tracks: store.tracks().to_vec(),
            inits: Arc::clone(&inits),
            playlists: tracks.iter().map(|_| Newest::default()).collect(),
            window_segments,
            listed_from,
            end: Arc::clone(&end),
            disk: store.disk(),
            breaks: Arc::clone(&self.breaks),
            library: self.library.clone(),
        });
        let (sink, messages) = queue();
        let setup = Setup {
            event: self.name.clone(),
            grid,
            store,
            breaks: Arc::clone(&self.breaks),
            counters: Arc::clone(&self.counters),
            inits,
            end,
            patience: self.config.patience,
            boot: Boot::of(folder),
        };
        let runtime = Handle::current();
        let waiting = Builder::new_current_thread().enable_time().build();
        let mut waiting = Waiting(Some(waiting.map_err(|error| at(folder, error))?));
        let thread = std::thread::Builder::new()
            .name("packager".to_owned())
            .spawn(move || {
                let _follower = clock::follow();
                // What follows what is published is spawned there.
                let _runtime = runtime.enter();
                if let Some(waiting) = waiting.0.take() {
                    Packager::new(setup).work(messages, &waiting);
                }
            })
            .map_err(|error| at(folder, error))?;
        self.library.settle(plan, grid);
        let fillers = tokio::spawn(self.clone().send_fillers(sink.downgrade()));
        let working = Working { thread, fillers, sink: sink.downgrade() };
        *self.packager.lock().unwrap_or_else(PoisonError::into_inner) = Some(working);
        self.media.send_replace(Some(media));
        Ok(sink)
    }
}

impl LiveEvent {
    /// Has slate and silence coded as the live picture is: again when the processor takes a card's
    /// place.
    async fn send_fillers(self, packager: WeakSink) {
        while !packager.is_closed() {
            let encoder = self.config.ladder.encoder.current();
            let mut given_up = pin!(self.given_up(encoder, &packager));
            tokio::select! {
                () = self.code_fillers(encoder, &packager) => {
                    // No card comes back.
                    if encoder == Encoder::X264 {
                        return;
                    }
                    given_up.await;
                }
                // A card may hang.
                () = &mut given_up => {}
            }
        }
    }

    /// Waits for another encoder, or for the event's end.
    async fn given_up(&self, encoder: Encoder, packager: &WeakSink) {
        while self.config.ladder.encoder.current() == encoder && !packager.is_closed() {
            tokio::time::sleep(FALLBACK_LOOK).await;
        }
    }

    /// A card that cannot do that beside the live picture leaves it to the processor. Its pictures
    /// may not fit the card's init segment; its silence does.
    async fn code_fillers(&self, encoder: Encoder, packager: &WeakSink) {
        let mut fillers = self.fillers(encoder, packager).await;
        if let Err(error) = &fillers
            && encoder != Encoder::X264
        {
            let (event, encoder) = (&self.name, encoder.name());
            tracing::warn!(event, encoder, %error, "the slate is coded by the processor");
            fillers = self.fillers(Encoder::X264, packager).await;
        }
        match fillers {
            Ok(fillers) => {
                packager.fill_with(fillers);
                if encoder != Encoder::X264 {
                    // Kept for when the card fails: there is enough to do then.
                    let _ = self.fillers(Encoder::X264, packager).await;
                }
            }
            Err(error) => {
                packager.fill_later();
                let event = &self.name;
                tracing::error!(event, %error, "no slate: what is missing becomes a gap");
            }
        }
    }

    async fn fillers(
        &self,
        encoder: Encoder,
        packager: &WeakSink,
    ) -> Result<Vec<Filler>, CreativeError> {
        let slate = self.library.slate(self.config.slate.as_deref(), encoder).await?;
        if let Some(fillers) = slate.kept().await {
            return Ok(fillers);
        }
        packager.fill_later();
        slate.fillers().await
    }
}

impl Intake for LiveEvent {
    fn name(&self) -> &str {
        &self.name
    }

    fn input(&self) -> &InputState {
        &self.input
    }

    fn grid(&self) -> Grid {
        self.grid()
    }

    fn encoder(&self) -> Chosen {
        self.config.ladder.encoder.clone()
    }

    fn deinterlace(&self) -> Deinterlace {
        self.config.deinterlace
    }

    fn picture_hold_ms(&self) -> u64 {
        self.config.patience.picture_hold_ms
    }

    fn plan(&self) -> Option<Plan> {
        self.media.borrow().as_ref().map(|media| media.plan.clone())
    }

    fn picture_wait(&self) -> Duration {
        self.config.picture_wait
    }

    async fn choose(&self, picture: Option<&Picture>, sounds: usize) -> Result<Plan, EncodeError> {
        self.follow_rate(self.config.deinterlace.fps(picture));
        let fps = self.grid().fps;
        tracing::info!(event = self.name, ?picture, ?fps, "the source is known");
        make_plan(&self.config, &self.claim, graph::shape(picture), sounds, fps).await
    }

    fn adopt(&self, plan: Plan) -> Result<Sink, String> {
        self.settle(plan).map_err(|error| error.to_string())
    }
}

/// The kept grid, when the settings would make the same but for where it starts.
fn same_settings(config: &LiveConfig, kept: Grid, asked: Grid) -> Result<Grid, StartError> {
    if (Grid { zero_ms: kept.zero_ms, ..asked }) == kept {
        return Ok(kept);
    }
    let say = |grid: Grid| {
        let (num, den) = grid.fps;
        format!(
            "{num}/{den} frames a second, {} in a segment, {} in a part",
            grid.segment_frames, grid.part_frames
        )
    };
    let reason = format!("it has {}; asked are {}", say(kept), say(asked));
    Err(StartError::Changed { path: config.data.clone(), reason })
}

fn read_saved(folder: &Path) -> Result<Option<Saved>, StartError> {
    let path = folder.join("event.json");
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| StartError::Damaged { path, reason: error.to_string() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(&path, error)),
    }
}

fn write_saved(folder: &Path, saved: &Saved) -> Result<(), StartError> {
    let path = folder.join("event.json");
    let bytes = serde_json::to_vec_pretty(saved).map_err(|error| at(&path, error.into()))?;
    let written = write_whole(&path, &bytes);
    written.map(drop).map_err(|error| at(&path, error))
}

fn at(path: &Path, source: std::io::Error) -> StartError {
    let path = path.to_owned();
    match source.kind() {
        std::io::ErrorKind::InvalidData => StartError::Damaged { path, reason: source.to_string() },
        _ => StartError::Io { path, source },
    }
}

fn input_error(input: &Input, reason: &str) -> StartError {
    let input = input.place().unwrap_or_else(|| input.kind().to_owned());
    EncodeError::Input { input, reason: reason.to_owned() }.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
