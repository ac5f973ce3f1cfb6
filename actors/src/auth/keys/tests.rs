use serde_json::json;

use super::*;
use crate::auth::mint::LocalIssuer;

fn key(algorithm: SignatureAlgorithm) -> Value {
    LocalIssuer::generate(algorithm).unwrap().0.public_jwk().clone()
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    match value {
        Value::Null => key.as_object_mut().unwrap().remove(member),
        value => key.as_object_mut().unwrap().insert(member.to_owned(), value),
    };
    key
}

fn check(name: &str, key: Value, reason: Option<&str>) {
    let set = KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap();
    let skipped: Vec<&str> = set.skipped().iter().map(|key| key.reason).collect();
    match reason {
        None => assert_eq!((set.usable_count(), skipped.len()), (1, 0), "{name}: {skipped:?}"),
        Some(reason) => {
            assert_eq!(set.usable_count(), 0, "{name}");
            assert!(skipped.iter().all(|text| text.contains(reason)), "{name}: {skipped:?}");
            assert_eq!(skipped.len(), 1, "{name}");
        }
    }
}

#[test]
fn keys_that_are_used_and_keys_that_are_skipped() {
    let ec = key(SignatureAlgorithm::Es256);
    let rsa = key(SignatureAlgorithm::Rs256);
    let ed = key(SignatureAlgorithm::EdDsa);
    let short = URL_SAFE_NO_PAD.encode([0xFF; 128]);
    let zeros = URL_SAFE_NO_PAD.encode([0; 256]);
    let rows: Vec<(&str, Value, Option<&str>)> = vec![
        ("EC", ec.clone(), None),
        ("RSA", rsa.clone(), None),
        ("Ed25519", ed.clone(), None),
        ("no alg", with(ec.clone(), "alg", json!(null)), None),
        ("no use", with(ec.clone(), "use", json!(null)), None),
        ("no kid", with(ec.clone(), "kid", json!(null)), None),
        ("key_ops verify", with(ec.clone(), "key_ops", json!(["verify"])), None),
        ("unknown member", with(ec.clone(), "x5c", json!(["AA=="])), None),
        ("key_ops encrypt", with(ec.clone(), "key_ops", json!(["encrypt"])), Some("verifying")),
        ("use enc", with(ec.clone(), "use", json!("enc")), Some("not for signatures")),
        ("alg HS256", with(ec.clone(), "alg", json!("HS256")), Some("not supported")),
        ("alg none", with(ec.clone(), "alg", json!("none")), Some("not supported")),
        ("alg of RSA", with(ec.clone(), "alg", json!("RS256")), Some("does not fit")),
        ("alg of another curve", with(ec.clone(), "alg", json!("ES384")), Some("does not fit")),
        ("kid of 129", with(ec.clone(), "kid", json!("k".repeat(129))), Some("128 bytes")),
        ("kid empty", with(ec.clone(), "kid", json!("")), Some("128 bytes")),
        ("kid a number", with(ec.clone(), "kid", json!(1)), Some("not an object")),
        ("curve P-521", with(ec.clone(), "crv", json!("P-521")), Some("P-384")),
        ("curve P-384, short", with(ec.clone(), "crv", json!("P-384")), Some("wrong length")),
        ("no y", with(ec.clone(), "y", json!(null)), Some("missing")),
        ("private part", with(ec.clone(), "d", json!("AA")), Some("private")),
        ("y not base64url", with(ec, "y", json!("+/=")), Some("base64url")),
        ("RSA 1024", with(rsa.clone(), "n", json!(short)), Some("2048")),
        ("RSA of zeros", with(rsa.clone(), "n", json!(zeros)), Some("2048")),
        ("RSA exponent empty", with(rsa, "e", json!("")), Some("exponent")),
        ("Ed448", with(ed.clone(), "crv", json!("Ed448")), Some("Ed25519")),
        ("Ed25519 short", with(ed, "x", json!("AAAA")), Some("32 bytes")),
        ("oct", json!({ "kty": "oct", "k": "AAAA" }), Some("symmetric")),
        ("AKP", json!({ "kty": "AKP", "pub": "AAAA" }), Some("not supported")),
        ("not an object", json!("key"), Some("not an object")),
    ];
    for (name, key, reason) in rows {
        check(name, key, reason);
    }
}

#[test]
fn documents_and_lookups() {
    let refused = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(refused("").contains("not a JSON object"));
    assert!(refused("{}").contains("keys"));
    assert!(refused(&json!({ "keys": vec![0; 101] }).to_string()).contains("101 keys"));
    assert!(refused(&" ".repeat(JWKS_BYTES_MAX + 1)).contains("bytes"));
    assert_eq!(KeySet::parse(br#"{"keys":[]}"#).unwrap().usable_count(), 0);

    let first = with(key(SignatureAlgorithm::Es256), "kid", json!("a"));
    let twin = with(key(SignatureAlgorithm::Es256), "kid", json!("a"));
    let rsa = with(with(key(SignatureAlgorithm::Rs256), "kid", json!("r")), "alg", json!(null));
    let document = json!({ "keys": [first, twin, rsa] }).to_string();
    let set = KeySet::parse(document.as_bytes()).unwrap();
    assert_eq!(
        set.skipped(),
        [SkippedKey { index: 1, reason: "another key has the same id and algorithm" }]
    );
    let found = |id, algorithm| matches!(set.find(id, algorithm), Lookup::Found(_));
    assert!(found(Some("a"), SignatureAlgorithm::Es256));
    assert!(found(None, SignatureAlgorithm::Es256));
    assert!(found(Some("r"), SignatureAlgorithm::Rs256));
    assert!(found(Some("r"), SignatureAlgorithm::Ps512));
    assert!(matches!(set.find(Some("a"), SignatureAlgorithm::Rs256), Lookup::Mismatch));
    assert!(matches!(set.find(Some("b"), SignatureAlgorithm::Es256), Lookup::Unknown));
    assert!(matches!(set.find(None, SignatureAlgorithm::EdDsa), Lookup::Unknown));
}
