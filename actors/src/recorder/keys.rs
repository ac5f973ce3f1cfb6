//! The key that signs heads: Ed25519, so that an auditor verifies without the secret.
//!
//! `keys/record.key` is PKCS#8 in PEM, readable by its owner alone; `keys/record.pub` is what auditors get. Whoever can
//! write both files and the log can make a new log that verifies: keep a copy of the public key elsewhere.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("key `{path}` cannot be read or made: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("key `{path}` is no Ed25519 key in PEM")]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// The system cannot make a key.
    #[error("no key can be made for `{path}`")]
    NotMade {
        /// The file.
        path: PathBuf,
    },
}

/// The secret half: signs heads.
#[derive(Debug)]
pub struct RecordKey(Ed25519KeyPair);

/// The public half: verifies heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPublicKey([u8; 32]);

impl RecordKey {
    /// Reads `keys/record.key` below the data directory; makes both files where it is missing.
    ///
    /// # Errors
    ///
    /// [`KeyError`] as its variants say.
    pub fn open(data: &Path) -> Result<Self, KeyError> {
        let path = data.join("keys/record.key");
        let key = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(&path)?,
            Err(source) => return Err(KeyError::Io { path, source }),
            Ok(text) => {
                let text = Zeroizing::new(text);
                let der = from_pem(&text, "PRIVATE KEY").map(Zeroizing::new);
                let pair = der.and_then(|der| Ed25519KeyPair::from_pkcs8(&der).ok());
                Self(pair.ok_or(KeyError::Unreadable { path })?)
            }
        };
        let public = data.join("keys/record.pub");
        if !public.exists() {
            write_new(&public, &key.public().to_pem(), 0o644)?;
        }
        Ok(key)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> RecordPublicKey {
        let mut public = [0; 32];
        for (place, byte) in public.iter_mut().zip(self.0.public_key().as_ref()) {
            *place = *byte;
        }
        RecordPublicKey(public)
    }

    /// Signs a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }

    fn make(path: &Path) -> Result<Self, KeyError> {
        let not_made = |_| KeyError::NotMade { path: path.to_owned() };
        let pair = Ed25519KeyPair::generate().map_err(not_made)?;
        let document = pair.to_pkcs8v1().map_err(not_made)?;
        let pem = Zeroizing::new(to_pem(document.as_ref(), "PRIVATE KEY"));
        write_new(path, &pem, 0o600)?;
        Ok(Self(pair))
    }
}

impl RecordPublicKey {
    /// Reads a public key in PEM, such as `keys/record.pub` or an auditor's own copy of it.
    ///
    /// # Errors
    ///
    /// [`KeyError`] as its variants say.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
        from_pem(&text, "PUBLIC KEY")
            .as_deref()
            .and_then(|der| der.strip_prefix(&SPKI_PREFIX))
            .and_then(|raw| <[u8; 32]>::try_from(raw).ok())
            .map(Self)
            .ok_or(KeyError::Unreadable { path: path.to_owned() })
    }

    /// Whether `signature` is this key's for `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }

    /// The key as OpenSSL writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        to_pem(&[SPKI_PREFIX.as_slice(), &self.0].concat(), "PUBLIC KEY")
    }
}

fn to_pem(der: &[u8], label: &str) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn from_pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    let digits: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|c| !c.is_ascii_whitespace()).collect());
    STANDARD.decode(digits.as_bytes()).ok()
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let write = || {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyError::Io { path: path.to_owned(), source })
}

/// What stands before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_its_halves_belong_together() {
        let data = tempfile::tempdir().unwrap();
        let key = RecordKey::open(data.path()).unwrap();
        let again = RecordKey::open(data.path()).unwrap();
        assert_eq!(key.public(), again.public());
        let path = data.path().join("keys/record.key");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let public = RecordPublicKey::read(&data.path().join("keys/record.pub")).unwrap();
        assert_eq!(public, key.public());
        let signature = again.sign(b"message");
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
        assert!(!public.verifies(b"message", &signature[..63]));
        let other = tempfile::tempdir().unwrap();
        assert!(!RecordKey::open(other.path()).unwrap().public().verifies(b"message", &signature));
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("keys/record.key");
        RecordKey::open(data.path()).unwrap();
        for text in ["", "secret", "-----BEGIN PRIVATE KEY-----\n?\n-----END PRIVATE KEY-----\n"] {
            std::fs::write(&path, text).unwrap();
            let error = RecordKey::open(data.path()).unwrap_err();
            assert!(error.to_string().ends_with("record.key` is no Ed25519 key in PEM"), "{error}");
            assert!(RecordPublicKey::read(&path).is_err());
        }
    }
}
