//! Viewers who play while something is done to the servers, and who count every answer.
//!
//! Some follow a picture or a sound part by part, some whole segments, and somebody new comes in
//! all the time. They renew their passes as players do that load the multivariant playlist again.
//! Any answer that is no success is a fault.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::listed::{Offered, resolved};
use crate::live;
use crate::servers::{ENTRY_TTL, Servers};

/// Between two renewals of a pass.
const RENEWAL: Duration = Duration::from_millis(1500);
/// Longest that a renewal may be due.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);
/// Between two who come in.
const NEWCOMER: Duration = Duration::from_millis(700);
/// Between two reloads of whoever follows whole segments, and after a fault.
const PAUSE: Duration = Duration::from_millis(500);
/// What a player fetches of the first playlist that it sees: the newest.
const FIRST: usize = 3;
/// Faults that are told in full; the others are only counted.
const TOLD: usize = 5;

/// What a viewer follows.
#[derive(Debug, Clone, Copy)]
struct Seat {
    sound: bool,
    parts: bool,
}

const SEATS: [Seat; 4] = [
    Seat { sound: false, parts: true },
    Seat { sound: false, parts: true },
    Seat { sound: true, parts: true },
    Seat { sound: false, parts: false },
];

/// See the module.
pub(super) struct Crowd<'a> {
    servers: &'a Servers,
    /// The URL key by which entry URLs are signed now.
    seller: Mutex<String>,
    over: AtomicBool,
    answers: AtomicUsize,
    ads: AtomicUsize,
    /// When each began to renew the pass that it has.
    renewals: Mutex<[Option<Instant>; SEATS.len()]>,
    faults: Mutex<Vec<String>>,
}

/// One player's connections.
struct Player<'a> {
    crowd: &'a Crowd<'a>,
    agent: ureq::Agent,
}

impl<'a> Crowd<'a> {
    /// Nobody plays yet. Entry URLs are signed by `kid`.
    pub(super) fn new(servers: &'a Servers, kid: &str) -> Self {
        Self {
            servers,
            seller: Mutex::new(kid.to_owned()),
            over: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            ads: AtomicUsize::new(0),
            renewals: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    /// Does `work` while all of them play. Their faults are an error, and so is that nobody saw a
    /// break.
    pub(super) fn plays<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let worked = thread::scope(|scope| {
            for viewer in 0..SEATS.len() {
                scope.spawn(move || self.repeat(|player| player.play(viewer)));
            }
            scope.spawn(|| self.repeat(|player| player.comes_in(SEATS[0])));
            let worked = work();
            self.over.store(true, Ordering::Relaxed);
            worked
        });
        let faults = lock(&self.faults);
        if faults.is_empty() {
            ensure!(self.ads.load(Ordering::Relaxed) > 0, "no viewer saw the break");
            return worked;
        }
        let told = faults[..faults.len().min(TOLD)].join("\n  ");
        let told =
            format!("{} of {} answers were no success:\n  {told}", faults.len(), self.answers());
        // What was refused may explain why the work failed as well.
        Err(match worked {
            Ok(_) => anyhow!(told),
            Err(error) => error.context(told),
        })
    }

    /// Entry URLs are signed by `kid` from now on.
    pub(super) fn sell(&self, kid: &str) {
        kid.clone_into(&mut lock(&self.seller));
    }

    /// Answers so far.
    pub(super) fn answers(&self) -> usize {
        self.answers.load(Ordering::Relaxed)
    }

    /// Waits until nobody plays by a pass from before `at`.
    pub(super) fn renewed_since(&self, at: Instant) -> Result<()> {
        let begun = Instant::now();
        while !lock(&self.renewals).iter().all(|renewed| renewed.is_some_and(|is| is > at)) {
            ensure!(begun.elapsed() < RENEWED_WITHIN, "a viewer does not renew its pass");
            sleep(PAUSE);
        }
        Ok(())
    }

    /// Somebody who comes in now; the answer is the media playlist, with the pass in its address.
    pub(super) fn newcomer(&self) -> Result<String> {
        let player = Player { crowd: self, agent: live::agent() };
        player.enter(SEATS[0])
    }

    /// Runs one session after the other until all is over; one that fails is a fault.
    fn repeat(&self, session: impl Fn(&Player<'_>) -> Result<()>) {
        while !self.is_over() {
            let player = Player { crowd: self, agent: live::agent() };
            if let Err(error) = session(&player) {
                lock(&self.faults).push(format!("{error:#}"));
                sleep(PAUSE);
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl Player<'_> {
    /// Comes in, looks at a playlist, and leaves.
    fn comes_in(&self, seat: Seat) -> Result<()> {
        let playlist = self.enter(seat)?;
        self.get(&playlist)?;
        sleep(NEWCOMER);
        Ok(())
    }

    /// Plays until all is over.
    fn play(&self, viewer: usize) -> Result<()> {
        let seat = SEATS[viewer];
        let mut playlist = self.enter(seat)?;
        let mut renewed = Instant::now();
        let mut fetched = HashSet::new();
        let mut asked = String::new();
        while !self.crowd.is_over() {
            if renewed.elapsed() > RENEWAL {
                renewed = Instant::now();
                playlist = self.offered(&renewal_of(&playlist)?, seat)?;
                lock(&self.crowd.renewals)[viewer] = Some(renewed);
            }
            let reload = Reload::read(&self.get(&format!("{playlist}{asked}"))?)?;
            let listed = if seat.parts { &reload.parts } else { &reload.segments };
            let old = if fetched.is_empty() { listed.len().saturating_sub(FIRST) } else { 0 };
            fetched.extend(listed[..old].iter().cloned());
            for uri in listed {
                if fetched.insert(uri.clone()) {
                    self.get(&resolved(&playlist, uri))?;
                    self.crowd.ads.fetch_add(usize::from(uri.contains("/ads/")), Ordering::Relaxed);
                }
            }
            if seat.parts {
                asked = format!("?_HLS_msn={}&_HLS_part={}", reload.msn, reload.part);
            } else {
                sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// Comes in by a URL that the seller signs now. The answer is the address of a media playlist.
    fn enter(&self, seat: Seat) -> Result<String> {
        // Signed while nobody changes the key, so that no URL is of the key before.
        let entry = {
            let kid = lock(&self.crowd.seller);
            self.crowd.servers.signed_by(&kid, ENTRY_TTL)?
        };
        self.offered(&entry, seat)
    }

    /// The address of the seat's media playlist, from a multivariant playlist.
    fn offered(&self, url: &str, seat: Seat) -> Result<String> {
        let multivariant = self.get(url)?;
        let offered = Offered::read(&multivariant)?;
        let uri = if seat.sound { offered.sound } else { offered.picture };
        Ok(resolved(url, uri))
    }

    /// An answer's body; an error where it is no success.
    fn get(&self, url: &str) -> Result<String> {
        let mut answer = self.agent.get(url).call().with_context(|| format!("GET {url}"))?;
        let status = answer.status();
        let body = answer.body_mut().read_to_vec().with_context(|| format!("GET {url}"))?;
        self.crowd.answers.fetch_add(1, Ordering::Relaxed);
        let body = String::from_utf8_lossy(&body).into_owned();
        ensure!(status.is_success(), "GET {url} answered {status}: {body}");
        Ok(body)
    }
}

/// What a player takes from a media playlist.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reload {
    /// The part that comes next.
    msn: u64,
    part: usize,
    parts: Vec<String>,
    segments: Vec<String>,
}

impl Reload {
    fn read(text: &str) -> Result<Self> {
        let mut reload = Self::default();
        let mut gap = false;
        for line in text.lines() {
            if let Some(first) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                reload.msn = first.parse()?;
            } else if let Some(part) = line.strip_prefix("#EXT-X-PART:") {
                reload.part += 1;
                if !part.contains("GAP=YES") {
                    let uri = part.split("URI=\"").nth(1).and_then(|uri| uri.split('"').next());
                    reload.parts.push(uri.context("a part has no URI")?.to_owned());
                }
            } else if line == "#EXT-X-GAP" {
                gap = true;
            } else if !line.is_empty() && !line.starts_with('#') {
                if !gap {
                    reload.segments.push(line.to_owned());
                }
                (reload.msn, reload.part, gap) = (reload.msn + 1, 0, false);
            }
        }
        ensure!(!reload.segments.is_empty(), "no segment in:\n{text}");
        Ok(reload)
    }
}

/// Where a player renews the pass in a media playlist's address.
fn renewal_of(playlist: &str) -> Result<String> {
    let folder = playlist.rsplitn(3, '/').nth(2);
    Ok(format!("{}/main.m3u8", folder.with_context(|| format!("no pass in {playlist}"))?))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is one push or one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_asks_for_the_part_after_the_last_one() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-GAP\n#EXTINF:2,\n7.m4s\n\
            #EXT-X-PART:DURATION=1,URI=\"8.0.m4s\"\n#EXTINF:1,\n8.m4s\n\
            #EXT-X-PART:DURATION=1,URI=\"9.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"9.1.m4s\"\n";
        let uris = |uris: &[&str]| uris.iter().map(ToString::to_string).collect();
        let expected = Reload {
            msn: 9,
            part: 1,
            parts: uris(&["8.0.m4s", "9.0.m4s"]),
            segments: uris(&["8.m4s"]),
        };
        assert_eq!(Reload::read(text).expect("a playlist"), expected);
    }

    #[test]
    fn a_pass_is_renewed_beside_its_playlists() {
        let renewal = renewal_of("http://h:1/live/demo/PASS/v360/index.m3u8").expect("a pass");
        assert_eq!(renewal, "http://h:1/live/demo/PASS/main.m3u8");
    }
}
