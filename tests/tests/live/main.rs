//! The live check against a server that is broken on purpose: a small event over real HTTP, sound but for one fault, and exactly its rules are reported.
#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod case;
mod event;
mod media;
mod media_faults;
mod playlist_faults;
mod range_faults;
mod server;
mod serving_faults;

use std::collections::BTreeSet;
use std::time::Duration;

use case::Case;
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
    let server = Server::start(parts, fault);
    Check::of(&server.url).unwrap().run(plan)
}

#[test]
fn a_sound_event_breaks_nothing_and_leaves_nothing_unseen() {
    for parts in [4, 10] {
        let outcome = checked(parts, Fault::Nothing, &plan());
        assert_eq!(outcome.report.findings(), [], "{parts} parts");
        assert_eq!(outcome.report.unseen(), Vec::<&str>::new());
        assert_eq!((outcome.sequences, outcome.discontinuities), (22, 2));
        assert!(outcome.is_whole());
    }
}

#[test]
fn a_sound_event_without_parts_breaks_nothing() {
    let outcome = checked(0, Fault::Nothing, &plan());
    assert_eq!(outcome.report.findings(), []);
}

/// Each case breaks its rules, and no other.
fn judge(cases: &[Case]) {
    for case in cases {
        let outcome = checked(case.parts, case.fault, &case.plan(plan()));
        let report = outcome.report;
        assert_eq!(
            report.broken(),
            case.breaks,
            "{}: {}",
            case.about,
            report.text()
        );
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
    ];
    let broken: BTreeSet<&str> = all
        .iter()
        .flatten()
        .flat_map(|case| case.breaks)
        .copied()
        .collect();
    let rules: BTreeSet<&str> = RULES.iter().map(|(rule, _)| *rule).collect();
    assert_eq!(broken, rules);
}
