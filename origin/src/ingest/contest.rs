//! Who has a publisher's seat when several want it.
//!
//! The newest has it. But whoever was put out of it and comes back while the new one sends, again
//! and again, is refused for a growing time, so that two encoders with one key end with one.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// A publisher that sends nothing for this long is no rival: its connection is likely dead.
const SILENT: Duration = Duration::from_secs(2);

/// Longest time for which one is refused.
const LONGEST: Duration = Duration::from_secs(300);

/// Publishers that are remembered after they were put out.
const OUSTED_MAX: usize = 8;

/// One seat.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    newest: u64,
    holder: Option<Holder>,
    ousted: Vec<Ousted>,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    from: IpAddr,
    heard: Instant,
}

#[derive(Debug)]
struct Ousted {
    from: IpAddr,
    refused_until: Instant,
    pause: Duration,
}

impl Contest {
    /// Gives the seat to whoever comes from that address. Returns its number, which grows.
    ///
    /// # Errors
    /// For how long it is refused.
    pub(crate) fn enter(
        &mut self,
        from: IpAddr,
        now: Instant,
        first_pause: Duration,
    ) -> Result<u64, Duration> {
        self.ousted.retain(|ousted| now < ousted.refused_until + LONGEST);
        let rival = self.holder.take_if(|holder| now < holder.heard + SILENT);
        if let Some(rival) = rival {
            let known = self.ousted.iter_mut().find(|ousted| ousted.from == from);
            if let Some(ousted) = known.filter(|ousted| now < ousted.refused_until) {
                ousted.refuse(now);
                self.holder = Some(rival);
                return Err(ousted.pause);
            }
            self.oust(rival.from, now, first_pause);
        }
        self.newest += 1;
        self.holder = Some(Holder { number: self.newest, from, heard: now });
        Ok(self.newest)
    }

    fn oust(&mut self, from: IpAddr, now: Instant, first_pause: Duration) {
        if let Some(ousted) = self.ousted.iter_mut().find(|ousted| ousted.from == from) {
            ousted.refuse(now);
            return;
        }
        if self.ousted.len() == OUSTED_MAX {
            self.ousted.remove(0);
        }
        self.ousted.push(Ousted { from, refused_until: now + first_pause, pause: first_pause });
    }

    /// It sent picture or sound.
    pub(crate) fn heard(&mut self, number: u64, now: Instant) {
        if let Some(holder) = self.holder.as_mut().filter(|holder| holder.number == number) {
            holder.heard = now;
        }
    }

    /// It went away.
    pub(crate) fn left(&mut self, number: u64) {
        self.holder.take_if(|holder| holder.number == number);
    }
}

impl Ousted {
    fn refuse(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(LONGEST);
        self.refused_until = now + self.pause;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);
    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn two_that_fight_end_with_one() {
        let (mut contest, mut now) = (Contest::default(), Instant::now());
        let a = contest.enter(A, now, PAUSE).unwrap();
        let b = contest.enter(B, now, PAUSE).unwrap();
        assert!(b > a);
        // One comes back every two seconds while the other sends: it never gets in.
        let mut pauses = Vec::new();
        for _ in 0..300 {
            now += Duration::from_secs(2);
            contest.heard(b, now);
            pauses.push(contest.enter(A, now, PAUSE).unwrap_err().as_secs());
        }
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[1], pauses[299]), (10, 20, 300));
        // After a rest it is the newest again, and the other has to wait.
        now += LONGEST;
        contest.heard(b, now);
        assert!(contest.enter(A, now, PAUSE).is_ok());
        assert!(contest.enter(B, now, PAUSE).is_err());
    }

    #[test]
    fn whoever_lost_its_connection_comes_back_at_once() {
        let (mut contest, mut now) = (Contest::default(), Instant::now());
        for _ in 0..100 {
            let number = contest.enter(A, now, PAUSE).unwrap();
            contest.heard(number, now);
            now += SILENT;
        }
        // And so does one whose rival left.
        let b = contest.enter(B, now - Duration::from_secs(1), PAUSE).unwrap();
        contest.enter(A, now, PAUSE).unwrap_err();
        contest.left(b);
        assert!(contest.enter(A, now, PAUSE).is_ok());
    }

    #[test]
    fn a_newcomer_takes_over_whoever_is_refused() {
        let (mut contest, now) = (Contest::default(), Instant::now());
        contest.enter(A, now, PAUSE).unwrap();
        contest.enter(B, now, PAUSE).unwrap();
        contest.enter(A, now, PAUSE).unwrap_err();
        let c = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        assert!(contest.enter(c, now, PAUSE).is_ok());
        contest.enter(B, now, PAUSE).unwrap_err();
    }

    #[test]
    fn without_a_pause_the_newest_always_wins() {
        let (mut contest, now) = (Contest::default(), Instant::now());
        for from in [A, B].repeat(10) {
            assert!(contest.enter(from, now, Duration::ZERO).is_ok());
        }
    }
}
