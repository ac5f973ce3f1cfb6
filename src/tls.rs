//! TLS towards clients: rustls with aws-lc, certificates and keys from PEM files. `path/socket.rs` speaks it.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::TlsFiles;
use crate::gateway::StartError;

/// The server's side of TLS with a listener's certificate: TLS 1.2 and 1.3, no client certificates.
///
/// # Errors
///
/// [`StartError::Tls`] names the file.
pub fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, StartError> {
    let failed = |path: &Path, reason: String| StartError::Tls { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&files.certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(&files.certificate, "holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| failed(&files.key, error.to_string()))?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(&files.certificate, error.to_string()))?;
    Ok(Arc::new(config))
}
