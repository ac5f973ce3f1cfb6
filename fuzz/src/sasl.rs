//! Any bytes before a login: tokens of both mechanisms, and the frames around them.

use sluicegate::kafka::sasl::{self, Authenticated, SaslError};
use sluicegate::kafka::wire::{Form, put_bytes, put_uvarint};
use sluicegate::kafka::{self, ErrorCode, Exchange, Handling, Meaning, limits, walk};

use crate::budget;
use crate::input::{Choices, framed, seeded};
use crate::message::{self, Direction};

/// A SASL token, and the same bytes as a request of a login. A token that is taken has exactly the parts that its
/// mechanism writes that way, each within its bound; a frame around it is walked to the same bytes; answers walk;
/// and nothing is allocated beyond the token's size.
pub fn sasl(data: &[u8]) {
    let Some((seed, content)) = seeded(data) else { return };
    let mut choices = Choices::new(seed);
    let plain = plain(content);
    let bearer = oauth_bearer(content);
    let in_frame = authenticate_frame(&mut choices, content);
    conversation(&in_frame, Some(content), &mut choices);
    conversation(&framed(content), None, &mut choices);
    for error in [plain, bearer].into_iter().flatten() {
        let exchange = kafka::exchange(AUTHENTICATE, 2).expect("it is carried");
        answer(exchange, ErrorCode::SASL_AUTHENTICATION_FAILED, Some(&error.to_string()));
    }
}

/// PLAIN: the parts are the token's, and there are three.
fn plain(token: &[u8]) -> Option<SaslError> {
    let read = match budget::within("a PLAIN token", 0, || sasl::plain(token)) {
        Ok(read) => read,
        Err(error) => return Some(error),
    };
    let again = [read.authorization_id, read.user, read.password].join("\0");
    assert_eq!(again.as_bytes(), token);
    assert!(!read.user.is_empty() && !read.password.is_empty());
    assert!(!again.replacen('\0', "", 2).contains('\0'));
    assert!(read.authorization_id.len().max(read.user.len()) <= limits::SASL_NAME_SIZE_BYTES_MAX);
    assert!(read.password.len() <= limits::JWT_SIZE_BYTES_MAX);
    None
}

/// OAUTHBEARER: written again as RFC 7628 has it, the parts stand in the message.
fn oauth_bearer(message: &[u8]) -> Option<SaslError> {
    let limit = message.len();
    let read = match budget::within("an OAUTHBEARER message", limit, || sasl::oauth_bearer(message))
    {
        Ok(read) => read,
        Err(error) => return Some(error),
    };
    let text = std::str::from_utf8(message).expect("what was taken is text");
    let name = read.authorization_id.replace('=', "=3D").replace(',', "=2C");
    let header = if name.is_empty() { "n,,".to_owned() } else { format!("n,a={name},") };
    assert!(text.starts_with(&header), "`{header}` does not begin the message");
    assert!(text.ends_with("\u{1}\u{1}"));
    assert!(text.contains(&format!(" {}\u{1}", read.token)), "the token is not the message's");
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    assert!(!read.token.is_empty() && read.token.bytes().all(right));
    assert!(read.authorization_id.len() <= limits::SASL_NAME_SIZE_BYTES_MAX);
    assert!(read.token.len() <= limits::JWT_SIZE_BYTES_MAX);
    None
}

/// One request of a login, as `login.rs` reads it; it holds `token` where that is known.
fn conversation(frame: &[u8], token: Option<&[u8]>, choices: &mut Choices) {
    let Ok(header) = walk::request_header(frame) else {
        assert!(token.is_none(), "a frame of our own has a header");
        return;
    };
    let exchange = kafka::exchange(header.key, header.version);
    let Some(exchange) = exchange.filter(|it| it.api.handling == Handling::Login) else {
        assert!(token.is_none(), "a frame of our own is of a login");
        return;
    };
    let walked = message::walk(exchange, Direction::Request, (frame, header.body), choices);
    let Ok(found) = walked else {
        assert!(token.is_none(), "a frame of our own walks: {walked:?}");
        return;
    };
    if let Some(name) = found.text(Meaning::Mechanism) {
        assert!(name.text(frame).is_some(), "a mechanism that is null or not text");
        let names = ["PLAIN", "OAUTHBEARER"];
        let code = ErrorCode::UNSUPPORTED_SASL_MECHANISM;
        let frame = sasl::handshake_response(exchange, header.correlation_id, code, &names);
        message::walk_again(exchange, Direction::Response, &frame);
        return;
    }
    let blob = found.blob(Meaning::AuthBytes).expect("a request of a login has one of the two");
    assert!(!blob.null);
    if let Some(token) = token {
        assert_eq!(blob.bytes(frame), token);
        assert_eq!(found.trailing, 0);
    }
    answer(exchange, ErrorCode::NONE, None);
}

/// A SaslAuthenticate request with this token.
fn authenticate_frame(choices: &mut Choices, token: &[u8]) -> Vec<u8> {
    let version = [0_i16, 1, 2].get(choices.below(3)).copied().unwrap_or_default();
    let exchange = kafka::exchange(AUTHENTICATE, version).expect("it is carried");
    let mut out = AUTHENTICATE.to_be_bytes().to_vec();
    out.extend_from_slice(&version.to_be_bytes());
    out.extend_from_slice(b"\0\0\0\x07\0\x06client");
    let form = if exchange.is_flexible() { Form::Compact } else { Form::Classic };
    if exchange.is_flexible() {
        put_uvarint(&mut out, 0);
    }
    put_bytes(&mut out, form, Some(token));
    if exchange.is_flexible() {
        put_uvarint(&mut out, 0);
    }
    framed(&out)
}

fn answer(exchange: &'static Exchange, code: ErrorCode, message: Option<&str>) {
    let outcome = Authenticated { code, message, auth_bytes: b"x", session_lifetime_ms: 60_000 };
    let frame = sasl::authenticate_response(exchange, 7, outcome);
    message::walk_again(exchange, Direction::Response, &frame);
}

/// SaslAuthenticate's key.
const AUTHENTICATE: i16 = 36;
