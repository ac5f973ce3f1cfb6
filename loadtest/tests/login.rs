//! Who may come in: tokens that are good in every way, by both mechanisms; everybody else is told why not.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use serde_json::{Value, json};
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{METADATA_VERSION, metadata};

use crate::support::clients::{FAMILIES, Login, Record};
use crate::support::front::Front;
use crate::support::gateway::Setup;
use crate::support::tokens::{ALICE, BOB, HOUR, Issuer};
use crate::support::{PATIENCE, skip, unique};

/// Kafka's SASL_AUTHENTICATION_FAILED.
const AUTHENTICATION_FAILED: i16 = 58;
/// Kafka's UNSUPPORTED_SASL_MECHANISM.
const UNSUPPORTED_MECHANISM: i16 = 33;

/// A shared front with a gateway, or a printed line: Kafka's own users have no tokens.
fn gateway_front() -> Option<&'static Front> {
    let front = Front::shared()?;
    if front.gateway.is_none() {
        skip("Kafka's own users have no tokens");
        return None;
    }
    Some(front)
}

/// Bad tokens by what is wrong with them, with words of which a helpful text has one.
fn bad_tokens(issuer: &Issuer) -> BTreeMap<&'static str, (String, &'static [&'static str])> {
    let spoilt = |key: &str, value: Value| {
        let mut claims = issuer.claims(&ALICE, HOUR);
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(key)),
            value => claims[key] = value,
        }
        issuer.sign(&claims)
    };
    let good = issuer.token(&ALICE);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut other_signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    other_signature[10] ^= 1;
    let flipped = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(other_signature));
    let now = issuer.claims(&ALICE, Duration::ZERO)["exp"].as_u64().unwrap();
    let unsigned = issuer.0.unsigned(&issuer.claims(&ALICE, HOUR));
    BTreeMap::from([
        ("expired", (spoilt("exp", json!(now - 2)), &["expired"][..])),
        ("without expiry", (spoilt("exp", Value::Null), &["exp"])),
        ("from the future", (spoilt("nbf", json!(now + 600)), &["not valid yet", "nbf"])),
        ("for others", (spoilt("aud", json!("elsewhere")), &["audience"])),
        ("for nobody", (spoilt("aud", Value::Null), &["aud"])),
        ("of a stranger", (spoilt("iss", json!("https://stranger.test")), &["issuer"])),
        ("of nobody", (spoilt("iss", Value::Null), &["iss"])),
        ("without subject", (spoilt("sub", Value::Null), &["sub"])),
        ("signed with another key", (Issuer::new().token(&ALICE), &["signature"])),
        ("changed", (flipped, &["signature"])),
        ("unsigned", (unsigned, &["algorithm", "signature", "signed"])),
        ("no token", ("hello".to_owned(), &["token", "JWT"])),
        ("too long", ("x".repeat(40_000), &["token", "JWT", "bytes"])),
    ])
}

#[test]
fn bad_tokens_are_refused_with_a_text_that_helps() {
    let Some(front) = gateway_front() else { return };
    for (what, (token, words)) in bad_tokens(&front.gateway().issuer) {
        let mut connection = front.connect();
        let (code, text) = authenticate(&mut connection, "PLAIN", &plain("alice", &token));
        assert_eq!(code, AUTHENTICATION_FAILED, "a token {what}: {text}");
        assert_helps(what, &text, &token, words);
        assert_ends(&mut connection);
    }
}

#[test]
fn oauthbearer_refuses_them_too() {
    let Some(front) = gateway_front() else { return };
    for (what, (token, words)) in bad_tokens(&front.gateway().issuer) {
        let mut connection = front.connect();
        let message = format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}");
        let (mut code, mut text) = authenticate(&mut connection, "OAUTHBEARER", message.as_bytes());
        if code == 0 {
            // RFC 7628 §3.2.3: the server's failure is a challenge, the client answers it with ^A, then it fails.
            let request =
                SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(&[1]));
            let answer = connection.call(2, &request).unwrap();
            text.push_str(&answer.error_message.unwrap_or_default());
            code = answer.error_code;
        }
        assert_eq!(code, AUTHENTICATION_FAILED, "a token {what}: {text}");
        assert_helps(what, &text, &token, words);
        assert_ends(&mut connection);
    }
}

/// The text says what is wrong, in a line, and nothing of the token itself.
fn assert_helps(what: &str, text: &str, token: &str, words: &[&str]) {
    let lower = text.to_lowercase();
    let helps = words.iter().any(|word| lower.contains(&word.to_lowercase()));
    assert!(helps, "a token {what}: none of {words:?} in `{text}`");
    assert!(text.len() <= 400, "a token {what}: {} bytes of text", text.len());
    let signature = token.rsplit('.').next().unwrap();
    assert!(signature.len() < 20 || !text.contains(signature), "a token {what}: `{text}`");
}

#[test]
fn real_clients_say_that_the_login_failed() {
    let Some(front) = gateway_front() else { return };
    let (expired, _) = bad_tokens(&front.gateway().issuer).remove("expired").unwrap();
    for family in FAMILIES {
        let password = PlainLogin { username: "alice".to_owned(), password: expired.clone() };
        for login in [Login::Plain(password), Login::Bearer(expired.clone())] {
            let access = front.access_with(login);
            let consumer = family.consumer(&access, &[]);
            consumer.assign("any", 0);
            let polled = consumer.poll(1, Duration::from_secs(30));
            let error = polled.error.unwrap_or_else(|| panic!("{family:?} came in: {access:?}"));
            assert!(
                error.code == i32::from(AUTHENTICATION_FAILED) || error.name == "_AUTHENTICATION",
                "{family:?}: {error:?}"
            );
            assert!(error.message.contains("expired"), "{family:?}: {error:?}");
        }
    }
}

#[test]
fn good_tokens_come_in_by_both_mechanisms() {
    let Some(front) = gateway_front() else { return };
    for family in FAMILIES {
        let topic = unique("bearer");
        front.kafka.create_topic(&topic, 1);
        let token = front.gateway().issuer.token(&ALICE);
        let bearer = front.access_with(Login::Bearer(token));
        family.producer(&bearer, &[]).send(&topic, &[Record::of("in")]).remove(0).unwrap();
        let consumer = family.consumer(&front.access(&ALICE), &[]);
        consumer.assign(&topic, 0);
        let polled = consumer.poll(1, PATIENCE);
        assert_eq!(polled.records.len(), 1, "{family:?}: {:?}", polled.error);
        let consumer = family.consumer(&bearer, &[]);
        consumer.assign(&topic, 0);
        assert_eq!(consumer.poll(1, PATIENCE).records[0].text(), "in", "{family:?}");
    }
}

#[test]
fn encrypted_connections_carry_the_same() {
    let Some(front) = Front::start(Setup { encrypted: true, ..Setup::default() }) else { return };
    for family in FAMILIES {
        let topic = unique("encrypted");
        front.kafka.create_topic(&topic, 1);
        let access = front.access(&ALICE);
        let generated = family.producer(&access, &[]).generate(&topic, 3_000, 1_000);
        assert_eq!(generated.acknowledged, 3_000, "{family:?}: {generated:?}");
        let bearer = front.access_with(Login::Bearer(front.gateway().issuer.token(&ALICE)));
        let consumer = family.consumer(&bearer, &[]);
        consumer.assign(&topic, 0);
        let counted = consumer.count(3_000, PATIENCE);
        assert_eq!((counted.different, counted.bytes), (3_000, 3_000_000), "{family:?}");
    }
}

#[test]
fn the_answer_to_a_login_says_how_long_it_lasts_and_it_can_be_renewed() {
    let Some(front) = gateway_front() else { return };
    let issuer = &front.gateway().issuer;
    let mut connection = front.connect();
    let mut log_in = |name: &str, token: &str| {
        handshake(&mut connection, "PLAIN");
        let request = SaslAuthenticateRequest::default().with_auth_bytes(plain(name, token).into());
        let answer = connection.call(2, &request).unwrap();
        let served =
            answer.error_code == 0 && connection.call(METADATA_VERSION, &metadata(None)).is_ok();
        (answer.error_code, answer.session_lifetime_ms, served)
    };
    for life in [60, 600] {
        let token = issuer.sign(&issuer.claims(&ALICE, Duration::from_secs(life)));
        let (code, lifetime_ms, served) = log_in("alice", &token);
        assert!(code == 0 && served, "error {code}");
        let most = i64::try_from(life * 1000).unwrap();
        // Tokens end at a whole second, and a slow machine takes its time.
        assert!((most - 20_000..=most).contains(&lifetime_ms), "{lifetime_ms} ms of {most}");
    }
    // Another person may not take the connection over (KIP-368).
    let (code, _, served) = log_in("bob", &issuer.token(&BOB));
    assert!(code == AUTHENTICATION_FAILED && !served, "error {code}");
}

#[test]
fn an_unknown_mechanism_is_told_the_known_ones() {
    let Some(front) = gateway_front() else { return };
    let mut connection = front.connect();
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("SCRAM-SHA-256"));
    let answer = connection.call(1, &request).unwrap();
    assert_eq!(answer.error_code, UNSUPPORTED_MECHANISM);
    let mut mechanisms: Vec<&str> = answer.mechanisms.iter().map(|name| &**name).collect();
    mechanisms.sort_unstable();
    assert_eq!(mechanisms, ["OAUTHBEARER", "PLAIN"]);
}

#[test]
fn nothing_is_served_before_the_login() {
    let Some(front) = gateway_front() else { return };
    let mut connection = front.connect();
    connection.send(METADATA_VERSION, &metadata(None)).unwrap();
    assert_ends(&mut connection);
}

#[test]
fn no_token_is_logged_or_stored() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let gateway = front.gateway();
    let topic = unique("secret");
    front.kafka.create_topic(&topic, 1);
    let mut tokens: Vec<String> =
        bad_tokens(&gateway.issuer).into_values().map(|(token, _)| token).collect();
    for token in &tokens {
        authenticate(&mut front.connect(), "PLAIN", &plain("alice", token));
    }
    let good = front.login(&ALICE);
    let mut connection = front.connect();
    connection.login(&good).unwrap();
    connection.call(METADATA_VERSION, &metadata(Some(&[&topic]))).unwrap();
    tokens.push(good.password);
    // Ended, so that all it would write is written.
    gateway.process.signal(rustix::process::Signal::TERM);
    gateway.process.await_exit(PATIENCE).expect("it ends");
    let log = gateway.process.log();
    let mut stored = Vec::new();
    read_all(&gateway.folder().join("data"), &mut stored);
    assert!(!stored.is_empty(), "nothing is recorded at all");
    for token in tokens.iter().filter(|token| token.len() > 20) {
        // What stands last is the signature; the rest alone opens nothing, but has no business there either.
        let secret = &token[token.len() - 20..];
        assert!(!log.contains(secret), "a token is in the log");
        let found = stored.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a token is in the data folder");
    }
}

fn read_all(folder: &std::path::Path, into: &mut Vec<u8>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => read_all(&entry.path(), into),
            Ok(_) => into.extend(std::fs::read(entry.path()).unwrap_or_default()),
            Err(_) => {}
        }
    }
}

/// The initial response of PLAIN (RFC 4616).
pub fn plain(name: &str, password: &str) -> Vec<u8> {
    [b"\0", name.as_bytes(), b"\0", password.as_bytes()].concat()
}

fn handshake(connection: &mut Connection, mechanism: &'static str) {
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let answer = connection.call(1, &request).unwrap();
    assert_eq!(answer.error_code, 0, "{mechanism}");
}

/// Logs in by hand; the error code and what the server says.
fn authenticate(
    connection: &mut Connection,
    mechanism: &'static str,
    message: &[u8],
) -> (i16, String) {
    handshake(connection, mechanism);
    let request =
        SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(message));
    let answer = connection.call(2, &request).unwrap();
    let mut text = answer.error_message.map(|text| text.to_string()).unwrap_or_default();
    text.push_str(&String::from_utf8_lossy(&answer.auth_bytes));
    (answer.error_code, text)
}

/// The other side closes, without another frame.
pub fn assert_ends(connection: &mut Connection) {
    use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
    match connection.read_frame() {
        Err(error) if matches!(error.kind(), UnexpectedEof | ConnectionReset) => {}
        other => panic!("the connection goes on: {other:?}"),
    }
}

#[test]
fn a_client_id_that_is_too_long_is_refused_with_the_bound() {
    let Some(front) = Front::start(Setup::default()) else { return };
    let topic = unique("named");
    front.kafka.create_topic(&topic, 1);
    for (bytes, is_taken) in [(256, true), (257, false)] {
        let client_id = "c".repeat(bytes);
        let config = [
            ("client.id", client_id.as_str()),
            ("delivery.timeout.ms", "5000"),
            ("request.timeout.ms", "2000"),
            ("linger.ms", "0"),
            ("max.block.ms", "5000"),
        ];
        let producer = FAMILIES[0].producer(&front.access(&ALICE), &config);
        let sent = producer.send(&topic, &[Record::of("x")]).remove(0);
        assert_eq!(sent.is_ok(), is_taken, "{bytes}: {sent:?}");
    }
    let log = front.gateway().process.log();
    assert!(log.contains("client id of 257 bytes is longer than 256"), "{log}");
}
