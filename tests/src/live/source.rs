//! Fetches the playlist of one rendition, and checks what every answer must have: status, form and
//! cache times.

use std::time::Duration;

use super::check::Plan;
use super::multivariant::Rendition;
use super::playlist::Media;
use super::report::Notes;
use crate::wire::{Reply, header};

/// One rendition, and where what is found of it is noted.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) rendition: &'a Rendition,
    pub(super) notes: Notes<'a>,
    pub(super) plan: &'a Plan,
}

impl Source<'_> {
    /// The playlist for `query`; none, and a note, where there is none that can be read.
    pub(super) fn load(&self, query: &str) -> Option<Media> {
        let reply = match self.rendition.url.with_query(query).get() {
            Ok(reply) => reply,
            Err(e) => {
                self.notes.must(false, "R0", 0, || format!("?{query}: {e}"));
                return None;
            }
        };
        self.notes
            .must(reply.status == 200, "R0", 0, || format!("?{query}: status {}", reply.status));
        if reply.status != 200 {
            return None;
        }
        match Media::parse(&String::from_utf8_lossy(&reply.body)) {
            Ok(media) => {
                self.notes.checked("R5");
                self.cache_times(&reply, query, &media);
                Some(media)
            }
            Err(fault) => {
                let rule = if fault.what.ends_with("follows a segment") { "R5" } else { "R0" };
                self.notes.must(false, rule, fault.line, || fault.what);
                None
            }
        }
    }

    /// The answer to `query`, whatever it is, where it comes at once.
    pub(super) fn at_once(&self, query: &str) -> Option<Reply> {
        let limit: Duration = self.plan.at_once;
        self.rendition.url.with_query(query).get_within(limit).ok()
    }

    /// Appendix B: blocking answers at most six target durations, others half of one (in whole
    /// seconds, at least one).
    fn cache_times(&self, reply: &Reply, query: &str, media: &Media) {
        let most = if query.contains("_HLS_msn") {
            6 * media.target_duration
        } else {
            (media.target_duration / 2).max(1)
        };
        self.notes.must(max_age(reply).is_some_and(|age| age > 0 && age <= most), "L7", 0, || {
            let control = header(&reply.headers, "cache-control");
            format!("?{query}: cache-control {control:?}, at most {most} s")
        });
    }
}

/// Seconds for which a cache may keep an answer, where it says so.
pub(super) fn max_age(reply: &Reply) -> Option<u64> {
    header(&reply.headers, "cache-control")?
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok())
}
