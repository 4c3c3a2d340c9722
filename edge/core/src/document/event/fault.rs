//! What makes an event document unfit: everything by which it could lock viewers out, let them see
//! what they may not, or break a playlist. The origin does not publish such a document, and the
//! edges do not accept it.

use super::{Event, Rendition, RenditionKind};
use crate::document::dimension::repeated;
use crate::document::media::MediaOrigin;
use crate::document::territories::{Territories, is_country};
use crate::language::is_tag;
use crate::route::{IDENTIFIER_BYTES_MAX, is_epoch, is_identifier};

/// Most cohorts that a schema may span. What a cache holds grows with it.
const COHORTS_MAX: usize = 100;
/// Longest target duration, in seconds. Waiting times are multiples of it.
const TARGET_MAX: u32 = 60;
/// Shortest life of a pass or a session, in seconds: less would be over before the first segments.
const PASS_MIN_S: u32 = 60;
/// A rendition of this name would have the creatives' paths.
const CREATIVES: &str = "ads";
/// An event of this name would have the flags that hold for all events.
const SITE: &str = "site";

impl Event {
    /// What is wrong with the document, in words; `None` when every rule holds.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.name_fault()
            .or_else(|| self.time_fault())
            .or_else(|| self.plan_fault())
            .or_else(|| self.cohort_fault())
            .or_else(|| self.place_fault())
            .or_else(|| self.media_fault())
            .or_else(|| self.rendition_fault())
    }

    fn name_fault(&self) -> Option<String> {
        if let Some(epoch) = self.epoch.as_deref().filter(|epoch| !is_epoch(epoch)) {
            return Some(format!("epoch {epoch:?}: expected 1 to 16 of a-z 0-9"));
        }
        (!is_identifier(&self.event) || self.event == SITE)
            .then(|| format!("event {:?}: expected an identifier other than {SITE}", self.event))
    }

    fn time_fault(&self) -> Option<String> {
        let (ttl_s, session_s) = (self.pass.ttl_s, self.pass.session_s);
        if !(1..=TARGET_MAX).contains(&self.target_duration) {
            return Some(format!("target_duration: expected 1 to {TARGET_MAX} seconds"));
        }
        if self.parts == Some(0) {
            return Some("parts: expected at least 1, or none where it is not known".into());
        }
        if session_s < PASS_MIN_S {
            return Some(format!("pass.session_s: expected at least {PASS_MIN_S} seconds"));
        }
        (1..PASS_MIN_S).contains(&ttl_s).then(|| {
            format!(
                "pass.ttl_s: expected at least {PASS_MIN_S} seconds, or 0 for the session's end"
            )
        })
    }

    fn plan_fault(&self) -> Option<String> {
        if self.plans.is_empty() {
            return Some("plans: expected at least one".into());
        }
        if let Some(plan) = self.plans.iter().find(|plan| !is_identifier(&plan.id)) {
            return Some(format!("plan {:?}: expected an identifier", plan.id));
        }
        repeated(self.plans.iter().map(|plan| &plan.id))
            .map(|id| format!("plan {id:?} is there twice: expected it once"))
    }

    fn cohort_fault(&self) -> Option<String> {
        let (mut cohorts, mut bytes) = (1_usize, self.cohorts.len().saturating_sub(1));
        for dimension in &self.cohorts {
            if let Some(fault) = dimension.fault() {
                return Some(format!("cohort dimension {:?}: {fault}", dimension.name));
            }
            cohorts = cohorts.saturating_mul(dimension.values.len());
            bytes += dimension.values.iter().map(String::len).max().unwrap_or(0);
        }
        if let Some(name) = repeated(self.cohorts.iter().map(|dimension| &dimension.name)) {
            return Some(format!("cohort dimension {name:?} is there twice: expected it once"));
        }
        if bytes > IDENTIFIER_BYTES_MAX {
            return Some(format!(
                "the longest cohort has {bytes} bytes: expected at most {IDENTIFIER_BYTES_MAX}"
            ));
        }
        (cohorts > COHORTS_MAX)
            .then(|| format!("the schema spans {cohorts} cohorts: expected at most {COHORTS_MAX}"))
    }

    fn place_fault(&self) -> Option<String> {
        if let Some(fault) = self.territories.as_ref().and_then(Territories::fault) {
            return Some(format!("territories: {fault}"));
        }
        let root = format!("/api/events/{}", self.event);
        let below = |path: &str| {
            path.strip_prefix(&root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                && !path.ends_with('/')
                && !path.contains(['?', '#', '%'])
        };
        self.bound.iter().find_map(|bound| {
            let path = &bound.path;
            if !below(path) {
                return Some(format!("bound {path:?}: expected a path of the event, below {root}"));
            }
            let plain = |country: &String| is_country(country);
            (bound.countries.is_empty() || !bound.countries.iter().all(plain))
                .then(|| format!("bound {path:?}: expected countries such as IN"))
        })
    }

    fn media_fault(&self) -> Option<String> {
        let fault = self.media.as_ref().and_then(MediaOrigin::fault)?;
        Some(format!("media: {fault}"))
    }

    fn rendition_fault(&self) -> Option<String> {
        let of = |kind| self.renditions.iter().filter(move |rendition| rendition.kind == kind);
        let audio = || of(RenditionKind::Audio);
        if self.renditions.is_empty() {
            return None;
        }
        if of(RenditionKind::Video).next().is_none() {
            return Some("renditions: expected at least one of video".into());
        }
        if let Some(id) = repeated(self.renditions.iter().map(|rendition| &rendition.id)) {
            return Some(format!("rendition {id:?} is there twice: expected it once"));
        }
        // RFC 8216bis 4.4.6.1.1: names within a group are distinct.
        if let Some(name) = repeated(audio().map(|r| r.name.as_ref().unwrap_or(&r.id))) {
            return Some(format!("two audio renditions have the name {name:?}"));
        }
        if audio().next().is_some() && audio().filter(|r| r.default).count() != 1 {
            return Some("audio renditions: expected exactly one that is the default".into());
        }
        self.renditions.iter().find_map(|rendition| {
            rendition.fault().map(|fault| format!("rendition {:?}: {fault}", rendition.id))
        })
    }
}

impl Rendition {
    fn fault(&self) -> Option<&'static str> {
        let quotable = |text: &str| !text.contains(|c: char| c == '"' || c.is_control());
        let video = self.kind == RenditionKind::Video;
        let rules = [
            (is_identifier(&self.id) && self.id != CREATIVES, "expected an identifier, not ads"),
            (!self.codecs.is_empty() && quotable(&self.codecs), "expected codecs, without quotes"),
            (self.bandwidth > 0 && self.average_bandwidth > 0, "expected bandwidths above 0"),
            (self.phases > 0, "expected at least one phase"),
            (self.channels != Some(0), "expected at least one channel"),
            (self.name.as_deref().is_none_or(quotable), "expected a name without quotes"),
            (self.language.as_deref().is_none_or(is_tag), "expected a language tag such as pt-BR"),
            // One without a height would be in every plan.
            (
                !video || (self.height.is_some_and(|h| h > 0) && self.width.is_some_and(|w| w > 0)),
                "expected width and height",
            ),
            (
                self.frame_rate.is_none_or(|rate| (1.0..=1000.0).contains(&rate)),
                "expected a frame rate from 1 to 1000",
            ),
            (!video || !self.default, "expected default on audio alone"),
        ];
        rules.iter().find(|(holds, _)| !holds).map(|(_, expected)| *expected)
    }
}

#[cfg(test)]
mod tests;
