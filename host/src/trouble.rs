//! Why the origin cannot be reached, told once for each cause and minute.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

/// Time between two lines about one cause.
const QUIET: Duration = Duration::from_secs(60);

/// What was told, and when.
#[derive(Default)]
pub(crate) struct Troubles {
    /// By base URL and cause: beside the origin there may be media bases, a few.
    told: Mutex<HashMap<(String, &'static str), Instant>>,
}

impl Troubles {
    /// A connection to `origin` failed with `error`.
    pub(crate) fn tell(&self, origin: &str, error: &(dyn Error + 'static)) {
        let cause = cause(error);
        if self.is_new(origin, cause) {
            let detail = chain(error);
            tracing::warn!(origin, cause, detail, "the origin does not answer");
        } else {
            tracing::debug!(origin, cause, "the origin does not answer");
        }
    }

    /// The origin answered 403, although this node only asks for what edges may have.
    pub(crate) fn refused(&self, origin: &str, has_secret: bool) {
        let remedy = if has_secret {
            "is origin-secret the origin's edge-secret?"
        } else {
            "does the origin ask for an edge-secret? set it here as origin-secret"
        };
        if self.is_new(origin, "refused by the origin") {
            tracing::warn!(origin, "the origin refused a request (403); {remedy}");
        }
    }

    /// The origin answered with a status that is a failure, 429 for a document among them.
    pub(crate) fn failed(&self, origin: &str, status: StatusCode) {
        if self.is_new(origin, "an answer that is a failure") {
            let status = status.as_u16();
            tracing::warn!(origin, status, "the origin fails; what is kept stands in for it");
        }
    }

    fn is_new(&self, origin: &str, cause: &'static str) -> bool {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, last| now.duration_since(*last) < QUIET);
        told.insert((origin.to_owned(), cause), now).is_none()
    }
}

/// `error` and all that it comes from.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // An IO error hides what it wraps from `source`.
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// One of a few, so that each is told of.
fn cause(error: &(dyn Error + 'static)) -> &'static str {
    let mut found = "connection lost";
    for error in causes(error) {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return match tls {
                rustls::Error::InvalidCertificate(_) => "its certificate is not trusted",
                rustls::Error::AlertReceived(_) => "it refused this node's TLS",
                _ => "TLS failed",
            };
        }
        if error.to_string().starts_with("dns error") {
            return "its name is not known (DNS)";
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            found = match io.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused",
                io::ErrorKind::TimedOut => "no connection in time",
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    "no way to its network"
                }
                _ => found,
            };
        }
    }
    found
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_a_minute_and_each_for_itself() {
        let troubles = Troubles::default();
        assert!(troubles.is_new("http://a", "x"));
        assert!(!troubles.is_new("http://a", "x"));
        assert!(troubles.is_new("http://a", "y"));
        assert!(troubles.is_new("http://b", "x"));
    }

    #[test]
    fn causes_are_found_below_what_wraps_them() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(cause(&io::Error::other(refused)), "connection refused");
        let expired = rustls::CertificateError::Expired;
        let tls = io::Error::other(rustls::Error::InvalidCertificate(expired));
        assert_eq!(cause(&tls), "its certificate is not trusted");
        assert_eq!(cause(&io::Error::other("reset")), "connection lost");
    }
}
