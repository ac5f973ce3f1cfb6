//! What administers the cluster: replicas, elections, quotas, the quorum, features: fields in wire order.

use super::*;

/// DescribeLogDirsRequest.
pub(in crate::kafka) static DESCRIBE_LOG_DIRS_REQUEST: &[Field] =
    &[array("Topics", Topics, &[string("Topic").is(TopicName), int32s("Partitions", Partitions)])
        .nullable(0)];

/// DescribeLogDirsResponse.
pub(in crate::kafka) static DESCRIBE_LOG_DIRS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").from(3).is(ErrorCode),
    array(
        "Results",
        Plain,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("LogDir"),
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
                            int64("PartitionSize"),
                            int64("OffsetLag"),
                            boolean("IsFutureKey"),
                        ],
                    ),
                ],
            ),
            int64("TotalBytes").from(4).int(-1),
            int64("UsableBytes").from(4).int(-1),
            boolean("IsCordoned").from(5),
        ],
    ),
];

/// AlterReplicaLogDirsRequest.
pub(in crate::kafka) static ALTER_REPLICA_LOG_DIRS_REQUEST: &[Field] = &[array(
    "Dirs",
    Plain,
    &[
        string("Path"),
        array("Topics", Topics, &[string("Name").is(TopicName), int32s("Partitions", Partitions)]),
    ],
)];

/// AlterReplicaLogDirsResponse.
pub(in crate::kafka) static ALTER_REPLICA_LOG_DIRS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Results",
        Topics,
        &[
            string("TopicName").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[int32("PartitionIndex").is(PartitionIndex), int16("ErrorCode").is(ErrorCode)],
            ),
        ],
    ),
];

/// ElectLeadersRequest.
pub(in crate::kafka) static ELECT_LEADERS_REQUEST: &[Field] = &[
    int8("ElectionType").from(1),
    array(
        "TopicPartitions",
        Topics,
        &[string("Topic").is(TopicName), int32s("Partitions", Partitions)],
    )
    .nullable(0),
    int32("TimeoutMs").is(TimeoutMs),
];

/// ElectLeadersResponse.
pub(in crate::kafka) static ELECT_LEADERS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").from(1).is(ErrorCode),
    array(
        "ReplicaElectionResults",
        Topics,
        &[
            string("Topic").is(TopicName),
            array(
                "PartitionResult",
                Partitions,
                &[
                    int32("PartitionId").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
                ],
            ),
        ],
    ),
];

/// AlterPartitionReassignmentsRequest.
pub(in crate::kafka) static ALTER_PARTITION_REASSIGNMENTS_REQUEST: &[Field] = &[
    int32("TimeoutMs").is(TimeoutMs),
    boolean("AllowReplicationFactorChange").from(1),
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
                    int32s("Replicas", Plain).nullable(0),
                ],
            ),
        ],
    ),
];

/// AlterPartitionReassignmentsResponse.
pub(in crate::kafka) static ALTER_PARTITION_REASSIGNMENTS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    boolean("AllowReplicationFactorChange").from(1).int(1),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Responses",
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
                ],
            ),
        ],
    ),
];

/// DescribeClientQuotasRequest.
pub(in crate::kafka) static DESCRIBE_CLIENT_QUOTAS_REQUEST: &[Field] = &[
    array(
        "Components",
        Plain,
        &[string("EntityType"), int8("MatchType"), string("Match").nullable(0)],
    ),
    boolean("Strict"),
];

/// DescribeClientQuotasResponse.
pub(in crate::kafka) static DESCRIBE_CLIENT_QUOTAS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Entries",
        Plain,
        &[
            array("Entity", Plain, &[string("EntityType"), string("EntityName").nullable(0)]),
            array("Values", Plain, &[string("Key"), float64("Value")]),
        ],
    )
    .nullable(0)
    .null(),
];

/// AlterClientQuotasRequest.
pub(in crate::kafka) static ALTER_CLIENT_QUOTAS_REQUEST: &[Field] = &[
    array(
        "Entries",
        Keys,
        &[
            array("Entity", Echoed, &[string("EntityType"), string("EntityName").nullable(0)]),
            array("Ops", Plain, &[string("Key"), float64("Value"), boolean("Remove")]),
        ],
    ),
    boolean("ValidateOnly"),
];

/// AlterClientQuotasResponse.
pub(in crate::kafka) static ALTER_CLIENT_QUOTAS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "Entries",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
            array("Entity", Echoed, &[string("EntityType"), string("EntityName").nullable(0)]),
        ],
    ),
];

/// DescribeQuorumRequest.
pub(in crate::kafka) static DESCRIBE_QUORUM_REQUEST: &[Field] = &[array(
    "Topics",
    Topics,
    &[
        string("TopicName").is(TopicName),
        array("Partitions", Partitions, &[int32("PartitionIndex").is(PartitionIndex)]),
    ],
)];

/// DescribeQuorumResponse.
pub(in crate::kafka) static DESCRIBE_QUORUM_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").from(2).nullable(2).null().is(ErrorMessage),
    array(
        "Topics",
        Topics,
        &[
            string("TopicName").is(TopicName),
            array(
                "Partitions",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    string("ErrorMessage").from(2).nullable(2).null().is(ErrorMessage),
                    int32("LeaderId"),
                    int32("LeaderEpoch"),
                    int64("HighWatermark"),
                    array(
                        "CurrentVoters",
                        Plain,
                        &[
                            int32("ReplicaId"),
                            uuid("ReplicaDirectoryId").from(2),
                            int64("LogEndOffset"),
                            int64("LastFetchTimestamp").from(1).int(-1),
                            int64("LastCaughtUpTimestamp").from(1).int(-1),
                        ],
                    ),
                    array(
                        "Observers",
                        Plain,
                        &[
                            int32("ReplicaId"),
                            uuid("ReplicaDirectoryId").from(2),
                            int64("LogEndOffset"),
                            int64("LastFetchTimestamp").from(1).int(-1),
                            int64("LastCaughtUpTimestamp").from(1).int(-1),
                        ],
                    ),
                ],
            ),
        ],
    ),
    array(
        "Nodes",
        Plain,
        &[
            int32("NodeId").from(2),
            array(
                "Listeners",
                Endpoints,
                &[string("Name").from(2), string("Host").from(2).is(Host), uint16("Port").from(2)],
            )
            .from(2),
        ],
    )
    .from(2),
];

/// UpdateFeaturesRequest.
pub(in crate::kafka) static UPDATE_FEATURES_REQUEST: &[Field] = &[
    int32("timeoutMs").is(TimeoutMs),
    array(
        "FeatureUpdates",
        Plain,
        &[
            string("Feature"),
            int16("MaxVersionLevel"),
            boolean("AllowDowngrade").to(0),
            int8("UpgradeType").from(1),
        ],
    ),
    boolean("ValidateOnly").from(1),
];

/// UpdateFeaturesResponse.
pub(in crate::kafka) static UPDATE_FEATURES_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
    array(
        "Results",
        Plain,
        &[
            string("Feature"),
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").nullable(0).null().is(ErrorMessage),
        ],
    )
    .to(1),
];

/// UnregisterBrokerRequest.
pub(in crate::kafka) static UNREGISTER_BROKER_REQUEST: &[Field] = &[int32("BrokerId")];

/// UnregisterBrokerResponse.
pub(in crate::kafka) static UNREGISTER_BROKER_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
];

/// AddRaftVoterRequest.
pub(in crate::kafka) static ADD_RAFT_VOTER_REQUEST: &[Field] = &[
    string("ClusterId").nullable(0),
    int32("TimeoutMs").is(TimeoutMs),
    int32("VoterId"),
    uuid("VoterDirectoryId"),
    array("Listeners", Plain, &[string("Name"), string("Host"), uint16("Port")]),
    boolean("AckWhenCommitted").from(1),
];

/// AddRaftVoterResponse.
pub(in crate::kafka) static ADD_RAFT_VOTER_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
];

/// RemoveRaftVoterRequest.
pub(in crate::kafka) static REMOVE_RAFT_VOTER_REQUEST: &[Field] =
    &[string("ClusterId").nullable(0), int32("VoterId"), uuid("VoterDirectoryId")];

/// RemoveRaftVoterResponse.
pub(in crate::kafka) static REMOVE_RAFT_VOTER_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ErrorMessage").nullable(0).null().is(ErrorMessage),
];

/// WriteTxnMarkersRequest.
pub(in crate::kafka) static WRITE_TXN_MARKERS_REQUEST: &[Field] = &[array(
    "Markers",
    Plain,
    &[
        int64("ProducerId"),
        int16("ProducerEpoch"),
        boolean("TransactionResult"),
        array(
            "Topics",
            Topics,
            &[string("Name").is(TopicName), int32s("PartitionIndexes", Partitions)],
        ),
        int32("CoordinatorEpoch"),
        int8("TransactionVersion").from(2),
    ],
)];

/// WriteTxnMarkersResponse.
pub(in crate::kafka) static WRITE_TXN_MARKERS_RESPONSE: &[Field] = &[array(
    "Markers",
    Plain,
    &[
        int64("ProducerId"),
        array(
            "Topics",
            Topics,
            &[
                string("Name").is(TopicName),
                array(
                    "Partitions",
                    Partitions,
                    &[int32("PartitionIndex").is(PartitionIndex), int16("ErrorCode").is(ErrorCode)],
                ),
            ],
        ),
    ],
)];
