//! The certificates of an authority, from a file.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Reads the certificates of a PEM file.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn read_authority(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(format!("{shown} holds no certificate in PEM")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        let problem = || read_authority(&path).unwrap_err();
        assert!(problem().ends_with("ca.crt cannot be read: No such file or directory (os error 2)"), "{}", problem());
        std::fs::write(&path, "hello").unwrap();
        assert!(problem().ends_with("ca.crt holds no certificate in PEM"), "{}", problem());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(problem().ends_with("ca.crt holds no certificate in PEM"), "{}", problem());
    }
}
