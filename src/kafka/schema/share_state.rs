//! The state of share groups, which brokers keep among themselves: fields in wire order.

use super::*;

/// InitializeShareGroupStateRequest.
pub(in crate::kafka) static INITIALIZE_SHARE_GROUP_STATE_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[int32("Partition").is(PartitionIndex), int32("StateEpoch"), int64("StartOffset")],
            ),
        ],
    ),
];

/// InitializeShareGroupStateResponse.
pub(in crate::kafka) static INITIALIZE_SHARE_GROUP_STATE_RESPONSE: &[Field] = &[array(
    "Results",
    Topics,
    &[
        uuid("TopicId").is(TopicId),
        array(
            "Partitions",
            Partitions,
            &[
                int32("Partition").is(PartitionIndex),
                int16("ErrorCode").is(ErrorCode),
                string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            ],
        ),
    ],
)];

/// ReadShareGroupStateRequest.
pub(in crate::kafka) static READ_SHARE_GROUP_STATE_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[int32("Partition").is(PartitionIndex), int32("LeaderEpoch")],
            ),
        ],
    ),
];

/// ReadShareGroupStateResponse.
pub(in crate::kafka) static READ_SHARE_GROUP_STATE_RESPONSE: &[Field] = &[array(
    "Results",
    Topics,
    &[
        uuid("TopicId").is(TopicId),
        array(
            "Partitions",
            Partitions,
            &[
                int32("Partition").is(PartitionIndex),
                int16("ErrorCode").is(ErrorCode),
                string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                int32("StateEpoch"),
                int64("StartOffset"),
                array(
                    "StateBatches",
                    Plain,
                    &[
                        int64("FirstOffset"),
                        int64("LastOffset"),
                        int8("DeliveryState"),
                        int16("DeliveryCount"),
                    ],
                ),
            ],
        ),
    ],
)];

/// WriteShareGroupStateRequest.
pub(in crate::kafka) static WRITE_SHARE_GROUP_STATE_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("Partition").is(PartitionIndex),
                    int32("StateEpoch"),
                    int32("LeaderEpoch"),
                    int64("StartOffset"),
                    int32("DeliveryCompleteCount").from(1),
                    array(
                        "StateBatches",
                        Plain,
                        &[
                            int64("FirstOffset"),
                            int64("LastOffset"),
                            int8("DeliveryState"),
                            int16("DeliveryCount"),
                        ],
                    ),
                ],
            ),
        ],
    ),
];

/// WriteShareGroupStateResponse.
pub(in crate::kafka) static WRITE_SHARE_GROUP_STATE_RESPONSE: &[Field] = &[array(
    "Results",
    Topics,
    &[
        uuid("TopicId").is(TopicId),
        array(
            "Partitions",
            Partitions,
            &[
                int32("Partition").is(PartitionIndex),
                int16("ErrorCode").is(ErrorCode),
                string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            ],
        ),
    ],
)];

/// DeleteShareGroupStateRequest.
pub(in crate::kafka) static DELETE_SHARE_GROUP_STATE_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array("Partitions", Partitions, &[int32("Partition").is(PartitionIndex)]),
        ],
    ),
];

/// DeleteShareGroupStateResponse.
pub(in crate::kafka) static DELETE_SHARE_GROUP_STATE_RESPONSE: &[Field] = &[array(
    "Results",
    Topics,
    &[
        uuid("TopicId").is(TopicId),
        array(
            "Partitions",
            Partitions,
            &[
                int32("Partition").is(PartitionIndex),
                int16("ErrorCode").is(ErrorCode),
                string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            ],
        ),
    ],
)];

/// ReadShareGroupStateSummaryRequest.
pub(in crate::kafka) static READ_SHARE_GROUP_STATE_SUMMARY_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            uuid("TopicId").is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[int32("Partition").is(PartitionIndex), int32("LeaderEpoch")],
            ),
        ],
    ),
];

/// ReadShareGroupStateSummaryResponse.
pub(in crate::kafka) static READ_SHARE_GROUP_STATE_SUMMARY_RESPONSE: &[Field] = &[array(
    "Results",
    Topics,
    &[
        uuid("TopicId").is(TopicId),
        array(
            "Partitions",
            Partitions,
            &[
                int32("Partition").is(PartitionIndex),
                int16("ErrorCode").is(ErrorCode),
                string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                int32("StateEpoch"),
                int32("LeaderEpoch"),
                int64("StartOffset"),
                int32("DeliveryCompleteCount").from(1).int(-1),
            ],
        ),
    ],
)];
