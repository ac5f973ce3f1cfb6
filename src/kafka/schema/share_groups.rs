//! Share groups (KIP-932): fields in wire order.

use super::*;

/// ShareGroupHeartbeatRequest.
pub(in crate::kafka) static SHARE_GROUP_HEARTBEAT_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    string("MemberId").is(MemberId),
    int32("MemberEpoch").is(MemberEpoch),
    string("RackId").nullable(0),
    strings("SubscribedTopicNames", SubscribedTopics).nullable(0),
];

/// ShareGroupHeartbeatResponse.
pub(in crate::kafka) static SHARE_GROUP_HEARTBEAT_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    string("MemberId").nullable(0).null().is(MemberId),
    int32("MemberEpoch").is(MemberEpoch),
    int32("HeartbeatIntervalMs"),
    structure(
        "Assignment",
        &[array(
            "TopicPartitions",
            AssignedTopics,
            &[uuid("TopicId").is(TopicId), int32s("Partitions", Partitions)],
        )],
    )
    .nullable(0)
    .null(),
];

/// ShareGroupDescribeRequest.
pub(in crate::kafka) static SHARE_GROUP_DESCRIBE_REQUEST: &[Field] = &[
    strings("GroupIds", Groups),
    boolean("IncludeAuthorizedOperations").is(IncludeGroupOperations),
];

/// ShareGroupDescribeResponse.
pub(in crate::kafka) static SHARE_GROUP_DESCRIBE_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Groups",
        Groups,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            string("GroupId").is(GroupId),
            string("GroupState"),
            int32("GroupEpoch"),
            int32("AssignmentEpoch"),
            string("AssignorName"),
            array(
                "Members",
                Members,
                &[
                    string("MemberId").is(MemberId),
                    string("RackId").nullable(0).null(),
                    int32("MemberEpoch").is(MemberEpoch),
                    string("ClientId"),
                    string("ClientHost"),
                    strings("SubscribedTopicNames", SubscribedTopics),
                    structure(
                        "Assignment",
                        &[array(
                            "TopicPartitions",
                            AssignedTopics,
                            &[
                                uuid("TopicId").is(TopicId),
                                string("TopicName").is(TopicName),
                                int32s("Partitions", Partitions),
                            ],
                        )],
                    ),
                ],
            ),
            int32("AuthorizedOperations").int(OPERATIONS_UNKNOWN).is(AuthorizedOperations),
        ],
    ),
];

/// ShareFetchRequest.
pub(in crate::kafka) static SHARE_FETCH_REQUEST: &[Field] = &[
    string("GroupId").nullable(0).is(GroupId),
    string("MemberId").nullable(0).is(MemberId),
    int32("ShareSessionEpoch").is(ShareSessionEpoch),
    int32("MaxWaitMs").is(MaxWaitMs),
    int32("MinBytes").is(MinBytes),
    int32("MaxBytes").is(MaxBytes),
    int32("MaxRecords"),
    int32("BatchSize"),
    int8("ShareAcquireMode").from(2),
    boolean("IsRenewAck").from(2),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int32("PartitionMaxBytes").to(0),
                    array(
                        "AcknowledgementBatches",
                        Plain,
                        &[
                            int64("FirstOffset"),
                            int64("LastOffset"),
                            numbers("AcknowledgeTypes", 1),
                        ],
                    ),
                ],
            ),
        ],
    ),
    array(
        "ForgottenTopicsData",
        ForgottenTopics,
        &[uuid("TopicId").is(TopicId), int32s("Partitions", Partitions)],
    ),
];

/// ShareFetchResponse.
pub(in crate::kafka) static SHARE_FETCH_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    int32("AcquisitionLockTimeoutMs"),
    array(
        "Responses",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                    int16("AcknowledgeErrorCode"),
                    string("AcknowledgeErrorMessage").nullable(0).null(),
                    structure("CurrentLeader", &[int32("LeaderId"), int32("LeaderEpoch")]),
                    records("Records").nullable_within(0, 0).is(Records),
                    array(
                        "AcquiredRecords",
                        Plain,
                        &[int64("FirstOffset"), int64("LastOffset"), int16("DeliveryCount")],
                    ),
                ],
            ),
        ],
    ),
    array(
        "NodeEndpoints",
        Endpoints,
        &[
            int32("NodeId").is(NodeId),
            string("Host").is(Host),
            int32("Port").is(Port),
            string("Rack").nullable(0).null(),
        ],
    ),
];

/// ShareAcknowledgeRequest.
pub(in crate::kafka) static SHARE_ACKNOWLEDGE_REQUEST: &[Field] = &[
    string("GroupId").nullable(0).is(GroupId),
    string("MemberId").nullable(0).is(MemberId),
    int32("ShareSessionEpoch").is(ShareSessionEpoch),
    boolean("IsRenewAck").from(2),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    array(
                        "AcknowledgementBatches",
                        Plain,
                        &[
                            int64("FirstOffset"),
                            int64("LastOffset"),
                            numbers("AcknowledgeTypes", 1),
                        ],
                    ),
                ],
            ),
        ],
    ),
];

/// ShareAcknowledgeResponse.
pub(in crate::kafka) static SHARE_ACKNOWLEDGE_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    int32("AcquisitionLockTimeoutMs").from(2),
    array(
        "Responses",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                    structure("CurrentLeader", &[int32("LeaderId"), int32("LeaderEpoch")]),
                ],
            ),
        ],
    ),
    array(
        "NodeEndpoints",
        Endpoints,
        &[
            int32("NodeId").is(NodeId),
            string("Host").is(Host),
            int32("Port").is(Port),
            string("Rack").nullable(0).null(),
        ],
    ),
];

/// DescribeShareGroupOffsetsRequest.
pub(in crate::kafka) static DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST: &[Field] = &[array(
    "Groups",
    Groups,
    &[
        string("GroupId").is(GroupId),
        array(
            "Topics",
            Topics,
            &[string("TopicName").is(TopicName), int32s("Partitions", Partitions)],
        )
        .nullable(0),
    ],
)];

/// DescribeShareGroupOffsetsResponse.
pub(in crate::kafka) static DESCRIBE_SHARE_GROUP_OFFSETS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Groups",
        Groups,
        &[
            string("GroupId").is(GroupId),
            array(
                "Topics",
                Topics,
                &[
                    string("TopicName").is(TopicName),
                    uuid("TopicId").is(TopicId),
                    array(
                        "Partitions",
                        Partitions,
                        &[
                            int32("PartitionIndex").is(PartitionIndex),
                            int64("StartOffset").int(-1),
                            int32("LeaderEpoch"),
                            int64("Lag").from(1).int(-1),
                            int16("ErrorCode").is(ErrorCode),
                            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                        ],
                    ),
                ],
            ),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
        ],
    ),
];

/// AlterShareGroupOffsetsRequest.
pub(in crate::kafka) static ALTER_SHARE_GROUP_OFFSETS_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            string("TopicName").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[int32("PartitionIndex").is(PartitionIndex), int64("StartOffset")],
            ),
        ],
    ),
];

/// AlterShareGroupOffsetsResponse.
pub(in crate::kafka) static ALTER_SHARE_GROUP_OFFSETS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Responses",
        Topics,
        &[
            string("TopicName").is(TopicName),
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                ],
            ),
        ],
    ),
];

/// DeleteShareGroupOffsetsRequest.
pub(in crate::kafka) static DELETE_SHARE_GROUP_OFFSETS_REQUEST: &[Field] =
    &[string("GroupId").is(GroupId), array("Topics", Topics, &[string("TopicName").is(TopicName)])];

/// DeleteShareGroupOffsetsResponse.
pub(in crate::kafka) static DELETE_SHARE_GROUP_OFFSETS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Responses",
        Topics,
        &[
            string("TopicName").is(TopicName),
            uuid("TopicId").is(TopicId),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
        ],
    ),
];
