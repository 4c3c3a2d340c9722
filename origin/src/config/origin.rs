//! Settings of the streams that come by the API, which are the origin's.

use std::path::Path;
use std::time::Duration;

use super::admission::one_of;
use super::reader::{Field, Reader};
use super::settings::Text;

/// Longest pause between two attempts to deliver a webhook: a day.
const PAUSE_S_MAX: u32 = 86_400;
/// Most different pauses, as many as there may be attempts.
const PAUSES_MAX: usize = 100;

/// Where streams are kept and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsConfig {
    /// `sqlite:FILE` or `postgres://...`, which may hold a password.
    pub database: crate::secret::Secret,
    /// Connections to a server; a file has one.
    pub database_connections: u32,
    /// For a query.
    pub database_timeout: Duration,
    /// Most streams that have not ended.
    pub max: u32,
    /// Seconds for which an old key is good beside a new one.
    pub key_grace_s: u32,
    /// What becomes of an event that a reload does not find.
    pub when_removed: WhenRemoved,
    /// Before a stream key, for RTMP.
    pub rtmp_url: String,
    /// Before a stream id, for SRT; none where that is not taken.
    pub srt_url: Option<String>,
    /// Before the path of playback URLs; may be empty.
    pub playback_url: String,
    /// Most attempts to deliver a webhook.
    pub webhook_attempts: u32,
    /// Seconds after each failed attempt; the last is repeated.
    pub webhook_pauses_s: Vec<u32>,
    /// For one attempt, the answer's head included.
    pub webhook_timeout: Duration,
    /// Whether webhooks may lead to private addresses.
    pub webhook_private: bool,
    /// Days for which the audit log is kept.
    pub audit_days: u32,
}

/// What becomes of an event that is no longer configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenRemoved {
    /// Its playlists end, and it is served until its DVR is over.
    End,
    /// It is gone at once.
    Stop,
}

pub(super) fn streams(reader: &mut Reader, data: &Path) -> StreamsConfig {
    let rtmp = reader.text(|s| &s.rtmp);
    let rtmp_url = url(reader, "rtmp-url", |s| &s.rtmp_url, &["rtmp://", "rtmps://"]);
    let srt = reader.optional(|s| &s.srt);
    let srt_url = url(reader, "srt-url", |s| &s.srt_url, &["srt://"]);
    let playback = url(reader, "playback-url", |s| &s.playback_url, &["http://", "https://"]);
    let removed = [("end", WhenRemoved::End), ("stop", WhenRemoved::Stop)];
    StreamsConfig {
        database: crate::secret::Secret(database(reader, data)),
        database_connections: reader.number(
            "database-connections",
            |s| &s.database_connections,
            1..=100,
        ),
        database_timeout: database_timeout(reader),
        max: reader.number("streams-max", |s| &s.streams_max, 1..=10_000),
        key_grace_s: reader.number("key-grace", |s| &s.key_grace, 0..=30 * 86_400),
        when_removed: one_of(reader, "when-removed", |s| &s.when_removed, removed),
        rtmp_url: rtmp_url.unwrap_or_else(|| format!("rtmp://{rtmp}/live")),
        srt_url: srt.map(|srt| srt_url.unwrap_or_else(|| format!("srt://{srt}"))),
        playback_url: playback.unwrap_or_default(),
        webhook_attempts: reader.number("webhook-attempts", |s| &s.webhook_attempts, 1..=100),
        webhook_pauses_s: webhook_pauses(reader),
        webhook_timeout: webhook_timeout(reader),
        webhook_private: super::yes_or_no(reader, "webhook-private", |s| &s.webhook_private),
        audit_days: reader.number("audit-days", |s| &s.audit_days, 1..=36_500),
    }
}

fn database(reader: &mut Reader, data: &Path) -> String {
    let Some(url) = reader.optional(|s| &s.database) else {
        return format!("sqlite:{}", data.join("streams.db").display());
    };
    if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        let place = reader.place("database", |s| &s.database);
        // It may hold a password, so it is not repeated.
        reader.fault(place, "is no database", "write sqlite:FILE or postgres://HOST/NAME");
    }
    url
}

/// A request of the API makes some queries one after the other, and whoever sent it waits.
fn database_timeout(reader: &mut Reader) -> Duration {
    let wait_ms = reader.number("database-timeout-ms", |s| &s.database_timeout_ms, 500..=10_000);
    Duration::from_millis(u64::from(wait_ms))
}

/// One receiver that does not answer holds up the others for as long.
fn webhook_timeout(reader: &mut Reader) -> Duration {
    let seconds = reader.number("webhook-timeout", |s| &s.webhook_timeout, 1..=60);
    Duration::from_secs(u64::from(seconds))
}

fn webhook_pauses(reader: &mut Reader) -> Vec<u32> {
    let items = reader.found(|s| &s.webhook_pauses).map(|list| list.0).unwrap_or_default();
    let second = |item: &String| item.parse().ok().filter(|s| (1..=PAUSE_S_MAX).contains(s));
    let pauses: Option<Vec<u32>> = items.iter().map(second).collect();
    let pauses = pauses.filter(|pauses| (1..=PAUSES_MAX).contains(&pauses.len()));
    pauses.unwrap_or_else(|| {
        let place = reader.place("webhook-pauses", |s| &s.webhook_pauses);
        let remedy = format!("list 1 to {PAUSES_MAX} whole numbers from 1 to {PAUSE_S_MAX}");
        reader.fault(place, "is no list of seconds", &remedy);
        vec![1]
    })
}

/// Without the slash at its end.
fn url(reader: &mut Reader, name: &str, field: Field<Text>, schemes: &[&str]) -> Option<String> {
    let url = reader.optional(field)?;
    if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        let remedy = format!("begin with {}", schemes.join(" or "));
        reader.fault(reader.place(name, field), &format!("{url:?} is no such URL"), &remedy);
    }
    Some(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn how_webhooks_and_the_database_are_waited_for_is_set() {
        let of = |toml: &str, flags: &[&str]| read(toml, flags).unwrap().streams;
        let usual = of("", &[]);
        assert_eq!(usual.webhook_pauses_s, [1, 5, 30, 120, 600, 1800, 3600]);
        assert_eq!(usual.webhook_timeout, Duration::from_secs(10));
        assert_eq!(usual.database_connections, 8);
        assert_eq!(usual.database_timeout, Duration::from_millis(5000));
        let toml = "webhook-pauses = [2, 86400]\nwebhook-timeout = 3\n\
            database-connections = 20\ndatabase-timeout-ms = 900\n";
        let set = of(toml, &[]);
        assert_eq!(set.webhook_pauses_s, [2, 86_400]);
        assert_eq!(set.webhook_timeout, Duration::from_secs(3));
        assert_eq!(set.database_connections, 20);
        assert_eq!(set.database_timeout, Duration::from_millis(900));
        assert_eq!(of(toml, &["--webhook-pauses", "7, 8"]).webhook_pauses_s, [7, 8]);
    }

    #[test]
    fn what_no_webhook_or_database_could_be_waited_for_says_what_to_write() {
        for (wrong, told) in [
            ("webhook-pauses = []", "list 1 to 100 whole numbers from 1 to 86400"),
            ("webhook-pauses = [1, 0]", "list 1 to 100 whole numbers from 1 to 86400"),
            ("webhook-pauses = \"1,soon\"", "list 1 to 100 whole numbers from 1 to 86400"),
            ("webhook-pauses = [86401]", "list 1 to 100 whole numbers from 1 to 86400"),
            ("webhook-timeout = 0", "from 1 to 60"),
            ("database-connections = 0", "from 1 to 100"),
            ("database-timeout-ms = 10001", "from 500 to 10000"),
            ("[[events]]\nevent = \"a\"\nwebhook-pauses = [1]", "above the first [[events]]"),
            ("[[events]]\nevent = \"a\"\ndatabase-timeout-ms = 600", "above the first"),
            ("[[events]]\nevent = \"a\"\nencoder-nice = 10", "above the first"),
        ] {
            let faults = read(wrong, &[]).unwrap_err();
            assert!(faults.iter().any(|f| f.remedy.contains(told)), "{wrong}: {faults:?}");
        }
    }
}
