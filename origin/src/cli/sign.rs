//! `sign`: a signed entry URL, as whoever sells access would make it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use sightscreen_core::keyring::Purpose;
use sightscreen_core::route::is_identifier;
use sightscreen_core::signed_url;
use sightscreen_origin::documents::keys;

use super::claims::{self, printable};

/// Flags of `sign`.
#[derive(Args)]
pub(crate) struct Sign {
    /// Event.
    #[arg(long, default_value = "demo")]
    event: String,
    /// How long the URL admits, such as 30s, 10m or 4h.
    #[arg(long)]
    ttl: String,
    /// Keyring file.
    #[arg(long, default_value = "var/origin/keyring.json")]
    keyring: PathBuf,
    /// The origin's folder; a claim that its event does not know is warned of [the keyring's].
    #[arg(long)]
    data: Option<PathBuf>,
    /// URL key that signs, such as r1.2 [the keyring's first].
    #[arg(long)]
    kid: Option<String>,
    /// Scheme, host and port of the door.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    base: String,
    /// Claims, such as age=18-34 plan=premium.
    claims: Vec<String>,
}

/// Longest name or value of a claim, which the edge has too.
const CLAIM_BYTES_MAX: usize = 128;

impl Sign {
    pub(crate) fn print(&self) -> Result<(), String> {
        let url = self.url()?;
        for warning in self.warnings(&url) {
            eprintln!("sightscreen-origin: warning: {warning}");
        }
        println!("{url}");
        Ok(())
    }

    /// What whoever signs may not have meant. Nothing where there is no document of the event to
    /// tell by: a seller's machine has a keyring alone.
    fn warnings(&self, url: &str) -> Vec<String> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let Ok((claims, _)) = signed_url::read(query) else { return Vec::new() };
        let data = self.data.as_deref().or(self.keyring.parent()).unwrap_or(Path::new("."));
        match claims::unknown(&claims, &self.event, data) {
            Ok(unknown) => unknown
                .into_iter()
                .flatten()
                .map(|(what, told)| printable(&format!("{what} {told}")))
                .collect(),
            Err(error) => vec![format!("claims not checked: {error}")],
        }
    }

    fn url(&self) -> Result<String, String> {
        if !is_identifier(&self.event) {
            return Err(format!("--event {:?}: use a-z, 0-9, . and -", self.event));
        }
        let ttl_s = seconds(&self.ttl)
            .ok_or_else(|| format!("--ttl {:?}: write it as 30s, 10m or 4h", self.ttl))?;
        let mut claims: Vec<(&str, &str)> = Vec::new();
        for text in &self.claims {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| format!("{text:?}: write a claim as name=value"))?;
            let reserved = ["expires", "kid", "sig"].contains(&name)
                || name.starts_with("_HLS_")
                || name.starts_with("CMCD");
            if reserved || name.is_empty() || name.len().max(value.len()) > CLAIM_BYTES_MAX {
                return Err(format!(
                    "{text:?}: a claim has a name of its own and at most {CLAIM_BYTES_MAX} bytes"
                ));
            }
            if claims.iter().any(|(known, _)| *known == name) {
                return Err(format!("the claim {name:?} is there twice: name it once"));
            }
            claims.push((name, value));
        }
        let keyring = keys::read(&self.keyring).map_err(|error| error.to_string())?;
        let key = match &self.kid {
            None => Cow::Borrowed(keyring.first(Purpose::Url)),
            Some(kid) => keyring
                .find(Purpose::Url, kid)
                .ok_or_else(|| format!("--kid {kid:?}: the keyring has no such URL key"))?,
        };
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let path = format!("/live/{}/main.m3u8", self.event);
        let target = signed_url::sign(&path, &claims, now_s.saturating_add(ttl_s), &key);
        Ok(format!("{}{target}", self.base.trim_end_matches('/')))
    }
}

fn seconds(text: &str) -> Option<u64> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let each = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(each)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use sightscreen_core::keyring::Keyring;
    use sightscreen_origin::documents::publish::Publisher;

    const KEY: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn what_the_event_does_not_know_is_signed_with_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keyring.json");
        let text = format!(
            r#"{{"document":{{"d1":"{KEY}"}},"pass":{{"k1":"{KEY}"}},"url":{{"u1":"{KEY}"}}}}"#
        );
        std::fs::write(&file, &text).unwrap();
        let warned = |claims: &[&str]| {
            let sign = Sign {
                event: "demo".to_owned(),
                ttl: "10m".to_owned(),
                keyring: file.clone(),
                data: None,
                kid: None,
                base: String::new(),
                claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
            };
            sign.warnings(&sign.url().unwrap()).join("\n")
        };
        let odd = ["ag=18-34", "age=17", "plan=free"];
        assert_eq!(warned(&odd), "", "there is nothing to tell by");
        let keyring = Keyring::parse(text.as_bytes()).unwrap();
        let publisher = Publisher::open(&folder.path().join("documents"), &keyring).unwrap();
        let event = serde_json::json!({
            "event": "demo", "title": "", "target_duration": 2, "pass": {"session_s": 600},
            "plans": [{"id": "free", "max_height": 480}], "renditions": [],
            "cohorts": [{"name": "age", "values": ["18-34"], "default": "18-34"}],
        });
        publisher.publish("events/demo", &event).unwrap();
        let text = warned(&odd);
        assert!(
            text.contains("unknown claim ag:") && text.contains("unknown value age:"),
            "{text}"
        );
        assert!(!text.contains("plan"), "{text}");
        assert_eq!(warned(&["age=18-34"]), "");
    }

    #[test]
    fn times_to_live() {
        let read =
            ["30", "30s", "10m", "4h", "1d", "", "h", "1w", "99999999999999999999h"].map(seconds);
        assert_eq!(
            read,
            [Some(30), Some(30), Some(600), Some(14_400), Some(86_400), None, None, None, None]
        );
    }
}
