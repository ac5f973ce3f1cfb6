//! CreateTopics, DeleteTopics, DeleteRecords, CreatePartitions, ListPartitionReassignments and DescribeProducers: fields in
//! wire order.

use super::*;

/// CreateTopicsRequest.
pub(in crate::kafka) static CREATE_TOPICS_REQUEST: &[Field] = &[
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            int32("NumPartitions"),
            int16("ReplicationFactor"),
            array("Assignments", Plain, &[int32("PartitionIndex"), int32s("BrokerIds", Plain)]),
            array("Configs", Plain, &[string("Name"), string("Value").nullable(0)]),
        ],
    ),
    int32("timeoutMs").is(TimeoutMs),
    boolean("validateOnly"),
];

/// CreateTopicsResponse.
pub(in crate::kafka) static CREATE_TOPICS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            uuid("TopicId").from(7).is(TopicId),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            int16("TopicConfigErrorCode").from(5).tagged(0, 5),
            int32("NumPartitions").from(5).int(-1),
            int16("ReplicationFactor").from(5).int(-1),
            array(
                "Configs",
                CreatedSettings,
                &[
                    string("Name").from(5),
                    string("Value").from(5).nullable(5),
                    boolean("ReadOnly").from(5),
                    int8("ConfigSource").from(5).int(-1),
                    boolean("IsSensitive").from(5),
                ],
            )
            .from(5)
            .nullable(5),
        ],
    ),
];

/// DeleteTopicsRequest.
pub(in crate::kafka) static DELETE_TOPICS_REQUEST: &[Field] = &[
    array(
        "Topics",
        Topics,
        &[string("Name").from(6).nullable(6).is(TopicName), uuid("TopicId").from(6).is(TopicId)],
    )
    .from(6),
    strings("TopicNames", Topics).to(5),
    int32("TimeoutMs").is(TimeoutMs),
];

/// DeleteTopicsResponse.
pub(in crate::kafka) static DELETE_TOPICS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Responses",
        Topics,
        &[
            string("Name").nullable(6).is(TopicName),
            uuid("TopicId").from(6).is(TopicId),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").from(5).nullable(5).null().is(ErrorMessage),
        ],
    ),
];

/// DeleteRecordsRequest.
pub(in crate::kafka) static DELETE_RECORDS_REQUEST: &[Field] = &[
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[int32("PartitionIndex").is(PartitionIndex), int64("Offset").is(Offset)],
            ),
        ],
    ),
    int32("TimeoutMs").is(TimeoutMs),
];

/// DeleteRecordsResponse.
pub(in crate::kafka) static DELETE_RECORDS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int64("LowWatermark").int(-1),
                    int16("ErrorCode").is(ErrorCode),
                ],
            ),
        ],
    ),
];

/// CreatePartitionsRequest.
pub(in crate::kafka) static CREATE_PARTITIONS_REQUEST: &[Field] = &[
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            int32("Count"),
            array("Assignments", Plain, &[int32s("BrokerIds", Plain)]).nullable(0),
        ],
    ),
    int32("TimeoutMs").is(TimeoutMs),
    boolean("ValidateOnly"),
];

/// CreatePartitionsResponse.
pub(in crate::kafka) static CREATE_PARTITIONS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Results",
        Topics,
        &[
            string("Name").is(TopicName),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
        ],
    ),
];

/// ListPartitionReassignmentsRequest.
pub(in crate::kafka) static LIST_PARTITION_REASSIGNMENTS_REQUEST: &[Field] = &[
    int32("TimeoutMs").is(TimeoutMs),
    array(
        "Topics",
        Topics,
        &[string("Name").is(TopicName), int32s("PartitionIndexes", Partitions)],
    )
    .nullable(0),
];

/// ListPartitionReassignmentsResponse.
pub(in crate::kafka) static LIST_PARTITION_REASSIGNMENTS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int32s("Replicas", Plain),
                    int32s("AddingReplicas", Plain),
                    int32s("RemovingReplicas", Plain),
                ],
            ),
        ],
    ),
];

/// DescribeProducersRequest.
pub(in crate::kafka) static DESCRIBE_PRODUCERS_REQUEST: &[Field] = &[array(
    "Topics",
    Topics,
    &[string("Name").is(TopicName), int32s("PartitionIndexes", Partitions)],
)];

/// DescribeProducersResponse.
pub(in crate::kafka) static DESCRIBE_PRODUCERS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                    array(
                        "ActiveProducers",
                        Plain,
                        &[
                            int64("ProducerId"),
                            int32("ProducerEpoch"),
                            int32("LastSequence").int(-1),
                            int64("LastTimestamp").int(-1),
                            int32("CoordinatorEpoch"),
                            int64("CurrentTxnStartOffset").int(-1),
                        ],
                    ),
                ],
            ),
        ],
    ),
];
