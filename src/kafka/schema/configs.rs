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
