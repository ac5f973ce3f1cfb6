//! What is spoken before and during login: fields in wire order.

use super::*;

/// ApiVersionsRequest.
pub(in crate::kafka) static API_VERSIONS_REQUEST: &[Field] = &[
    string("ClientSoftwareName").from(3).is(SoftwareName),
    string("ClientSoftwareVersion").from(3).is(SoftwareVersion),
];

/// ApiVersionsResponse.
pub(in crate::kafka) static API_VERSIONS_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    array("ApiKeys", Plain, &[int16("ApiKey"), int16("MinVersion"), int16("MaxVersion")]),
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    array(
        "SupportedFeatures",
        Plain,
        &[string("Name").from(3), int16("MinVersion").from(3), int16("MaxVersion").from(3)],
    )
    .from(3)
    .tagged(0, 3),
    int64("FinalizedFeaturesEpoch").from(3).tagged(1, 3).int(-1),
    array(
        "FinalizedFeatures",
        Plain,
        &[
            string("Name").from(3),
            int16("MaxVersionLevel").from(3),
            int16("MinVersionLevel").from(3),
        ],
    )
    .from(3)
    .tagged(2, 3),
    boolean("ZkMigrationReady").from(3).tagged(3, 3),
];

/// SaslHandshakeRequest.
pub(in crate::kafka) static SASL_HANDSHAKE_REQUEST: &[Field] = &[string("Mechanism").is(Mechanism)];

/// SaslHandshakeResponse.
pub(in crate::kafka) static SASL_HANDSHAKE_RESPONSE: &[Field] =
    &[int16("ErrorCode").is(ErrorCode), strings("Mechanisms", Plain)];

/// SaslAuthenticateRequest.
pub(in crate::kafka) static SASL_AUTHENTICATE_REQUEST: &[Field] =
    &[bytes("AuthBytes").is(AuthBytes)];

/// SaslAuthenticateResponse.
pub(in crate::kafka) static SASL_AUTHENTICATE_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).is(ErrorMessage),
    bytes("AuthBytes").is(AuthBytes),
    int64("SessionLifetimeMs").from(1).is(SessionLifetimeMs),
];
