//! The local issuer: one private key in a file, its public half as a JWKS file, and tokens signed
//! with it.
//!
//! For the demo, for tests and for trying a policy by hand. It is no identity provider: whoever can
//! read the key file can be anybody, so the file is created with mode 0600 and refused when others
//! may read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::keys::SignatureAlgorithm;
use crate::vocabulary::UnixMillis;

/// A private key that signs tokens, and the public key that checks them.
pub struct LocalIssuer {
    algorithm: SignatureAlgorithm,
    key: EncodingKey,
    key_id: String,
    /// The public half, as a member of a JWKS document.
    public: Value,
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`: a string where it is one, else a list.
    pub audiences: Vec<String>,
    /// Where the groups go: a dotted path into the claims.
    pub groups_claim: String,
    /// The groups, without prefix.
    pub groups: Vec<String>,
    /// The life of the token, in milliseconds from now; whole seconds are best understood by other
    /// software.
    pub ttl_ms: i64,
    /// Further claims, which win over the ones above.
    pub extra: Map<String, Value>,
}

/// Why the local issuer cannot be opened, or cannot sign. Blame: the operator.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// A file could not be read or written.
    #[error("`{path}`: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read the key.
    #[error("`{path}` may be read by others; run `chmod 600 {path}`")]
    Permissions {
        /// Which file.
        path: PathBuf,
    },
    /// The file holds no key that we can sign with.
    #[error(
        "the key is not a PKCS#8 private key for ES256, RS256 or EdDSA; remove the file to have a \
         new one made"
    )]
    Key,
    /// The key could not be made, or signing failed.
    #[error("the cryptographic library failed: {0}")]
    Cryptography(String),
}

impl LocalIssuer {
    /// A new key for ES256, RS256 or EdDSA, in memory only, with its private half as PEM.
    ///
    /// # Errors
    ///
    /// Another algorithm, or the library failed.
    pub fn generate(algorithm: SignatureAlgorithm) -> Result<(Self, Zeroizing<String>), MintError> {
        let kind = match algorithm {
            SignatureAlgorithm::Es256 => &PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::Rs256 => &PKCS_RSA_SHA256,
            SignatureAlgorithm::EdDsa => &PKCS_ED25519,
            _ => return Err(MintError::Key),
        };
        let pair = KeyPair::generate_for(kind).map_err(failed)?;
        let pem = Zeroizing::new(pair.serialize_pem());
        Ok((Self::from_pem(&pem)?, pem))
    }

    /// The issuer whose PKCS#8 key is `pem`.
    ///
    /// # Errors
    ///
    /// It is no key for ES256, RS256 or EdDSA.
    pub fn from_pem(pem: &str) -> Result<Self, MintError> {
        let pair = KeyPair::from_pem(pem).map_err(|_| MintError::Key)?;
        let kind = pair.algorithm();
        let parsed = if *kind == PKCS_ECDSA_P256_SHA256 {
            EncodingKey::from_ec_pem(pem.as_bytes()).map(|key| (SignatureAlgorithm::Es256, key))
        } else if *kind == PKCS_ED25519 {
            // By its bytes, because the PEM reader knows only the older form without the public
            // key.
            Ok((SignatureAlgorithm::EdDsa, EncodingKey::from_ed_der(pair.serialized_der())))
        } else if *kind == PKCS_RSA_SHA256 {
            EncodingKey::from_rsa_pem(pem.as_bytes()).map(|key| (SignatureAlgorithm::Rs256, key))
        } else {
            return Err(MintError::Key);
        };
        let (algorithm, key) = parsed.map_err(|_| MintError::Key)?;
        let mut public = public_members(algorithm, &key)?;
        let digest = Sha256::digest(Value::Object(public.clone()).to_string().as_bytes());
        let key_id = URL_SAFE_NO_PAD.encode(digest.get(..12).unwrap_or_default());
        public.insert("kid".to_owned(), json!(key_id));
        public.insert("alg".to_owned(), json!(algorithm.name()));
        public.insert("use".to_owned(), json!("sig"));
        Ok(Self { algorithm, key, key_id, public: Value::Object(public) })
    }

    /// The issuer whose key is in `key_file`; a new ES256 key is made where the file does not
    /// exist. The JWKS file is written anew where it is not what the key says.
    ///
    /// # Errors
    ///
    /// A file cannot be read or written, others may read the key, or it is no key.
    pub fn open_or_create(key_file: &Path, jwks_file: &Path) -> Result<Self, MintError> {
        let issuer = match Self::open(key_file) {
            Err(MintError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let (issuer, pem) = Self::generate(SignatureAlgorithm::Es256)?;
                write_new(key_file, pem.as_bytes(), 0o600)?;
                issuer
            }
            other => other?,
        };
        let jwks = issuer.jwks();
        if fs::read_to_string(jwks_file).ok().as_deref() != Some(jwks.as_str()) {
            let partial = jwks_file.with_extension("partial");
            write_over(&partial, jwks.as_bytes(), 0o644)?;
            fs::rename(&partial, jwks_file).map_err(|source| file_error(jwks_file, source))?;
        }
        Ok(issuer)
    }

    /// The issuer whose key is in `key_file`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, others may read it, or it holds no key.
    pub fn open(key_file: &Path) -> Result<Self, MintError> {
        let metadata = fs::metadata(key_file).map_err(|source| file_error(key_file, source))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(MintError::Permissions { path: key_file.to_owned() });
        }
        let pem = fs::read_to_string(key_file).map_err(|source| file_error(key_file, source))?;
        Self::from_pem(&Zeroizing::new(pem))
    }

    /// The algorithm of the key.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The id of the key: derived from it, so that it is the same whenever the file is opened.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key as a member of a JWKS document.
    #[must_use]
    pub fn public_jwk(&self) -> &Value {
        &self.public
    }

    /// The JWKS document with this one key.
    #[must_use]
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.public] }).to_string()
    }

    /// A signed token.
    ///
    /// # Errors
    ///
    /// Signing failed.
    pub fn mint(
        &self,
        request: &TokenRequest,
        now: UnixMillis,
    ) -> Result<Zeroizing<String>, MintError> {
        let header = json!({ "alg": self.algorithm.name(), "typ": "JWT", "kid": self.key_id });
        self.sign(&header, &Value::Object(request.claims(now)))
    }

    /// A token of exactly this header and these claims, whatever they say: for tests of what must
    /// be refused.
    ///
    /// # Errors
    ///
    /// Signing failed.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<Zeroizing<String>, MintError> {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signer = (DEFAULT_PROVIDER.signer_factory)(&self.algorithm.backend(), &self.key)
            .map_err(failed)?;
        let signature = signer.try_sign(message.as_bytes()).map_err(failed)?;
        Ok(Zeroizing::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

impl TokenRequest {
    /// The claims of the token, issued now.
    #[must_use]
    pub fn claims(&self, now: UnixMillis) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(self.issuer));
        claims.insert("sub".to_owned(), json!(self.subject));
        let audience = match self.audiences.as_slice() {
            [only] => json!(only),
            several => json!(several),
        };
        claims.insert("aud".to_owned(), audience);
        claims.insert("iat".to_owned(), seconds(now.0));
        claims.insert("exp".to_owned(), seconds(now.0.saturating_add(self.ttl_ms)));
        if !self.groups.is_empty() {
            insert_at_path(&mut claims, &self.groups_claim, json!(self.groups));
        }
        for (name, value) in &self.extra {
            claims.insert(name.clone(), value.clone());
        }
        claims
    }
}

fn public_members(
    algorithm: SignatureAlgorithm,
    key: &EncodingKey,
) -> Result<Map<String, Value>, MintError> {
    let utilities = &DEFAULT_PROVIDER.key_utils;
    let text = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    let members = match algorithm {
        SignatureAlgorithm::Es256 => {
            let (_, x, y) =
                (utilities.ec_pub_components_from_private_key)(key.as_bytes(), algorithm.backend())
                    .map_err(failed)?;
            json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
        }
        SignatureAlgorithm::EdDsa => {
            let x = (utilities.ed_pub_components_from_private_key)(
                key.as_bytes(),
                &EllipticCurve::Ed25519,
            )
            .map_err(failed)?;
            json!({ "kty": "OKP", "crv": "Ed25519", "x": text(x) })
        }
        _ => {
            let (n, e) =
                (utilities.rsa_pub_components_from_private_key)(key.as_bytes()).map_err(failed)?;
            json!({ "kty": "RSA", "n": text(n), "e": text(e) })
        }
    };
    match members {
        Value::Object(members) => Ok(members),
        _ => Err(MintError::Key),
    }
}

/// Whole seconds as an integer, else with three places.
fn seconds(millis: i64) -> Value {
    if millis.rem_euclid(1000) == 0 {
        return json!(millis.div_euclid(1000));
    }
    let text = format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000));
    text.parse::<f64>().map_or(Value::Null, Value::from)
}

fn insert_at_path(claims: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            claims.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = claims.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                insert_at_path(inner, rest, value);
            }
        }
    }
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), MintError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| file_error(path, source))?;
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|source| file_error(path, source))
}

fn write_over(path: &Path, content: &[u8], mode: u32) -> Result<(), MintError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(file_error(path, source)),
        _ => write_new(path, content, mode),
    }
}

fn file_error(path: &Path, source: io::Error) -> MintError {
    MintError::File { path: path.to_owned(), source }
}

fn failed(error: impl std::fmt::Display) -> MintError {
    MintError::Cryptography(error.to_string())
}

#[cfg(test)]
mod tests;
