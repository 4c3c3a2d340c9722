//! Settings of the streams that come by the API, which are the origin's.

use std::path::Path;

use super::admission::one_of;
use super::reader::{Field, Reader};
use super::settings::Text;

/// Where streams are kept and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsConfig {
    /// `sqlite:FILE` or `postgres://...`, which may hold a password.
    pub database: crate::secret::Secret,
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
        max: reader.number("streams-max", |s| &s.streams_max, 1..=10_000),
        key_grace_s: reader.number("key-grace", |s| &s.key_grace, 0..=30 * 86_400),
        when_removed: one_of(reader, "when-removed", |s| &s.when_removed, removed),
        rtmp_url: rtmp_url.unwrap_or_else(|| format!("rtmp://{rtmp}/live")),
        srt_url: srt.map(|srt| srt_url.unwrap_or_else(|| format!("srt://{srt}"))),
        playback_url: playback.unwrap_or_default(),
        webhook_attempts: reader.number("webhook-attempts", |s| &s.webhook_attempts, 1..=100),
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

/// Without the slash at its end.
fn url(reader: &mut Reader, name: &str, field: Field<Text>, schemes: &[&str]) -> Option<String> {
    let url = reader.optional(field)?;
    if !schemes.iter().any(|scheme| url.starts_with(scheme)) {
        let remedy = format!("begin with {}", schemes.join(" or "));
        reader.fault(reader.place(name, field), &format!("{url:?} is no such URL"), &remedy);
    }
    Some(url.trim_end_matches('/').to_owned())
}
