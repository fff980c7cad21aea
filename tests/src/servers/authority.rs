//! A certificate authority for one test, and one server certificate that it signed, made by the `openssl` program.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::install::install;
use crate::workspace;

/// An authority with a certificate for 127.0.0.1 and localhost, good for two days.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
    certificate: String,
    key: String,
}

pub(super) fn find() -> Result<()> {
    let runs = || Command::new("openssl").arg("version").output().is_ok_and(|output| output.status.success());
    if runs() || (install("openssl") && runs()) {
        return Ok(());
    }
    bail!("no openssl: apt-get install openssl (Debian; as root), or put one on PATH")
}

impl Authority {
    /// Makes a new one, which no program trusts yet.
    ///
    /// # Errors
    /// When `openssl` cannot be had or refuses.
    pub fn new() -> Result<Self> {
        find()?;
        let directory = tempfile::Builder::new().prefix("ca-").tempdir_in(workspace::generated("servers")?)?;
        let path = directory.path();
        let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        openssl(path, &[&new[..], &["-subj", "/CN=Curfew test authority", "-keyout", "ca.key", "-out", "ca.crt"]])?;
        let names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=CA:FALSE"];
        let signed = ["-subj", "/CN=localhost", "-CA", "ca.crt", "-CAkey", "ca.key"];
        openssl(path, &[&new[..], &names, &signed, &["-keyout", "server.key", "-out", "server.crt"]])?;
        let read = |name: &str| std::fs::read_to_string(path.join(name)).context("openssl wrote no file");
        let (certificate, key) = (read("server.crt")?, read("server.key")?);
        Ok(Self { directory, certificate, key })
    }

    /// The file with the authority's own certificate (PEM), for clients.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// The server's certificate (PEM).
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The server's private key (PEM).
    pub fn key(&self) -> &str {
        &self.key
    }
}

fn openssl(directory: &Path, arguments: &[&[&str]]) -> Result<()> {
    let output = Command::new("openssl").current_dir(directory).args(arguments.concat()).output()?;
    if !output.status.success() {
        bail!("openssl:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
