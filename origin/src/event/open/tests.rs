use super::*;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::breaks::on_air::NoBreaks;
use crate::creative::CreativeRules;
use crate::encode::encoder::Used;
use crate::encode::ladder::LadderLimits;
use crate::encode::ladder::Rung;
use crate::event::Live;
use crate::grid::Kind;
use crate::ingest::TsLimits;
use crate::package::message::Message;
use crate::package::packager::Patience;
use crate::store::{DiskLimits, Part};

#[test]
fn a_longer_window_brings_nothing_back() {
    let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
    let saved = |window, listed_from| Saved { epoch: None, grid, plan: None, window, listed_from };
    let from = |before: Option<Saved>, window| listed_from(before.as_ref(), window, 1001);
    assert_eq!(from(None, 30), 0);
    assert_eq!(from(Some(saved(Some(30), 0)), 30), 0);
    assert_eq!(from(Some(saved(Some(30), 0)), 300), 971);
    // Soon after it grew once, before it is full, and after it shrank.
    assert_eq!(from(Some(saved(Some(300), 971)), 300), 971);
    assert_eq!(from(Some(saved(Some(300), 971)), 20), 971);
    assert_eq!(from(Some(saved(Some(20), 971)), 600), 981);
    assert_eq!(from(Some(saved(None, 0)), 600), 0);
}

fn plan() -> Plan {
    let rung = Rung { width: 284, height: 160, bitrate: 300_000, half_rate: false };
    Plan { video: vec![rung], audio: vec!["en".to_owned()], ..Plan::default() }
}

fn event(data: &Path, grid: Grid, window_s: u32) -> LiveEvent {
    let config = LiveConfig {
        event: "demo".to_owned(),
        data: data.to_owned(),
        input: Input::TestMatch,
        languages: vec!["en".to_owned()],
        ladder: LadderLimits::default(),
        frame_rate: None,
        deinterlace: Deinterlace::Frame,
        segment_ms: 2000,
        part_ms: 200,
        window_s,
        dvr_s: 600,
        patience: Patience::default(),
        picture_wait: Duration::from_secs(5),
        ts: TsLimits::default(),
        slate: None,
        disk: DiskLimits::default(),
        creatives: CreativeRules::default(),
    };
    LiveEvent {
        name: config.event.clone(),
        epoch: "1a2b".into(),
        grid: watch::Sender::new(grid),
        counters: Arc::default(),
        input: Arc::default(),
        library: Library::new(data.join("creatives"), CreativeRules::default()),
        media: watch::Sender::new(None),
        packager: Arc::default(),
        claim: Arc::new(config.ladder.budget.claim()),
        config: Arc::new(config),
        breaks: Arc::new(NoBreaks),
    }
}

fn publish_until(store: &mut Store, grid: &Grid, end: u64) {
    for (track, kind) in [Kind::Video, Kind::Audio].into_iter().enumerate() {
        for msn in 0..end {
            for index in 0..grid.parts(kind, msn) {
                let part = Part {
                    msn,
                    index,
                    independent: index == 0,
                    data: Some(Bytes::from_static(b"media")),
                };
                store.publish(track, &part);
            }
        }
    }
}

#[tokio::test]
async fn an_epoch_lasts_as_long_as_the_data() {
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let open = async |folder: &tempfile::TempDir| {
        let grid = Grid::new(0, (30, 1), 2000, 200).unwrap();
        let config = LiveConfig {
            input: Input::Publisher(ingest::StreamKey::of("a-stream-key")),
            ..LiveConfig::clone(&event(folder.path(), grid, 60).config)
        };
        let (event, _) =
            LiveEvent::open(config, Arc::new(NoBreaks), &Publishers::default()).await.unwrap();
        event.adopt(plan()).unwrap();
        event.epoch.to_string()
    };
    let first = open(&one).await;
    assert!(is_epoch(&first), "{first}");
    assert_eq!(open(&one).await, first);
    assert_ne!(open(&other).await, first);
    // A folder from before there were epochs gets one, and keeps it.
    let file = one.path().join("event.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let older = text.replace("zero_ms", "epoch_ms").replace("\"epoch\"", "\"unknown\"");
    std::fs::write(&file, older).unwrap();
    let second = open(&one).await;
    assert!(is_epoch(&second) && second != first, "{second}");
    assert_eq!(open(&one).await, second);
}

#[tokio::test]
async fn an_ended_event_keeps_its_playlist_when_it_comes_back_with_a_longer_window() {
    let folder = tempfile::tempdir().unwrap();
    // It ended long ago.
    let grid = Grid::new(now_ms() - 3_600_000, (25, 1), 2000, 200).unwrap();
    let mut store =
        Store::open(folder.path(), grid, &plan().tracks(), 300, DiskLimits::default()).unwrap();
    publish_until(&mut store, &grid, 40);
    End::open(folder.path()).unwrap().settle(40).unwrap();
    drop(store);
    for (window_s, first) in [(60, 10), (600, 10), (20, 30), (60, 30)] {
        let event = event(folder.path(), grid, window_s);
        event.adopt(plan()).unwrap();
        let media = event.media.borrow().clone().unwrap();
        let listing = media.listing(0).unwrap();
        assert_eq!((listing.first, listing.cursor.msn), (first, 40));
        assert!(listing.ended);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_cannot_code_the_slate_leaves_it_to_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    let event = event(folder.path(), Grid::new(now_ms(), (25, 1), 2000, 200).unwrap(), 60);
    let chosen = Chosen::new(Encoder::Nvenc);
    let ladder = LadderLimits { encoder: chosen.clone(), ..event.config.ladder.clone() };
    let config = LiveConfig { ladder, ..LiveConfig::clone(&event.config) };
    let event = LiveEvent { config: Arc::new(config), ..event };
    let sink = event.adopt(plan()).unwrap();
    let run = sink.begin();
    for message in [Message::Start { frame: 0 }, Message::End] {
        run.send(message).unwrap();
    }
    let fillers = || event.counters.fillers.load(Ordering::Relaxed);
    let used = Used { encoder: Encoder::Nvenc, on_card: false };
    chosen.failed(used, Duration::ZERO).await;
    if chosen.current() == Encoder::Nvenc {
        // This machine has one, and it works.
        return;
    }
    let coded = async {
        while fillers() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(90), coded).await.is_ok());
}

/// Whoever deletes its folder would find it again.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_was_shut_down_writes_no_more_into_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let event = event(folder.path(), Grid::new(now_ms(), (25, 1), 2000, 200).unwrap(), 60);
    drop(event.adopt(plan()).unwrap());
    let epoch = Arc::downgrade(&event.epoch);
    Live::of(event).shutdown().await;
    assert_eq!(epoch.strong_count(), 0, "its slate is still being coded");
}

#[tokio::test]
async fn what_was_damaged_is_named_with_its_remedy_and_not_taken_for_other_settings() {
    let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
    let files = [("event.json", &b"{\"gri"[..]), ("end", b"soon"), ("changes.json", b"[{}]")];
    for (file, bytes) in files {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), bytes).unwrap();
        let said = event(folder.path(), grid, 60).adopt(plan());
        let said = said.err().unwrap().to_string();
        assert!(said.contains(file) && said.contains("restore it"), "{said}");
    }
}
