//! Who is trusted.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

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
