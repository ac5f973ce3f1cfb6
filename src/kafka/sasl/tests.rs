//! Tokens, valid and hostile, and the responses as the oracle reads them.

use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};

use super::*;
use crate::kafka::exchange;
use crate::kafka::oracle;
use crate::kafka::walk;

#[test]
fn plain_tokens() {
    let check = |bytes: &[u8], expected: Result<(&str, &str, &str), SaslError>| {
        let read = plain(bytes).map(|it| (it.authorization_id, it.user, it.password));
        assert_eq!(read, expected, "{}", bytes.escape_ascii());
    };
    check(b"\0token\0eyJ", Ok(("", "token", "eyJ")));
    check(b"me\0token\0eyJ", Ok(("me", "token", "eyJ")));
    check("\0ü\0日".as_bytes(), Ok(("", "ü", "日")));
    check(b"", Err(SaslError::Plain));
    check(b"token", Err(SaslError::Plain));
    check(b"\0token", Err(SaslError::Plain));
    check(b"\0\0eyJ", Err(SaslError::Plain));
    check(b"\0token\0", Err(SaslError::Plain));
    check(b"\0token\0eyJ\0more", Err(SaslError::Plain));
    check(b"\0token\0\xff", Err(SaslError::Utf8));
    let limit = limits::JWT_SIZE_BYTES_MAX;
    let long = format!("\0token\0{}", "x".repeat(limit + 1));
    let size = limit + 1;
    check(long.as_bytes(), Err(SaslError::TooLong { part: "password", size, limit }));
    let fits = long.strip_suffix('x').unwrap();
    check(fits.as_bytes(), Ok(("", "token", fits.strip_prefix("\0token\0").unwrap())));
    let limit = limits::SASL_TOKEN_SIZE_BYTES_MAX;
    let size = limit + 1;
    check(&vec![b'x'; size], Err(SaslError::TooLong { part: "token", size, limit }));
}

#[test]
fn oauth_bearer_tokens() {
    let check = |bytes: &[u8], expected: Result<(&str, &str), SaslError>| {
        let read = oauth_bearer(bytes);
        let read = read.as_ref().map(|it| (&*it.authorization_id, it.token));
        assert_eq!(read, expected.as_ref().map(|it| *it), "{}", bytes.escape_ascii());
    };
    check(b"n,,\x01auth=Bearer a.b.c\x01\x01", Ok(("", "a.b.c")));
    check(b"n,a=me,\x01auth=bearer a.b-_~+/c==\x01\x01", Ok(("me", "a.b-_~+/c==")));
    check(b"n,a=a=2Cb=3Dc,\x01auth=BEARER  a\x01\x01", Ok(("a,b=c", "a")));
    check(b"n,,\x01ext=v w\x01auth=Bearer a\x01other=1=2\x01\x01", Ok(("", "a")));
    check(b"", Err(SaslError::Gs2));
    check(b"y,,\x01auth=Bearer a\x01\x01", Err(SaslError::Gs2));
    check(b"p=tls-unique,,\x01auth=Bearer a\x01\x01", Err(SaslError::Gs2));
    check(b"n,b=me,\x01auth=Bearer a\x01\x01", Err(SaslError::Gs2));
    check(b"n,a=,\x01auth=Bearer a\x01\x01", Err(SaslError::Gs2));
    check(b"n,a=a=2cb,\x01auth=Bearer a\x01\x01", Err(SaslError::Gs2));
    check(b"n,a=a=b,\x01auth=Bearer a\x01\x01", Err(SaslError::Gs2));
    check(b"n,,\x01", Err(SaslError::Pair));
    check(b"n,,\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01\x01\x01", Err(SaslError::Pair));
    check(b"n,,auth=Bearer a\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01auth=Bearer a\x01", Err(SaslError::Pair));
    check(b"n,,\x01auth=Bearer a\x01\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01auth\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01auth=\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01e2=x\x01auth=Bearer a\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01ext=\x02\x01auth=Bearer a\x01\x01", Err(SaslError::Pair));
    check(b"n,,\x01ext=x\x01\x01", Err(SaslError::Auth));
    check(b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", Err(SaslError::Auth));
    check(b"n,,\x01auth=Bearer\x01\x01", Err(SaslError::Scheme));
    check(b"n,,\x01auth=Bearer ==\x01\x01", Err(SaslError::Scheme));
    check(b"n,,\x01auth=Bearer a b\x01\x01", Err(SaslError::Scheme));
    check(b"n,,\x01auth=Basic a\x01\x01", Err(SaslError::Scheme));
    check(b"n,,\x01auth=Bearer \xff\x01\x01", Err(SaslError::Utf8));
    let (size, limit) = (limits::JWT_SIZE_BYTES_MAX + 1, limits::JWT_SIZE_BYTES_MAX);
    let long = format!("n,,\u{1}auth=Bearer {}\u{1}\u{1}", "x".repeat(size));
    check(long.as_bytes(), Err(SaslError::TooLong { part: "token", size, limit }));
    let many = format!("n,,\u{1}{}auth=Bearer a\u{1}\u{1}", "e=1\u{1}".repeat(17));
    let limit = limits::SASL_EXTENSIONS_MAX;
    let error = SaslError::TooLong { part: "extensions", size: limit + 1, limit };
    check(many.as_bytes(), Err(error));
}

#[test]
fn responses() {
    for version in 0..=1 {
        let exchange = exchange(17, version).unwrap();
        let code = ErrorCode::UNSUPPORTED_SASL_MECHANISM;
        let frame = handshake_response(exchange, 7, code, &["PLAIN", "OAUTHBEARER"]);
        let (_, body) = walk::response_header(exchange, &frame).unwrap();
        let read: SaslHandshakeResponse = oracle::decode(&frame[body..], version).unwrap();
        assert_eq!((read.error_code, read.mechanisms.len()), (33, 2));
    }
    for version in 0..=2 {
        let exchange = exchange(36, version).unwrap();
        let outcome = Authenticated {
            code: ErrorCode::NONE,
            message: None,
            auth_bytes: b"x",
            session_lifetime_ms: 60_000,
        };
        let frame = authenticate_response(exchange, 7, outcome);
        let (_, body) = walk::response_header(exchange, &frame).unwrap();
        let read: SaslAuthenticateResponse = oracle::decode(&frame[body..], version).unwrap();
        assert_eq!((read.error_code, read.error_message), (0, None));
        assert_eq!(&read.auth_bytes[..], b"x");
        assert_eq!(read.session_lifetime_ms, if version >= 1 { 60_000 } else { 0 });
    }
}
