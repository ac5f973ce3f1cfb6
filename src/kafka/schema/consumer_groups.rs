//! The consumer group protocol of KIP-848: fields in wire order.

use super::*;

/// ConsumerGroupHeartbeatRequest.
pub(in crate::kafka) static CONSUMER_GROUP_HEARTBEAT_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    string("MemberId").is(MemberId),
    int32("MemberEpoch").is(MemberEpoch),
    string("InstanceId").nullable(0).is(GroupInstanceId),
    string("RackId").nullable(0),
    int32("RebalanceTimeoutMs"),
    strings("SubscribedTopicNames", SubscribedTopics).nullable(0),
    string("SubscribedTopicRegex").from(1).nullable(1).is(TopicRegex),
    string("ServerAssignor").nullable(0),
    array(
        "TopicPartitions",
        OwnedTopics,
        &[uuid("TopicId").is(TopicId), int32s("Partitions", Partitions)],
    )
    .nullable(0),
];

/// ConsumerGroupHeartbeatResponse.
pub(in crate::kafka) static CONSUMER_GROUP_HEARTBEAT_RESPONSE: &[Field] = &[
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

/// ConsumerGroupDescribeRequest.
pub(in crate::kafka) static CONSUMER_GROUP_DESCRIBE_REQUEST: &[Field] = &[
    strings("GroupIds", Groups),
    boolean("IncludeAuthorizedOperations").is(IncludeGroupOperations),
];

/// ConsumerGroupDescribeResponse.
pub(in crate::kafka) static CONSUMER_GROUP_DESCRIBE_RESPONSE: &[Field] = &[
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
                    string("InstanceId").nullable(0).null().is(GroupInstanceId),
                    string("RackId").nullable(0).null(),
                    int32("MemberEpoch").is(MemberEpoch),
                    string("ClientId"),
                    string("ClientHost"),
                    strings("SubscribedTopicNames", SubscribedTopics),
                    string("SubscribedTopicRegex").nullable(0).null().is(TopicRegex),
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
                    structure(
                        "TargetAssignment",
                        &[array(
                            "TopicPartitions",
                            TargetTopics,
                            &[
                                uuid("TopicId").is(TopicId),
                                string("TopicName").is(TopicName),
                                int32s("Partitions", Partitions),
                            ],
                        )],
                    ),
                    int8("MemberType").from(1).int(-1),
                ],
            ),
            int32("AuthorizedOperations").int(OPERATIONS_UNKNOWN).is(AuthorizedOperations),
        ],
    ),
];
