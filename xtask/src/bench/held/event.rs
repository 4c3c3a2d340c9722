//! The event whose playlist is asked for, seen from outside: where it stands, and what its origin
//! tells about itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::live;
use crate::servers::Servers;

/// The one rendition with a picture, of the smallest rung: the encoder leaves room.
pub(super) const PLAYLIST: &str = "/live/demo/v160/index.m3u8";
const PATIENCE: Duration = Duration::from_secs(10);
const DAY_MS: f64 = 86_400_000.0;

/// An event at an origin.
pub(super) struct Event {
    pub(super) address: SocketAddr,
    origin: String,
    control: String,
    token: String,
}

/// A part, by its segment and its place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    msn: u64,
    index: u64,
}

/// What the end of a playlist says.
#[derive(Debug)]
pub(super) struct End {
    /// The part that comes next.
    next: Part,
    /// Parts of a segment.
    parts: u64,
    /// When the last part ends on the grid, in milliseconds of the day.
    ends_ms: f64,
}

/// One request that is held on a thread of its own, whatever the others do.
pub(super) struct Lookout(JoinHandle<Result<Seen>>);

/// What the lookout saw.
pub(super) struct Seen {
    /// When the first byte was read, by both clocks.
    pub(super) at: Instant,
    wall: SystemTime,
    playlist: String,
}

/// What the origin tells about itself.
pub(super) struct Metrics(String);

/// How many took at most so long, by seconds.
pub(super) struct Histogram(Vec<(f64, f64)>);

impl Event {
    pub(super) fn of(servers: &Servers) -> Result<Self> {
        let origin = servers.origin_url();
        let address = origin.trim_start_matches("http://").parse()?;
        Ok(Self { address, origin, control: servers.control_url(), token: servers.token.clone() })
    }

    /// The playlist as it is now.
    pub(super) fn playlist(&self) -> Result<String> {
        live::get(&format!("{}{PLAYLIST}", self.origin))
    }

    /// Where the playlist ends just after a part has appeared.
    pub(super) fn next_end(&self) -> Result<End> {
        let next = End::of(&self.playlist()?)?.ahead(0);
        End::of(&live::get(&format!("{}{}", self.origin, target(next)))?)
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics(live::get_as(&format!("{}/metrics", self.control), &self.token)?))
    }

    /// Asks for the playlist, as it is now or as soon as it has a part; `headers` are whole lines.
    pub(super) fn request(&self, part: Option<Part>, headers: &str) -> String {
        let target = part.map_or_else(|| PLAYLIST.to_owned(), target);
        let host = self.address;
        format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n{headers}\r\n")
    }

    /// Waits for a part from now on.
    pub(super) fn watch(&self, part: Part) -> Lookout {
        let (address, request) = (self.address, self.request(Some(part), "connection: close\r\n"));
        Lookout(thread::spawn(move || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = vec![0];
            stream.read_exact(&mut answer).context("the lookout has no answer")?;
            let (at, wall) = (Instant::now(), SystemTime::now());
            stream.read_to_end(&mut answer)?;
            Ok(Seen { at, wall, playlist: String::from_utf8(answer)? })
        }))
    }
}

impl End {
    pub(super) fn of(playlist: &str) -> Result<Self> {
        let after = |tag| playlist.lines().filter_map(move |line| line.strip_prefix(tag));
        let hint = after("#EXT-X-PRELOAD-HINT:").next().context("the playlist has no hint")?;
        let last = after("#EXT-X-PART:").filter_map(part).map(|part| part.index).max();
        let newest = playlist.rsplit_once("#EXT-X-PROGRAM-DATE-TIME:");
        let (date, newest) = newest
            .and_then(|(_, newest)| newest.split_once('\n'))
            .context("the playlist has no date")?;
        let lengths = newest.lines().filter_map(|line| {
            let (length, _) = line.strip_prefix("#EXT-X-PART:DURATION=")?.split_once(',')?;
            length.parse::<f64>().ok()
        });
        Ok(Self {
            next: part(hint).context("the hint is no part")?,
            parts: last.context("the playlist lists no part")? + 1,
            ends_ms: of_the_day(date)? + lengths.sum::<f64>() * 1e3,
        })
    }

    /// The part that comes so many parts after the next one.
    pub(super) fn ahead(&self, parts: u64) -> Part {
        let index = self.next.index + parts;
        Part { msn: self.next.msn + index / self.parts, index: index % self.parts }
    }

    /// Whether that part is the last one.
    pub(super) fn ends_with(&self, part: Part) -> bool {
        let Part { msn, index } = self.next;
        let last = match index.checked_sub(1) {
            Some(index) => Some(Part { msn, index }),
            None => msn.checked_sub(1).map(|msn| Part { msn, index: self.parts - 1 }),
        };
        last == Some(part)
    }
}

impl Lookout {
    pub(super) fn seen(self) -> Result<Seen> {
        self.0.join().map_err(|_| anyhow!("the lookout panicked"))?
    }
}

impl Seen {
    /// Where the playlist ends that it was answered with.
    pub(super) fn end(&self) -> Result<End> {
        let status = self.playlist.lines().next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1.1 200 "), "the lookout was answered {status}");
        End::of(&self.playlist)
    }

    /// When the origin's own clock says that the part was there. It reads the clock after it has
    /// woken who waits, in whole milliseconds.
    pub(super) fn published(&self, end: &End, metrics: &Metrics) -> Result<Instant> {
        let behind = metrics.value("sightscreen_behind_seconds")?;
        let ahead = metrics.value("sightscreen_clock_ahead_seconds")?;
        let published = end.ends_ms + (behind - ahead) * 1e3;
        let seen = self.wall.duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
        // Neither has to know the day.
        let before = (seen - published + DAY_MS / 2.0).rem_euclid(DAY_MS) - DAY_MS / 2.0;
        let distance = Duration::from_secs_f64(before.abs() / 1e3);
        let at =
            if before > 0.0 { self.at.checked_sub(distance) } else { Some(self.at + distance) };
        at.context("the origin's clock is not the machine's")
    }
}

impl Metrics {
    /// The only value of that name.
    pub(super) fn value(&self, name: &str) -> Result<f64> {
        let mut values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit_once(' ')?.1.parse().ok())?
        });
        values.next().with_context(|| format!("the origin tells no {name}"))
    }

    /// From a part's last byte out of the encoder to its publication.
    pub(super) fn part_seconds(&self) -> Result<Histogram> {
        let buckets = self.0.lines().filter_map(|line| {
            let line = line.strip_prefix("sightscreen_part_seconds_bucket{le=\"")?;
            let (most, count) = line.split_once("\"} ")?;
            // `+Inf` is a number too.
            Some((most.parse().ok()?, count.parse().ok()?))
        });
        let buckets: Vec<_> = buckets.collect();
        ensure!(!buckets.is_empty(), "the origin tells no sightscreen_part_seconds");
        Ok(Histogram(buckets))
    }
}

impl Histogram {
    /// What came since an earlier one.
    pub(super) fn since(self, before: &Self) -> Self {
        let pairs = self.0.into_iter().zip(&before.0);
        Self(pairs.map(|((most, count), (_, earlier))| (most, count - earlier)).collect())
    }

    pub(super) fn count(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, count)| *count)
    }

    /// Upper bound of the bucket in which this quantile falls.
    pub(super) fn bound(&self, quantile: f64) -> Result<f64> {
        let rank = self.count() * quantile;
        let bucket = self.0.iter().find(|(_, count)| *count > 0.0 && *count >= rank);
        match bucket {
            Some((most, _)) => Ok(*most),
            None => bail!("no part came"),
        }
    }
}

/// The playlist as soon as it has a part.
fn target(part: Part) -> String {
    format!("{PLAYLIST}?_HLS_msn={}&_HLS_part={}", part.msn, part.index)
}

/// The part that a tag names.
fn part(tag: &str) -> Option<Part> {
    let (_, name) = tag.split_once("URI=\"")?;
    let (name, _) = name.split_once(".m4s\"")?;
    let (msn, index) = name.rsplit('-').next()?.split_once('.')?;
    Some(Part { msn: msn.parse().ok()?, index: index.parse().ok()? })
}

/// Milliseconds of the day that a date tells, in UTC.
fn of_the_day(date: &str) -> Result<f64> {
    let time = date.split_once('T').and_then(|(_, time)| time.strip_suffix('Z'));
    let seconds = time.and_then(|time| {
        time.split(':').try_fold(0.0, |sum, field| Some(sum * 60.0 + field.parse::<f64>().ok()?))
    });
    Ok(seconds.with_context(|| format!("{date} is no date"))? * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAYLIST: &str = "#EXTM3U
#EXT-X-PROGRAM-DATE-TIME:2025-11-29T23:59:58.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"1a2b-7.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=1.00000,URI=\"1a2b-7.1.m4s\"
#EXTINF:2.00000,
1a2b-7.m4s
#EXT-X-PROGRAM-DATE-TIME:2025-11-30T00:00:00.000Z
#EXT-X-PART:DURATION=1.00000,URI=\"1a2b-8.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1a2b-8.1.m4s\"
";

    #[test]
    fn a_playlist_tells_where_it_ends() {
        let end = End::of(PLAYLIST).expect("an end");
        assert_eq!((end.next, end.parts), (Part { msn: 8, index: 1 }, 2));
        assert_eq!(end.ahead(4), Part { msn: 10, index: 1 });
        assert!(end.ends_with(Part { msn: 8, index: 0 }));
        assert!((end.ends_ms - 1000.0).abs() < 1e-6, "{}", end.ends_ms);
        let (whole, _) = PLAYLIST.rsplit_once("#EXT-X-PROGRAM").expect("two segments");
        let whole = format!("{whole}#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"1a2b-8.0.m4s\"\n");
        let end = End::of(&whole).expect("an end");
        assert!(end.ends_with(Part { msn: 7, index: 1 }));
        assert!((end.ends_ms - DAY_MS).abs() < 1e-6, "{}", end.ends_ms);
    }

    #[test]
    fn a_quantile_is_told_by_the_bound_of_its_bucket() {
        let metrics = |counts: [u32; 3]| {
            let lines = ["0.025", "0.05", "+Inf"].iter().zip(counts).map(|(most, count)| {
                format!("sightscreen_part_seconds_bucket{{le=\"{most}\"}} {count}\n")
            });
            Metrics(lines.collect())
        };
        let before = metrics([10, 10, 10]).part_seconds().expect("a histogram");
        let bound = |counts| {
            let now = metrics(counts).part_seconds().expect("a histogram");
            now.since(&before).bound(0.99).ok()
        };
        assert_eq!(bound([109, 110, 110]), Some(0.025));
        assert_eq!(bound([108, 110, 110]), Some(0.05));
        assert_eq!(bound([109, 109, 111]), Some(f64::INFINITY));
        assert_eq!(bound([10, 10, 10]), None);
    }

    #[test]
    fn a_metric_is_found_with_and_without_labels() {
        let text = "# HELP a_b x\na_b_more 3\na_b 1\nc{event=\"demo\"} 0.25\n";
        let metrics = Metrics(text.to_owned());
        let value = |name| metrics.value(name).ok();
        assert_eq!((value("a_b"), value("c"), value("d")), (Some(1.0), Some(0.25), None));
    }
}
