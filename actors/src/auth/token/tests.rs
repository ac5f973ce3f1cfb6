use std::sync::LazyLock;

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::auth::keys::SignatureAlgorithm;
use crate::auth::mint::{LocalIssuer, TokenRequest};
use crate::auth::rules::IssuerSettings;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const NOW_S: i64 = 1_800_000_000;

static EC: LazyLock<LocalIssuer> = LazyLock::new(|| local(SignatureAlgorithm::Es256));
static EC_FOREIGN: LazyLock<LocalIssuer> = LazyLock::new(|| local(SignatureAlgorithm::Es256));
static RSA: LazyLock<LocalIssuer> = LazyLock::new(|| local(SignatureAlgorithm::Rs256));
static ED: LazyLock<LocalIssuer> = LazyLock::new(|| local(SignatureAlgorithm::EdDsa));

fn local(algorithm: SignatureAlgorithm) -> LocalIssuer {
    LocalIssuer::generate(algorithm).unwrap().0
}

fn settings() -> IssuerSettings {
    IssuerSettings {
        name: "acme".to_owned(),
        issuer: "https://idp.example.com".to_owned(),
        audiences: vec!["kafka".to_owned(), "streams".to_owned()],
        algorithms: vec!["ES256".to_owned(), "RS256".to_owned(), "EdDSA".to_owned()],
        groups_claim: "groups".to_owned(),
        groups_prefix: String::new(),
    }
}

fn trusted(settings: IssuerSettings, keys: &[Value]) -> TrustedIssuer {
    let document = json!({ "keys": keys }).to_string();
    TrustedIssuer {
        rules: Arc::new(IssuerRules::new(settings).unwrap()),
        keys: Some(Arc::new(KeySet::parse(document.as_bytes()).unwrap())),
        keys_until: UnixMillis(NOW.0 + 1),
    }
}

fn acme() -> TrustedIssuer {
    trusted(
        settings(),
        &[EC.public_jwk().clone(), RSA.public_jwk().clone(), ED.public_jwk().clone()],
    )
}

fn header(issuer: &LocalIssuer) -> Value {
    json!({ "alg": issuer.algorithm().name(), "kid": issuer.key_id() })
}

fn claims() -> Value {
    json!({
        "iss": "https://idp.example.com", "aud": "kafka", "sub": "alice",
        "iat": NOW_S, "exp": NOW_S + 60, "groups": ["b", "a", "b"],
    })
}

/// The valid claims with some replaced; null removes one.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

fn signed(header: &Value, claims: &Value) -> String {
    EC.sign(header, claims).unwrap().to_string()
}

fn with_claims(changes: Value) -> String {
    signed(&header(&EC), &claims_with(changes))
}

fn with_header(changes: Value) -> String {
    let mut header = header(&EC);
    for (name, value) in changes.as_object().unwrap() {
        header.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    signed(&header, &claims())
}

/// A token of these texts, signed by [`EC`]: for JSON that `Value` cannot hold.
fn with_texts(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let template = EC.sign(&json!(0), &json!(0)).unwrap();
    let signature = template.rsplit('.').next().unwrap().to_owned();
    format!("{message}.{signature}")
}

fn hmac_with_public_key() -> String {
    let header = json!({ "alg": "HS256", "kid": EC.key_id() }).to_string();
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims().to_string())
    );
    let secret = EC.public_jwk().to_string();
    let signature = jsonwebtoken::crypto::sign(
        message.as_bytes(),
        &jsonwebtoken::EncodingKey::from_secret(secret.as_bytes()),
        jsonwebtoken::Algorithm::HS256,
    )
    .unwrap();
    format!("{message}.{signature}")
}

fn unsigned() -> String {
    let token = with_header(json!({ "alg": "none" }));
    format!("{}.", token.rsplit_once('.').unwrap().0)
}

fn check(name: &str, token: &str, now: UnixMillis, expected: Result<(), &str>) {
    let outcome = verify_token(token, &[&acme()], now);
    if let Err(error) = &outcome {
        let text = error.to_string();
        let leaks = !token.is_empty() && text.contains(token);
        assert!(!leaks, "{name}: the message holds the token");
        assert!(text.len() < 512, "{name}: {text}");
    }
    let cause = outcome.as_ref().map(|_| ()).map_err(TokenError::cause);
    assert_eq!(cause, expected, "{name}: {outcome:?}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "rows")]
fn signatures_and_headers() {
    let good = with_claims(json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let signature_tail = signature.get(1..).unwrap();
    let rsa = RSA.sign(&header(&RSA), &claims()).unwrap();
    let other = with_claims(json!({ "sub": "mallory" }));
    let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    let padded = format!("{message}.{}=", signature);
    let standard = format!("{message}.{}", STANDARD.encode([0xFB; 64]));
    let huge = with_claims(json!({ "filler": "x".repeat(TOKEN_BYTES_MAX) }));
    let es_header_rsa_key = json!({ "alg": "ES256", "kid": RSA.key_id() });
    let rows: Vec<(&str, String, Result<(), &str>)> = vec![
        ("ES256", good.clone(), Ok(())),
        ("RS256", rsa.to_string(), Ok(())),
        ("EdDSA", ED.sign(&header(&ED), &claims()).unwrap().to_string(), Ok(())),
        ("wrong signature", format!("{message}.{flipped}{signature_tail}"), Err("signature")),
        ("claims swapped", swapped, Err("signature")),
        ("no signature", format!("{message}."), Err("signature")),
        ("padded signature", padded, Err("malformed")),
        ("standard alphabet", standard, Err("malformed")),
        (
            "foreign key, known id",
            EC_FOREIGN.sign(&header(&EC), &claims()).unwrap().to_string(),
            Err("signature"),
        ),
        (
            "foreign key, own id",
            EC_FOREIGN.sign(&header(&EC_FOREIGN), &claims()).unwrap().to_string(),
            Err("unknown_key"),
        ),
        ("alg none", unsigned(), Err("algorithm")),
        ("alg None", with_header(json!({ "alg": "None" })), Err("algorithm")),
        ("HS256 over the public key", hmac_with_public_key(), Err("algorithm")),
        ("alg not in the list", with_header(json!({ "alg": "ES384" })), Err("algorithm")),
        ("alg in lower case", with_header(json!({ "alg": "es256" })), Err("algorithm")),
        ("alg a number", with_header(json!({ "alg": 256 })), Err("malformed")),
        ("EC algorithm, RSA key", signed(&es_header_rsa_key, &claims()), Err("key_mismatch")),
        ("RSA algorithm, EC key", with_header(json!({ "alg": "RS256" })), Err("key_mismatch")),
        ("kid unknown", with_header(json!({ "kid": "nobody" })), Err("unknown_key")),
        (
            "kid in other case",
            with_header(json!({ "kid": EC.key_id().to_uppercase() })),
            Err("unknown_key"),
        ),
        ("kid of 128 bytes", with_header(json!({ "kid": "k".repeat(128) })), Err("unknown_key")),
        (
            "kid of 129 bytes",
            with_header(json!({ "kid": "k".repeat(129) })),
            Err("key_id_too_long"),
        ),
        (
            "kid a path",
            with_header(json!({ "kid": "../../etc/passwd\u{1b}[0m" })),
            Err("unknown_key"),
        ),
        ("kid a number", with_header(json!({ "kid": 7 })), Err("malformed")),
        ("no kid, one EC key", signed(&json!({ "alg": "ES256" }), &claims()), Ok(())),
        ("crit", with_header(json!({ "crit": ["exp"] })), Err("critical_extension")),
        ("crit null", with_header(json!({ "crit": null })), Err("critical_extension")),
        (
            "jku and jwk ignored",
            with_header(
                json!({ "jku": "http://127.0.0.1:1/", "jwk": EC_FOREIGN.public_jwk(), "x5u": "file:///etc/passwd" }),
            ),
            Ok(()),
        ),
        ("16 KiB and more", huge, Err("too_large")),
        ("two parts", message.to_owned(), Err("malformed")),
        ("four parts", format!("{good}.x"), Err("malformed")),
        ("empty", String::new(), Err("malformed")),
        ("dots", "..".to_owned(), Err("malformed")),
        ("not base64", "ä.ö.ü".to_owned(), Err("malformed")),
        ("line feed at the end", format!("{good}\n"), Err("malformed")),
        ("header twice alg", with_texts(r#"{"alg":"none","alg":"ES256"}"#, "{}"), Err("malformed")),
        (
            "claims twice sub",
            with_texts(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#),
            Err("malformed"),
        ),
        ("claims an array", with_texts(r#"{"alg":"ES256"}"#, "[]"), Err("malformed")),
        (
            "claims nested deeply",
            with_texts(r#"{"alg":"ES256"}"#, &format!("{{\"a\":{}", "[".repeat(9000))),
            Err("malformed"),
        ),
    ];
    for (name, token, expected) in rows {
        check(name, &token, NOW, expected);
    }
}

#[test]
fn claims_one_by_one() {
    let rows: Vec<(&str, Value, Result<(), &str>)> = vec![
        ("wrong iss", json!({ "iss": "https://idp.example.com/" }), Err("issuer")),
        ("iss a list", json!({ "iss": ["https://idp.example.com"] }), Err("claim_type")),
        ("no iss", json!({ "iss": null }), Err("missing_claim")),
        ("wrong aud", json!({ "aud": "kafk" }), Err("audience")),
        ("one aud of several", json!({ "aud": ["other", "streams"] }), Ok(())),
        ("no aud fits", json!({ "aud": ["other", "more"] }), Err("audience")),
        ("aud empty", json!({ "aud": [] }), Err("audience")),
        ("aud with a number", json!({ "aud": ["kafka", 1] }), Err("claim_type")),
        ("aud an object", json!({ "aud": { "kafka": true } }), Err("claim_type")),
        ("no aud", json!({ "aud": null }), Err("missing_claim")),
        ("no sub", json!({ "sub": null }), Err("missing_claim")),
        ("sub empty", json!({ "sub": "" }), Err("claim_type")),
        ("sub a number", json!({ "sub": 42 }), Err("claim_type")),
        ("sub with an escape", json!({ "sub": "a\u{1b}[31m" }), Err("claim_type")),
        ("sub of 255 bytes", json!({ "sub": "s".repeat(255) }), Ok(())),
        ("sub of 256 bytes", json!({ "sub": "s".repeat(256) }), Err("claim_type")),
        ("no exp", json!({ "exp": null }), Err("missing_claim")),
        ("no iat", json!({ "iat": null }), Err("missing_claim")),
        ("exp a string", json!({ "exp": (NOW_S + 60).to_string() }), Err("claim_type")),
        ("exp a bool", json!({ "exp": true }), Err("claim_type")),
        ("exp negative", json!({ "exp": -1 }), Err("claim_type")),
        ("exp in milliseconds", json!({ "exp": NOW.0 }), Err("claim_type")),
        ("exp of u64", json!({ "exp": u64::MAX }), Err("claim_type")),
        ("exp of 1e300", json!({ "exp": 1e300 }), Err("claim_type")),
        ("exp long ago", json!({ "exp": NOW_S - 3600 }), Err("expired")),
        ("exp now", json!({ "exp": NOW_S }), Err("expired")),
        ("exp half a second ago", json!({ "exp": 1_799_999_999.5 }), Err("expired")),
        ("exp in half a second", json!({ "exp": 1_800_000_000.5 }), Ok(())),
        ("nbf a string", json!({ "nbf": "123" }), Err("claim_type")),
        ("nbf past", json!({ "nbf": NOW_S - 1 }), Ok(())),
        ("nbf within the leeway", json!({ "nbf": NOW_S + 30 }), Ok(())),
        ("nbf beyond the leeway", json!({ "nbf": NOW_S + 31 }), Err("not_yet_valid")),
        ("nbf a breath beyond", json!({ "nbf": 1_800_000_030.001 }), Err("not_yet_valid")),
        ("iat within the leeway", json!({ "iat": NOW_S + 30 }), Ok(())),
        ("iat beyond the leeway", json!({ "iat": NOW_S + 31 }), Err("not_yet_valid")),
        ("iat a string", json!({ "iat": "0" }), Err("claim_type")),
        ("iat barely negative", json!({ "iat": -1e-82 }), Err("claim_type")),
        ("groups a number", json!({ "groups": 1 }), Err("claim_type")),
        ("groups of numbers", json!({ "groups": ["a", 1] }), Err("claim_type")),
    ];
    for (name, changes, expected) in rows {
        check(name, &with_claims(changes), NOW, expected);
    }
    let explicit_null = signed(&header(&EC), &{
        let mut claims = claims();
        claims["nbf"] = Value::Null;
        claims
    });
    check("nbf null", &explicit_null, NOW, Err("claim_type"));
}

#[test]
fn the_end_is_exact_to_the_millisecond() {
    let token = with_claims(json!({ "exp": 1_800_000_000.25 }));
    let end = UnixMillis(NOW.0 + 250);
    let mut issuer = acme();
    issuer.keys_until = UnixMillis(i64::MAX);
    let at = |now| verify_token(&token, &[&issuer], UnixMillis(now));
    assert_eq!(at(end.0 - 1).unwrap().expires_at, end);
    assert_eq!(at(end.0), Err(TokenError::Expired { ago_ms: 0 }));
    assert_eq!(at(end.0 + 1), Err(TokenError::Expired { ago_ms: 1 }));
    assert_eq!(at(end.0 + 12_000).unwrap_err().to_string(), "token expired 12 s ago");
}

#[test]
fn groups_by_path_and_prefix() {
    let rows: Vec<(&str, &str, Value, &[&str])> = vec![
        ("groups", "", json!({}), &["a", "b"]),
        ("groups", "x:", json!({}), &["x:a", "x:b"]),
        ("groups", "", json!({ "groups": "solo" }), &["solo"]),
        ("groups", "", json!({ "groups": null }), &[]),
        ("groups", "", json!({ "groups": ["", "a"] }), &["a"]),
        ("realm_access.roles", "", json!({ "realm_access": { "roles": ["r"] } }), &["r"]),
        ("realm_access.roles", "", json!({ "realm_access": ["r"] }), &[]),
        ("a.b.c", "p-", json!({ "a": { "b": { "c": "z" } } }), &["p-z"]),
        ("https://acme.com/groups", "", json!({ "https://acme.com/groups": ["u"] }), &["u"]),
    ];
    for (path, prefix, changes, expected) in rows {
        let issuer = trusted(
            IssuerSettings {
                groups_claim: path.to_owned(),
                groups_prefix: prefix.to_owned(),
                ..settings()
            },
            &[EC.public_jwk().clone()],
        );
        let identity = verify_token(&with_claims(changes), &[&issuer], NOW).unwrap();
        assert_eq!(identity.groups, expected, "{path} {prefix}");
        assert_eq!(identity.principal(), "https://idp.example.com|alice");
    }
}

#[test]
fn several_issuers_and_their_keys() {
    let partner = IssuerSettings {
        name: "partner".to_owned(),
        issuer: "https://partner.example".to_owned(),
        groups_prefix: "partner:".to_owned(),
        ..settings()
    };
    let acme = acme();
    let partner = trusted(partner, &[EC_FOREIGN.public_jwk().clone()]);
    let both = [&acme, &partner];
    let partner_claims = claims_with(json!({ "iss": "https://partner.example" }));
    let own = EC_FOREIGN.sign(&header(&EC_FOREIGN), &partner_claims).unwrap();
    assert_eq!(verify_token(&own, &both, NOW).unwrap().groups, ["partner:a", "partner:b"]);
    let posing = EC_FOREIGN.sign(&header(&EC_FOREIGN), &claims()).unwrap();
    assert_eq!(verify_token(&posing, &both, NOW).unwrap_err().cause(), "unknown_key");
    let elsewhere = with_claims(json!({ "iss": "https://elsewhere`\n" }));
    assert_eq!(
        verify_token(&elsewhere, &both, NOW).unwrap_err().to_string(),
        "issuer `https://elsewhere??` is not accepted; expected one of `https://idp.example.com`, `https://partner.example`"
    );
    assert_eq!(
        verify_token(&with_claims(json!({ "aud": ["x"] })), &both, NOW).unwrap_err().to_string(),
        "audience `x` is not accepted; expected one of `kafka`, `streams`"
    );

    let good = with_claims(json!({}));
    let absent = TrustedIssuer { keys: None, ..acme.clone() };
    let stale = TrustedIssuer { keys_until: NOW, ..acme };
    for issuer in [absent, stale] {
        assert_eq!(verify_token(&good, &[&issuer], NOW).unwrap_err().cause(), "keys_unavailable");
    }
}

#[test]
fn settings_that_would_fail_open_are_refused() {
    let rows: Vec<(&str, IssuerSettings)> = vec![
        ("has no `issuer`", IssuerSettings { issuer: String::new(), ..settings() }),
        ("has no `audience`", IssuerSettings { audiences: vec![], ..settings() }),
        ("has no `audience`", IssuerSettings { audiences: vec![String::new()], ..settings() }),
        ("has no `algorithms`", IssuerSettings { algorithms: vec![], ..settings() }),
        (
            "`HS256` is not an algorithm",
            IssuerSettings { algorithms: vec!["HS256".to_owned()], ..settings() },
        ),
        (
            "`none` is not an algorithm",
            IssuerSettings {
                algorithms: vec!["ES256".to_owned(), "none".to_owned()],
                ..settings()
            },
        ),
        ("must not hold `|`", IssuerSettings { issuer: "a|b".to_owned(), ..settings() }),
    ];
    for (expected, settings) in rows {
        let error = IssuerRules::new(settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let listener = |issuers: &[(&str, &str)]| {
        let rules: Vec<Arc<IssuerRules>> = issuers
            .iter()
            .map(|(issuer, prefix)| IssuerSettings {
                issuer: (*issuer).to_owned(),
                groups_prefix: (*prefix).to_owned(),
                ..settings()
            })
            .map(|settings| Arc::new(IssuerRules::new(settings).unwrap()))
            .collect();
        IssuerRules::check_listener(&rules).is_ok()
    };
    assert!(listener(&[("a", "")]));
    assert!(listener(&[("a", ""), ("b", "b:"), ("c", "c:")]));
    assert!(!listener(&[("a", ""), ("b", "")]));
    assert!(!listener(&[("a", "x:"), ("b", "x:")]));
    assert!(!listener(&[("a", "x"), ("b", "xy")]));
    assert!(!listener(&[("a", ""), ("a", "b:")]));
}

#[test]
fn minted_tokens_are_accepted() {
    let request = TokenRequest {
        issuer: "https://idp.example.com".to_owned(),
        subject: "bob".to_owned(),
        audiences: vec!["kafka".to_owned(), "x".to_owned()],
        groups_claim: "realm.roles".to_owned(),
        groups: vec!["g".to_owned()],
        ttl_ms: 1_500,
        extra: json!({ "nbf": NOW_S }).as_object().unwrap().clone(),
    };
    let issuer = trusted(
        IssuerSettings { groups_claim: "realm.roles".to_owned(), ..settings() },
        &[RSA.public_jwk().clone()],
    );
    let token = RSA.mint(&request, NOW).unwrap();
    let identity = verify_token(&token, &[&issuer], NOW).unwrap();
    assert_eq!((identity.subject.as_str(), identity.groups), ("bob", vec!["g".to_owned()]));
    assert_eq!(identity.expires_at, UnixMillis(NOW.0 + 1_500));
    assert_eq!(TokenFingerprint::of("abc").to_string(), "ba7816bf8f01cfea");
}

fn now_s() -> f64 {
    f64::from(i32::try_from(NOW_S).unwrap())
}

/// A value of any JSON type, with numbers around the instant that matters.
fn any_claim() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-120_i64..120).prop_map(|offset| Value::from(NOW_S + offset)),
        // Ending in 5 ms: never so near to a bound that rounding to a float decides.
        (-12_000_i32..12_000)
            .prop_map(|tens| Value::from(now_s() + f64::from(tens) / 100.0 + 0.005)),
        (-120_i64..120).prop_map(|offset| Value::from((NOW_S + offset).to_string())),
        Just(json!("kafka")),
        Just(json!("https://idp.example.com")),
        ".{0,20}".prop_map(Value::from),
        prop::collection::vec(prop_oneof![Just(json!("kafka")), Just(json!(1))], 0..3)
            .prop_map(Value::from),
        Just(json!({ "kafka": "kafka" })),
    ]
}

/// What the rules say, written a second time and otherwise: from the JSON text.
fn holds(claims: &Map<String, Value>) -> bool {
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64());
    let within = |value: f64| (0.0..253_402_300_800.0).contains(&value);
    let now = now_s();
    let texts = |value: &Value| match value {
        Value::Array(items) => items.iter().all(Value::is_string),
        value => value.is_string(),
    };
    let audience = claims.get("aud").is_some_and(|aud| {
        texts(aud)
            && (aud == "kafka"
                || aud.as_array().is_some_and(|items| items.iter().any(|item| item == "kafka")))
    });
    let subject = claims.get("sub").and_then(Value::as_str).is_some_and(|subject| {
        !subject.is_empty() && subject.len() <= 255 && !subject.contains(char::is_control)
    });
    claims.get("iss").is_some_and(|iss| iss == "https://idp.example.com")
        && audience
        && subject
        && matches!(seconds("exp"), Some(Some(exp)) if within(exp) && exp >= now + 0.001)
        && matches!(seconds("iat"), Some(Some(iat)) if within(iat) && iat <= now + 30.0)
        && match seconds("nbf") {
            None => true,
            Some(nbf) => nbf.is_some_and(|nbf| within(nbf) && nbf <= now + 30.0),
        }
        && claims.get("groups").is_none_or(texts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Accepted exactly where every rule holds, whatever types the claims have.
    #[test]
    fn claim_types(
        changes in prop::collection::btree_map(
            prop::sample::select(vec!["iss", "aud", "sub", "exp", "iat", "nbf", "groups"]),
            any_claim(),
            0..4,
        )
    ) {
        let mut claims = claims();
        for (name, value) in changes {
            claims[name] = value;
        }
        let token = signed(&header(&EC), &claims);
        let outcome = verify_token(&token, &[&acme()], NOW);
        prop_assert_eq!(outcome.is_ok(), holds(claims.as_object().unwrap()), "{} {:?}", claims, outcome);
    }

    /// Any text, and any damage to a good token, is refused without a panic.
    #[test]
    fn damage(text in "\\PC{0,60}", position in 0_usize..300, byte in any::<u8>()) {
        let issuer = acme();
        prop_assert!(verify_token(&text, &[&issuer], NOW).is_err());
        let good = with_claims(json!({}));
        let mut bytes = good.clone().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(damaged) = String::from_utf8(bytes) {
            let outcome = verify_token(&damaged, &[&issuer], NOW);
            prop_assert_eq!(outcome.is_ok(), damaged == good);
        }
    }
}
