//! `inspect`: what a pass or a signed URL says, for people. Needs no secret, and prints none: a
//! signature is as good as the URL.

use std::path::{Path, PathBuf};

use clap::Args;
use sightscreen_core::keyring::Keyring;
use sightscreen_core::pass::PassBytes;
use sightscreen_core::problem::Problem;
use sightscreen_core::route::Target;
use sightscreen_core::signed_url::{self, Claims};
use sightscreen_origin::clock::wall_ms;
use sightscreen_origin::documents::keys;

use super::claims::{self, printable};

/// Flags of `inspect`.
#[derive(Args)]
pub(crate) struct Inspect {
    /// A URL, a path, or a pass alone.
    url: String,
    /// Keyring file; with it the signature is checked.
    #[arg(long)]
    keyring: Option<PathBuf>,
    /// The origin's folder; with it claims that the event does not know are named.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// What a URL may be checked against.
#[derive(Default)]
struct Known<'a> {
    keyring: Option<&'a Keyring>,
    data: Option<&'a Path>,
}

impl Inspect {
    pub(crate) fn print(&self) -> Result<(), String> {
        let keyring = self
            .keyring
            .as_deref()
            .map(keys::read)
            .transpose()
            .map_err(|error| error.to_string())?;
        let known = Known { keyring: keyring.as_ref(), data: self.data.as_deref() };
        for line in explain(&self.url, &known, wall_ms())? {
            println!("{line}");
        }
        Ok(())
    }
}

/// The lines that explain `url`.
fn explain(url: &str, known: &Known<'_>, now_ms: u64) -> Result<Vec<String>, String> {
    // What follows a `#` is for the client alone.
    let target = path_of(url).split('#').next().unwrap_or_default();
    let (path, query) =
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    if let Some(query) = query.filter(|_| path.ends_with("/main.m3u8"))
        && signed_url::read(query) != Err(Problem::UrlMalformed)
    {
        let target = Target::parse(target);
        let target = target.map_err(|_| in_words("the URL", Problem::TargetAmbiguous))?;
        return signed(&target.path, query, known, now_ms);
    }
    let keyring = known.keyring;
    let parts: Vec<&str> = path.split('/').collect();
    match parts.as_slice() {
        ["", "live", event, pass, _, ..] => passed(Some(event), pass, keyring, now_ms),
        [pass] if !pass.is_empty() => passed(None, pass, keyring, now_ms),
        _ => Err(format!(
            "expected /live/EVENT/main.m3u8?...&sig=..., /live/EVENT/PASS/... or a pass alone, \
             found the path {path:?}"
        )),
    }
}

/// What follows scheme and host.
fn path_of(url: &str) -> &str {
    match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => url,
    }
}

fn signed(path: &str, query: &str, known: &Known<'_>, now_ms: u64) -> Result<Vec<String>, String> {
    let (claims, _) =
        signed_url::read(query).map_err(|problem| in_words("the signed URL", problem))?;
    let mut lines = vec![line("signed URL for", path), line("kid", claims.kid())];
    for (name, value) in claims.iter().filter(|(name, _)| *name != "kid") {
        let time = ["expires", "nbf"].contains(&name).then(|| value.parse().ok()).flatten();
        lines.push(time.map_or_else(|| line(name, value), |at| when(name, at, now_ms)));
    }
    lines.extend(unknown_claims(path, &claims, known.data)?);
    let verify = |keyring| signed_url::verify(path, query, keyring, now_ms).map(drop);
    lines.push(verdict(known.keyring.map(verify)));
    Ok(lines)
}

/// A line for each claim that the event does not know.
fn unknown_claims(
    path: &str,
    claims: &Claims<'_>,
    data: Option<&Path>,
) -> Result<Vec<String>, String> {
    let Some(data) = data else {
        return Ok(vec![line("claims", "not checked (name the origin's folder with --data)")]);
    };
    let event = path.split('/').nth(2).unwrap_or_default();
    Ok(match claims::unknown(claims, event, data)? {
        None => vec![line("claims", "not checked (the folder has no document of this event)")],
        Some(unknown) => unknown.iter().map(|(what, told)| line(what, told)).collect(),
    })
}

fn passed(
    event: Option<&str>,
    text: &str,
    keyring: Option<&Keyring>,
    now_ms: u64,
) -> Result<Vec<String>, String> {
    let bytes = PassBytes::decode(text).map_err(|problem| in_words("the pass", problem))?;
    let pass = bytes.unverified().map_err(|problem| in_words("the pass", problem))?;
    let mut lines = vec![line("pass for event", pass.event)];
    lines.extend(
        [
            ("kid", pass.kid),
            ("cohort", pass.cohort),
            ("plan", pass.plan),
            ("session", pass.session),
            ("language", pass.language.unwrap_or("not asked for")),
        ]
        .map(|(n, v)| line(n, v)),
    );
    lines.push(line("low latency", if pass.low_latency { "yes" } else { "no" }));
    for (name, at) in [("valid from", pass.nbf), ("expires", pass.exp), ("session ends", pass.end)]
    {
        lines.push(when(name, u64::from(at), now_ms));
    }
    let kids = [pass.kid.to_owned()];
    let checked = keyring.map(|keyring| {
        bytes
            .authenticate(keyring)
            .and_then(|pass| pass.admits(event.unwrap_or(pass.event), &kids, now_ms))
    });
    lines.push(verdict(checked));
    Ok(lines)
}

fn line(name: &str, value: &str) -> String {
    format!("{name:<16}{}", printable(value))
}

fn when(name: &str, at_s: u64, now_ms: u64) -> String {
    let now_s = now_ms / 1000;
    let distance = span(at_s.abs_diff(now_s));
    line(
        name,
        &if at_s > now_s {
            format!("{at_s} (in {distance})")
        } else {
            format!("{at_s} ({distance} ago)")
        },
    )
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn verdict(checked: Option<Result<(), Problem>>) -> String {
    match checked {
        None => line("signature", "not checked (name a keyring with --keyring)"),
        Some(Ok(())) => line("signature", "good, and admitted now"),
        Some(Err(problem)) => line("refused", &in_words("it", problem)),
    }
}

fn in_words(what: &str, problem: Problem) -> String {
    let (status, code, title) = problem.parts();
    format!("{what} would be answered with {status} {code}: {title}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sightscreen_core::keyring::Purpose;
    use sightscreen_core::pass::Pass;
    use sightscreen_origin::documents::publish::DocumentPublisher;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn keyring() -> Keyring {
        let key = "00112233445566778899aabbccddeeff";
        Keyring::parse(
            format!(
                r#"{{"document":{{"d1":"{key}"}},"pass":{{"k1":"{key}"}},"url":{{"u1":"{key}"}}}}"#
            )
            .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn a_signed_url_is_explained_without_its_signature() {
        let target = signed_url::sign(
            "/live/demo/main.m3u8",
            &[("age", "18-34")],
            1_700_000_243,
            keyring().first(Purpose::Url),
        );
        let url = format!("https://edge.example{target}");
        let text = explain(&url, &Known::default(), NOW_MS).unwrap().join("\n");
        assert!(
            text.contains("(in 4 min 3 s)")
                && text.contains("18-34")
                && text.contains("not checked"),
            "{text}"
        );
        assert!(!text.contains(target.split_once("sig=").unwrap().1));
        let ring = keyring();
        let known = Known { keyring: Some(&ring), data: None };
        let checked = |url: &str| explain(url, &known, NOW_MS).unwrap().pop().unwrap();
        assert!(checked(&url).contains("good"));
        assert!(checked(&url.replace("18-34", "35-plus")).contains("url-signature"));
        assert!(checked(&url.replace("sig=", "s%69g=").replace("kid=", "k%69d=")).contains("good"));
        assert!(checked(&format!("{url}&#t=10")).contains("good"));
    }

    #[test]
    fn claims_that_the_event_does_not_know_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let publisher =
            DocumentPublisher::open(&folder.path().join("documents"), &keyring()).unwrap();
        let event = serde_json::json!({
            "event": "demo", "title": "", "target_duration": 2, "pass": {"session_s": 600},
            "plans": [{"id": "free", "max_height": 480}], "renditions": [],
            "cohorts": [{"name": "age", "values": ["18-34"], "default": "18-34"}],
        });
        publisher.publish("events/demo", &event).unwrap();
        let said = |claims: &[(&str, &str)], event: &str| {
            let path = format!("/live/{event}/main.m3u8");
            let url = signed_url::sign(&path, claims, 1, keyring().first(Purpose::Url));
            let known = Known { keyring: None, data: Some(folder.path()) };
            explain(&url, &known, NOW_MS).unwrap().join("\n")
        };
        let text = said(&[("ag", "18-34"), ("age", "17"), ("plan", "free")], "demo");
        assert!(text.contains("unknown claim   ag:"), "{text}");
        assert!(text.contains("unknown value   age:") && !text.contains("plan:"), "{text}");
        assert!(said(&[], "other").contains("has no document of this event"));
    }

    #[test]
    fn a_pass_is_explained_in_its_path_and_alone() {
        let pass = Pass {
            kid: "k1",
            event: "demo",
            cohort: "generic",
            plan: "free",
            session: "s",
            low_latency: true,
            language: None,
            nbf: 1_699_999_940,
            exp: 1_699_999_999,
            end: 1_700_090_000,
        };
        let text = pass.mint(keyring().first(Purpose::Pass));
        let lines = explain(
            &format!("/live/demo/{text}/v720/index.m3u8?_HLS_msn=4"),
            &Known { keyring: Some(&keyring()), data: None },
            NOW_MS,
        )
        .unwrap();
        assert!(
            lines.iter().any(|line| line.contains("(1 s ago)"))
                && lines.last().unwrap().contains("pass-expired"),
            "{lines:?}"
        );
        assert!(explain(&text, &Known::default(), NOW_MS).unwrap()[0].contains("demo"));
        assert!(explain("http://edge.example/page/", &Known::default(), NOW_MS).is_err());
        let said = explain("/live/demo/AAAA/x", &Known::default(), NOW_MS).unwrap_err();
        assert!(said.contains("pass-malformed"));
    }
}
