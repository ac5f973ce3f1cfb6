use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn the_key_stays_and_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let key_file = directory.path().join("keys/issuer.pem");
    let jwks_file = directory.path().join("keys/issuer.jwks.json");
    let first = LocalIssuer::open_or_create(&key_file, &jwks_file).unwrap();
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&jwks_file).unwrap(), first.jwks());
    assert!(!first.jwks().contains("\"d\""));

    fs::write(&jwks_file, "stale").unwrap();
    let second = LocalIssuer::open_or_create(&key_file, &jwks_file).unwrap();
    assert_eq!(second.key_id(), first.key_id());
    assert_eq!(fs::read_to_string(&jwks_file).unwrap(), first.jwks());

    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(LocalIssuer::open(&key_file), Err(MintError::Permissions { .. })));
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key_file, "no key").unwrap();
    assert!(matches!(LocalIssuer::open_or_create(&key_file, &jwks_file), Err(MintError::Key)));
}

#[test]
fn every_kind_of_key_survives_its_file() {
    for algorithm in
        [SignatureAlgorithm::Es256, SignatureAlgorithm::Rs256, SignatureAlgorithm::EdDsa]
    {
        let (issuer, pem) = LocalIssuer::generate(algorithm).unwrap();
        let again = LocalIssuer::from_pem(&pem).unwrap();
        assert_eq!(again.algorithm(), algorithm);
        assert_eq!(again.jwks(), issuer.jwks());
    }
    assert!(LocalIssuer::generate(SignatureAlgorithm::Es384).is_err());
}
