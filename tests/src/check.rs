//! Compares what came with what a case expects.
//!
//! Owns every comparison and its words. Changes nothing but golden files, and those only when
//! blessing.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::time::Duration;

use flate2::read::GzDecoder;
use similar::{ChangeTag, TextDiff};

use crate::case::{Count, Expander, Loaded, StepSpec, now_ms, passes_in, secret_texts};
use crate::doors::{Door, EDGE_SECRET};
use crate::run::{CANARIES, counted, read};
use crate::wire::{Headers, Reply, Request, header};

/// Seconds by which a time in a pass may differ: the clock ran between making and checking.
const CLOCK_SLACK_S: i64 = 3;

/// A step's answer and all that it is compared with.
pub(crate) struct Checked<'a> {
    pub(crate) step: &'a StepSpec,
    pub(crate) loaded: &'a Loaded,
    pub(crate) expander: &'a Expander,
    pub(crate) door: &'a Door,
    pub(crate) seen: &'a [Request],
    pub(crate) bless: bool,
}

/// Those who are refused together are told to come back at different times.
pub(crate) fn spread<'a>(
    step: &StepSpec,
    replies: impl Iterator<Item = &'a Reply>,
) -> Result<(), String> {
    let Some(least) = step.expect.retry_after_values else { return Ok(()) };
    let values: BTreeSet<_> =
        replies.filter_map(|reply| header(&reply.headers, "retry-after")).collect();
    if values.len() >= least {
        return Ok(());
    }
    Err(format!("  retry-after: expected {least} different values, got {values:?}"))
}

impl Checked<'_> {
    pub(crate) fn reply(&self, reply: &Reply, took: Duration) -> Result<(), String> {
        let expect = &self.step.expect;
        let mut faults = Vec::new();
        if reply.status != expect.status {
            faults.push(format!("  status: expected {}, got {}", expect.status, reply.status));
            faults.push(format!(
                "  body: {}",
                String::from_utf8_lossy(&reply.body[..reply.body.len().min(600)])
            ));
        }
        self.headers(reply, &mut faults)?;
        if faults.is_empty() {
            faults.extend(self.body(reply).err());
        }
        self.times(took, &mut faults);
        faults.extend(self.pass(reply).err());
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    fn headers(&self, reply: &Reply, faults: &mut Vec<String>) -> Result<(), String> {
        let expect = &self.step.expect;
        for (name, value) in &expect.headers {
            let (value, got) = (self.expander.expand(value)?, header(&reply.headers, name));
            if got.is_none_or(|got| value != "*" && got != value) {
                faults.push(format!("  header {name}: expected {value:?}, got {got:?}"));
            }
        }
        for name in &expect.no_headers {
            if let Some(got) = header(&reply.headers, name) {
                faults.push(format!("  header {name}: expected none, got {got:?}"));
            }
        }
        if let Some((least, most)) = expect.retry_after {
            let got = header(&reply.headers, "retry-after").and_then(|v| v.parse::<u64>().ok());
            if got.is_none_or(|s| !(least..=most).contains(&s)) {
                faults.push(format!(
                    "  header retry-after: expected {least} to {most} seconds, got {got:?}"
                ));
            }
        }
        Ok(())
    }

    fn times(&self, took: Duration, faults: &mut Vec<String>) {
        let (expect, took) =
            (&self.step.expect, u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        if took < expect.after_ms || expect.within_ms.is_some_and(|most| took > most) {
            let most = expect.within_ms.map_or("any time".to_owned(), |ms| format!("{ms} ms"));
            faults
                .push(format!("  time: expected {} ms to {most}, took {took} ms", expect.after_ms));
        }
    }

    fn body(&self, reply: &Reply) -> Result<(), String> {
        let expect = &self.step.expect;
        if reply.cut != expect.cut {
            return Err(format!(
                "  body: expected {}, got {} bytes",
                ends(expect.cut),
                reply.body.len()
            ));
        }
        if let Some((offset, length)) = expect.bytes {
            let got = &reply.body;
            let same = *got == counted(offset, length);
            return if same {
                Ok(())
            } else {
                Err(format!(
                    "  body: expected bytes {offset} to {}, got {} others",
                    offset + length,
                    got.len()
                ))
            };
        }
        let gzip = accepts_gzip(&self.step.headers);
        let got = self.neutral(&decoded(&reply.headers, &reply.body, gzip)?);
        if let Some(code) = &expect.problem {
            return self.problem(code, reply, &got);
        }
        if let Some(file) = &expect.golden {
            let path = self.loaded.dir.join(file);
            if self.bless {
                return fs::write(&path, &got).map_err(|e| format!("{}: {e}", path.display()));
            }
            same_text(&read(&path)?, &got)?;
        }
        if let Some(body) = &expect.body {
            same_text(&self.expander.expand(body)?.replace(&self.expander.event, "{event}"), &got)?;
        }
        for (texts, wanted) in [(&expect.contains, true), (&expect.lacks, false)] {
            for text in texts {
                let text = self.expander.expand(text)?.replace(&self.expander.event, "{event}");
                if got.contains(&text) != wanted {
                    return Err(format!(
                        "  body: {text:?} is {}there:\n{got}",
                        if wanted { "not " } else { "" }
                    ));
                }
            }
        }
        Ok(())
    }

    /// The body with what differs from run to run taken out.
    fn neutral(&self, body: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(body).into_owned();
        let passes: Vec<String> =
            passes_in(&text).into_iter().map(|(pass, _)| pass.to_owned()).collect();
        for pass in passes {
            text = text.replace(&pass, "{a-pass}");
        }
        text.replace(&self.expander.event, "{event}")
    }

    fn problem(&self, code: &str, reply: &Reply, got: &str) -> Result<(), String> {
        let title =
            problem_title(code).ok_or_else(|| format!("  problem: there is no code {code:?}"))?;
        let status = self.step.expect.status;
        let body = format!(
            r#"{{"type":"urn:sightscreen:problem:{code}","title":"{title}","status":{status}}}"#
        );
        if self.step.request.starts_with("HEAD ") {
            return same_text("", got);
        }
        same_text(&body, got)?;
        let kind = header(&reply.headers, "content-type");
        let kept = header(&reply.headers, "cache-control");
        if kind != Some("application/problem+json") || kept != Some("no-store") {
            return Err(format!("  problem: content-type {kind:?}, cache-control {kept:?}"));
        }
        Ok(())
    }

    fn pass(&self, reply: &Reply) -> Result<(), String> {
        let Some(expected) = &self.step.expect.pass else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        let passes = passes_in(&text);
        let Some((first, fields)) = passes.first() else {
            return Err("  pass: the body has no genuine one".into());
        };
        if passes.iter().any(|(pass, _)| pass != first) {
            return Err("  pass: the body has more than one".into());
        }
        for (name, value) in expected {
            let got = fields
                .get(name.as_str())
                .ok_or_else(|| format!("  pass: there is no field {name:?}"))?;
            let same = match value.strip_prefix('+').unwrap_or(value).parse::<i64>() {
                Ok(offset) if value.starts_with(['+', '-']) => got
                    .parse::<i64>()
                    .is_ok_and(|got| (got - now_ms() / 1000 - offset).abs() <= CLOCK_SLACK_S),
                _ => *got == self.expander.expand(value)?,
            };
            if !same {
                return Err(format!(
                    "  pass: {name}: expected {value}, got {got} (now {})",
                    now_ms() / 1000
                ));
            }
        }
        Ok(())
    }

    /// Upstream requests against the counts, with everything named or a document.
    pub(crate) fn upstream(&self) -> Result<(), String> {
        let mine: Vec<&Request> = self.seen.iter().collect();
        let mut named = Vec::new();
        for (target, count) in self.step.upstream.iter().flatten() {
            let target = self.expander.expand(target)?;
            let times = mine.iter().filter(|request| request.target == target).count();
            let (least, most) = self.range(count);
            if !(least..=most).contains(&times) {
                return Err(format!(
                    "  upstream: {target}: expected {least} to {most}, seen {times}{}",
                    listed(&mine)
                ));
            }
            named.push(target);
        }
        let unnamed = mine
            .iter()
            .find(|r| !named.contains(&r.target) && !r.target.starts_with("/documents/"));
        match unnamed {
            Some(request) if self.step.upstream.is_some() => Err(format!(
                "  upstream: not expected: {} {}{}",
                request.method,
                request.target,
                listed(&mine)
            )),
            _ => self.carried(&mine),
        }
    }

    fn range(&self, count: &Count) -> (usize, usize) {
        match count {
            Count::Exactly(times) => (*times, *times),
            Count::Between(least, most) => (*least, *most),
            Count::Unless(unless) => {
                let lacking = unless
                    .without
                    .iter()
                    .filter(|(name, _)| !self.door.has.contains(&name.as_str()));
                lacking.fold((unless.times, unless.times), |(least, most), (_, (l, m))| {
                    (least.min(*l), most.max(*m))
                })
            }
        }
    }

    fn carried(&self, mine: &[&Request]) -> Result<(), String> {
        for carried in &self.step.carried {
            let target = self.expander.expand(&carried.target)?;
            let request = mine.iter().find(|request| request.target == target);
            let request =
                request.ok_or_else(|| format!("  upstream: {target} was not asked for"))?;
            for (name, value) in &carried.headers {
                let got = header(&request.headers, name);
                if got != Some(&self.expander.expand(value)?) {
                    return Err(format!(
                        "  upstream: {target}: {name}: expected {value:?}, got {got:?}"
                    ));
                }
            }
            if let Some(name) =
                carried.no_headers.iter().find(|name| header(&request.headers, name).is_some())
            {
                return Err(format!("  upstream: {target} carried {name}"));
            }
        }
        Ok(())
    }
}

/// Every request proves that an edge asks, wherever it went: the header is there once, with the
/// door's own secret. A door without one sends none, and what a viewer says there counts for nothing.
pub(crate) fn of_an_edge(seen: &[Request], secret: Option<&str>) -> Result<(), String> {
    let (name, expected) = (EDGE_SECRET.0, Vec::from_iter(secret));
    for Request { method, target, headers } in seen {
        let named = headers.iter().filter(|(known, _)| known == name);
        let got: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        if got != expected {
            return Err(format!(
                "  upstream: {method} {target}: {name}: expected {expected:?}, got {got:?}"
            ));
        }
    }
    Ok(())
}

/// Nothing secret and nothing of the viewer's reached the origin; `made` are passes and signatures.
pub(crate) fn no_secrets(seen: &[Request], made: &[String]) -> Result<(), String> {
    let mut secrets = made.to_vec();
    secrets.extend(secret_texts().map(ToOwned::to_owned));
    secrets.extend(CANARIES.map(|(_, value)| value.to_owned()));
    for request in seen {
        let text = format!("{} {}\n{:?}", request.method, request.target, request.headers);
        if let Some(secret) = secrets.iter().find(|secret| text.contains(secret.as_str())) {
            return Err(format!(
                "  upstream: a secret or a header of the viewer's ({secret}) was sent to the origin:\n{text}"
            ));
        }
    }
    Ok(())
}

/// Whether a step's own headers ask for gzip.
fn accepts_gzip(headers: &BTreeMap<String, String>) -> bool {
    let named = |name: &&String| name.eq_ignore_ascii_case("accept-encoding");
    let accepted = headers.iter().filter(|(name, _)| named(name));
    accepted
        .flat_map(|(_, value)| value.split(','))
        .filter_map(|coding| coding.trim().split(';').next())
        .any(|coding| coding.eq_ignore_ascii_case("gzip"))
}

/// The body without the content encoding that the headers name.
fn decoded<'a>(
    headers: &Headers,
    body: &'a [u8],
    gzip_accepted: bool,
) -> Result<Cow<'a, [u8]>, String> {
    match header(headers, "content-encoding") {
        None => Ok(Cow::Borrowed(body)),
        Some("gzip") if !gzip_accepted => Err("  content-encoding: nobody asked for gzip".into()),
        // The answer to HEAD has none.
        Some("gzip") if body.is_empty() => Ok(Cow::Borrowed(body)),
        // Exactly one member, so that nothing follows it unseen.
        Some("gzip") => {
            let mut decoder = GzDecoder::new(body);
            let mut whole = Vec::new();
            decoder.read_to_end(&mut whole).map_err(|e| format!("  body: not gzip: {e}"))?;
            match decoder.into_inner() {
                [] => Ok(Cow::Owned(whole)),
                rest => Err(format!("  body: {} bytes follow the gzip member", rest.len())),
            }
        }
        Some(other) => Err(format!("  content-encoding: nobody asked for {other:?}")),
    }
}

fn ends(cut: bool) -> &'static str {
    if cut { "one that breaks off" } else { "a whole one" }
}

fn listed(requests: &[&Request]) -> String {
    requests
        .iter()
        .map(|request| format!("\n    seen {} {}", request.method, request.target))
        .collect()
}

fn same_text(expected: &str, got: &str) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    let diff = TextDiff::from_lines(expected, got);
    let mut text = String::from("  body (- expected, + got):\n");
    for change in diff.iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        let line = change.value();
        text.push_str(&format!("  {sign} {}\n", line.strip_suffix('\n').unwrap_or(line)));
    }
    Err(text)
}

/// The title of each problem code, as the contract lists them.
fn problem_title(code: &str) -> Option<&'static str> {
    const TITLES: &[(&str, &str)] = &[
        ("target-ambiguous", "The request target is ambiguous"),
        ("query-invalid", "The query is not valid"),
        ("directive-invalid", "The delivery directive is not valid"),
        ("method-not-allowed", "The method is not allowed"),
        ("route-unknown", "There is nothing here"),
        ("event-unknown", "There is no such event"),
        ("not-live", "The event has not begun"),
        ("rendition-unknown", "There is no such rendition"),
        ("object-unknown", "There is no such object"),
        ("pass-malformed", "The pass cannot be read"),
        ("pass-key-unknown", "The pass is of a key that is not in force"),
        ("pass-signature", "The pass is not genuine"),
        ("pass-expired", "The pass has expired"),
        ("pass-not-yet-valid", "The pass is not valid yet"),
        ("pass-event", "The pass is for another event"),
        ("plan-excludes", "The plan does not include this rendition"),
        ("url-malformed", "The URL is not signed"),
        ("url-key-unknown", "The URL is signed by a key that is not in force"),
        ("url-signature", "The URL's signature is not genuine"),
        ("url-expired", "The URL has expired"),
        ("url-not-yet-valid", "The URL is not valid yet"),
        ("region-excluded", "Not available in this region"),
        ("origin-unavailable", "The origin is not available"),
        ("snapshot-expired", "The stored answer is too old"),
        ("edge-failed", "The edge failed"),
        ("edge-overloaded", "The edge is overloaded"),
    ];
    TITLES.iter().find(|(known, _)| *known == code).map(|(_, title)| *title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_proves_itself_once_and_by_its_own_secret() {
        let good = |values: &[&str], secret| {
            let header = |value: &&str| (EDGE_SECRET.0.to_owned(), (*value).to_owned());
            let headers = values.iter().map(header).collect();
            of_an_edge(&[Request { headers, ..Request::default() }], secret).is_ok()
        };
        assert!(good(&["a"], Some("a")) && good(&[], None));
        for (values, secret) in [
            (&[][..], Some("a")),
            (&["b"], Some("a")),
            (&["a", "a"], Some("a")),
            (&["b", "a"], Some("a")),
            (&["b"], None),
        ] {
            assert!(!good(values, secret), "{values:?} {secret:?}");
        }
    }
}
