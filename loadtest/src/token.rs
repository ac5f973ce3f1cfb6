//! Tokens for gateways under test and under load: an issuer that lives in this process.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

/// An ES256 key and the name under which it signs.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key_id: String,
    key: EncodingKey,
    public: Vec<u8>,
}

impl Issuer {
    /// An issuer with a fresh key.
    ///
    /// # Errors
    /// Where no key can be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let key_id = format!("key-of-{url}");
        Ok(Self { url: url.to_owned(), key_id, key, public: pair.public_key_raw().to_vec() })
    }

    /// The public key as a JWKS document (RFC 7517).
    ///
    /// # Errors
    /// Where the key is no uncompressed point.
    pub fn jwks(&self) -> anyhow::Result<String> {
        // An uncompressed point: 0x04, then x and y of 32 bytes each.
        let point = self.public.strip_prefix(&[4]).filter(|point| point.len() == 64);
        let (x, y) = point.context("not an uncompressed point")?.split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        let id = &self.key_id;
        let key = json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": x, "y": y});
        Ok(json!({ "keys": [key] }).to_string())
    }

    /// The claims of a good token that ends `life` from now, cut to the second as tokens are.
    ///
    /// # Errors
    /// Where the clock stands before 1970.
    pub fn claims(
        &self,
        audience: &str,
        subject: &str,
        groups: &[&str],
        life: Duration,
    ) -> anyhow::Result<Value> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(json!({
            "iss": self.url,
            "aud": audience,
            "sub": subject,
            "groups": groups,
            "iat": now.as_secs(),
            "exp": (now + life).as_secs(),
        }))
    }

    /// Signs whatever claims.
    ///
    /// # Errors
    /// Where the signature cannot be made.
    pub fn sign(&self, claims: &Value) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }

    /// The same claims without a signature, as `alg: none` has it.
    #[must_use]
    pub fn unsigned(&self, claims: &Value) -> String {
        let header = json!({"alg": "none", "typ": "JWT", "kid": self.key_id});
        let [header, claims] =
            [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{header}.{claims}.")
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;

    #[test]
    fn a_token_verifies_by_the_published_key() {
        let issuer = Issuer::new("https://issuer.test").unwrap();
        let life = Duration::from_secs(60);
        let claims = issuer.claims("kafka", "alice", &["readers"], life).unwrap();
        let keys: JwkSet = serde_json::from_str(&issuer.jwks().unwrap()).unwrap();
        let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["kafka"]);
        validation.set_issuer(&["https://issuer.test"]);
        let decode = |token: &str| jsonwebtoken::decode::<Value>(token, &key, &validation);
        let decoded = decode(&issuer.sign(&claims).unwrap()).unwrap();
        assert_eq!(decoded.claims, claims);
        assert!(decode(&issuer.unsigned(&claims)).is_err());
        let stranger = Issuer::new("https://issuer.test").unwrap();
        assert!(decode(&stranger.sign(&claims).unwrap()).is_err());
    }
}
