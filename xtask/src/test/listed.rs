//! What a media playlist lists at each sequence number, kept over reloads.
//!
//! Reads only what it compares. The live check is what knows every rule.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// What a playlist says of a whole segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// As written, relative to the playlist.
    pub(super) uri: String,
    init: String,
    date: String,
    duration: String,
    /// Discontinuities up to it, from the start of the event.
    discontinuities: u64,
    /// Whether there is no media.
    pub(super) gap: bool,
}

impl Line {
    pub(super) fn is_ad(&self) -> bool {
        self.uri.contains("/ads/")
    }
}

/// One playlist, or all that was seen of it.
#[derive(Debug, Default, Clone)]
pub(super) struct Listed {
    media_sequence: u64,
    discontinuity_sequence: u64,
    /// Name of the ledger's revision.
    pub(super) revision: String,
    /// By sequence number.
    pub(super) lines: BTreeMap<u64, Line>,
    /// Breaks, as written, by their ID.
    ranges: BTreeMap<String, String>,
}

impl Listed {
    /// Reads a playlist.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut listed = Self::default();
        let (mut next, mut discontinuities) = (0, 0);
        let mut line = Line {
            uri: String::new(),
            init: String::new(),
            date: String::new(),
            duration: String::new(),
            discontinuities: 0,
            gap: false,
        };
        for tag in text.lines() {
            let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
            match name {
                "#EXT-X-MEDIA-SEQUENCE" => {
                    listed.media_sequence = value.parse()?;
                    next = listed.media_sequence;
                }
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    listed.discontinuity_sequence = value.parse()?;
                    discontinuities = listed.discontinuity_sequence;
                }
                "#EXT-X-SIGHTSCREEN-LEDGER" => value.clone_into(&mut listed.revision),
                "#EXT-X-DATERANGE" => {
                    let id = value.split('"').nth(1).context("a date range has no ID")?;
                    listed.ranges.insert(id.to_owned(), value.to_owned());
                }
                "#EXT-X-DISCONTINUITY" => discontinuities += 1,
                "#EXT-X-MAP" => line.init = value.to_owned(),
                "#EXT-X-PROGRAM-DATE-TIME" => line.date = value.to_owned(),
                "#EXT-X-GAP" => line.gap = true,
                "#EXTINF" => line.duration = value.to_owned(),
                _ if tag.starts_with('#') || tag.is_empty() => {}
                _ => {
                    tag.clone_into(&mut line.uri);
                    line.discontinuities = discontinuities;
                    listed.lines.insert(next, line.clone());
                    line.gap = false;
                    next += 1;
                }
            }
        }
        ensure!(!listed.lines.is_empty(), "no segment in:\n{text}");
        Ok(listed)
    }

    /// The newest whole segment.
    pub(super) fn last(&self) -> u64 {
        self.lines.keys().next_back().copied().unwrap_or(0)
    }

    /// Takes in a later reload and returns how many lines were compared. An error says what
    /// changed.
    pub(super) fn follow(&mut self, later: Self) -> Result<usize> {
        for (name, was, is) in [
            ("media", self.media_sequence, later.media_sequence),
            ("discontinuity", self.discontinuity_sequence, later.discontinuity_sequence),
        ] {
            ensure!(is >= was, "the {name} sequence fell from {was} to {is}");
        }
        for (id, was) in &self.ranges {
            match later.ranges.get(id) {
                Some(is) if !tells(is, was) => bail!("break {id} was\n  {was}\nand is\n  {is}"),
                None if later.must_tell(was) => bail!("break {id} is gone, and was\n  {was}"),
                _ => {}
            }
        }
        let mut compared = 0;
        for (sequence, is) in &later.lines {
            if let Some(was) = self.lines.get(sequence) {
                ensure!(is == was, "segment {sequence} was\n  {was:?}\nand is\n  {is:?}");
                compared += 1;
            }
        }
        self.lines.extend(later.lines);
        self.ranges.extend(later.ranges);
        self.media_sequence = later.media_sequence;
        self.discontinuity_sequence = later.discontinuity_sequence;
        self.revision = later.revision;
        Ok(compared)
    }
}

impl Listed {
    /// Whether a break has its place in this playlist: it runs, or the segment that it began with
    /// is listed.
    fn must_tell(&self, range: &str) -> bool {
        let Some(start) = attribute(range, "START-DATE") else {
            return true;
        };
        let runs = attribute(range, "DURATION").is_none();
        runs || self.lines.values().any(|line| line.date == start)
    }
}

fn attribute<'a>(range: &'a str, name: &str) -> Option<&'a str> {
    let mut values = range.split(',').filter_map(|one| one.split_once('='));
    let (_, value) = values.find(|(found, _)| *found == name)?;
    Some(value.trim_matches('"'))
}

/// Whether a break is described as before. How it ended may have been added.
fn tells(is: &str, was: &str) -> bool {
    was.split(',').all(|attribute| is.split(',').any(|one| one == attribute))
}

/// What a multivariant playlist offers first, as references.
pub(super) struct Offered<'a> {
    pub(super) picture: &'a str,
    pub(super) sound: &'a str,
}

impl<'a> Offered<'a> {
    /// Reads a multivariant playlist.
    pub(super) fn read(text: &'a str) -> Result<Self> {
        let picture = text.lines().find(|line| !line.starts_with('#'));
        let audio = text.lines().find(|line| line.contains("TYPE=AUDIO"));
        let sound = audio.and_then(|line| line.split("URI=\"").nth(1)?.split('"').next());
        let (picture, sound) =
            picture.zip(sound).with_context(|| format!("no picture or no sound in:\n{text}"))?;
        Ok(Self { picture, sound })
    }
}

/// A reference of a playlist as an absolute URL without dots, which edges refuse.
pub(super) fn resolved(base: &str, uri: &str) -> String {
    let base = base.split(['?', '#']).next().unwrap_or(base);
    let mut parts: Vec<_> = base.split('/').collect();
    parts.pop();
    for part in uri.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn playlist(first: u64, discontinuity: u64, uris: &[&str]) -> Listed {
        let mut text = format!(
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}\n#EXT-X-SIGHTSCREEN-LEDGER:3\n#EXT-X-DATERANGE:ID=\"b1\",X=1\n#EXT-X-MAP:URI=\"init.mp4\"\n"
        );
        for uri in uris {
            if let Some(ad) = uri.strip_prefix('!') {
                text.push_str(&format!("#EXT-X-DISCONTINUITY\n#EXTINF:2,\n{ad}\n"));
            } else {
                text.push_str(&format!("#EXTINF:2,\n{uri}\n"));
            }
        }
        Listed::read(&text).expect("a playlist")
    }

    #[test]
    fn what_was_listed_may_leave_but_not_change() {
        let seen = || playlist(10, 0, &["10.m4s", "!../ads/a/v/0/0.m4s", "../ads/a/v/0/1.m4s"]);
        assert_eq!(seen().last(), 12);
        assert!(seen().lines[&11].is_ad());
        let moved = playlist(11, 0, &["!../ads/a/v/0/0.m4s", "../ads/a/v/0/1.m4s", "!13.m4s"]);
        assert_eq!(seen().follow(moved).expect("the same"), 2);
        let other = playlist(11, 0, &["!../ads/b/v/0/0.m4s"]);
        assert!(seen().follow(other).is_err(), "another creative");
        let fell = playlist(9, 0, &["9.m4s"]);
        assert!(seen().follow(fell).is_err(), "the sequence fell");
        let count = playlist(12, 2, &["../ads/a/v/0/1.m4s"]);
        assert!(seen().follow(count).is_err(), "another count");
        let mut silent = seen();
        silent.ranges.clear();
        assert!(seen().follow(silent).is_err(), "a running break is gone");
        assert!(tells("ID=\"b1\",X=1,DURATION=4", "ID=\"b1\",X=1"), "an end");
        assert!(!tells("ID=\"b1\",X=2", "ID=\"b1\",X=1"), "another start");
    }
    #[test]
    fn a_break_that_is_over_may_go_when_its_first_segment_does() {
        let listed = |date: &str| {
            Listed::read(&format!(
                "#EXT-X-PROGRAM-DATE-TIME:{date}\n#EXTINF:2,\n../ads/a/v/0/0.m4s\n"
            ))
            .expect("a playlist")
        };
        let over = "ID=\"b1\",START-DATE=\"T10Z\",PLANNED-DURATION=20,DURATION=4";
        assert!(listed("T10Z").must_tell(over));
        assert!(!listed("T12Z").must_tell(over));
        let runs = "ID=\"b1\",START-DATE=\"T10Z\",PLANNED-DURATION=20";
        assert!(listed("T12Z").must_tell(runs));
    }

    #[test]
    fn references_are_resolved_as_players_do() {
        let base = "http://h:1/live/demo/PASS/v720/index.m3u8?x=1";
        assert_eq!(resolved(base, "12.m4s"), "http://h:1/live/demo/PASS/v720/12.m4s");
        assert_eq!(
            resolved(base, "../ads/c/v720/0/1.m4s"),
            "http://h:1/live/demo/PASS/ads/c/v720/0/1.m4s"
        );
    }
}
