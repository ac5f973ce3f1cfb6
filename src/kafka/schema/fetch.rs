//! Fetch: fields in wire order.

use super::*;

/// FetchRequest.
pub(in crate::kafka) static FETCH_REQUEST: &[Field] = &[
    string("ClusterId").from(12).nullable(12).tagged(0, 12).is(ClusterId),
    int32("ReplicaId").to(14).is(ReplicaId),
    structure(
        "ReplicaState",
        &[int32("ReplicaId").from(15).is(ReplicaId), int64("ReplicaEpoch").from(15)],
    )
    .from(15)
    .tagged(1, 15),
    int32("MaxWaitMs").is(MaxWaitMs),
    int32("MinBytes").is(MinBytes),
    int32("MaxBytes").from(3).is(MaxBytes),
    int8("IsolationLevel").from(4).is(IsolationLevel),
    int32("SessionId").from(7).is(SessionId),
    int32("SessionEpoch").from(7).is(SessionEpoch),
    array(
        "Topics",
        Topics,
        &[
            string("Topic").to(12).is(TopicName),
            uuid("TopicId").from(13).is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("Partition").is(PartitionIndex),
                    int32("CurrentLeaderEpoch").from(9),
                    int64("FetchOffset").is(Offset),
                    int32("LastFetchedEpoch").from(12),
                    int64("LogStartOffset").from(5),
                    int32("PartitionMaxBytes"),
                    uuid("ReplicaDirectoryId").from(17).tagged(0, 17),
                    int64("HighWatermark").from(18).tagged(1, 18),
                ],
            ),
        ],
    ),
    array(
        "ForgottenTopicsData",
        ForgottenTopics,
        &[
            string("Topic").within(7, 12).is(TopicName),
            uuid("TopicId").from(13).is(TopicId),
            int32s("Partitions", Partitions).from(7),
        ],
    )
    .from(7),
    string("RackId").from(11),
];

/// FetchResponse.
pub(in crate::kafka) static FETCH_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    int16("ErrorCode").from(7).is(ErrorCode),
    int32("SessionId").from(7).is(SessionId),
    array(
        "Responses",
        Topics,
        &[
            string("Topic").to(12).is(TopicName),
            uuid("TopicId").from(13).is(TopicId),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    int64("HighWatermark").int(-1).is(Offset),
                    int64("LastStableOffset").from(4).int(-1),
                    int64("LogStartOffset").from(5).int(-1),
                    structure(
                        "DivergingEpoch",
                        &[int32("Epoch").from(12).int(-1), int64("EndOffset").from(12).int(-1)],
                    )
                    .from(12)
                    .tagged(0, 12),
                    structure(
                        "CurrentLeader",
                        &[
                            int32("LeaderId").from(12).int(-1),
                            int32("LeaderEpoch").from(12).int(-1),
                        ],
                    )
                    .from(12)
                    .tagged(1, 12),
                    structure("SnapshotId", &[int64("EndOffset").int(-1), int32("Epoch").int(-1)])
                        .from(12)
                        .tagged(2, 12),
                    array(
                        "AbortedTransactions",
                        Plain,
                        &[int64("ProducerId").from(4), int64("FirstOffset").from(4)],
                    )
                    .from(4)
                    .nullable(4),
                    int32("PreferredReadReplica").from(11).int(-1),
                    records("Records").nullable(0).is(Records),
                ],
            ),
        ],
    ),
    array(
        "NodeEndpoints",
        Endpoints,
        &[
            int32("NodeId").from(16).is(NodeId),
            string("Host").from(16).is(Host),
            int32("Port").from(16).is(Port),
            string("Rack").from(16).nullable(16).null(),
        ],
    )
    .from(16)
    .tagged(0, 16),
];
