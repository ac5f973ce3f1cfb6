//! ACLs, delegation tokens and SCRAM users, which nobody gets through the gateway: fields in wire order.

use super::*;

/// DescribeAclsRequest.
pub(in crate::kafka) static DESCRIBE_ACLS_REQUEST: &[Field] = &[
    int8("ResourceTypeFilter"),
    string("ResourceNameFilter").nullable(0),
    int8("PatternTypeFilter"),
    string("PrincipalFilter").nullable(0),
    string("HostFilter").nullable(0),
    int8("Operation"),
    int8("PermissionType"),
];

/// DescribeAclsResponse.
pub(in crate::kafka) static DESCRIBE_ACLS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Resources",
        Plain,
        &[
            int8("ResourceType"),
            string("ResourceName"),
            int8("PatternType").int(3),
            array(
                "Acls",
                Plain,
                &[string("Principal"), string("Host"), int8("Operation"), int8("PermissionType")],
            ),
        ],
    ),
];

/// CreateAclsRequest.
pub(in crate::kafka) static CREATE_ACLS_REQUEST: &[Field] = &[array(
    "Creations",
    Keys,
    &[
        int8("ResourceType"),
        string("ResourceName").is(Key),
        int8("ResourcePatternType"),
        string("Principal"),
        string("Host"),
        int8("Operation"),
        int8("PermissionType"),
    ],
)];

/// CreateAclsResponse.
pub(in crate::kafka) static CREATE_ACLS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Results",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
        ],
    ),
];

/// DeleteAclsRequest.
pub(in crate::kafka) static DELETE_ACLS_REQUEST: &[Field] = &[array(
    "Filters",
    Keys,
    &[
        int8("ResourceTypeFilter"),
        string("ResourceNameFilter").nullable(0).is(Key),
        int8("PatternTypeFilter"),
        string("PrincipalFilter").nullable(0),
        string("HostFilter").nullable(0),
        int8("Operation"),
        int8("PermissionType"),
    ],
)];

/// DeleteAclsResponse.
pub(in crate::kafka) static DELETE_ACLS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "FilterResults",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            array(
                "MatchingAcls",
                Plain,
                &[
                    int16("ErrorCode"),
                    string("ErrorMessage").nullable(0).null(),
                    int8("ResourceType"),
                    string("ResourceName"),
                    int8("PatternType").int(3),
                    string("Principal"),
                    string("Host"),
                    int8("Operation"),
                    int8("PermissionType"),
                ],
            ),
        ],
    ),
];

/// CreateDelegationTokenRequest.
pub(in crate::kafka) static CREATE_DELEGATION_TOKEN_REQUEST: &[Field] = &[
    string("OwnerPrincipalType").from(3).nullable(3),
    string("OwnerPrincipalName").from(3).nullable(3),
    array("Renewers", Plain, &[string("PrincipalType"), string("PrincipalName")]),
    int64("MaxLifetimeMs"),
];

/// CreateDelegationTokenResponse.
pub(in crate::kafka) static CREATE_DELEGATION_TOKEN_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    string("PrincipalType"),
    string("PrincipalName"),
    string("TokenRequesterPrincipalType").from(3),
    string("TokenRequesterPrincipalName").from(3),
    int64("IssueTimestampMs"),
    int64("ExpiryTimestampMs"),
    int64("MaxTimestampMs"),
    string("TokenId"),
    bytes("Hmac"),
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
];

/// RenewDelegationTokenRequest.
pub(in crate::kafka) static RENEW_DELEGATION_TOKEN_REQUEST: &[Field] =
    &[bytes("Hmac"), int64("RenewPeriodMs")];

/// RenewDelegationTokenResponse.
pub(in crate::kafka) static RENEW_DELEGATION_TOKEN_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    int64("ExpiryTimestampMs"),
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
];

/// ExpireDelegationTokenRequest.
pub(in crate::kafka) static EXPIRE_DELEGATION_TOKEN_REQUEST: &[Field] =
    &[bytes("Hmac"), int64("ExpiryTimePeriodMs")];

/// ExpireDelegationTokenResponse.
pub(in crate::kafka) static EXPIRE_DELEGATION_TOKEN_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    int64("ExpiryTimestampMs"),
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
];

/// DescribeDelegationTokenRequest.
pub(in crate::kafka) static DESCRIBE_DELEGATION_TOKEN_REQUEST: &[Field] =
    &[array("Owners", Plain, &[string("PrincipalType"), string("PrincipalName")]).nullable(0)];

/// DescribeDelegationTokenResponse.
pub(in crate::kafka) static DESCRIBE_DELEGATION_TOKEN_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    array(
        "Tokens",
        Plain,
        &[
            string("PrincipalType"),
            string("PrincipalName"),
            string("TokenRequesterPrincipalType").from(3),
            string("TokenRequesterPrincipalName").from(3),
            int64("IssueTimestamp"),
            int64("ExpiryTimestamp"),
            int64("MaxTimestamp"),
            string("TokenId"),
            bytes("Hmac"),
            array("Renewers", Plain, &[string("PrincipalType"), string("PrincipalName")]),
        ],
    ),
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
];

/// DescribeUserScramCredentialsRequest.
pub(in crate::kafka) static DESCRIBE_USER_SCRAM_CREDENTIALS_REQUEST: &[Field] =
    &[array("Users", Plain, &[string("Name")]).nullable(0)];

/// DescribeUserScramCredentialsResponse.
pub(in crate::kafka) static DESCRIBE_USER_SCRAM_CREDENTIALS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Results",
        Plain,
        &[
            string("User"),
            int16("ErrorCode"),
            string("ErrorMessage").nullable(0).null(),
            array("CredentialInfos", Plain, &[int8("Mechanism"), int32("Iterations")]),
        ],
    ),
];

/// AlterUserScramCredentialsRequest.
pub(in crate::kafka) static ALTER_USER_SCRAM_CREDENTIALS_REQUEST: &[Field] = &[
    array("Deletions", Keys, &[string("Name").is(Key), int8("Mechanism")]),
    array(
        "Upsertions",
        Keys,
        &[
            string("Name").is(Key),
            int8("Mechanism"),
            int32("Iterations"),
            bytes("Salt"),
            bytes("SaltedPassword"),
        ],
    ),
];

/// AlterUserScramCredentialsResponse.
pub(in crate::kafka) static ALTER_USER_SCRAM_CREDENTIALS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Results",
        Keys,
        &[
            string("User").is(Key),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
        ],
    ),
];
