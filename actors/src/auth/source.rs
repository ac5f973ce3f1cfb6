//! Where an issuer's keys come from: a file, or a URL of the configuration.
//!
//! A token can never name a source. A URL is read over TLS, without proxies, without following a
//! redirect, and within bounds of size and time; plain HTTP serves loopback, or where the operator
//! says so.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, StatusCode, Url};

use super::keys::{JWKS_BYTES_MAX, KeySet, KeySetError};

/// The longest time that one request for a key set may take, name resolution and TLS included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether keys may be read over plain HTTP from another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// From loopback only.
    LoopbackOnly,
    /// From anywhere: whoever is on the way can be anybody.
    Allow,
}

/// Where the key set of one issuer is read from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A JWKS file.
    File(PathBuf),
    /// A JWKS document behind a URL, and the client for it.
    Url {
        /// The address.
        url: Url,
        /// Keeps the connection between two requests.
        client: Client,
    },
}

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

/// Why a source of keys is refused. Blame: the operator.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not a URL.
    #[error("`{text}` is neither a file nor a URL: {reason}")]
    Url {
        /// What the configuration says.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Plain HTTP to another machine.
    #[error(
        "`{url}` is plain HTTP to another machine: what it says could be replaced on the way; use https"
    )]
    PlainHttp {
        /// The address.
        url: String,
    },
    /// The file with certificate authorities cannot be used.
    #[error("`{path}`: {reason}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The HTTP client could not be made.
    #[error("the client for `{url}` could not be made: {source}")]
    Client {
        /// The address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
}

/// Why a key set could not be read this time.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("`{path}`: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No answer, or not in time.
    #[error("no answer from `{url}`: {reason}")]
    Request {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// An answer other than 200.
    #[error("`{url}` answered {status}; redirects are not followed")]
    Status {
        /// The address.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
    /// The document is no key set.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

impl KeySource {
    /// The source that a configuration names: a URL where it has `://`, else a file, relative to
    /// `directory`.
    ///
    /// `authorities` is a PEM file with the certificate authorities to trust instead of the
    /// system's.
    ///
    /// # Errors
    ///
    /// A URL of another scheme than http and https, with a user or password, or plain HTTP where it
    /// is not allowed; authorities that cannot be read.
    pub fn new(
        text: &str,
        directory: &Path,
        plain_http: PlainHttp,
        authorities: Option<&Path>,
    ) -> Result<Self, SourceError> {
        if !text.contains("://") {
            return Ok(Self::File(directory.join(text)));
        }
        let url = url(text, plain_http)?;
        let client = client(&url, authorities, FETCH_TIMEOUT)?;
        Ok(Self::Url { url, client })
    }

    /// Reads the key set of a file now. Blocks: a file of at most 1 MiB.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no key set.
    pub fn read_file(path: &Path) -> Result<(KeySet, FileVersion), ReadError> {
        let failed = |source| ReadError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let version = FileVersion::of(&file.metadata().map_err(failed)?);
        let limit = u64::try_from(JWKS_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut document = Vec::new();
        file.take(limit).read_to_end(&mut document).map_err(failed)?;
        Ok((KeySet::parse(&document)?, version))
    }

    /// Fetches the key set behind a URL.
    ///
    /// # Errors
    ///
    /// No answer within [`FETCH_TIMEOUT`], another status than 200, a body of more than 1 MiB, or
    /// no key set.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the request.
    pub async fn fetch(url: &Url, client: &Client) -> Result<KeySet, ReadError> {
        let failed = |error: reqwest::Error| ReadError::Request {
            url: url.to_string(),
            reason: root_cause(&error.without_url()),
        };
        let request =
            client.get(url.clone()).header(ACCEPT, "application/jwk-set+json, application/json");
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(ReadError::Status { url: url.to_string(), status: response.status() });
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len().saturating_add(chunk.len()) > JWKS_BYTES_MAX {
                return Err(KeySetError::TooLarge.into());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(KeySet::parse(&document)?)
    }
}

impl FileVersion {
    /// The version of the file at `path` now; `None` where there is none to be seen.
    #[must_use]
    pub fn now(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().as_ref().map(Self::of)
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }
}

/// The URL that a configuration names, if it may be read.
pub(crate) fn url(text: &str, plain_http: PlainHttp) -> Result<Url, SourceError> {
    let wrong = |reason: String| SourceError::Url { text: super::token::quotable(text), reason };
    let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(wrong("the scheme must be https".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it must not hold a user or a password".to_owned()));
    }
    let encrypted = url.scheme() == "https";
    if !encrypted && plain_http == PlainHttp::LoopbackOnly && !is_loopback(&url) {
        return Err(SourceError::PlainHttp { url: url.into() });
    }
    Ok(url)
}

/// A client for one address: no proxies, no redirects, and no request longer than `timeout`.
pub(crate) fn client(
    url: &Url,
    authorities: Option<&Path>,
    timeout: Duration,
) -> Result<Client, SourceError> {
    let encrypted = url.scheme() == "https";
    let mut builder = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .https_only(encrypted)
        .connect_timeout(timeout)
        .timeout(timeout);
    match authorities {
        Some(path) => builder = builder.tls_certs_only(certificates(path)?),
        // Nothing is verified over plain HTTP, and a machine may have no certificate authorities at
        // all.
        None if !encrypted => builder = builder.tls_certs_only([]),
        None => {}
    }
    builder.build().map_err(|source| SourceError::Client { url: url.to_string(), source })
}

fn is_loopback(url: &Url) -> bool {
    // Brackets are part of an IPv6 host's text.
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, SourceError> {
    let failed = |reason: String| SourceError::Authorities { path: path.to_owned(), reason };
    let bundle = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let certificates =
        Certificate::from_pem_bundle(&bundle).map_err(|error| failed(error.to_string()))?;
    if certificates.is_empty() {
        return Err(failed("holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

/// The innermost cause, which alone says what happened ("connection refused").
pub(crate) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
