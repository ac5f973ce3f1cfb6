//! From a compact JWT to an [`Identity`].
//!
//! Pure: the token, the issuers that are trusted with their keys, and the time go in; an identity
//! or a named cause comes out. Every rule is here, in one order, and none is left to the defaults
//! of a library: signatures are checked by [`VerificationKey`](super::keys::VerificationKey),
//! claims by this file.
//!
//! ```text
//! size ─▶ three parts ─▶ header ─▶ issuer (by the unverified iss) ─▶ algorithm ─▶ key
//!      ─▶ signature ─▶ claims ─▶ groups
//! ```
//!
//! What the header says of keys (`jku`, `jwk`, `x5u`, `x5c`) is never read. Text for the client
//! names what is wrong and what was expected; it never holds the token.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::keys::{KEY_ID_BYTES_MAX, KeySet, Lookup};
use super::rules::IssuerRules;
use crate::vocabulary::{Identity, UnixMillis};

/// The most bytes that a token may have.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// How far `nbf` and `iat` may lie in the future, in milliseconds. `exp` has no leeway.
pub const LEEWAY_MS: i64 = 30_000;

/// The most bytes that a subject may have: OpenID Connect's own limit.
pub const SUBJECT_BYTES_MAX: usize = 255;

/// An issuer with the keys that are known of it now.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// What must hold of its tokens.
    pub rules: Arc<IssuerRules>,
    /// Its keys; `None` until they were read once.
    pub keys: Option<Arc<KeySet>>,
    /// The keys serve before this instant: after it they are too old to trust.
    pub keys_until: UnixMillis,
}

/// A name for a token that may stand in a log: the first 8 bytes of its SHA-256, in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenFingerprint([u8; 8]);

/// Why a token is refused. Blame: the client, but for [`TokenError::KeysUnavailable`].
///
/// The text is meant for the client: it helps, and holds nothing that the client did not send or
/// need not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// More than [`TOKEN_BYTES_MAX`].
    #[error("token has {bytes} bytes; at most {TOKEN_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a compact JWT.
    #[error("token is not a JWT: {what}")]
    Malformed {
        /// Which part is wrong.
        what: &'static str,
    },
    /// A header with `crit`: extensions that we do not know must not be skipped.
    #[error("token header has `crit`, and no critical extension is supported")]
    Critical,
    /// The `iss` is not that of an issuer which this listener trusts.
    #[error("issuer `{issuer}` is not accepted; expected {expected}")]
    Issuer {
        /// What the token says, cut.
        issuer: String,
        /// What would have been accepted.
        expected: String,
    },
    /// The header names an algorithm outside of the issuer's list.
    #[error("algorithm `{algorithm}` is not accepted; expected {expected}")]
    Algorithm {
        /// What the token says, cut.
        algorithm: String,
        /// What would have been accepted.
        expected: String,
    },
    /// A key id of more than [`KEY_ID_BYTES_MAX`].
    #[error("key id has {bytes} bytes; at most {KEY_ID_BYTES_MAX} are accepted")]
    KeyIdTooLong {
        /// Its size.
        bytes: usize,
    },
    /// The issuer's keys were never read, or are too old.
    #[error("the keys of issuer `{issuer}` are not available at the moment; try again later")]
    KeysUnavailable {
        /// The issuer's name in the configuration.
        issuer: String,
    },
    /// No key of the issuer has the token's key id.
    #[error("issuer `{issuer}` has no key `{key_id}`")]
    UnknownKey {
        /// The issuer's name in the configuration.
        issuer: String,
        /// The token's key id, cut; empty where it has none.
        key_id: String,
    },
    /// The key exists but is of another type, or for another algorithm.
    #[error("key `{key_id}` does not serve algorithm {algorithm}")]
    KeyMismatch {
        /// The token's key id, cut.
        key_id: String,
        /// The token's algorithm.
        algorithm: &'static str,
    },
    /// The signature is not the issuer's.
    #[error("token signature is wrong")]
    Signature,
    /// A required claim is absent.
    #[error("token has no `{claim}` claim")]
    MissingClaim {
        /// Which one.
        claim: &'static str,
    },
    /// A claim of the wrong type.
    #[error("claim `{claim}` must be {expected}")]
    ClaimType {
        /// Which one, cut.
        claim: String,
        /// What it must be.
        expected: &'static str,
    },
    /// None of the token's audiences is ours.
    #[error("audience {audience} is not accepted; expected {expected}")]
    Audience {
        /// What the token says, cut.
        audience: String,
        /// What would have been accepted.
        expected: String,
    },
    /// `exp` has come.
    #[error("token expired {} ago", span(*ago_ms))]
    Expired {
        /// How long ago, in milliseconds.
        ago_ms: i64,
    },
    /// `nbf` or `iat` lies further in the future than the leeway.
    #[error("token is not valid yet: `{claim}` is {} ahead; check the clocks", span(*in_ms))]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// How far ahead, in milliseconds.
        in_ms: i64,
    },
}

impl TokenFingerprint {
    /// The fingerprint of a token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let digest = Sha256::digest(token.as_bytes());
        let mut bytes = [0; 8];
        for (target, source) in bytes.iter_mut().zip(digest.iter()) {
            *target = *source;
        }
        Self(bytes)
    }
}

impl fmt::Display for TokenFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenFingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TokenFingerprint({self})")
    }
}

impl TokenError {
    /// A short name of the cause, for metrics and entries.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Malformed { .. } => "malformed",
            Self::Critical => "critical_extension",
            Self::Issuer { .. } => "issuer",
            Self::Algorithm { .. } => "algorithm",
            Self::KeyIdTooLong { .. } => "key_id_too_long",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::UnknownKey { .. } => "unknown_key",
            Self::KeyMismatch { .. } => "key_mismatch",
            Self::Signature => "signature",
            Self::MissingClaim { .. } => "missing_claim",
            Self::ClaimType { .. } => "claim_type",
            Self::Audience { .. } => "audience",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
        }
    }
}

/// Verifies a token against the issuers that a listener trusts.
///
/// # Errors
///
/// The first rule that does not hold, as its own variant.
pub fn verify_token(
    token: &str,
    trusted: &[&TrustedIssuer],
    now: UnixMillis,
) -> Result<Identity, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge { bytes: token.len() });
    }
    let parts = Parts::split(token)?;
    let header: Header = json_part(parts.header, HEADER_MALFORMED)?;
    if header.critical {
        return Err(TokenError::Critical);
    }
    let claims: Claims = json_part(parts.claims, CLAIMS_MALFORMED)?;
    let issuer = select_issuer(&claims, trusted)?;
    let rules = &issuer.rules;
    verify_signature(&parts, &header, issuer, now)?;

    let Claims(claims) = claims;
    check_audience(&claims, rules)?;
    let subject = required_string(&claims, "sub")?;
    if subject.is_empty()
        || subject.len() > SUBJECT_BYTES_MAX
        || subject.chars().any(char::is_control)
    {
        return Err(TokenError::ClaimType {
            claim: "sub".to_owned(),
            expected: "1 to 255 bytes without control characters",
        });
    }
    let expires_at = check_times(&claims, now)?;
    Ok(Identity {
        issuer: rules.issuer.clone(),
        subject: subject.to_owned(),
        groups: groups(&claims, rules)?,
        expires_at,
    })
}

/// Text of a peer, fit for a message: at most 64 bytes, control characters and backticks replaced.
pub(crate) fn quotable(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.chars() {
        if quoted.len().saturating_add(character.len_utf8()) > QUOTED_BYTES_MAX {
            quoted.push('…');
            break;
        }
        let plain = !character.is_control() && character != '`';
        quoted.push(if plain { character } else { '?' });
    }
    quoted
}

struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// What is signed: header and claims with the dot between them.
    message: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed { what: "it must have three parts between dots" };
        let Some((message, signature)) = token.rsplit_once('.') else {
            return Err(malformed);
        };
        match message.split_once('.') {
            Some((header, claims)) if !claims.contains('.') => {
                Ok(Self { header, claims, signature, message })
            }
            _ => Err(malformed),
        }
    }
}

/// The members of the header that are read. A member that occurs twice makes the header invalid.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "crit", deserialize_with = "present")]
    critical: bool,
}

/// The claims, none of which occurs twice: parsers disagree about which of two would count.
struct Claims(Map<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ClaimsVisitor;

        impl<'de> Visitor<'de> for ClaimsVisitor {
            type Value = Claims;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Claims, A::Error> {
                let mut claims = Map::new();
                while let Some((name, value)) = members.next_entry::<String, Value>()? {
                    if claims.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim occurs twice"));
                    }
                }
                Ok(Claims(claims))
            }
        }

        deserializer.deserialize_map(ClaimsVisitor)
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn json_part<T: for<'de> Deserialize<'de>>(
    part: &str,
    what: &'static str,
) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map(Zeroizing::new)
        .map_err(|_| TokenError::Malformed { what })?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Malformed { what })
}

/// The unverified `iss` only chooses the keys; a wrong choice fails at the signature.
fn select_issuer<'a>(
    claims: &Claims,
    trusted: &[&'a TrustedIssuer],
) -> Result<&'a TrustedIssuer, TokenError> {
    let issuer = required_string(&claims.0, "iss")?;
    trusted.iter().copied().find(|candidate| candidate.rules.issuer == issuer).ok_or_else(|| {
        TokenError::Issuer {
            issuer: quotable(issuer),
            expected: one_of(trusted.iter().map(|candidate| candidate.rules.issuer.as_str())),
        }
    })
}

fn verify_signature(
    parts: &Parts<'_>,
    header: &Header,
    issuer: &TrustedIssuer,
    now: UnixMillis,
) -> Result<(), TokenError> {
    let rules = &issuer.rules;
    let algorithm = rules
        .algorithms
        .iter()
        .copied()
        .find(|algorithm| algorithm.name() == header.alg)
        .ok_or_else(|| TokenError::Algorithm {
            algorithm: quotable(&header.alg),
            expected: one_of(rules.algorithms.iter().map(|algorithm| algorithm.name())),
        })?;
    let key_id = header.kid.as_deref();
    if let Some(id) = key_id.filter(|id| id.len() > KEY_ID_BYTES_MAX) {
        return Err(TokenError::KeyIdTooLong { bytes: id.len() });
    }
    let keys = issuer
        .keys
        .as_ref()
        .filter(|_| now < issuer.keys_until)
        .ok_or_else(|| TokenError::KeysUnavailable { issuer: rules.name().to_owned() })?;
    let key = match keys.find(key_id, algorithm) {
        Lookup::Found(key) => key,
        Lookup::Unknown => {
            let key_id = quotable(key_id.unwrap_or_default());
            return Err(TokenError::UnknownKey { issuer: rules.name().to_owned(), key_id });
        }
        Lookup::Mismatch => {
            let key_id = quotable(key_id.unwrap_or_default());
            return Err(TokenError::KeyMismatch { key_id, algorithm: algorithm.name() });
        }
    };
    let signature = URL_SAFE_NO_PAD
        .decode(parts.signature)
        .map(Zeroizing::new)
        .map_err(|_| TokenError::Malformed { what: "its signature is not base64url" })?;
    if key.verifies(algorithm, parts.message.as_bytes(), &signature) {
        Ok(())
    } else {
        Err(TokenError::Signature)
    }
}

fn check_audience(claims: &Map<String, Value>, rules: &IssuerRules) -> Result<(), TokenError> {
    let value = claims.get("aud").ok_or(TokenError::MissingClaim { claim: "aud" })?;
    let audiences = strings(value).ok_or_else(|| TokenError::ClaimType {
        claim: "aud".to_owned(),
        expected: "a string or a list of strings",
    })?;
    if audiences.iter().any(|audience| rules.audiences.iter().any(|ours| ours == audience)) {
        return Ok(());
    }
    let shown: Vec<String> =
        audiences.iter().take(QUOTED_AUDIENCES_MAX).map(|one| quotable(one)).collect();
    Err(TokenError::Audience {
        audience: format!("`{}`", shown.join("`, `")),
        expected: one_of(rules.audiences.iter().map(String::as_str)),
    })
}

/// The end of the token, once all of its times hold.
fn check_times(claims: &Map<String, Value>, now: UnixMillis) -> Result<UnixMillis, TokenError> {
    // Fractions of a millisecond are dropped to the strict side: an earlier end, a later beginning.
    let expires_at = numeric_date(claims, "exp", f64::floor)?
        .ok_or(TokenError::MissingClaim { claim: "exp" })?;
    let issued_at =
        numeric_date(claims, "iat", f64::ceil)?.ok_or(TokenError::MissingClaim { claim: "iat" })?;
    let not_before = numeric_date(claims, "nbf", f64::ceil)?;
    if now >= expires_at {
        return Err(TokenError::Expired { ago_ms: now.0.saturating_sub(expires_at.0) });
    }
    for (claim, instant) in [("nbf", not_before), ("iat", Some(issued_at))] {
        let in_ms = instant.map_or(0, |instant| instant.0.saturating_sub(now.0));
        if in_ms > LEEWAY_MS {
            return Err(TokenError::NotYetValid { claim, in_ms });
        }
    }
    Ok(expires_at)
}

/// A claim in seconds since the epoch, whole or fractional, as a JSON number and nothing else.
fn numeric_date(
    claims: &Map<String, Value>,
    claim: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixMillis>, TokenError> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let millis = match value {
        Value::Number(number) => match number.as_i64() {
            Some(seconds) => seconds.checked_mul(1000),
            // By way of text, because it fails where a cast would saturate.
            None => number
                .as_f64()
                .filter(|seconds| *seconds >= 0.0)
                .and_then(|seconds| format!("{:.0}", round(seconds * 1000.0)).parse().ok()),
        },
        _ => None,
    };
    match millis.filter(|millis| (0..=NUMERIC_DATE_MS_MAX).contains(millis)) {
        Some(millis) => Ok(Some(UnixMillis(millis))),
        None => Err(TokenError::ClaimType {
            claim: claim.to_owned(),
            expected: "a number of seconds since 1970, before the year 10000",
        }),
    }
}

/// The groups, prefixed, sorted and once each. No such claim means no groups; a claim of another
/// type is an error.
fn groups(claims: &Map<String, Value>, rules: &IssuerRules) -> Result<Vec<String>, TokenError> {
    let Some(value) = at_path(claims, &rules.groups_claim) else {
        return Ok(Vec::new());
    };
    let names = strings(value).ok_or_else(|| TokenError::ClaimType {
        claim: quotable(&rules.groups_claim),
        expected: "a string or a list of strings",
    })?;
    let mut groups: Vec<String> = names
        .into_iter()
        .filter(|name| !name.is_empty())
        .map(|name| format!("{}{name}", rules.groups_prefix))
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// A claim whose whole name is the path comes first, because names that are URLs have dots of their
/// own.
fn at_path<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step))
}

fn required_string<'a>(
    claims: &'a Map<String, Value>,
    claim: &'static str,
) -> Result<&'a str, TokenError> {
    let value = claims.get(claim).ok_or(TokenError::MissingClaim { claim })?;
    value
        .as_str()
        .ok_or_else(|| TokenError::ClaimType { claim: claim.to_owned(), expected: "a string" })
}

/// One string or a list of nothing but strings.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(quotable).collect();
    match names.as_slice() {
        [] => "none: no issuer is configured here".to_owned(),
        [only] => format!("`{only}`"),
        _ => format!("one of `{}`", names.join("`, `")),
    }
}

fn span(millis: i64) -> String {
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..600_000 => format!("{} s", millis / 1_000),
        _ => format!("{} min", millis / 60_000),
    }
}

/// 9999-12-31T23:59:59.999Z.
const NUMERIC_DATE_MS_MAX: i64 = 253_402_300_799_999;

const HEADER_MALFORMED: &str = "its header is not base64url of a JSON object with `alg`";

const CLAIMS_MALFORMED: &str = "its claims are not base64url of a JSON object without duplicates";

const QUOTED_BYTES_MAX: usize = 64;

const QUOTED_AUDIENCES_MAX: usize = 3;

#[cfg(test)]
mod tests;
