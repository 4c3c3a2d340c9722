//! TLS for viewers: the certificate in the data folder, made for development where there is none,
//! and read again when it was renewed. Files that cannot be used leave the last ones in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, io};

use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::trust;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// `DATA/tls/cert.pem` and `key.pem`.
pub(crate) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    in_force: Mutex<InForce>,
}

struct InForce {
    acceptor: TlsAcceptor,
    /// Of the files that it was read from.
    modified: [Option<SystemTime>; 2],
    looked: Instant,
}

impl Certificate {
    pub(crate) fn open(data: &Path) -> io::Result<Self> {
        let folder = data.join("tls");
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        if !cert.exists() && !key.exists() {
            make(&folder, &cert, &key)?;
        }
        let in_force = InForce {
            modified: [&cert, &key].map(|path| modified(path)),
            acceptor: acceptor(&cert, &key)?,
            looked: Instant::now(),
        };
        Ok(Self { cert, key, in_force: Mutex::new(in_force) })
    }

    /// What accepts a viewer, with the certificate that is in force.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        if in_force.looked.elapsed() >= LOOK {
            in_force.looked = Instant::now();
            self.renew(&mut in_force);
        }
        in_force.acceptor.clone()
    }

    fn renew(&self, in_force: &mut InForce) {
        let modified = [&self.cert, &self.key].map(|path| modified(path));
        if modified == in_force.modified {
            return;
        }
        match acceptor(&self.cert, &self.key) {
            Ok(acceptor) => {
                in_force.acceptor = acceptor;
                in_force.modified = modified;
                tracing::info!(certificate = %self.cert.display(), "certificate renewed");
            }
            // Of a pair one may be there before the other: it is tried again.
            Err(error) => tracing::error!(%error, "certificate not renewed; the last one stays"),
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
}

/// For HTTP/2 and HTTP/1.1.
fn acceptor(cert: &Path, key: &Path) -> io::Result<TlsAcceptor> {
    let (chain, private) = (trust::certificates(cert)?, trust::private_key(key)?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|versions| versions.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| {
            trust::wrong(cert, &format!("certificate and key do not serve: {error}"))
        })?;
    // Players reconnect by the thousand: with tickets they need no full handshake, and the node
    // keeps nothing for it.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn make(folder: &Path, cert: &Path, key: &Path) -> io::Result<()> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    fs::create_dir_all(folder)?;
    write_private(key, made.signing_key.serialize_pem().as_bytes())?;
    fs::write(cert, made.cert.pem())?;
    tracing::warn!(
        certificate = %cert.display(),
        "made a certificate for development; replace it and its key for real viewers"
    );
    Ok(())
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_renewed_pair_is_taken_and_half_of_one_is_not() {
        let data = crate::testing::folder("tls");
        let certificate = Certificate::open(&data).unwrap();
        let mut in_force = certificate.in_force.lock().unwrap();
        let mut has_changed = || {
            let before = Arc::clone(in_force.acceptor.config());
            certificate.renew(&mut in_force);
            !Arc::ptr_eq(&before, in_force.acceptor.config())
        };
        assert!(!has_changed(), "the files are the same");
        let other = Certificate::open(&crate::testing::folder("tls-other")).unwrap();
        let later = SystemTime::now() + Duration::from_secs(5);
        let put = |from: &Path, to: &Path| {
            fs::write(to, fs::read(from).unwrap()).unwrap();
            let file = fs::File::options().write(true).open(to).unwrap();
            file.set_modified(later).unwrap();
        };
        put(&other.cert, &certificate.cert);
        assert!(!has_changed(), "the key is another certificate's");
        put(&other.key, &certificate.key);
        assert!(has_changed());
        assert!(!has_changed());
    }
}
