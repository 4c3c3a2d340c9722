//! A case: one fault, and exactly the rules that it breaks.

use sightscreen_tests::live::check::Plan;

use super::server::{Answer, Ask, Fault};

pub(crate) struct Case {
    pub(crate) about: &'static str,
    /// In alphabetic order.
    pub(crate) breaks: &'static [&'static str],
    pub(crate) fault: Fault,
    pub(crate) parts: u64,
    hurried: fn(&mut Plan),
}

impl Case {
    /// A fault in the text of playlists.
    pub(crate) fn text(
        about: &'static str,
        breaks: &'static [&'static str],
        fault: fn(&Ask<'_>, String) -> String,
    ) -> Self {
        Self::new(about, breaks, Fault::Text(fault))
    }

    /// A fault in answers.
    pub(crate) fn answer(
        about: &'static str,
        breaks: &'static [&'static str],
        fault: fn(&Ask<'_>, &mut Answer),
    ) -> Self {
        Self::new(about, breaks, Fault::Answer(fault))
    }

    fn new(about: &'static str, breaks: &'static [&'static str], fault: Fault) -> Self {
        Self { about, breaks, fault, parts: 4, hurried: |_| {} }
    }

    /// With so many parts in a segment.
    pub(crate) fn of_parts(self, parts: u64) -> Self {
        Self { parts, ..self }
    }

    /// With a shorter patience, where the fault is to be slow.
    pub(crate) fn hurried(self, hurried: fn(&mut Plan)) -> Self {
        Self { hurried, ..self }
    }

    pub(crate) fn plan(&self, mut plan: Plan) -> Plan {
        (self.hurried)(&mut plan);
        plan
    }
}

impl Ask<'_> {
    /// Whether it is the first request for this playlist of `v1`.
    pub(crate) fn is_first_of(&self, next: u64, open: u64) -> bool {
        let here = self.cursor.is_some_and(|at| (at.next, at.open) == (next, open));
        self.rendition == "v1" && here && self.before == 0
    }

    /// Whether it is a playlist from when `next` is being made.
    pub(crate) fn is_from(&self, next: u64) -> bool {
        self.cursor.is_some_and(|at| at.next >= next)
    }
}

/// `text` without the lines that begin so.
pub(crate) fn without(text: &str, tag: &str) -> String {
    let kept = text.lines().filter(|line| !line.starts_with(tag));
    kept.flat_map(|line| [line, "\n"]).collect()
}
