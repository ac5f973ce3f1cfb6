//! TLS with rustls: certificates for a run, the client's side, the server's side.

use std::fmt::{self, Debug, Formatter};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

/// How a client encrypts: which authorities it trusts, and whom it expects.
#[derive(Clone)]
pub struct Encryption {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Encryption {
    /// Trusts the authorities in the PEM file, and expects a certificate for `host`.
    ///
    /// # Errors
    /// Where the file holds no certificate, or `host` is neither name nor address.
    pub fn new(host: &str, authorities: &Path) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authorities)? {
            roots.add(certificate).with_context(|| authorities.display().to_string())?;
        }
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let server = ServerName::try_from(host.to_owned())
            .with_context(|| format!("`{host}` can be in no certificate"))?;
        Ok(Self { config: Arc::new(config), server })
    }

    /// The client's side of one connection. Sessions are resumed where the server offers that.
    ///
    /// # Errors
    /// Where rustls refuses its configuration.
    pub fn begin(&self) -> anyhow::Result<ClientConnection> {
        Ok(ClientConnection::new(Arc::clone(&self.config), self.server.clone())?)
    }
}

impl Debug for Encryption {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Encryption").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The server's side: TLS 1.2 and 1.3, no client certificates.
///
/// # Errors
/// Where a file cannot be read or the key does not go with the certificate.
pub fn server(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| key.display().to_string())?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .with_context(|| certificate.display().to_string())?;
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let chain = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| file.display().to_string())?;
    ensure!(!chain.is_empty(), "{} holds no certificate", file.display());
    Ok(chain)
}

/// Writes a fresh authority and a certificate of it for this machine: [`AUTHORITY_FILE`], [`CERTIFICATE_FILE`] and
/// [`KEY_FILE`].
///
/// # Errors
/// Where a file cannot be written.
pub fn write_certificates(folder: &Path) -> anyhow::Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate with its issuer's name for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "authority of a test");
    let authority_key = KeyPair::generate()?;
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let authority = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    fs::write(folder.join(AUTHORITY_FILE), authority_pem)?;
    fs::write(folder.join(CERTIFICATE_FILE), certificate.pem())?;
    fs::write(folder.join(KEY_FILE), key.serialize_pem())?;
    Ok(())
}

/// The authority that clients trust, in PEM.
pub const AUTHORITY_FILE: &str = "ca.pem";
/// The server's certificate, in PEM.
pub const CERTIFICATE_FILE: &str = "cert.pem";
/// The server's private key, in PEM.
pub const KEY_FILE: &str = "key.pem";
