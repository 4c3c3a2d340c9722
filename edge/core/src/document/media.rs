//! Where the edges fetch the media of an event.

use serde::{Deserialize, Serialize};

/// Longest base URL.
const BYTES_MAX: usize = 512;

/// What answers for media objects in place of the origin: a CDN in front of it, as a rule.
///
/// The object `/live/{event}/...` of the origin is at `{url}/live/{event}/...`. Everything else of
/// the event stays at the origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediaOrigin {
    /// Base URL, such as `https://media.example.com` or `https://cdn.example.com/sport`.
    pub url: String,
}

impl MediaOrigin {
    /// The URL of one of the origin's targets.
    #[must_use]
    pub fn url_of(&self, target: &str) -> String {
        format!("{}{target}", self.url)
    }

    /// What is wrong with the URL, in words; `None` when every rule holds.
    pub(super) fn fault(&self) -> Option<String> {
        let is_base = self.url.len() <= BYTES_MAX && is_base(&self.url);
        (!is_base).then(|| {
            format!(
                "expected a URL such as https://media.example.com, without a name, a query or a \
                 slash at its end, of at most {BYTES_MAX} bytes"
            )
        })
    }
}

/// Whether this is scheme, host, perhaps a port, and perhaps a path: nothing that could make one
/// URL of the rest and a target mean another host.
fn is_base(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    is_authority(authority) && !path.ends_with('/') && path.split('/').skip(1).all(is_step)
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address.parse::<std::net::Ipv6Addr>().is_ok(), None),
        Some((address, port)) => (address.parse::<std::net::Ipv6Addr>().is_ok(), Some(port)),
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (is_host(name), Some(port).filter(|port| !port.is_empty()))
        }
    };
    let is_port = |text: &str| {
        text.strip_prefix(':')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u16>().ok())
            .is_some_and(|port| port > 0)
    };
    host && port.is_none_or(is_port)
}

fn is_host(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    !name.is_empty() && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

fn is_step(step: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !step.is_empty() && step != "." && step != ".." && step.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(url: &str) -> Option<String> {
        MediaOrigin { url: url.to_owned() }.fault()
    }

    #[test]
    fn a_base_is_scheme_host_and_perhaps_port_and_path() {
        for url in [
            "https://media.example.com",
            "https://cdn.example.com/sport/live_1",
            "http://127.0.0.1:9080",
            "http://[::1]:9080/x",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(fault(url), None, "{url}");
        }
    }

    #[test]
    fn what_could_mean_another_host_is_none() {
        let long = format!("https://a.example/{}", "a".repeat(BYTES_MAX));
        for url in [
            "",
            "media.example.com",
            "ftp://a.example",
            "https://",
            "https:///x",
            "https://a.example/",
            "https://a.example/x/",
            "https://a.example//x",
            "https://a.example/../x",
            "https://a.example/%2e%2e",
            "https://a.example?x=",
            "https://a.example/x?y",
            "https://a.example#x",
            "https://user@a.example",
            "https://user:pass@a.example",
            "https://a.example:0",
            "https://a.example:+80",
            "https://a.example:65536",
            "https://a.example:",
            "https://[::1",
            "https://[a.example]",
            "https://a example",
            "https://a.example/x\r\nhost: b",
            "https://-a.example",
            &long,
        ] {
            assert!(fault(url).is_some(), "{url}");
        }
    }

    #[test]
    fn a_target_is_appended() {
        let media = MediaOrigin { url: "https://a.example/x".to_owned() };
        assert_eq!(media.url_of("/live/e/v/1.m4s"), "https://a.example/x/live/e/v/1.m4s");
    }
}
