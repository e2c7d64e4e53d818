//! Who is trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::server::Credentials;
use crate::config;
use crate::error::{Error, Result};

/// The one implementation of cryptography for all of `rustls`.
pub(super) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Trusts what Node does: Mozilla's list, and the certificates in the files that the environment names. HTTP/2 is
/// offered, never assumed.
pub(super) fn client_config() -> Result<ClientConfig> {
    install_crypto();
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for (variable, path) in config::certificate_files() {
        add(&mut roots, &path).map_err(|reason| {
            Error::invalid(format!(
                "{variable} names a file without usable certificates: {}: {reason}",
                path.display()
            ))
            .with_hint("it must hold certificates as PEM: -----BEGIN CERTIFICATE----- …")
        })?;
    }
    let mut config = ClientConfig::builder().with_root_certificates(Arc::new(roots)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Trusts who these say, and tells who asks.
pub(super) fn with_credentials(credentials: &Credentials) -> Result<ClientConfig> {
    install_crypto();
    let wrong = |what: &str, reason: String| Error::invalid(format!("`tls.{what}` cannot be used: {reason}"));
    let mut roots = RootCertStore::empty();
    match &credentials.ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in certificates(pem).map_err(|reason| wrong("ca", reason))? {
                roots.add(certificate).map_err(|error| wrong("ca", words(error)))?;
            }
        }
    }
    let config = ClientConfig::builder().with_root_certificates(Arc::new(roots));
    let Some((certificate, key)) = &credentials.client else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(certificate).map_err(|reason| wrong("cert", reason))?;
    let key =
        PrivateKeyDer::from_pem_slice(key.reveal().as_bytes()).map_err(|error| wrong("key", words(error)))?;
    config.with_client_auth_cert(chain, key).map_err(|error| wrong("key", words(error)))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(words)?;
    if found.is_empty() { Err("it has no certificate as PEM".to_owned()) } else { Ok(found) }
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let mut found = false;
    for certificate in CertificateDer::pem_file_iter(path).map_err(words)? {
        roots.add(certificate.map_err(words)?).map_err(words)?;
        found = true;
    }
    if found { Ok(()) } else { Err("it has none".to_owned()) }
}

fn words(error: impl std::error::Error) -> String {
    // What the system said is told by the innermost error.
    let mut error: &dyn std::error::Error = &error;
    while let Some(below) = error.source() {
        error = below;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_told() {
        let directory = std::env::temp_dir();
        let path = directory.join(format!("computesdk-{}.pem", std::process::id()));
        for (content, expected) in [
            ("nothing", "it has none"),
            ("-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n", "BadEncoding"),
        ] {
            std::fs::write(&path, content).expect("a file can be written");
            let reason = add(&mut RootCertStore::empty(), &path).expect_err(content);
            assert!(reason.contains(expected), "{reason}");
        }
        std::fs::remove_file(&path).expect("it was written");
        let reason = add(&mut RootCertStore::empty(), &path).expect_err("it is gone");
        assert!(reason.contains("No such file"), "{reason}");
    }
}
