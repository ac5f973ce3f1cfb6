//! Producer ids and transactions: fields in wire order.

use super::*;

/// InitProducerIdRequest.
pub(in crate::kafka) static INIT_PRODUCER_ID_REQUEST: &[Field] = &[
    string("TransactionalId").nullable(0).is(TransactionalId),
    int32("TransactionTimeoutMs").is(TimeoutMs),
    int64("ProducerId").from(3).is(ProducerId),
    int16("ProducerEpoch").from(3).is(ProducerEpoch),
    boolean("Enable2Pc").from(6).is(TwoPhaseCommit),
    boolean("KeepPreparedTxn").from(6),
];

/// InitProducerIdResponse.
pub(in crate::kafka) static INIT_PRODUCER_ID_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    int64("ProducerId").int(-1).is(ProducerId),
    int16("ProducerEpoch").int(-1).is(ProducerEpoch),
    int64("OngoingTxnProducerId").from(6).int(-1),
    int16("OngoingTxnProducerEpoch").from(6).int(-1),
];

/// AddPartitionsToTxnRequest.
pub(in crate::kafka) static ADD_PARTITIONS_TO_TXN_REQUEST: &[Field] = &[
    array(
        "Transactions",
        Transactions,
        &[
            string("TransactionalId").from(4).is(TransactionalId),
            int64("ProducerId").from(4).is(ProducerId),
            int16("ProducerEpoch").from(4).is(ProducerEpoch),
            boolean("VerifyOnly").from(4),
            array(
                "Topics",
                Topics,
                &[string("Name").is(TopicName), int32s("Partitions", Partitions)],
            )
            .from(4),
        ],
    )
    .from(4),
    string("V3AndBelowTransactionalId").to(3).is(TransactionalId),
    int64("V3AndBelowProducerId").to(3).is(ProducerId),
    int16("V3AndBelowProducerEpoch").to(3).is(ProducerEpoch),
    array(
        "V3AndBelowTopics",
        Topics,
        &[string("Name").is(TopicName), int32s("Partitions", Partitions)],
    )
    .to(3),
];

/// AddPartitionsToTxnResponse.
pub(in crate::kafka) static ADD_PARTITIONS_TO_TXN_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").from(4).is(ErrorCode),
    array(
        "ResultsByTransaction",
        Transactions,
        &[
            string("TransactionalId").from(4).is(TransactionalId),
            array(
                "TopicResults",
                Topics,
                &[
                    string("Name").is(TopicName),
                    array(
                        "ResultsByPartition",
                        Partitions,
                        &[
                            int32("PartitionIndex").is(PartitionIndex),
                            int16("PartitionErrorCode").is(ErrorCode),
                        ],
                    ),
                ],
            )
            .from(4),
        ],
    )
    .from(4),
    array(
        "ResultsByTopicV3AndBelow",
        Topics,
        &[
            string("Name").is(TopicName),
            array(
                "ResultsByPartition",
                Partitions,
                &[
                    int32("PartitionIndex").is(PartitionIndex),
                    int16("PartitionErrorCode").is(ErrorCode),
                ],
            ),
        ],
    )
    .to(3),
];

/// AddOffsetsToTxnRequest.
pub(in crate::kafka) static ADD_OFFSETS_TO_TXN_REQUEST: &[Field] = &[
    string("TransactionalId").is(TransactionalId),
    int64("ProducerId").is(ProducerId),
    int16("ProducerEpoch").is(ProducerEpoch),
    string("GroupId").is(GroupId),
];

/// AddOffsetsToTxnResponse.
pub(in crate::kafka) static ADD_OFFSETS_TO_TXN_RESPONSE: &[Field] =
    &[int32("ThrottleTimeMs").is(ThrottleTimeMs), int16("ErrorCode").is(ErrorCode)];

/// EndTxnRequest.
pub(in crate::kafka) static END_TXN_REQUEST: &[Field] = &[
    string("TransactionalId").is(TransactionalId),
    int64("ProducerId").is(ProducerId),
    int16("ProducerEpoch").is(ProducerEpoch),
    boolean("Committed").is(Committed),
];

/// EndTxnResponse.
pub(in crate::kafka) static END_TXN_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    int64("ProducerId").from(5).int(-1).is(ProducerId),
    int16("ProducerEpoch").from(5).int(-1).is(ProducerEpoch),
];

/// TxnOffsetCommitRequest.
pub(in crate::kafka) static TXN_OFFSET_COMMIT_REQUEST: &[Field] = &[
    string("TransactionalId").is(TransactionalId),
    string("GroupId").is(GroupId),
    int64("ProducerId").is(ProducerId),
    int16("ProducerEpoch").is(ProducerEpoch),
    int32("GenerationId").from(3).is(GenerationId),
    string("MemberId").from(3).is(MemberId),
    string("GroupInstanceId").from(3).nullable(3).is(GroupInstanceId),
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
                    int64("CommittedOffset").is(Offset),
                    int32("CommittedLeaderEpoch").from(2),
                    string("CommittedMetadata").nullable(0).is(CommittedMetadata),
                ],
            ),
        ],
    ),
];

/// TxnOffsetCommitResponse.
pub(in crate::kafka) static TXN_OFFSET_COMMIT_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
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
];

/// DescribeTransactionsRequest.
pub(in crate::kafka) static DESCRIBE_TRANSACTIONS_REQUEST: &[Field] =
    &[strings("TransactionalIds", Keys)];

/// DescribeTransactionsResponse.
pub(in crate::kafka) static DESCRIBE_TRANSACTIONS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array(
        "TransactionStates",
        Keys,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("TransactionalId").is(Key),
            string("TransactionState"),
            int32("TransactionTimeoutMs"),
            int64("TransactionStartTimeMs"),
            int64("ProducerId"),
            int16("ProducerEpoch"),
            array(
                "Topics",
                Topics,
                &[string("Topic").is(TopicName), int32s("Partitions", Partitions)],
            ),
        ],
    ),
];

/// ListTransactionsRequest.
pub(in crate::kafka) static LIST_TRANSACTIONS_REQUEST: &[Field] = &[
    strings("StateFilters", Plain),
    numbers("ProducerIdFilters", 8),
    int64("DurationFilter").from(1),
    string("TransactionalIdPattern").from(2).nullable(2),
];

/// ListTransactionsResponse.
pub(in crate::kafka) static LIST_TRANSACTIONS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    strings("UnknownStateFilters", Plain),
    array(
        "TransactionStates",
        Keys,
        &[string("TransactionalId").is(Key), int64("ProducerId"), string("TransactionState")],
    ),
];
