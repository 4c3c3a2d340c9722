//! Signed URLs: the short token with which a viewer enters.
//!
//! Owns signing and checking of `path + query`. Invariant: the signature covers the canonical path
//! and every parameter but those that players and CDNs add on the way, each name at most once, so
//! nothing can be slipped in, moved or repeated.

use std::borrow::Cow;

use crate::keyring::{Key, Keyring, Mismatch, Purpose, from_base64url, to_base64url};
use crate::problem::Problem;
use crate::route::decode;

const LABEL: &[u8] = b"sightscreen-url-1";
/// Most parameters of a signed URL.
const PARAMETERS_MAX: usize = 24;
/// Longest name or value, in bytes after decoding.
const PARAMETER_BYTES_MAX: usize = 128;

/// The parameters of a signed URL whose signature held, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims<'a> {
    /// Name of the URL key.
    pub kid: &'a str,
    parameters: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Claims<'_> {
    /// The value of a claim, where the URL has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// All parameters that the signature covers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// `path?claims&expires=..&kid=..&sig=..`. `path` is canonical; `claims` have distinct names.
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
    let sig = from_base64url(sig).ok_or(Problem::UrlSignature)?;
    keyring.verify(Purpose::Url, claims.kid, &fields(path, claims.iter()), &sig).map_err(
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
pub fn read(query: &str) -> Result<(Claims<'_>, &str), Problem> {
    let (mut parameters, mut kid, mut sig) = (Vec::new(), None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(Problem::QueryInvalid)?;
        let (raw, name) = (value, decode(name).ok_or(Problem::QueryInvalid)?);
        let value = decode(value).ok_or(Problem::QueryInvalid)?;
        if name.starts_with("_HLS_") || name.starts_with("CMCD") {
            continue;
        }
        if name.is_empty()
            || name.len() > PARAMETER_BYTES_MAX
            || value.len() > PARAMETER_BYTES_MAX
            || parameters.len() == PARAMETERS_MAX
        {
            return Err(Problem::QueryInvalid);
        }
        let repeated = match name.as_ref() {
            "sig" => sig.replace(raw).is_some(),
            "kid" => kid.replace(raw).is_some(),
            _ => false,
        };
        if repeated {
            return Err(Problem::QueryInvalid);
        }
        if name != "sig" {
            parameters.push((name, value));
        }
    }
    parameters.sort_unstable();
    if parameters.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Problem::QueryInvalid);
    }
    let (Some(kid), Some(sig)) = (kid, sig) else {
        return Err(Problem::UrlMalformed);
    };
    Ok((Claims { kid, parameters }, sig))
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

    #[test]
    fn faults_in_the_query() {
        let target = signed();
        assert_eq!(check(&format!("{target}&age=35-plus"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&%61ge=35-plus"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&kid=u1"), 0), Err(Problem::QueryInvalid));
        assert_eq!(check(&format!("{target}&x"), 0), Err(Problem::QueryInvalid));
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
