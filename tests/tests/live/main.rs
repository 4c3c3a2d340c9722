//! The live check against a server that is broken on purpose: a small event over real HTTP, sound
//! but for one fault, and exactly its rules are reported.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod case;
mod event;
mod media;
mod media_faults;
mod playlist_faults;
mod range_faults;
mod server;
mod serving_faults;
mod timing_faults;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use case::Case;
use event::{BREAK, MADE};
use server::{Fault, Server};
use sightscreen_tests::live::check::{Check, Outcome, Plan};
use sightscreen_tests::live::report::RULES;

/// A plan without waits: the event goes on when it is asked, and ends.
fn plan() -> Plan {
    Plan {
        time: Duration::from_secs(20),
        retry: Duration::ZERO,
        poll: Some(Duration::ZERO),
        at_once: Duration::from_secs(20),
        held: None,
        waited: Duration::ZERO,
        beside_every: 3,
    }
}

fn checked(parts: u64, fault: Fault, plan: &Plan) -> Outcome {
    // Without parts each request is a segment's time, so that some pass before a reload.
    let before = if parts == 0 { 4 } else { 0 };
    checked_while(MADE.start - before..MADE.end, parts, fault, plan)
}

/// From when the first of these segments comes next, to the end after the last.
fn checked_while(made: Range<u64>, parts: u64, fault: Fault, plan: &Plan) -> Outcome {
    let server = Server::start(parts, made, fault);
    Check::of(&server.url).unwrap().run(plan)
}

#[test]
fn a_sound_event_breaks_nothing_and_leaves_nothing_unseen() {
    for parts in [4, 10] {
        let outcome = checked(parts, Fault::Nothing, &plan());
        assert_eq!(outcome.report.findings(), [], "{parts} parts");
        assert_eq!(outcome.report.unseen(), Vec::<&str>::new());
        assert_eq!((outcome.sequences, outcome.discontinuities), (22, 3));
        assert!(outcome.is_whole());
    }
}

#[test]
fn a_sound_event_without_parts_breaks_nothing() {
    let outcome = checked(0, Fault::Nothing, &plan());
    assert_eq!(outcome.report.findings(), []);
    assert_eq!(outcome.unfollowed, []);
}

/// Each case breaks its rules, and no other.
fn judge(cases: &[Case]) {
    for case in cases {
        let outcome = checked(case.parts, case.fault, &case.plan(plan()));
        let report = outcome.report;
        assert_eq!(report.broken(), case.breaks, "{}: {}", case.about, report.text());
    }
}

#[test]
fn faults_of_playlists_are_found() {
    judge(&playlist_faults::cases());
}

#[test]
fn faults_of_serving_are_found() {
    judge(&serving_faults::cases());
}

#[test]
fn faults_of_media_are_found() {
    judge(&media_faults::cases());
}

#[test]
fn faults_of_date_ranges_are_found() {
    judge(&range_faults::cases());
}

#[test]
fn faults_of_timing_are_found() {
    judge(&timing_faults::cases());
}

/// Every rule was seen and held, and discontinuities enough passed by; and yet the break was not
/// followed, in these renditions.
fn assert_unfollowed(outcome: &Outcome, names: &[&str], what: &str) {
    let Outcome { report, .. } = outcome;
    assert_eq!(report.findings(), []);
    assert_eq!(report.unseen(), Vec::<&str>::new());
    assert!(outcome.discontinuities >= 2);
    let expected: Vec<_> = names.iter().map(|name| ((*name).to_owned(), what)).collect();
    assert_eq!(outcome.unfollowed, expected);
    let each: Vec<_> = names.iter().map(|name| format!("{name}: {what}")).collect();
    let line = format!(
        "no break was followed from content to content; wait for one, or --without-break ({})",
        each.join(", ")
    );
    assert_eq!(outcome.missing(), [line]);
    assert!(!outcome.is_whole());
}

#[test]
fn a_break_that_was_over_at_the_join_is_not_followed() {
    // Joined in the first creative, in the second, and in the content after it, with the break in
    // the window.
    for start in [112, 113, 115] {
        let outcome = checked_while(start..MADE.end, 4, Fault::Nothing, &plan());
        assert_unfollowed(&outcome, &["v1", "a1"], "no break began");
    }
}

#[test]
fn a_break_without_its_return_is_not_followed() {
    let outcome = checked_while(MADE.start..BREAK.end, 4, Fault::Nothing, &plan());
    assert_unfollowed(&outcome, &["v1", "a1"], "no content came after the break");
}

/// What is listed at the join was not followed, though the break's first segment comes after it.
#[test]
fn content_of_the_first_playlist_is_not_followed() {
    let outcome = checked_while(BREAK.start..MADE.end, 4, Fault::Nothing, &plan());
    assert_unfollowed(&outcome, &["v1", "a1"], "no break began");
}

#[test]
fn every_rendition_must_come_back() {
    let silent = Fault::Text(|ask, text| match ask.rendition {
        "a1" => timing_faults::with_gaps(&text),
        _ => text,
    });
    let outcome = checked(4, silent, &plan());
    assert_unfollowed(&outcome, &["a1"], "no content came after the break");
}

/// Nothing is broken, and yet a check that wants a break fails.
fn assert_unseen(rule: &str, outcome: &Outcome) {
    let Outcome { report, .. } = outcome;
    assert_eq!((report.broken(), report.unseen()), (vec![], vec![rule]));
    assert!(!outcome.is_whole());
}

#[test]
fn date_ranges_that_never_come_are_unseen() {
    let none = Fault::Text(|_, text| case::without(&text, "#EXT-X-DATERANGE"));
    assert_unseen("D1", &checked(4, none, &plan()));
}

/// The boundary is past the window, so that there is nothing to skip.
#[test]
fn deltas_that_have_nothing_to_skip_are_unseen() {
    let short = Fault::Text(|ask, text| match ask.cursor {
        Some(cursor) => {
            let whole = ask.event.playlist(ask.rendition, cursor, false);
            whole.replace("CAN-SKIP-UNTIL=12.000", "CAN-SKIP-UNTIL=16.000")
        }
        None => text,
    });
    assert_unseen("L4", &checked(4, short, &plan()));
}

#[test]
fn every_rule_has_a_fault_that_breaks_it() {
    let all = [
        playlist_faults::cases(),
        serving_faults::cases(),
        media_faults::cases(),
        range_faults::cases(),
        timing_faults::cases(),
    ];
    let broken: BTreeSet<&str> =
        all.iter().flatten().flat_map(|case| case.breaks).copied().collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(broken, rules);
}
