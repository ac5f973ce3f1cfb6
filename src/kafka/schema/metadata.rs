//! Metadata and DescribeCluster: fields in wire order.

use super::*;

/// MetadataRequest.
pub(in crate::kafka) static METADATA_REQUEST: &[Field] = &[
    array(
        "Topics",
        Topics,
        &[uuid("TopicId").from(10).is(TopicId), string("Name").nullable(10).is(TopicName)],
    )
    .nullable(1),
    boolean("AllowAutoTopicCreation").from(4).is(AutoCreate),
    boolean("IncludeClusterAuthorizedOperations").within(8, 10).is(IncludeClusterOperations),
    boolean("IncludeTopicAuthorizedOperations").from(8).is(IncludeTopicOperations),
];

/// MetadataResponse.
pub(in crate::kafka) static METADATA_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(3).is(ThrottleTimeMs),
    array(
        "Brokers",
        Endpoints,
        &[
            int32("NodeId").is(NodeId),
            string("Host").is(Host),
            int32("Port").is(Port),
            string("Rack").from(1).nullable(1).null(),
        ],
    ),
    string("ClusterId").from(2).nullable(2).null().is(ClusterId),
    int32("ControllerId").from(1).int(-1).is(ControllerId),
    array(
        "Topics",
        Topics,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("Name").nullable(12).is(TopicName),
            uuid("TopicId").from(10).is(TopicId),
            boolean("IsInternal").from(1),
            array(
                "Partitions",
                Partitions,
                &[
                    int16("ErrorCode").is(ErrorCode),
                    int32("PartitionIndex").is(PartitionIndex),
                    int32("LeaderId"),
                    int32("LeaderEpoch").from(7).int(-1),
                    int32s("ReplicaNodes", Plain),
                    int32s("IsrNodes", Plain),
                    int32s("OfflineReplicas", Plain).from(5),
                ],
            ),
            int32("TopicAuthorizedOperations")
                .from(8)
                .int(OPERATIONS_UNKNOWN)
                .is(AuthorizedOperations),
        ],
    ),
    int32("ClusterAuthorizedOperations")
        .within(8, 10)
        .int(OPERATIONS_UNKNOWN)
        .is(AuthorizedOperations),
    // Only ever says that the client should bootstrap again (KIP-1102): a refusal leaves it alone.
    int16("ErrorCode").from(13),
];

/// DescribeClusterRequest.
pub(in crate::kafka) static DESCRIBE_CLUSTER_REQUEST: &[Field] = &[
    boolean("IncludeClusterAuthorizedOperations").is(IncludeClusterOperations),
    int8("EndpointType").from(1).is(EndpointType),
    boolean("IncludeFencedBrokers").from(2),
];

/// DescribeClusterResponse.
pub(in crate::kafka) static DESCRIBE_CLUSTER_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    int8("EndpointType").from(1).int(1).is(EndpointType),
    string("ClusterId").is(ClusterId),
    int32("ControllerId").int(-1).is(ControllerId),
    array(
        "Brokers",
        Endpoints,
        &[
            int32("BrokerId").is(NodeId),
            string("Host").is(Host),
            int32("Port").is(Port),
            string("Rack").nullable(0).null(),
            boolean("IsFenced").from(2),
        ],
    ),
    int32("ClusterAuthorizedOperations").int(OPERATIONS_UNKNOWN).is(AuthorizedOperations),
];

/// DescribeTopicPartitionsRequest.
pub(in crate::kafka) static DESCRIBE_TOPIC_PARTITIONS_REQUEST: &[Field] = &[
    array("Topics", Topics, &[string("Name").is(TopicName)]),
    int32("ResponsePartitionLimit"),
    structure(
        "Cursor",
        &[string("TopicName").is(CursorTopic), int32("PartitionIndex").is(CursorPartition)],
    )
    .nullable(0),
];

/// DescribeTopicPartitionsResponse.
pub(in crate::kafka) static DESCRIBE_TOPIC_PARTITIONS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("Name").nullable(0).is(TopicName),
            uuid("TopicId").is(TopicId),
            boolean("IsInternal"),
            array(
                "Partitions",
                Partitions,
                &[
                    int16("ErrorCode").is(ErrorCode),
                    int32("PartitionIndex").is(PartitionIndex),
                    int32("LeaderId"),
                    int32("LeaderEpoch").int(-1),
                    int32s("ReplicaNodes", Plain),
                    int32s("IsrNodes", Plain),
                    int32s("EligibleLeaderReplicas", Plain).nullable(0).null(),
                    int32s("LastKnownElr", Plain).nullable(0).null(),
                    int32s("OfflineReplicas", Plain),
                ],
            ),
            int32("TopicAuthorizedOperations").int(OPERATIONS_UNKNOWN).is(AuthorizedOperations),
        ],
    ),
    structure(
        "NextCursor",
        &[string("TopicName").is(CursorTopic), int32("PartitionIndex").is(CursorPartition)],
    )
    .nullable(0)
    .null(),
];
