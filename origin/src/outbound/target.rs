//! Where a URL leads that somebody gave the origin, and whether it may.
//!
//! A webhook could make the origin ask what only the origin reaches: its own control port, or a
//! cloud's metadata. So its addresses are looked at after they were resolved, and the connection
//! goes to the address that was looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;

/// Longest URL.
const URL_BYTES_MAX: usize = 2048;

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Whether by TLS.
    pub tls: bool,
    /// Host, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Host and port as the URL has them.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    /// No URL of that kind.
    #[error("expected https://HOST/PATH or http://HOST/PATH without a user name")]
    Url,
    /// There is no such host.
    #[error("the host has no address: see that its name is right")]
    Unknown,
    /// It is not of the Internet.
    #[error("the host has a private address: use another, or set webhook-private to true")]
    Private,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`TargetError::Url`].
    pub(crate) fn read(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url.parse().map_err(|_| TargetError::Url)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TargetError::Url),
        };
        let authority = uri.authority().ok_or(TargetError::Url)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if authority.as_str().contains('@') || host.is_empty() || url.len() > URL_BYTES_MAX {
            return Err(TargetError::Url);
        }
        Ok(Self {
            tls,
            host,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: authority.to_string(),
            path: uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        })
    }

    /// The address to connect to. `private`: any will do.
    ///
    /// # Errors
    /// See [`TargetError`]; one private address among several is enough.
    pub(crate) async fn address(&self, private: bool) -> Result<SocketAddr, TargetError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|_| TargetError::Unknown)?.collect();
        if !private && found.iter().any(|address| is_private(address.ip())) {
            return Err(TargetError::Private);
        }
        found.first().copied().ok_or(TargetError::Unknown)
    }
}

/// Whether an address is for a network of one's own, this machine, or no host at all (RFC 6890).
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        // Shared by carriers (RFC 6598), for protocols (RFC 6890), for benchmarks (RFC 2544).
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    // The same hosts by other names: mapped, translated (RFC 6052) and 6to4.
    let inner = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some((high, low))
        }
        [0x2002, high, low, ..] => Some((high, low)),
        _ => None,
    };
    if let Some((high, low)) = inner {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        return is_private_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Of the whole space only 2000::/3 is handed out; of that, 2001:db8::/32 is for documents.
    let [first, second, ..] = address.segments();
    first & 0xe000 != 0x2000 || (first, second) == (0x2001, 0xdb8)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_refused() {
        let target = Target::read("https://hooks.example:8443/a?b=c").unwrap();
        assert_eq!((target.tls, target.host.as_str(), target.port), (true, "hooks.example", 8443));
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("hooks.example:8443", "/a?b=c")
        );
        assert_eq!(Target::read("http://[::1]/").unwrap().host, "::1");
        assert_eq!(Target::read("http://a").unwrap().path, "/");
        let long = format!("https://a/{}", "b".repeat(2048));
        for no in
            ["", "a", "/a", "ftp://a/", "https:///a", "https://u:p@a/", "file:///etc/passwd", &long]
        {
            assert_eq!(Target::read(no), Err(TargetError::Url), "{no}");
        }
    }

    #[test]
    fn addresses_of_ones_own_are_told_from_those_of_the_internet() {
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "::127.0.0.1",
        ] {
            assert!(is_private(own.parse().unwrap()), "{own}");
        }
        for public in ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "100.128.0.1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_private_address_needs_the_setting() {
        let target = Target::read("http://127.0.0.1:9/").unwrap();
        assert_eq!(target.address(false).await, Err(TargetError::Private));
        assert_eq!(target.address(true).await.unwrap().port(), 9);
        let named = Target::read("http://localhost:9/").unwrap();
        assert_eq!(named.address(false).await, Err(TargetError::Private));
    }
}
