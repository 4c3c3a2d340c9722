//! `sign`: a signed entry URL, as whoever sells access would make it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::Args;
use sightscreen_core::keyring::Purpose;
use sightscreen_core::route::is_identifier;
use sightscreen_core::signed_url;
use sightscreen_origin::clock::wall_ms;
use sightscreen_origin::config::{Config, Settings};
use sightscreen_origin::documents::keys;

use super::claims::{self, printable};

/// Flags of `sign`.
#[derive(Args)]
pub(crate) struct Sign {
    /// Event [default: the only one of --config, else demo].
    #[arg(long)]
    event: Option<String>,
    /// How long the URL admits, such as 30s, 10m or 4h.
    #[arg(long)]
    ttl: String,
    /// The origin's file of settings, which says where its keyring and its folder are.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Keyring file [default: that of --config, else var/origin/keyring.json].
    #[arg(long)]
    keyring: Option<PathBuf>,
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

/// What is signed for, and with what.
struct Place {
    event: String,
    keyring: PathBuf,
    /// The origin's folder, where this is its machine.
    data: PathBuf,
}

impl Sign {
    pub(crate) fn print(&self) -> Result<(), String> {
        let place = self.place()?;
        let url = self.url(&place)?;
        for warning in warnings(&place, &url) {
            eprintln!("sightscreen-origin: warning: {warning}");
        }
        println!("{url}");
        Ok(())
    }

    /// Where everything is: as the flags say, else the file of settings.
    fn place(&self) -> Result<Place, String> {
        let configs = match &self.config {
            Some(file) => Config::read(&Settings::default(), Some(file)).map_err(|faults| {
                let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
                format!("--config {}: {}", file.display(), told.join("; "))
            })?,
            None => Vec::new(),
        };
        let event = match (&self.event, configs.as_slice()) {
            (Some(event), _) => event.clone(),
            (None, []) => "demo".to_owned(),
            (None, [only]) => only.event.clone(),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|c| c.event.as_str()).collect();
                return Err(format!("--event is missing: name one of {}", names.join(", ")));
            }
        };
        let first = configs.first();
        let keyring = self.keyring.clone().or(first.map(|config| config.keyring.clone()));
        let keyring = keyring.unwrap_or_else(|| PathBuf::from("var/origin/keyring.json"));
        let beside = || keyring.parent().unwrap_or(Path::new(".")).to_owned();
        let data = self.data.clone().or(first.map(|config| config.data.clone()));
        Ok(Place { event, data: data.unwrap_or_else(beside), keyring })
    }

    fn url(&self, place: &Place) -> Result<String, String> {
        if !is_identifier(&place.event) {
            return Err(format!("--event {:?}: use a-z, 0-9, . and -", place.event));
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
        let keyring = keys::read(&place.keyring).map_err(|error| error.to_string())?;
        let key = match &self.kid {
            None => Cow::Borrowed(keyring.first(Purpose::Url)),
            Some(kid) => keyring
                .find(Purpose::Url, kid)
                .ok_or_else(|| format!("--kid {kid:?}: the keyring has no such URL key"))?,
        };
        let now_s = wall_ms() / 1000;
        let path = format!("/live/{}/main.m3u8", place.event);
        let target = signed_url::sign(&path, &claims, now_s.saturating_add(ttl_s), &key);
        Ok(format!("{}{target}", self.base.trim_end_matches('/')))
    }
}

/// What whoever signs may not have meant. Nothing where there is no document of the event to tell
/// by: a seller's machine has a keyring alone.
fn warnings(place: &Place, url: &str) -> Vec<String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let Ok((claims, _)) = signed_url::read(query) else { return Vec::new() };
    match claims::unknown(&claims, &place.event, &place.data) {
        Ok(unknown) => unknown
            .into_iter()
            .flatten()
            .map(|(what, told)| printable(&format!("{what} {told}")))
            .collect(),
        Err(error) => vec![format!("claims not checked: {error}")],
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
    use sightscreen_origin::documents::publish::DocumentPublisher;

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
                event: None,
                ttl: "10m".to_owned(),
                config: None,
                keyring: Some(file.clone()),
                data: None,
                kid: None,
                base: String::new(),
                claims: claims.iter().map(|claim| (*claim).to_owned()).collect(),
            };
            let place = sign.place().unwrap();
            warnings(&place, &sign.url(&place).unwrap()).join("\n")
        };
        let odd = ["ag=18-34", "age=17", "plan=free"];
        assert_eq!(warned(&odd), "", "there is nothing to tell by");
        let keyring = Keyring::parse(text.as_bytes()).unwrap();
        let publisher =
            DocumentPublisher::open(&folder.path().join("documents"), &keyring).unwrap();
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
    fn the_origin_s_file_says_which_event_and_which_keyring() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("origin.toml");
        let place = |toml: &str, event: Option<&str>| {
            std::fs::write(&file, toml).unwrap();
            let sign = Sign {
                event: event.map(str::to_owned),
                ttl: "10m".to_owned(),
                config: Some(file.clone()),
                keyring: None,
                data: None,
                kid: None,
                base: String::new(),
                claims: Vec::new(),
            };
            sign.place().map(|place| format!("{} {}", place.event, place.keyring.display()))
        };
        let one = "event = \"final\"\ndata = \"/srv/x\"\n";
        assert_eq!(place(one, None).unwrap(), "final /srv/x/keyring.json");
        let two =
            "keyring = \"/etc/k.json\"\n[[events]]\nevent = \"a\"\n[[events]]\nevent = \"b\"\n";
        assert_eq!(place(two, Some("b")).unwrap(), "b /etc/k.json");
        assert!(place(two, None).unwrap_err().contains("name one of a, b"));
        assert!(place("no toml", None).unwrap_err().contains("--config"));
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
