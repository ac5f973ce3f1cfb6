//! Public keys of issuers: which signature algorithms exist for us, and how a JWKS document becomes
//! keys.
//!
//! Pure: bytes in, keys out. Symmetric algorithms and `none` have no variant in
//! [`SignatureAlgorithm`], so no configuration, no key set and no token header can name them.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// The most bytes that a JWKS document may have.
pub const JWKS_BYTES_MAX: usize = 1024 * 1024;

/// The most keys that a JWKS document may list, usable or not.
pub const JWKS_KEYS_MAX: usize = 100;

/// The most bytes that a key id may have, in a key set as in a token.
pub const KEY_ID_BYTES_MAX: usize = 128;

/// A signature algorithm that a token may be signed with: asymmetric ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// What a key is, which decides the algorithms that it can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA of 2048 to 8192 bits.
    Rsa,
    /// A point on P-256.
    P256,
    /// A point on P-384.
    P384,
    /// An Ed25519 key.
    Ed25519,
}

/// One public key of an issuer.
pub struct VerificationKey {
    id: Option<String>,
    kind: KeyKind,
    /// Where the set restricts the key to one algorithm.
    algorithm: Option<SignatureAlgorithm>,
    key: DecodingKey,
}

/// The usable keys of one JWKS document, and why the others are not.
#[derive(Debug, Default)]
pub struct KeySet {
    keys: Vec<VerificationKey>,
    skipped: Vec<SkippedKey>,
}

/// A key of a JWKS document that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the document, from zero.
    pub index: usize,
    /// Why it was left out.
    pub reason: &'static str,
}

/// Which key of a set a token is to be held against.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// This one.
    Found(&'a VerificationKey),
    /// No key has this id, or the token has none and several keys could be meant.
    Unknown,
    /// The key exists but does not serve this algorithm.
    Mismatch,
}

/// Why a JWKS document is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// More than [`JWKS_BYTES_MAX`].
    #[error("the key set has more than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// Not a JSON object with an array `keys`.
    #[error("the key set is not a JSON object with a list `keys`: {0}")]
    Malformed(#[from] serde_json::Error),
    /// More than [`JWKS_KEYS_MAX`].
    #[error("the key set lists {count} keys; at most {JWKS_KEYS_MAX} are read")]
    TooManyKeys {
        /// How many it lists.
        count: usize,
    },
}

/// An algorithm that a configuration must not name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an algorithm for tokens; use RS256, RS384, RS512, PS256, PS384, PS512, ES256, \
     ES384 or EdDSA"
)]
pub struct AlgorithmError(pub String);

impl SignatureAlgorithm {
    /// Every algorithm, in the order in which messages list them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in token headers, key sets and the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The kind of key that serves this algorithm.
    #[must_use]
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 => KeyKind::Rsa,
            Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }

    pub(super) fn backend(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Rs384 => Algorithm::RS384,
            Self::Rs512 => Algorithm::RS512,
            Self::Ps256 => Algorithm::PS256,
            Self::Ps384 => Algorithm::PS384,
            Self::Ps512 => Algorithm::PS512,
            Self::Es256 => Algorithm::ES256,
            Self::Es384 => Algorithm::ES384,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = AlgorithmError;

    fn from_str(text: &str) -> Result<Self, AlgorithmError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| AlgorithmError(super::token::quotable(text)))
    }
}

impl VerificationKey {
    /// True if `signature` over `message` was made by the owner of this key with `algorithm`.
    ///
    /// False too where the key does not serve the algorithm, or either of them is malformed.
    #[must_use]
    pub fn verifies(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> bool {
        // The backend is named here instead of asking for the process's default, which panics when
        // another crate of the build switches a second backend on.
        self.serves(algorithm)
            && (DEFAULT_PROVIDER.verifier_factory)(&algorithm.backend(), &self.key)
                .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }

    fn serves(&self, algorithm: SignatureAlgorithm) -> bool {
        self.kind == algorithm.key_kind() && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("VerificationKey")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl KeySet {
    /// The keys of a JWKS document. A key that we cannot use is skipped, with its reason.
    ///
    /// A document without a usable key is a valid set in which nothing is found: an issuer
    /// withdraws its keys that way.
    ///
    /// # Errors
    ///
    /// The document is too large, malformed, or lists too many keys.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        if document.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let document: Document = serde_json::from_slice(document)?;
        if document.keys.len() > JWKS_KEYS_MAX {
            return Err(KeySetError::TooManyKeys { count: document.keys.len() });
        }
        let mut set = Self::default();
        for (index, value) in document.keys.into_iter().enumerate() {
            match usable_key(value).and_then(|key| set.admit(key)) {
                Ok(()) => {}
                Err(reason) => set.skipped.push(SkippedKey { index, reason }),
            }
        }
        Ok(set)
    }

    /// The key for a token with this `kid` and `alg`. The id is compared byte for byte.
    ///
    /// A token without an id is served where exactly one key of the set could be meant.
    #[must_use]
    pub fn find(&self, id: Option<&str>, algorithm: SignatureAlgorithm) -> Lookup<'_> {
        let Some(id) = id else {
            let mut serving = self.keys.iter().filter(|key| key.serves(algorithm));
            return match (serving.next(), serving.next()) {
                (Some(key), None) => Lookup::Found(key),
                _ => Lookup::Unknown,
            };
        };
        let mut lookup = Lookup::Unknown;
        for key in self.keys.iter().filter(|key| key.id.as_deref() == Some(id)) {
            if key.serves(algorithm) {
                return Lookup::Found(key);
            }
            lookup = Lookup::Mismatch;
        }
        lookup
    }

    /// How many keys can be used.
    #[must_use]
    pub fn usable_count(&self) -> usize {
        self.keys.len()
    }

    /// The keys that were left out.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Issuers may list one key id twice with different algorithms (one modulus for RS256 and
    /// PS256); the same id for the same algorithm would be a guess.
    fn admit(&mut self, key: VerificationKey) -> Result<(), &'static str> {
        let ambiguous = key.id.is_some()
            && self.keys.iter().any(|other| {
                other.id == key.id
                    && other.kind == key.kind
                    && (other.algorithm == key.algorithm
                        || other.algorithm.is_none()
                        || key.algorithm.is_none())
            });
        if ambiguous {
            return Err("another key has the same id and algorithm");
        }
        self.keys.push(key);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

fn usable_key(value: Value) -> Result<VerificationKey, &'static str> {
    let jwk: Jwk =
        serde_json::from_value(value).map_err(|_| "not an object with the members of a key")?;
    if jwk.d.is_some() {
        return Err("the private part of the key is published with it: the key must be replaced");
    }
    if jwk.kid.as_ref().is_some_and(|id| id.is_empty() || id.len() > KEY_ID_BYTES_MAX) {
        return Err("the key id is empty or longer than 128 bytes");
    }
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("the key is not for signatures");
    }
    if jwk.key_ops.as_ref().is_some_and(|operations| operations.iter().all(|one| one != "verify")) {
        return Err("the key is not for verifying");
    }
    let algorithm = match jwk.alg.as_deref() {
        None => None,
        Some(name) => Some(name.parse().map_err(|_| "the key's algorithm is not supported")?),
    };
    let (kind, key) = public_part(&jwk)?;
    if algorithm.is_some_and(|algorithm: SignatureAlgorithm| algorithm.key_kind() != kind) {
        return Err("the key's algorithm does not fit its type");
    }
    Ok(VerificationKey { id: jwk.kid, kind, algorithm, key })
}

fn public_part(jwk: &Jwk) -> Result<(KeyKind, DecodingKey), &'static str> {
    match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let modulus = member(jwk.n.as_ref())?;
            let exponent = member(jwk.e.as_ref())?;
            let modulus_start = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
            let modulus = modulus.get(modulus_start..).unwrap_or_default();
            if !(256..=1024).contains(&modulus.len()) {
                return Err("an RSA key must have 2048 to 8192 bits");
            }
            if exponent.is_empty() || exponent.len() > 8 {
                return Err("the RSA exponent is empty or longer than 8 bytes");
            }
            Ok((KeyKind::Rsa, DecodingKey::from_rsa_raw_components(modulus, &exponent)))
        }
        ("EC", Some("P-256")) => Ok((KeyKind::P256, point(jwk, 32)?)),
        ("EC", Some("P-384")) => Ok((KeyKind::P384, point(jwk, 48)?)),
        ("EC", _) => Err("the curve is neither P-256 nor P-384"),
        ("OKP", Some("Ed25519")) => {
            let x = member(jwk.x.as_ref())?;
            if x.len() != 32 {
                return Err("an Ed25519 key must have 32 bytes");
            }
            Ok((KeyKind::Ed25519, DecodingKey::from_ed_der(&x)))
        }
        ("OKP", _) => Err("the curve is not Ed25519"),
        ("oct", _) => Err("a symmetric key has no place in a public key set"),
        _ => Err("the key type is not supported"),
    }
}

/// The uncompressed point: `04 || x || y`.
fn point(jwk: &Jwk, coordinate_bytes: usize) -> Result<DecodingKey, &'static str> {
    let x = member(jwk.x.as_ref())?;
    let y = member(jwk.y.as_ref())?;
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return Err("a coordinate of the point has the wrong length for its curve");
    }
    Ok(DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()))
}

fn member(text: Option<&String>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("a member of the key is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member of the key is not base64url")
}

#[cfg(test)]
mod tests;
