//! Signed URLs: the short token with which a viewer enters. docs/signing.md tells others how to
//! write one.
//!
//! The signature covers the canonical path and every parameter but those that players and CDNs add
//! on the way, all of them decoded. So a client may spell a URL anew, and nothing can be slipped
//! in, moved or repeated.

use std::borrow::Cow;

use crate::cohort;
use crate::document::Event;
use crate::keyring::{Key, Keyring, Mismatch, Purpose, from_base64url, to_base64url};
use crate::problem::Problem;
use crate::route::decode;

const LABEL: &[u8] = b"sightscreen-url-1";
/// Most parameters of a signed URL.
const PARAMETERS_MAX: usize = 24;
/// Longest name or value, in bytes after decoding.
const PARAMETER_BYTES_MAX: usize = 128;
/// Parameters that mean something at every event.
const OWN: [&str; 6] = ["consent", "expires", "kid", "language", "nbf", "plan"];

/// The parameters of a signed URL by name, the signature left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims<'a> {
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Claims<'_> {
    /// The value of a claim, where the URL has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// Name of the URL key.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.get("kid").unwrap_or_default()
    }

    /// All parameters that the signature covers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// A claim that an event can do nothing with: a mistake of whoever signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownClaim<'a> {
    /// The event has no claim of this name (`ag=18-34`). It has no effect.
    Name(&'a str),
    /// The claim of this name has a value that the event does not know (`plan=gold`). The viewer
    /// has the least for it.
    Value(&'a str),
}

/// The claims that `event` does not know, sorted by name.
#[must_use]
pub fn unknown_claims<'a>(claims: &'a Claims<'_>, event: &Event) -> Vec<UnknownClaim<'a>> {
    let unknown = |(name, value): (&'a str, &'a str)| {
        let dimension = event.cohorts.iter().find(|dimension| dimension.name == name);
        let by_dimension = dimension.map(|dimension| cohort::by_claim(dimension, value).is_some());
        let known = match name {
            "plan" => event.plans.iter().any(|plan| plan.id == value),
            "consent" => matches!(value, "0" | "1"),
            // The renditions and the dimension may each have it.
            "language" => by_dimension == Some(true) || event.language(value).is_some(),
            _ => match by_dimension {
                Some(known) => known,
                None if OWN.contains(&name) => true,
                None => return Some(UnknownClaim::Name(name)),
            },
        };
        (!known).then_some(UnknownClaim::Value(name))
    };
    claims.iter().filter_map(unknown).collect()
}

/// `path?claims&expires=..&kid=..&sig=..`. `path` is canonical; `claims` have distinct names, and
/// neither `%` nor control characters.
#[must_use]
pub fn sign(path: &str, claims: &[(&str, &str)], expires_s: u64, key: &Key) -> String {
    let expires = expires_s.to_string();
    let mut parameters = claims.to_vec();
    parameters.extend([("expires", expires.as_str()), ("kid", key.kid())]);
    parameters.sort_unstable();
    let tag = key.tag(&fields(path, parameters.iter().copied()));
    let pairs: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    format!("{path}?{}&sig={}", pairs.join("&"), to_base64url(&tag))
}

/// Checks the signature and the times of a signed URL.
///
/// # Errors
/// [`Problem::QueryInvalid`] where the query has two readings; [`Problem::UrlMalformed`],
/// [`Problem::UrlKeyUnknown`], [`Problem::UrlSignature`], [`Problem::UrlNotYetValid`],
/// [`Problem::UrlExpired`].
pub fn verify<'a>(
    path: &str,
    query: &'a str,
    keyring: &Keyring,
    now_ms: u64,
) -> Result<Claims<'a>, Problem> {
    let (claims, sig) = read(query)?;
    let sig = from_base64url(&sig).ok_or(Problem::UrlSignature)?;
    keyring.verify(Purpose::Url, claims.kid(), &fields(path, claims.iter()), &sig).map_err(
        |mismatch| match mismatch {
            Mismatch::UnknownKey => Problem::UrlKeyUnknown,
            Mismatch::Tag => Problem::UrlSignature,
        },
    )?;
    let time = |name: &str| {
        claims
            .get(name)
            .map(|value| value.parse::<u64>().map_err(|_| Problem::UrlMalformed))
            .transpose()
    };
    let now_s = now_ms / 1000;
    if time("nbf")?.is_some_and(|nbf| now_s < nbf) {
        return Err(Problem::UrlNotYetValid);
    }
    if now_s >= time("expires")?.ok_or(Problem::UrlMalformed)? {
        return Err(Problem::UrlExpired);
    }
    Ok(claims)
}

/// The claims and the signature of a query, neither checked: for people who look at one, not for
/// admission.
///
/// # Errors
/// [`Problem::QueryInvalid`] or [`Problem::UrlMalformed`].
pub fn read(query: &str) -> Result<(Claims<'_>, Cow<'_, str>), Problem> {
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = plain(name)?;
        if name.starts_with("_HLS_") || name.starts_with("CMCD") {
            continue;
        }
        if name.is_empty() || parameters.len() > PARAMETERS_MAX {
            return Err(Problem::QueryInvalid);
        }
        parameters.push((name, plain(value)?));
    }
    parameters.sort_unstable();
    if parameters.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Problem::QueryInvalid);
    }
    let sig = parameters.iter().position(|(name, _)| name == "sig");
    let (_, sig) = parameters.remove(sig.ok_or(Problem::UrlMalformed)?);
    let claims = Claims { parameters };
    if claims.get("kid").is_none() {
        return Err(Problem::UrlMalformed);
    }
    Ok((claims, sig))
}

/// A name or a value, decoded. `+` is a space, as forms and many clients write it. What is escaped
/// twice has two readings, and no claim needs `%` or control characters.
fn plain(text: &str) -> Result<Cow<'_, str>, Problem> {
    let decoded = if text.contains('+') {
        decode(&text.replace('+', " ")).map(|text| Cow::Owned(text.into_owned()))
    } else {
        decode(text)
    };
    let one_reading = |text: &Cow<'_, str>| {
        text.len() <= PARAMETER_BYTES_MAX && !text.contains(|c: char| c == '%' || c.is_control())
    };
    decoded.filter(one_reading).ok_or(Problem::QueryInvalid)
}

fn fields<'a>(
    path: &'a str,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
) -> Vec<&'a [u8]> {
    let mut fields = vec![LABEL, path.as_bytes()];
    for (name, value) in parameters {
        fields.extend([name.as_bytes(), value.as_bytes()]);
    }
    fields
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may end where it fails")]
    use super::*;

    const PATH: &str = "/live/final/main.m3u8";

    fn keyring() -> Keyring {
        let text = r#"{"document":{"d1":"00112233445566778899aabbccddeeff"},"url":{"u1":"00112233445566778899aabbccddeeff"},
            "pass":{"k1":"101112131415161718191a1b1c1d1e1f"}}"#;
        Keyring::parse(text.as_bytes()).unwrap()
    }

    fn signed() -> String {
        sign(PATH, &[("age", "18-34"), ("plan", "a&b=c")], 2000, keyring().first(Purpose::Url))
    }

    fn check(target: &str, now_s: u64) -> Result<(), Problem> {
        let (path, query) = target.split_once('?').unwrap();
        verify(path, query, &keyring(), now_s * 1000).map(|_| ())
    }

    #[test]
    fn what_is_signed_is_admitted_until_it_expires() {
        let target = signed();
        assert_eq!(check(&target, 1999), Ok(()));
        assert_eq!(check(&target, 2000), Err(Problem::UrlExpired));
        let (_, query) = target.split_once('?').unwrap();
        let claims = verify(PATH, query, &keyring(), 0).unwrap();
        assert_eq!(
            (claims.get("plan"), claims.get("age"), claims.get("sig")),
            (Some("a&b=c"), Some("18-34"), None)
        );
    }

    #[test]
    fn order_and_escapes_do_not_matter_but_content_does() {
        let target = signed();
        let (path, query) = target.split_once('?').unwrap();
        let turned: Vec<&str> = query.split('&').rev().collect();
        assert_eq!(
            check(&format!("{path}?{}&_HLS_primary_id=9&CMCD=br%3D1", turned.join("&")), 0),
            Ok(())
        );
        assert_eq!(
            check(&target.replace("age=18-34", "age=35-plus"), 0),
            Err(Problem::UrlSignature)
        );
        assert_eq!(
            check(&target.replace("expires=2000", "expires=20000"), 0),
            Err(Problem::UrlSignature)
        );
        assert_eq!(check(&target.replace("final", "finals"), 0), Err(Problem::UrlSignature));
        assert_eq!(check(&format!("{target}&extra=1"), 0), Err(Problem::UrlSignature));
        assert_eq!(check(&target.replace("%26b%3Dc", "&b=c"), 0), Err(Problem::UrlSignature));
    }

    /// What clients do to a URL on its way: the signature is of what was decoded.
    #[test]
    fn spellings_that_clients_give_anew_are_one_url() {
        let claims = [("age", "18-34"), ("name", "a b_c~d'e"), ("empty", ""), ("city", "Köln")];
        let target = sign(PATH, &claims, 2000, keyring().first(Purpose::Url));
        assert_eq!(check(&target, 0), Ok(()));
        let sig = target.split_once("sig=").unwrap().1;
        let escaped: String = sig.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for (from, to) in [
            ("a%20b", "a+b"),
            ("18-34", "18%2D34"),
            ("18-34", "%318%2d34"),
            ("&kid=u1", "&k%69d=%75%31"),
            ("%27", "'"),
            ("~", "%7e"),
            ("K%C3%B6ln", "K%c3%b6ln"),
            ("empty=&", "empty&"),
            ("&expires", "&&expires"),
            (sig, &format!("{sig}&")),
            (sig, escaped.as_str()),
        ] {
            assert!(target.contains(from), "{from} is not in {target}");
            assert_eq!(check(&target.replacen(from, to, 1), 0), Ok(()), "{to}");
        }
        assert_eq!(check(&target.replace("a%20b", "a%2Bb"), 0), Err(Problem::UrlSignature));
    }

    #[test]
    fn what_an_event_does_not_know_is_told() {
        let event: Event = serde_json::from_str(
            r#"{"event":"e","title":"","target_duration":2,"plans":[{"id":"free","max_height":480}],
            "cohorts":[{"name":"age","values":["a","b"],"default":"a","ranges":[{"from":1,"to":9,"value":"a"}]}],
            "pass":{"session_s":600},"renditions":[{"id":"a-pt","kind":"audio","codecs":"x","bandwidth":1,
            "average_bandwidth":1,"phases":1,"language":"pt-BR"}]}"#,
        )
        .unwrap();
        let told = |query: &str| {
            let query = format!("kid=u&sig=s&expires=1&nbf=0&{query}");
            let (claims, _) = read(&query).unwrap();
            let words = unknown_claims(&claims, &event);
            words.iter().map(|claim| format!("{claim:?}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(told("age=7&plan=free&consent=1&language=pt-br"), "");
        assert_eq!(told("ag=7&zone=2"), r#"Name("ag") Name("zone")"#);
        assert_eq!(
            told("age=17&plan=gold&consent=yes&language=fr"),
            r#"Value("age") Value("consent") Value("language") Value("plan")"#
        );
    }

    #[test]
    fn faults_in_the_query() {
        let target = signed();
        assert_eq!(check(&format!("{target}&age=35-plus"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&%61ge=35-plus"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&kid=u1"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&x"), 0), Err(Problem::UrlSignature));
        assert_eq!(check(&format!("{target}&=x"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&%6bid=u1"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&s%69g=AA"), 0), Err(Problem::QueryInvalid));
        for twice in ["%2541", "%25", "%00", "%0a", "%C2%85", "%ff"] {
            assert_eq!(check(&format!("{target}&x={twice}"), 0), Err(Problem::QueryInvalid));
        }
        let many: String = (0..PARAMETERS_MAX).map(|n| format!("&x{n}=1")).collect();
        assert_eq!(check(&format!("{target}{many}"), 0), Err(Problem::QueryInvalid));
        let long = "a".repeat(PARAMETER_BYTES_MAX + 1);
        assert_eq!(check(&format!("{target}&x={long}"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&target.replace("kid=u1&", ""), 0), Err(Problem::UrlMalformed));
        assert_eq!(check(&target.replace("kid=u1", "kid=k1"), 0), Err(Problem::UrlKeyUnknown));
        assert_eq!(check(&format!("{PATH}?a=1"), 0), Err(Problem::UrlMalformed));
    }

    #[test]
    fn a_start_can_be_set() {
        let target = sign(PATH, &[("nbf", "1000")], 2000, keyring().first(Purpose::Url));
        assert_eq!(check(&target, 999), Err(Problem::UrlNotYetValid));
        assert_eq!(check(&target, 1000), Ok(()));
    }
}
