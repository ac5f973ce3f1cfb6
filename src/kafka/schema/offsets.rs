//! ListOffsets, OffsetForLeaderEpoch, OffsetCommit and OffsetFetch: fields in wire order.

use super::*;

/// ListOffsetsRequest.
pub(in crate::kafka) static LIST_OFFSETS_REQUEST: &[Field] = &[
    int32("ReplicaId").is(ReplicaId),
    int8("IsolationLevel").from(2).is(IsolationLevel),
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
                    int32("CurrentLeaderEpoch").from(4),
                    int64("Timestamp").is(Offset),
                ],
            ),
        ],
    ),
    int32("TimeoutMs").from(10),
];

/// ListOffsetsResponse.
pub(in crate::kafka) static LIST_OFFSETS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(2).is(ThrottleTimeMs),
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
                    int64("Timestamp").from(1).int(-1).is(Offset),
                    int64("Offset").from(1).int(-1).is(Offset),
                    int32("LeaderEpoch").from(4).int(-1),
                ],
            ),
        ],
    ),
];

/// OffsetForLeaderEpochRequest.
pub(in crate::kafka) static OFFSET_FOR_LEADER_EPOCH_REQUEST: &[Field] = &[
    int32("ReplicaId").from(3).is(ReplicaId),
    array(
        "Topics",
        Topics,
        &[
            string("Topic").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("Partition").is(PartitionIndex),
                    int32("CurrentLeaderEpoch").from(2),
                    int32("LeaderEpoch"),
                ],
            ),
        ],
    ),
];

/// OffsetForLeaderEpochResponse.
pub(in crate::kafka) static OFFSET_FOR_LEADER_EPOCH_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(2).is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            string("Topic").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int16("ErrorCode").is(ErrorCode),
                    int32("Partition").is(PartitionIndex),
                    int32("LeaderEpoch").from(1).int(-1),
                    int64("EndOffset").int(-1).is(Offset),
                ],
            ),
        ],
    ),
];

/// OffsetCommitRequest.
pub(in crate::kafka) static OFFSET_COMMIT_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    int32("GenerationIdOrMemberEpoch").from(1).is(GenerationId),
    string("MemberId").from(1).is(MemberId),
    string("GroupInstanceId").from(7).nullable(7).is(GroupInstanceId),
    int64("RetentionTimeMs").within(2, 4),
    array(
        "Topics",
        Topics,
        &[
            string("Name").to(9).is(TopicName),
            uuid("TopicId").from(10).is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int64("CommittedOffset").is(Offset),
                    int32("CommittedLeaderEpoch").from(6),
                    string("CommittedMetadata").nullable(0).is(CommittedMetadata),
                ],
            ),
        ],
    ),
];

/// OffsetCommitResponse.
pub(in crate::kafka) static OFFSET_COMMIT_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(3).is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            string("Name").to(9).is(TopicName),
            uuid("TopicId").from(10).is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[int32("PartitionIndex").is(PartitionIndex), int16("ErrorCode").is(ErrorCode)],
            ),
        ],
    ),
];

/// OffsetFetchRequest.
pub(in crate::kafka) static OFFSET_FETCH_REQUEST: &[Field] = &[
    string("GroupId").to(7).is(GroupId),
    array(
        "Topics",
        Topics,
        &[string("Name").to(7).is(TopicName), int32s("PartitionIndexes", Partitions).to(7)],
    )
    .to(7)
    .nullable_within(2, 7),
    array(
        "Groups",
        Groups,
        &[
            string("GroupId").from(8).is(GroupId),
            string("MemberId").from(9).nullable(9).is(MemberId),
            int32("MemberEpoch").from(9).is(MemberEpoch),
            array(
                "Topics",
                Topics,
                &[
                    string("Name").within(8, 9).is(TopicName),
                    uuid("TopicId").from(10).is(TopicId),
                    int32s("PartitionIndexes", Partitions).from(8),
                ],
            )
            .from(8)
            .nullable(8),
        ],
    )
    .from(8),
    boolean("RequireStable").from(7),
];

/// OffsetFetchResponse.
pub(in crate::kafka) static OFFSET_FETCH_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(3).is(ThrottleTimeMs),
    array(
        "Topics",
        Topics,
        &[
            string("Name").to(7).is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").to(7).is(PartitionIndex),
                    int64("CommittedOffset").to(7).int(-1).is(Offset),
                    int32("CommittedLeaderEpoch").within(5, 7).int(-1),
                    string("Metadata").to(7).nullable_within(0, 7).is(CommittedMetadata),
                    int16("ErrorCode").to(7).is(ErrorCode),
                ],
            )
            .to(7),
        ],
    )
    .to(7),
    int16("ErrorCode").within(2, 7).is(ErrorCode),
    array(
        "Groups",
        Groups,
        &[
            string("GroupId").from(8).is(GroupId),
            array(
                "Topics",
                Topics,
                &[
                    string("Name").within(8, 9).is(TopicName),
                    uuid("TopicId").from(10).is(TopicId),
                    array(
                        "Partitions",
                        Partitions,
                        &[
                            int32("PartitionIndex").from(8).is(PartitionIndex),
                            int64("CommittedOffset").from(8).int(-1).is(Offset),
                            int32("CommittedLeaderEpoch").from(8).int(-1),
                            string("Metadata").from(8).nullable(8).is(CommittedMetadata),
                            int16("ErrorCode").from(8).is(ErrorCode),
                        ],
                    )
                    .from(8),
                ],
            )
            .from(8),
            int16("ErrorCode").from(8).is(ErrorCode),
        ],
    )
    .from(8),
];
