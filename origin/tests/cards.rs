//! The real binary where a card encodes and then fails. A script stands in for the card: behind the
//! names of a card's filters and encoder, it has the processor scale and encode, with another
//! profile.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};

use common::stage::Stage;
use common::{binary, script, wait};

/// While the file `broken` is there, the card fails in the words of one that is absent; while
/// `hangs` is there, it never ends with a slate.
const SCRIPT: &str = r#"#!/bin/sh
all=$*
card=
skip=
for word; do
    shift
    if [ "$skip" ]; then
        skip=
        continue
    fi
    case "$word" in
        h264_nvenc) card=1 word=libx264 ;;
        p3) word=ultrafast ;;
        ll) word=zerolatency ;;
        -rc | -zerolatency | -delay) skip=1 && continue ;;
        -init_hw_device | -filter_hw_device) skip=1 && continue ;;
        -hwaccel | -hwaccel_output_format | -extra_hw_frames) skip=1 && continue ;;
        *scale_cuda*)
            case "$all" in *pipe:0*) : > "${0%/*}/scales" ;; esac
            word=$(printf %s "$word" | sed 's/hwupload,//
                s/:interp_algo=bilinear:format=yuv420p//g
                s/scale_cuda/scale/g') ;;
        -no-scenecut) skip=1 && set -- "$@" -sc_threshold 0 && continue ;;
    esac
    set -- "$@" "$word"
done
if [ "$card" ] && [ -e "${0%/*}/broken" ]; then
    echo "Cannot load libcuda.so.1" >&2
    exit 1
fi
if [ "$card" ] && [ -e "${0%/*}/hangs" ]; then
    case "$all" in *filler-*) exec sleep 600 ;; esac
fi
exec REAL "$@"
"#;

/// A picture in the colours of HD: a card does not convert others.
const CAMERA: &str = "-re -f lavfi -i testsrc2=size=284x160:rate=30 \
    -f lavfi -i sine=frequency=440:sample_rate=48000 -pix_fmt yuv420p -c:v libx264 -g 30 \
    -preset ultrafast -tune zerolatency -color_primaries bt709 -color_trc bt709 \
    -colorspace bt709 -c:a aac";

fn published(stage: &Stage, of: &str) -> f64 {
    stage.metric(&format!("sightscreen_parts_total{{event=\"demo\",of=\"{of}\"}}"))
}

/// Discontinuities that the playlist of the picture lists.
fn changes(stage: &Stage) -> usize {
    stage.playlist("v160").matches("#EXT-X-DISCONTINUITY\n").count()
}

/// The camera is gone for some segments.
fn leave(stage: &Stage, camera: common::Running) {
    let before = published(stage, "filler");
    drop(camera);
    wait("the slate", || published(stage, "filler") > before + 8.0);
    stage.more(2);
}

/// An origin whose card is the script, of which the folder is told.
fn stage(scripts: &Path) -> (Stage, PathBuf) {
    let mut command = binary();
    command.env("PATH", script::in_place_of_ffmpeg(scripts, SCRIPT));
    (Stage::by(command, &["--encoder", "nvenc"]), scripts.join("bin"))
}

/// How often a slate was coded for missing pictures; those that end breaks are shorter.
fn slates(stage: &Stage) -> usize {
    stage.told("creative=\"Back in a moment\" segments=20")
}

/// The card fails for good.
fn fail(stage: &Stage, bin: &Path) {
    std::fs::write(bin.join("broken"), "").unwrap();
    stage.kill_encoder();
    wait("the processor", || stage.shown()["media"]["encoder"] == "x264");
}

#[test]
fn a_card_has_a_slate_of_its_own_and_the_processor_takes_its_place() {
    let scripts = tempfile::tempdir().unwrap();
    let (stage, bin) = stage(scripts.path());
    let camera = stage.camera(CAMERA);
    // Of the card, and of the processor for later.
    wait("the picture and its slates", || stage.is_up() && slates(&stage) >= 2);
    assert_eq!(stage.shown()["media"]["encoder"], "nvenc", "{}", stage.log());
    assert!(bin.join("scales").exists(), "the pictures leave the card");

    leave(&stage, camera);
    let camera = stage.camera(CAMERA);
    wait("the camera again", || stage.lacking().is_empty());
    stage.more(1);
    stage.check_all();

    fail(&stage, &bin);
    wait("its pictures", || changes(&stage) == 1 && stage.lacking().is_empty());
    leave(&stage, camera);
    assert_eq!(changes(&stage), 1, "{}", stage.playlist("v160"));
    assert_eq!(slates(&stage), 2, "{}", stage.log());
    let gaps = published(&stage, "gap");
    assert_eq!(gaps, 0.0, "{}\n{}", stage.playlist("v160"), stage.log());
}

#[test]
fn a_card_that_hangs_with_its_slate_holds_up_the_processors_no_longer_than_it_is_used() {
    let scripts = tempfile::tempdir().unwrap();
    std::fs::create_dir(scripts.path().join("bin")).unwrap();
    std::fs::write(scripts.path().join("bin/hangs"), "").unwrap();
    let (stage, bin) = stage(scripts.path());
    let camera = stage.camera(CAMERA);
    wait("the picture", || stage.is_up());
    assert_eq!(slates(&stage), 0, "{}", stage.log());
    fail(&stage, &bin);
    wait("the processor's slate", || slates(&stage) == 1);
    leave(&stage, camera);
}
