//! DescribeConfigs: fields in wire order.

use super::*;

/// DescribeConfigsRequest.
pub(in crate::kafka) static DESCRIBE_CONFIGS_REQUEST: &[Field] = &[
    array(
        "Resources",
        Keys,
        &[
            int8("ResourceType").is(KeyType),
            string("ResourceName").is(Key),
            strings("ConfigurationKeys", Plain).nullable(0),
        ],
    ),
    boolean("IncludeSynonyms"),
    boolean("IncludeDocumentation").from(3),
];

/// DescribeConfigsResponse.
pub(in crate::kafka) static DESCRIBE_CONFIGS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Results",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            int8("ResourceType").is(KeyType),
            string("ResourceName").is(Key),
            array(
                "Configs",
                Plain,
                &[
                    string("Name"),
                    string("Value").nullable(0),
                    boolean("ReadOnly"),
                    int8("ConfigSource").int(-1),
                    boolean("IsSensitive"),
                    array(
                        "Synonyms",
                        Plain,
                        &[string("Name"), string("Value").nullable(0), int8("Source")],
                    ),
                    int8("ConfigType").from(3),
                    string("Documentation").from(3).nullable(0),
                ],
            ),
        ],
    ),
];

/// AlterConfigsRequest.
pub(in crate::kafka) static ALTER_CONFIGS_REQUEST: &[Field] = &[
    array(
        "Resources",
        Keys,
        &[
            int8("ResourceType").is(KeyType),
            string("ResourceName").is(Key),
            array("Configs", Settings, &[string("Name").is(Setting), string("Value").nullable(0)]),
        ],
    ),
    boolean("ValidateOnly"),
];

/// AlterConfigsResponse.
pub(in crate::kafka) static ALTER_CONFIGS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Responses",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            int8("ResourceType").is(KeyType),
            string("ResourceName").is(Key),
        ],
    ),
];

/// IncrementalAlterConfigsRequest.
pub(in crate::kafka) static INCREMENTAL_ALTER_CONFIGS_REQUEST: &[Field] = &[
    array(
        "Resources",
        Keys,
        &[
            int8("ResourceType").is(KeyType),
            string("ResourceName").is(Key),
            array(
                "Configs",
                Settings,
                &[string("Name").is(Setting), int8("ConfigOperation"), string("Value").nullable(0)],
            ),
        ],
    ),
    boolean("ValidateOnly"),
];

/// IncrementalAlterConfigsResponse.
pub(in crate::kafka) static INCREMENTAL_ALTER_CONFIGS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Responses",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            int8("ResourceType").is(KeyType),
            string("ResourceName").is(Key),
        ],
    ),
];

/// ListConfigResourcesRequest.
pub(in crate::kafka) static LIST_CONFIG_RESOURCES_REQUEST: &[Field] =
    &[numbers("ResourceTypes", 1).from(1)];

/// ListConfigResourcesResponse.
pub(in crate::kafka) static LIST_CONFIG_RESOURCES_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    array(
        "ConfigResources",
        Keys,
        &[string("ResourceName").is(Key), int8("ResourceType").from(1).int(16).is(KeyType)],
    ),
];
