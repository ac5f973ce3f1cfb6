//! Streams groups (KIP-1071): fields in wire order.

use super::*;

/// StreamsGroupHeartbeatRequest.
pub(in crate::kafka) static STREAMS_GROUP_HEARTBEAT_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    string("MemberId").is(MemberId),
    int32("MemberEpoch").is(MemberEpoch),
    int32("EndpointInformationEpoch"),
    string("InstanceId").nullable(0).is(GroupInstanceId),
    string("RackId").nullable(0),
    int32("RebalanceTimeoutMs"),
    structure(
        "Topology",
        &[
            int32("Epoch"),
            array(
                "Subtopologies",
                Plain,
                &[
                    string("SubtopologyId"),
                    strings("SourceTopics", SubscribedTopics),
                    strings("SourceTopicRegex", Patterns),
                    array(
                        "StateChangelogTopics",
                        Topics,
                        &[
                            string("Name").is(TopicName),
                            int32("Partitions"),
                            int16("ReplicationFactor"),
                            array("TopicConfigs", Plain, &[string("Key"), string("Value")]),
                        ],
                    ),
                    strings("RepartitionSinkTopics", SubscribedTopics),
                    array(
                        "RepartitionSourceTopics",
                        Topics,
                        &[
                            string("Name").is(TopicName),
                            int32("Partitions"),
                            int16("ReplicationFactor"),
                            array("TopicConfigs", Plain, &[string("Key"), string("Value")]),
                        ],
                    ),
                    array(
                        "CopartitionGroups",
                        Plain,
                        &[
                            numbers("SourceTopics", 2),
                            numbers("SourceTopicRegex", 2),
                            numbers("RepartitionSourceTopics", 2),
                        ],
                    ),
                ],
            ),
        ],
    )
    .nullable(0),
    array("ActiveTasks", Plain, &[string("SubtopologyId"), int32s("Partitions", Plain)])
        .nullable(0),
    array("StandbyTasks", Plain, &[string("SubtopologyId"), int32s("Partitions", Plain)])
        .nullable(0),
    array("WarmupTasks", Plain, &[string("SubtopologyId"), int32s("Partitions", Plain)])
        .nullable(0),
    string("ProcessId").nullable(0),
    structure("UserEndpoint", &[string("Host"), uint16("Port")]).nullable(0),
    array("ClientTags", Plain, &[string("Key"), string("Value")]).nullable(0),
    array("TaskOffsets", Plain, &[string("SubtopologyId"), int32("Partition"), int64("Offset")])
        .nullable(0),
    array("TaskEndOffsets", Plain, &[string("SubtopologyId"), int32("Partition"), int64("Offset")])
        .nullable(0),
    boolean("ShutdownApplication"),
];

/// StreamsGroupHeartbeatResponse.
pub(in crate::kafka) static STREAMS_GROUP_HEARTBEAT_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    string("MemberId").is(MemberId),
    int32("MemberEpoch").is(MemberEpoch),
    int32("HeartbeatIntervalMs"),
    int32("AcceptableRecoveryLag"),
    int32("TaskOffsetIntervalMs"),
    array("Status", Plain, &[int8("StatusCode"), string("StatusDetail")]).nullable(0),
    array("ActiveTasks", Plain, &[string("SubtopologyId"), int32s("Partitions", Plain)])
        .nullable(0)
        .null(),
    array("StandbyTasks", Plain, &[string("SubtopologyId"), int32s("Partitions", Plain)])
        .nullable(0)
        .null(),
    array("WarmupTasks", Plain, &[string("SubtopologyId"), int32s("Partitions", Plain)])
        .nullable(0)
        .null(),
    int32("EndpointInformationEpoch"),
    array(
        "PartitionsByUserEndpoint",
        Plain,
        &[
            structure("UserEndpoint", &[string("Host"), uint16("Port")]),
            array(
                "ActivePartitions",
                AssignedTopics,
                &[string("Topic").is(TopicName), int32s("Partitions", Partitions)],
            ),
            array(
                "StandbyPartitions",
                AssignedTopics,
                &[string("Topic").is(TopicName), int32s("Partitions", Partitions)],
            ),
        ],
    )
    .nullable(0)
    .null(),
];

/// StreamsGroupDescribeRequest.
pub(in crate::kafka) static STREAMS_GROUP_DESCRIBE_REQUEST: &[Field] = &[
    strings("GroupIds", Groups),
    boolean("IncludeAuthorizedOperations").is(IncludeGroupOperations),
];

/// StreamsGroupDescribeResponse.
pub(in crate::kafka) static STREAMS_GROUP_DESCRIBE_RESPONSE: &[Field] = &[
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
            structure(
                "Topology",
                &[
                    int32("Epoch"),
                    array(
                        "Subtopologies",
                        Plain,
                        &[
                            string("SubtopologyId"),
                            strings("SourceTopics", SubscribedTopics),
                            strings("RepartitionSinkTopics", SubscribedTopics),
                            array(
                                "StateChangelogTopics",
                                SubscribedTopics,
                                &[
                                    string("Name").is(TopicName),
                                    int32("Partitions"),
                                    int16("ReplicationFactor"),
                                    array("TopicConfigs", Plain, &[string("Key"), string("Value")]),
                                ],
                            ),
                            array(
                                "RepartitionSourceTopics",
                                SubscribedTopics,
                                &[
                                    string("Name").is(TopicName),
                                    int32("Partitions"),
                                    int16("ReplicationFactor"),
                                    array("TopicConfigs", Plain, &[string("Key"), string("Value")]),
                                ],
                            ),
                        ],
                    )
                    .nullable(0)
                    .null(),
                ],
            )
            .nullable(0)
            .null(),
            array(
                "Members",
                Members,
                &[
                    string("MemberId").is(MemberId),
                    int32("MemberEpoch").is(MemberEpoch),
                    string("InstanceId").nullable(0).null().is(GroupInstanceId),
                    string("RackId").nullable(0).null(),
                    string("ClientId"),
                    string("ClientHost"),
                    int32("TopologyEpoch"),
                    string("ProcessId"),
                    structure("UserEndpoint", &[string("Host"), uint16("Port")]).nullable(0).null(),
                    array("ClientTags", Plain, &[string("Key"), string("Value")]),
                    array(
                        "TaskOffsets",
                        Plain,
                        &[string("SubtopologyId"), int32("Partition"), int64("Offset")],
                    ),
                    array(
                        "TaskEndOffsets",
                        Plain,
                        &[string("SubtopologyId"), int32("Partition"), int64("Offset")],
                    ),
                    structure(
                        "Assignment",
                        &[
                            array(
                                "ActiveTasks",
                                Plain,
                                &[string("SubtopologyId"), int32s("Partitions", Plain)],
                            ),
                            array(
                                "StandbyTasks",
                                Plain,
                                &[string("SubtopologyId"), int32s("Partitions", Plain)],
                            ),
                            array(
                                "WarmupTasks",
                                Plain,
                                &[string("SubtopologyId"), int32s("Partitions", Plain)],
                            ),
                        ],
                    ),
                    structure(
                        "TargetAssignment",
                        &[
                            array(
                                "ActiveTasks",
                                Plain,
                                &[string("SubtopologyId"), int32s("Partitions", Plain)],
                            ),
                            array(
                                "StandbyTasks",
                                Plain,
                                &[string("SubtopologyId"), int32s("Partitions", Plain)],
                            ),
                            array(
                                "WarmupTasks",
                                Plain,
                                &[string("SubtopologyId"), int32s("Partitions", Plain)],
                            ),
                        ],
                    ),
                    boolean("IsClassic"),
                ],
            ),
            int32("AuthorizedOperations").int(OPERATIONS_UNKNOWN).is(AuthorizedOperations),
        ],
    ),
];
