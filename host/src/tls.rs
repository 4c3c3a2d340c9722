//! TLS for viewers: the certificate in the data folder, made for development where there is none.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// An acceptor with `DATA/tls/cert.pem` and `key.pem`, for HTTP/2 and HTTP/1.1.
pub(crate) fn acceptor(data: &Path) -> io::Result<TlsAcceptor> {
    let folder = data.join("tls");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if !cert.exists() && !key.exists() {
        make(&folder, &cert, &key)?;
    }
    let wrong = |path: &Path, what: &str| io::Error::other(format!("{}: {what}", path.display()));
    let chain: Vec<_> = CertificateDer::pem_file_iter(&cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(&cert, &format!("no certificate chain in PEM: {error}")))?;
    let private = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| wrong(&key, &format!("no private key in PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|versions| {
            versions
                .with_no_client_auth()
                .with_single_cert(chain, private)
        })
        .map_err(|error| wrong(&cert, &format!("certificate and key do not serve: {error}")))?;
    // Players reconnect by the thousand: with tickets they need no full handshake, and the node keeps nothing for it.
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
    tracing::warn!(certificate = %cert.display(), "made a certificate for development; replace it and its key for real viewers");
    Ok(())
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::Write::write_all(&mut file, bytes)
}
