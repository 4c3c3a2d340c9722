//! TLS to the origin and to where its media are: whom the node trusts, and as whom it comes.

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::Origin;

/// Whom this machine trusts. Its files are read once, and not by each thread.
static MACHINE: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
});

/// For the media's place, which may be a CDN with a certificate of the public kind: whom this
/// machine trusts, and the origin's authority. The node shows it no certificate.
pub(crate) fn media(origin: &Origin) -> io::Result<ClientConfig> {
    let mut roots = MACHINE.clone();
    add_own(&mut roots, origin)?;
    Ok(client(roots)?.with_no_client_auth())
}

/// For an origin of these settings. An origin without TLS is trusted by nobody.
pub(crate) fn origin(origin: &Origin) -> io::Result<ClientConfig> {
    let config = client(roots(origin)?)?;
    let Some((chain, key)) = &origin.certificate else {
        return Ok(config.with_no_client_auth());
    };
    config
        .with_client_auth_cert(certificates(chain)?, private_key(key)?)
        .map_err(|error| wrong(chain, &format!("certificate and key do not serve: {error}")))
}

fn client(
    roots: RootCertStore,
) -> io::Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots))
}

fn roots(origin: &Origin) -> io::Result<RootCertStore> {
    let asks_machine = origin.ca.is_none() && origin.url.starts_with("https://");
    let mut roots = if asks_machine { MACHINE.clone() } else { RootCertStore::empty() };
    if asks_machine && roots.is_empty() {
        return Err(io::Error::other(format!(
            "--origin {}: this machine trusts no certificate authority; install Debian's \
             package ca-certificates, or name a file with --origin-ca",
            origin.url
        )));
    }
    add_own(&mut roots, origin)?;
    Ok(roots)
}

/// The authority that the settings name for the origin.
fn add_own(roots: &mut RootCertStore, origin: &Origin) -> io::Result<()> {
    let Some(file) = &origin.ca else { return Ok(()) };
    for authority in certificates(file)? {
        roots
            .add(authority)
            .map_err(|error| wrong(file, &format!("no certificate authority: {error}")))?;
    }
    Ok(())
}

/// All certificates of a PEM file, of which there must be one.
pub(crate) fn certificates(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(file, &format!("no certificates in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(wrong(file, "no certificates in PEM"));
    }
    Ok(chain)
}

/// The private key of a PEM file.
pub(crate) fn private_key(file: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| wrong(file, &format!("no private key in PEM: {error}")))
}

pub(crate) fn wrong(file: &Path, what: &str) -> io::Error {
    io::Error::other(format!("{}: {what}", file.display()))
}
