//! SaslHandshake and SaslAuthenticate, and the tokens inside.
//!
//! A mechanism's name is [`Meaning::Mechanism`](crate::kafka::Meaning) in what a walk found, a
//! client's token [`Meaning::AuthBytes`](crate::kafka::Meaning). Tokens are secrets: nothing here
//! keeps, prints or quotes them.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use std::borrow::Cow;

use bytes::Bytes;
use thiserror::Error;

use crate::kafka::Exchange;
use crate::kafka::error_code::ErrorCode;
use crate::kafka::limits;
use crate::kafka::refuse::response_frame;
use crate::kafka::wire::{Form, put_bytes, put_count, put_string, put_uvarint};

/// Why a client's token is not what its mechanism says. No variant quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SaslError {
    /// It is longer than the limit.
    #[error("sasl {part} of {size} bytes is longer than {limit}")]
    TooLong {
        /// Which part of it.
        part: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not UTF-8.
    #[error("sasl token is not utf-8")]
    Utf8,
    /// PLAIN: not an authorization id, a user and a password, with a null before each of the last
    /// two.
    #[error("plain token is not `authzid NUL user NUL password` with user and password given")]
    Plain,
    /// OAUTHBEARER: the header before the pairs is not `n,` with an optional authorization id.
    #[error("oauthbearer token starts with a gs2 header other than `n,[a=authzid],`")]
    Gs2,
    /// OAUTHBEARER: the pairs do not follow the grammar of RFC 7628.
    #[error("oauthbearer token has a malformed key-value pair")]
    Pair,
    /// OAUTHBEARER: there is no `auth`, or more than one.
    #[error("oauthbearer token does not have one `auth`")]
    Auth,
    /// OAUTHBEARER: `auth` is not `Bearer` and a token.
    #[error("oauthbearer `auth` is not `Bearer` and a token")]
    Scheme,
}

/// What a client sends for PLAIN (RFC 4616).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlainToken<'a> {
    /// The id to act as; empty for the user's own.
    pub authorization_id: &'a str,
    /// The user.
    pub user: &'a str,
    /// The password: a secret.
    pub password: &'a str,
}

/// What a client sends for OAUTHBEARER (RFC 7628).
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken<'a> {
    /// The id to act as; empty for the token's own.
    pub authorization_id: Cow<'a, str>,
    /// The token: a secret.
    pub token: &'a str,
}

/// How an attempt to authenticate ended.
#[derive(Clone, Copy, Debug)]
pub struct Authenticated<'a> {
    /// [`ErrorCode::NONE`] or why not.
    pub code: ErrorCode,
    /// A text for the client where it failed.
    pub message: Option<&'a str>,
    /// The mechanism's own answer.
    pub auth_bytes: &'a [u8],
    /// Milliseconds until the client has to authenticate again (KIP-368), 0 for never.
    pub session_lifetime_ms: i64,
}

/// Reads a PLAIN token.
///
/// # Errors
/// [`SaslError`].
///
/// # Limits
/// [`limits::SASL_NAME_SIZE_BYTES_MAX`] for each name, [`limits::JWT_SIZE_BYTES_MAX`] for the
/// password.
pub fn plain(token: &[u8]) -> Result<PlainToken<'_>, SaslError> {
    let token = text(token)?;
    let mut parts = token.split('\0');
    let (Some(authorization_id), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SaslError::Plain);
    };
    if user.is_empty() || password.is_empty() {
        return Err(SaslError::Plain);
    }
    bounded("authorization id", authorization_id, limits::SASL_NAME_SIZE_BYTES_MAX)?;
    bounded("user", user, limits::SASL_NAME_SIZE_BYTES_MAX)?;
    bounded("password", password, limits::JWT_SIZE_BYTES_MAX)?;
    Ok(PlainToken { authorization_id, user, password })
}

/// Reads the first message of OAUTHBEARER.
///
/// ```text
/// n,[a=authzid],^A [key=value^A ...] auth=Bearer token^A [key=value^A ...] ^A
/// ```
///
/// # Errors
/// [`SaslError`].
///
/// # Limits
/// [`limits::SASL_NAME_SIZE_BYTES_MAX`] for the authorization id, [`limits::JWT_SIZE_BYTES_MAX`]
/// for the token, [`limits::SASL_EXTENSIONS_MAX`] for other pairs, which are checked and left
/// alone.
pub fn oauth_bearer(token: &[u8]) -> Result<BearerToken<'_>, SaslError> {
    let token = text(token)?;
    // Channel binding (`p=`) and its announcement (`y`) are for TLS clients that Kafka does not
    // have.
    let rest = token.strip_prefix("n,").ok_or(SaslError::Gs2)?;
    let (authorization_id, rest) = rest.split_once(',').ok_or(SaslError::Gs2)?;
    let authorization_id = match authorization_id.strip_prefix("a=") {
        Some(name) => sasl_name(name)?,
        None if authorization_id.is_empty() => Cow::Borrowed(""),
        None => return Err(SaslError::Gs2),
    };
    bounded("authorization id", &authorization_id, limits::SASL_NAME_SIZE_BYTES_MAX)?;
    let pairs = rest
        .strip_prefix(SEPARATOR)
        .and_then(|rest| rest.strip_suffix(SEPARATOR))
        .and_then(|pairs| pairs.strip_suffix(SEPARATOR))
        .ok_or(SaslError::Pair)?;
    let mut auth = None;
    for (count, pair) in pairs.split(SEPARATOR).enumerate() {
        if count > limits::SASL_EXTENSIONS_MAX {
            let (size, limit) = (count, limits::SASL_EXTENSIONS_MAX);
            return Err(SaslError::TooLong { part: "extensions", size, limit });
        }
        let (key, value) = pair.split_once('=').ok_or(SaslError::Pair)?;
        let key_right = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic());
        if !key_right || value.is_empty() || !value.bytes().all(is_value) {
            return Err(SaslError::Pair);
        }
        if key == "auth" && auth.replace(value).is_some() {
            return Err(SaslError::Auth);
        }
    }
    let token = bearer(auth.ok_or(SaslError::Auth)?)?;
    bounded("token", token, limits::JWT_SIZE_BYTES_MAX)?;
    Ok(BearerToken { authorization_id, token })
}

/// The response to SaslHandshake: whether the mechanism is known, and which are.
#[must_use]
pub fn handshake_response(
    exchange: &Exchange,
    correlation_id: i32,
    code: ErrorCode,
    mechanisms: &[&str],
) -> Bytes {
    response_frame(exchange, correlation_id, |out| {
        out.extend_from_slice(&code.0.to_be_bytes());
        put_count(out, Form::Classic, Some(mechanisms.len()));
        for mechanism in mechanisms {
            put_string(out, Form::Classic, Some(mechanism));
        }
    })
}

/// The response to SaslAuthenticate.
#[must_use]
pub fn authenticate_response(
    exchange: &Exchange,
    correlation_id: i32,
    outcome: Authenticated<'_>,
) -> Bytes {
    let flexible = exchange.is_flexible();
    let form = if flexible { Form::Compact } else { Form::Classic };
    response_frame(exchange, correlation_id, |out| {
        out.extend_from_slice(&outcome.code.0.to_be_bytes());
        put_string(out, form, outcome.message);
        put_bytes(out, form, Some(outcome.auth_bytes));
        if exchange.version >= 1 {
            out.extend_from_slice(&outcome.session_lifetime_ms.to_be_bytes());
        }
        if flexible {
            put_uvarint(out, 0);
        }
    })
}

fn text(token: &[u8]) -> Result<&str, SaslError> {
    let limit = limits::SASL_TOKEN_SIZE_BYTES_MAX;
    if token.len() > limit {
        return Err(SaslError::TooLong { part: "token", size: token.len(), limit });
    }
    std::str::from_utf8(token).map_err(|_| SaslError::Utf8)
}

fn bounded(part: &'static str, text: &str, limit: usize) -> Result<(), SaslError> {
    let size = text.len();
    if size > limit { Err(SaslError::TooLong { part, size, limit }) } else { Ok(()) }
}

/// Undoes the escapes of RFC 5801: `=2C` is a comma, `=3D` an equals sign, no other `=` may stand.
fn sasl_name(name: &str) -> Result<Cow<'_, str>, SaslError> {
    if name.is_empty() || name.contains('\0') {
        return Err(SaslError::Gs2);
    }
    if !name.contains('=') {
        return Ok(Cow::Borrowed(name));
    }
    let mut plain = String::with_capacity(name.len());
    let mut parts = name.split('=');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        if let Some(rest) = part.strip_prefix("2C") {
            plain.push(',');
            plain.push_str(rest);
        } else if let Some(rest) = part.strip_prefix("3D") {
            plain.push('=');
            plain.push_str(rest);
        } else {
            return Err(SaslError::Gs2);
        }
    }
    Ok(Cow::Owned(plain))
}

/// The token of `Bearer <token>`: the scheme in any case, the token in the alphabet of RFC 6750.
fn bearer(auth: &str) -> Result<&str, SaslError> {
    let (scheme, token) = auth.split_once(' ').ok_or(SaslError::Scheme)?;
    let token = token.trim_start_matches(' ');
    let body = token.trim_end_matches('=');
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if !scheme.eq_ignore_ascii_case("bearer") || body.is_empty() || !body.bytes().all(right) {
        return Err(SaslError::Scheme);
    }
    Ok(token)
}

fn is_value(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e | b' ' | b'\t' | b'\r' | b'\n')
}

/// Between pairs, and after the last: control-A.
const SEPARATOR: char = '\u{1}';

#[cfg(test)]
mod tests;
