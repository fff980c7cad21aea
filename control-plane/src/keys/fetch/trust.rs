//! Which certificates are trusted: those of the system, or those of one file alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

use super::failure::Cause;
use crate::keys::source::read_authority;

/// The settings of TLS, made when the first fetch needs them.
#[derive(Default)]
pub(super) struct Trust {
    /// The system's certificates take a while to read and seldom change.
    system: OnceCell<Arc<ClientConfig>>,
}

impl Trust {
    /// The settings for this authority's file, which is read anew each time, or for the system's authorities.
    pub(super) async fn settings(&self, ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, Cause> {
        match ca_file {
            Some(path) => of_file(path.to_owned()).await,
            None => self.system.get_or_try_init(of_system).await.cloned(),
        }
    }
}

async fn of_file(path: PathBuf) -> Result<Arc<ClientConfig>, Cause> {
    let certificates = apart(move || read_authority(&path)).await?;
    trusting(certificates)
}

async fn of_system() -> Result<Arc<ClientConfig>, Cause> {
    let certificates = apart(|| Ok(rustls_native_certs::load_native_certs().certs)).await?;
    trusting(certificates)
}

/// Reads files apart from the threads that answer requests.
async fn apart<F>(read: F) -> Result<Vec<CertificateDer<'static>>, Cause>
where
    F: FnOnce() -> Result<Vec<CertificateDer<'static>>, String> + Send + 'static,
{
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| Cause::Authority(error.to_string()))?;
    read.map_err(Cause::Authority)
}

fn trusting(certificates: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, Cause> {
    let mut roots = RootCertStore::empty();
    // A system's collection may hold some that cannot be read: the others serve all the same.
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(Cause::Authority("there is none in the system or in ca_file".to_owned()));
    }
    // The provider is named, so that nothing depends on the process having set its own before.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| Cause::Tls(error.to_string()))?;
    let mut settings = builder.with_root_certificates(roots).with_no_client_auth();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(settings))
}
