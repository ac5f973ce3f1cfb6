//! ApiVersions as the oracle reads it.

use kafka_protocol::messages::ApiVersionsResponse;

use super::*;
use crate::kafka::oracle;
use crate::kafka::walk;

fn broker() -> Offer {
    let api = |key, from, to| ApiRange { key, versions: Versions::new(from, to) };
    Offer {
        apis: vec![
            api(0, 0, 13),
            api(1, 4, 16),
            api(3, 0, 13),
            api(4, 0, 7),
            api(18, 0, 4),
            api(24, 0, 5),
            api(26, 0, 9),
            api(60, 5, 7),
        ],
        supported_features: vec![
            SupportedFeature { name: "kraft.version".to_owned(), min: 0, max: 1 },
            SupportedFeature { name: "metadata.version".to_owned(), min: 7, max: 25 },
        ],
        finalized_features_epoch: 12,
        finalized_features: vec![FinalizedFeature {
            name: "transaction.version".to_owned(),
            max_level: 2,
            min_level: 2,
        }],
    }
}

fn read(offer: &Offer, asked: i16, read_as: i16) -> ApiVersionsResponse {
    let frame = offer.response(asked, 7);
    let exchange = exchange(18, read_as).unwrap();
    let (correlation_id, body) = walk::response_header(exchange, &frame).unwrap();
    assert_eq!((correlation_id, body), (7, 8), "the header never has tags");
    let mut found = crate::kafka::found::Found::default();
    walk::response(exchange, &frame, body, &mut found).unwrap();
    oracle::decode(&frame[body..], read_as).unwrap()
}

#[test]
fn offers_what_both_have() {
    let offer = broker().through_gateway();
    let ranges: Vec<(i16, i16, i16)> =
        offer.apis.iter().map(|api| (api.key, api.versions.from, api.versions.to)).collect();
    assert_eq!(
        ranges,
        [
            (0, 0, 13),
            (1, 4, 16),
            (3, 0, 13),
            (17, 0, 1),
            (18, 0, 4),
            (24, 0, 5),
            (26, 0, 5),
            (36, 0, 2),
        ]
    );
    assert_eq!(offer.finalized_features, broker().finalized_features);
    let has = |row: &(i16, i16, bool)| offer.has(row.0, row.1) == row.2;
    let rows = [
        (0, 13, true),
        (1, 16, true),
        // The table has them, and the broker does not.
        (1, 17, false),
        (60, 0, false),
        (68, 0, false),
        // The other way round.
        (1, 3, false),
        (4, 0, false),
        (26, 6, false),
        // The login is the gateway's own.
        (36, 2, true),
    ];
    assert!(rows.iter().all(has), "{rows:?}");
    // A broker that only has what is offered for show is not offered at all.
    let mut old = broker();
    old.apis = vec![ApiRange { key: 0, versions: Versions::new(0, 2) }];
    assert!(old.through_gateway().apis.iter().all(|api| api.key != 0));
}

#[test]
fn answers_in_every_version() {
    let offer = broker().through_gateway();
    for version in 0..=4 {
        let answer = read(&offer, version, version);
        assert_eq!(answer.error_code, 0);
        assert_eq!(answer.api_keys.len(), offer.apis.len());
        let produce = &answer.api_keys[0];
        assert_eq!((produce.api_key, produce.min_version, produce.max_version), (0, 0, 13));
        let supported: Vec<&str> =
            answer.supported_features.iter().map(|feature| feature.name.as_str()).collect();
        match version {
            0..=2 => assert!(supported.is_empty()),
            3 => assert_eq!(supported, ["metadata.version"]),
            _ => assert_eq!(supported, ["kraft.version", "metadata.version"]),
        }
        if version >= 3 {
            assert_eq!(answer.finalized_features_epoch, 12);
            assert_eq!(answer.finalized_features[0].name.as_str(), "transaction.version");
            assert_eq!(answer.finalized_features[0].max_version_level, 2);
        }
    }
}

#[test]
fn a_version_from_the_future_is_answered_in_version_0() {
    for version in [5, 99, i16::MAX, -1] {
        let answer = read(&broker().through_gateway(), version, 0);
        assert_eq!(answer.error_code, 35);
        assert!(answer.api_keys.iter().any(|api| (api.api_key, api.max_version) == (18, 4)));
    }
}
