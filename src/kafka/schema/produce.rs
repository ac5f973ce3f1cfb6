//! Produce: fields in wire order.

use super::*;

/// ProduceRequest.
pub(in crate::kafka) static PRODUCE_REQUEST: &[Field] = &[
    string("TransactionalId").from(3).nullable(3).is(TransactionalId),
    int16("Acks").is(Acks),
    int32("TimeoutMs").is(TimeoutMs),
    array(
        "TopicData",
        Topics,
        &[
            string("Name").to(12).is(TopicName),
            uuid("TopicId").from(13).is(TopicId),
            array(
                "PartitionData",
                Partitions,
                &[int32("Index").is(PartitionIndex), records("Records").nullable(0).is(Records)],
            ),
        ],
    ),
];

/// ProduceResponse.
pub(in crate::kafka) static PRODUCE_RESPONSE: &[Field] = &[
    array(
        "Responses",
        Topics,
        &[
            string("Name").to(12).is(TopicName),
            uuid("TopicId").from(13).is(TopicId),
            array(
                "PartitionResponses",
                Partitions,
                &[
                    int32("Index").is(PartitionIndex),
                    int16("ErrorCode").is(ErrorCode),
                    int64("BaseOffset").int(-1).is(Offset),
                    int64("LogAppendTimeMs").from(2).int(-1),
                    int64("LogStartOffset").from(5).int(-1),
                    array(
                        "RecordErrors",
                        Plain,
                        &[
                            int32("BatchIndex").from(8),
                            string("BatchIndexErrorMessage").from(8).nullable(8).null(),
                        ],
                    )
                    .from(8),
                    string("ErrorMessage").from(8).nullable(8).null().is(ErrorMessage),
                    structure(
                        "CurrentLeader",
                        &[
                            int32("LeaderId").from(10).int(-1),
                            int32("LeaderEpoch").from(10).int(-1),
                        ],
                    )
                    .from(10)
                    .tagged(0, 10),
                ],
            ),
        ],
    ),
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    array(
        "NodeEndpoints",
        Endpoints,
        &[
            int32("NodeId").from(10).is(NodeId),
            string("Host").from(10).is(Host),
            int32("Port").from(10).is(Port),
            string("Rack").from(10).nullable(10).null(),
        ],
    )
    .from(10)
    .tagged(0, 10),
];
