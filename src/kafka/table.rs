//! The API table: a row for every API that the gateway carries or answers.
//!
//! What a row needs follows Kafka's own request handlers, not its documentation, which differ in a
//! dozen places. A row and its field tables are all that another API takes.

use sluicegate_actors::vocabulary::Action;

use crate::kafka::error_code::ErrorCode;
use crate::kafka::schema::{
    List, Versions, cluster_admin, configs, consumer_groups as consumer, credentials, fetch,
    group_admin, groups, login, metadata, offsets, produce, share_groups, share_state,
    streams_groups, topic_admin, transactions,
};
use crate::kafka::{Api, Handling, Need, Refusal, Subject, When};

/// The key of ApiVersions, which breaks several rules.
pub const API_VERSIONS_KEY: i16 = 18;

/// The key of Metadata, which tells of brokers beside its topics.
pub const METADATA_KEY: i16 = 3;

/// Every API, by key.
pub static APIS: [Api; 75] = [
    Api {
        carried: Versions::new(3, 13),
        needs: &[
            need(Subject::TransactionalId, Action::Write, WHOLE_TRANSACTIONAL)
                .when(When::TransactionalBatch),
            need(TOPICS, Action::Write, EACH_TOPIC),
        ],
        ..row(0, "Produce", (0, 13), 9, produce::PRODUCE_REQUEST, produce::PRODUCE_RESPONSE)
    },
    Api {
        needs: &[
            need(Subject::Cluster, Action::ClusterAction, EACH_TOPIC).when(When::Replica),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        repeats: Versions::new(0, 12),
        ..row(1, "Fetch", (4, 18), 12, fetch::FETCH_REQUEST, fetch::FETCH_RESPONSE)
    },
    Api {
        needs: &[
            need(Subject::Cluster, Action::ClusterAction, EACH_TOPIC).when(When::Replica),
            need(TOPICS, Action::Describe, EACH_TOPIC),
        ],
        ..row(
            2,
            "ListOffsets",
            (1, 11),
            6,
            offsets::LIST_OFFSETS_REQUEST,
            offsets::LIST_OFFSETS_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(TOPICS, Action::Describe, EACH_TOPIC),
            need(TOPICS, Action::Create, EACH_TOPIC)
                .when(When::AutoCreate)
                .or(Subject::Cluster, Action::Create),
        ],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        ..row(3, "Metadata", (0, 13), 9, metadata::METADATA_REQUEST, metadata::METADATA_RESPONSE)
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        ..row(
            8,
            "OffsetCommit",
            (2, 10),
            8,
            offsets::OFFSET_COMMIT_REQUEST,
            offsets::OFFSET_COMMIT_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Describe, WHOLE_GROUP).within(0, 7),
            need(Subject::Groups, Action::Describe, EACH_GROUP).within(8, i16::MAX),
            need(TOPICS, Action::Describe, EACH_TOPIC),
        ],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        repeats: Versions::new(0, 1),
        ..row(
            9,
            "OffsetFetch",
            (1, 10),
            6,
            offsets::OFFSET_FETCH_REQUEST,
            offsets::OFFSET_FETCH_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::GroupKeys, Action::Describe, EACH_GROUP).when(When::KeyType(0)),
            need(Subject::TransactionalKeys, Action::Describe, EACH_TRANSACTIONAL)
                .when(When::KeyType(1)),
            // Before version 6 a broker knows no such key.
            need(Subject::Cluster, Action::ClusterAction, WHOLE_CLUSTER)
                .when(When::KeyType(2))
                .within(6, i16::MAX),
        ],
        ..row(
            10,
            "FindCoordinator",
            (0, 6),
            3,
            groups::FIND_COORDINATOR_REQUEST,
            groups::FIND_COORDINATOR_RESPONSE,
        )
    },
    Api {
        needs: READ_GROUP,
        ..row(11, "JoinGroup", (0, 9), 6, groups::JOIN_GROUP_REQUEST, groups::JOIN_GROUP_RESPONSE)
    },
    Api {
        needs: READ_GROUP,
        ..row(12, "Heartbeat", (0, 4), 4, groups::HEARTBEAT_REQUEST, groups::HEARTBEAT_RESPONSE)
    },
    Api {
        needs: READ_GROUP,
        ..row(
            13,
            "LeaveGroup",
            (0, 5),
            4,
            groups::LEAVE_GROUP_REQUEST,
            groups::LEAVE_GROUP_RESPONSE,
        )
    },
    Api {
        needs: READ_GROUP,
        ..row(14, "SyncGroup", (0, 5), 4, groups::SYNC_GROUP_REQUEST, groups::SYNC_GROUP_RESPONSE)
    },
    Api {
        needs: &[need(Subject::Groups, Action::Describe, EACH_GROUP)],
        ..row(
            15,
            "DescribeGroups",
            (0, 6),
            5,
            group_admin::DESCRIBE_GROUPS_REQUEST,
            group_admin::DESCRIBE_GROUPS_RESPONSE,
        )
    },
    Api {
        shows: &[need(Subject::Groups, Action::Describe, Refusal::Hide)
            .or(Subject::Cluster, Action::Describe)],
        ..row(
            16,
            "ListGroups",
            (0, 5),
            3,
            group_admin::LIST_GROUPS_REQUEST,
            group_admin::LIST_GROUPS_RESPONSE,
        )
    },
    Api {
        handling: Handling::Login,
        ..row(
            17,
            "SaslHandshake",
            (0, 1),
            i16::MAX,
            login::SASL_HANDSHAKE_REQUEST,
            login::SASL_HANDSHAKE_RESPONSE,
        )
    },
    Api {
        handling: Handling::Local,
        ..row(
            API_VERSIONS_KEY,
            "ApiVersions",
            (0, 4),
            3,
            login::API_VERSIONS_REQUEST,
            login::API_VERSIONS_RESPONSE,
        )
    },
    Api {
        needs: &[need(TOPICS, Action::Create, EACH_TOPIC).or(Subject::Cluster, Action::Create)],
        texts: &[(ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Authorization failed.")],
        ..row(
            19,
            "CreateTopics",
            (2, 7),
            5,
            topic_admin::CREATE_TOPICS_REQUEST,
            topic_admin::CREATE_TOPICS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[
            need(TOPICS, Action::Describe, EACH_TOPIC),
            need(TOPICS, Action::Delete, EACH_TOPIC),
        ],
        texts: TEXTS,
        ..row(
            20,
            "DeleteTopics",
            (1, 6),
            4,
            topic_admin::DELETE_TOPICS_REQUEST,
            topic_admin::DELETE_TOPICS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(TOPICS, Action::Delete, EACH_TOPIC)],
        ..row(
            21,
            "DeleteRecords",
            (0, 2),
            2,
            topic_admin::DELETE_RECORDS_REQUEST,
            topic_admin::DELETE_RECORDS_RESPONSE,
        )
    },
    Api {
        // Version 6 is unstable in Kafka 4.3.1, which offers 5.
        offered: Versions::new(0, 5),
        carried: Versions::new(0, 5),
        needs: &[
            need(Subject::TransactionalId, Action::Write, WHOLE_TRANSACTIONAL)
                .when(When::TransactionalIdGiven),
            need(Subject::Cluster, Action::IdempotentWrite, WHOLE_CLUSTER)
                .when(When::TransactionalIdAbsent)
                .or(Subject::AnyTopic, Action::Write),
        ],
        ..row(
            22,
            "InitProducerId",
            (0, 6),
            2,
            transactions::INIT_PRODUCER_ID_REQUEST,
            transactions::INIT_PRODUCER_ID_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(TOPICS, Action::Describe, EACH_TOPIC).or(Subject::Cluster, Action::ClusterAction)
        ],
        ..row(
            23,
            "OffsetForLeaderEpoch",
            (2, 4),
            4,
            offsets::OFFSET_FOR_LEADER_EPOCH_REQUEST,
            offsets::OFFSET_FOR_LEADER_EPOCH_RESPONSE,
        )
    },
    Api {
        needs: &[
            // From version 4 on it is spoken between brokers.
            need(Subject::Cluster, Action::ClusterAction, WHOLE_CLUSTER).within(4, i16::MAX),
            need(Subject::TransactionalId, Action::Write, WHOLE_TRANSACTIONAL).within(0, 3),
            need(
                TOPICS,
                Action::Write,
                Refusal::AllOrNothing(
                    ErrorCode::TOPIC_AUTHORIZATION_FAILED,
                    ErrorCode::OPERATION_NOT_ATTEMPTED,
                ),
            )
            .within(0, 3),
        ],
        ..row(
            24,
            "AddPartitionsToTxn",
            (0, 5),
            3,
            transactions::ADD_PARTITIONS_TO_TXN_REQUEST,
            transactions::ADD_PARTITIONS_TO_TXN_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::TransactionalId, Action::Write, WHOLE_TRANSACTIONAL),
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
        ],
        ..row(
            25,
            "AddOffsetsToTxn",
            (0, 4),
            3,
            transactions::ADD_OFFSETS_TO_TXN_REQUEST,
            transactions::ADD_OFFSETS_TO_TXN_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::TransactionalId, Action::Write, WHOLE_TRANSACTIONAL)],
        ..row(
            26,
            "EndTxn",
            (0, 5),
            3,
            transactions::END_TXN_REQUEST,
            transactions::END_TXN_RESPONSE,
        )
    },
    never(
        27,
        "WriteTxnMarkers",
        (1, 2),
        1,
        cluster_admin::WRITE_TXN_MARKERS_REQUEST,
        cluster_admin::WRITE_TXN_MARKERS_RESPONSE,
    ),
    Api {
        needs: &[
            need(Subject::TransactionalId, Action::Write, WHOLE_TRANSACTIONAL),
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        ..row(
            28,
            "TxnOffsetCommit",
            (0, 5),
            3,
            transactions::TXN_OFFSET_COMMIT_REQUEST,
            transactions::TXN_OFFSET_COMMIT_RESPONSE,
        )
    },
    never(
        29,
        "DescribeAcls",
        (1, 3),
        2,
        credentials::DESCRIBE_ACLS_REQUEST,
        credentials::DESCRIBE_ACLS_RESPONSE,
    ),
    never(
        30,
        "CreateAcls",
        (1, 3),
        2,
        credentials::CREATE_ACLS_REQUEST,
        credentials::CREATE_ACLS_RESPONSE,
    ),
    never(
        31,
        "DeleteAcls",
        (1, 3),
        2,
        credentials::DELETE_ACLS_REQUEST,
        credentials::DELETE_ACLS_RESPONSE,
    ),
    Api {
        needs: &[need(Subject::Configured, Action::DescribeConfigs, EACH_TOPIC)],
        texts: TEXTS,
        ..row(
            32,
            "DescribeConfigs",
            (1, 4),
            4,
            configs::DESCRIBE_CONFIGS_REQUEST,
            configs::DESCRIBE_CONFIGS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(Subject::Configured, Action::AlterConfigs, EACH_TOPIC)],
        texts: TEXTS,
        ..row(
            33,
            "AlterConfigs",
            (0, 2),
            2,
            configs::ALTER_CONFIGS_REQUEST,
            configs::ALTER_CONFIGS_RESPONSE,
        )
    },
    never(
        34,
        "AlterReplicaLogDirs",
        (1, 2),
        2,
        cluster_admin::ALTER_REPLICA_LOG_DIRS_REQUEST,
        cluster_admin::ALTER_REPLICA_LOG_DIRS_RESPONSE,
    ),
    Api {
        needs: &[need(Subject::Cluster, Action::Describe, WHOLE_CLUSTER)],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        repeats: Versions::NONE,
        ..row(
            35,
            "DescribeLogDirs",
            (1, 5),
            2,
            cluster_admin::DESCRIBE_LOG_DIRS_REQUEST,
            cluster_admin::DESCRIBE_LOG_DIRS_RESPONSE,
        )
    },
    Api {
        handling: Handling::Login,
        ..row(
            36,
            "SaslAuthenticate",
            (0, 2),
            2,
            login::SASL_AUTHENTICATE_REQUEST,
            login::SASL_AUTHENTICATE_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(TOPICS, Action::Alter, EACH_TOPIC)],
        ..row(
            37,
            "CreatePartitions",
            (0, 3),
            2,
            topic_admin::CREATE_PARTITIONS_REQUEST,
            topic_admin::CREATE_PARTITIONS_RESPONSE,
        )
    },
    never(
        38,
        "CreateDelegationToken",
        (1, 3),
        2,
        credentials::CREATE_DELEGATION_TOKEN_REQUEST,
        credentials::CREATE_DELEGATION_TOKEN_RESPONSE,
    ),
    never(
        39,
        "RenewDelegationToken",
        (1, 2),
        2,
        credentials::RENEW_DELEGATION_TOKEN_REQUEST,
        credentials::RENEW_DELEGATION_TOKEN_RESPONSE,
    ),
    never(
        40,
        "ExpireDelegationToken",
        (1, 2),
        2,
        credentials::EXPIRE_DELEGATION_TOKEN_REQUEST,
        credentials::EXPIRE_DELEGATION_TOKEN_RESPONSE,
    ),
    never(
        41,
        "DescribeDelegationToken",
        (1, 3),
        2,
        credentials::DESCRIBE_DELEGATION_TOKEN_REQUEST,
        credentials::DESCRIBE_DELEGATION_TOKEN_RESPONSE,
    ),
    Api {
        is_dangerous: true,
        needs: &[need(Subject::Groups, Action::Delete, EACH_GROUP)],
        ..row(
            42,
            "DeleteGroups",
            (0, 2),
            2,
            group_admin::DELETE_GROUPS_REQUEST,
            group_admin::DELETE_GROUPS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(Subject::Cluster, Action::Alter, WHOLE_CLUSTER)],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        ..row(
            43,
            "ElectLeaders",
            (0, 2),
            2,
            cluster_admin::ELECT_LEADERS_REQUEST,
            cluster_admin::ELECT_LEADERS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(Subject::Configured, Action::AlterConfigs, EACH_TOPIC)],
        texts: TEXTS,
        ..row(
            44,
            "IncrementalAlterConfigs",
            (0, 1),
            1,
            configs::INCREMENTAL_ALTER_CONFIGS_REQUEST,
            configs::INCREMENTAL_ALTER_CONFIGS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(Subject::Cluster, Action::Alter, WHOLE_CLUSTER)],
        ..row(
            45,
            "AlterPartitionReassignments",
            (0, 1),
            0,
            cluster_admin::ALTER_PARTITION_REASSIGNMENTS_REQUEST,
            cluster_admin::ALTER_PARTITION_REASSIGNMENTS_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::Cluster, Action::Describe, WHOLE_CLUSTER)],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        ..row(
            46,
            "ListPartitionReassignments",
            (0, 0),
            0,
            topic_admin::LIST_PARTITION_REASSIGNMENTS_REQUEST,
            topic_admin::LIST_PARTITION_REASSIGNMENTS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[
            need(Subject::Groups, Action::Delete, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        repeats: Versions::NONE,
        ..row(
            47,
            "OffsetDelete",
            (0, 0),
            i16::MAX,
            group_admin::OFFSET_DELETE_REQUEST,
            group_admin::OFFSET_DELETE_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::Cluster, Action::DescribeConfigs, WHOLE_CLUSTER)],
        ..row(
            48,
            "DescribeClientQuotas",
            (0, 1),
            1,
            cluster_admin::DESCRIBE_CLIENT_QUOTAS_REQUEST,
            cluster_admin::DESCRIBE_CLIENT_QUOTAS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[need(Subject::Cluster, Action::AlterConfigs, WHOLE_CLUSTER)],
        ..row(
            49,
            "AlterClientQuotas",
            (0, 1),
            1,
            cluster_admin::ALTER_CLIENT_QUOTAS_REQUEST,
            cluster_admin::ALTER_CLIENT_QUOTAS_RESPONSE,
        )
    },
    never(
        50,
        "DescribeUserScramCredentials",
        (0, 0),
        0,
        credentials::DESCRIBE_USER_SCRAM_CREDENTIALS_REQUEST,
        credentials::DESCRIBE_USER_SCRAM_CREDENTIALS_RESPONSE,
    ),
    never(
        51,
        "AlterUserScramCredentials",
        (0, 0),
        0,
        credentials::ALTER_USER_SCRAM_CREDENTIALS_REQUEST,
        credentials::ALTER_USER_SCRAM_CREDENTIALS_RESPONSE,
    ),
    Api {
        needs: &[need(Subject::Cluster, Action::Describe, WHOLE_CLUSTER)],
        repeats: Versions::NONE,
        ..row(
            55,
            "DescribeQuorum",
            (0, 2),
            0,
            cluster_admin::DESCRIBE_QUORUM_REQUEST,
            cluster_admin::DESCRIBE_QUORUM_RESPONSE,
        )
    },
    never(
        57,
        "UpdateFeatures",
        (0, 2),
        0,
        cluster_admin::UPDATE_FEATURES_REQUEST,
        cluster_admin::UPDATE_FEATURES_RESPONSE,
    ),
    row(
        60,
        "DescribeCluster",
        (0, 2),
        0,
        metadata::DESCRIBE_CLUSTER_REQUEST,
        metadata::DESCRIBE_CLUSTER_RESPONSE,
    ),
    Api {
        needs: &[need(TOPICS, Action::Read, EACH_TOPIC)],
        texts: TEXTS,
        ..row(
            61,
            "DescribeProducers",
            (0, 0),
            0,
            topic_admin::DESCRIBE_PRODUCERS_REQUEST,
            topic_admin::DESCRIBE_PRODUCERS_RESPONSE,
        )
    },
    never(
        64,
        "UnregisterBroker",
        (0, 0),
        0,
        cluster_admin::UNREGISTER_BROKER_REQUEST,
        cluster_admin::UNREGISTER_BROKER_RESPONSE,
    ),
    Api {
        needs: &[need(Subject::TransactionalKeys, Action::Describe, EACH_TRANSACTIONAL)],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        ..row(
            65,
            "DescribeTransactions",
            (0, 0),
            0,
            transactions::DESCRIBE_TRANSACTIONS_REQUEST,
            transactions::DESCRIBE_TRANSACTIONS_RESPONSE,
        )
    },
    Api {
        shows: &[need(Subject::TransactionalKeys, Action::Describe, Refusal::Hide)],
        ..row(
            66,
            "ListTransactions",
            (0, 2),
            0,
            transactions::LIST_TRANSACTIONS_REQUEST,
            transactions::LIST_TRANSACTIONS_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(
                Subject::Topics(List::SubscribedTopics),
                Action::Describe,
                Refusal::Whole(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ),
        ],
        // The coordinator resolves a regular expression by the gateway's rights, not the member's.
        shows: &[need(Subject::Topics(List::AssignedTopics), Action::Describe, Refusal::Hide)],
        ..row(
            68,
            "ConsumerGroupHeartbeat",
            (0, 1),
            0,
            consumer::CONSUMER_GROUP_HEARTBEAT_REQUEST,
            consumer::CONSUMER_GROUP_HEARTBEAT_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::Groups, Action::Describe, EACH_GROUP)],
        // One topic that may not be seen refuses its whole group.
        shows: &[
            need(Subject::Topics(List::SubscribedTopics), Action::Describe, EACH_TOPIC),
            need(Subject::Topics(List::AssignedTopics), Action::Describe, EACH_TOPIC),
            need(Subject::Topics(List::TargetTopics), Action::Describe, EACH_TOPIC),
        ],
        ..row(
            69,
            "ConsumerGroupDescribe",
            (0, 1),
            0,
            consumer::CONSUMER_GROUP_DESCRIBE_REQUEST,
            consumer::CONSUMER_GROUP_DESCRIBE_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::Cluster, Action::DescribeConfigs, WHOLE_CLUSTER)],
        shows: &[need(Subject::Configured, Action::DescribeConfigs, Refusal::Hide)],
        ..row(
            74,
            "ListConfigResources",
            (0, 1),
            0,
            configs::LIST_CONFIG_RESOURCES_REQUEST,
            configs::LIST_CONFIG_RESOURCES_RESPONSE,
        )
    },
    Api {
        needs: &[need(TOPICS, Action::Describe, EACH_TOPIC)],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        ..row(
            75,
            "DescribeTopicPartitions",
            (0, 0),
            0,
            metadata::DESCRIBE_TOPIC_PARTITIONS_REQUEST,
            metadata::DESCRIBE_TOPIC_PARTITIONS_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(
                Subject::Topics(List::SubscribedTopics),
                Action::Describe,
                Refusal::Whole(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ),
        ],
        shows: &[need(Subject::Topics(List::AssignedTopics), Action::Describe, Refusal::Hide)],
        ..row(
            76,
            "ShareGroupHeartbeat",
            (1, 1),
            0,
            share_groups::SHARE_GROUP_HEARTBEAT_REQUEST,
            share_groups::SHARE_GROUP_HEARTBEAT_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::Groups, Action::Describe, EACH_GROUP)],
        shows: &[
            need(Subject::Topics(List::SubscribedTopics), Action::Describe, EACH_TOPIC),
            need(Subject::Topics(List::AssignedTopics), Action::Describe, EACH_TOPIC),
        ],
        ..row(
            77,
            "ShareGroupDescribe",
            (1, 1),
            0,
            share_groups::SHARE_GROUP_DESCRIBE_REQUEST,
            share_groups::SHARE_GROUP_DESCRIBE_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        repeats: Versions::NONE,
        ..row(
            78,
            "ShareFetch",
            (1, 2),
            0,
            share_groups::SHARE_FETCH_REQUEST,
            share_groups::SHARE_FETCH_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        shows: &[need(TOPICS, Action::Read, Refusal::Hide)],
        repeats: Versions::NONE,
        ..row(
            79,
            "ShareAcknowledge",
            (1, 2),
            0,
            share_groups::SHARE_ACKNOWLEDGE_REQUEST,
            share_groups::SHARE_ACKNOWLEDGE_RESPONSE,
        )
    },
    never(
        80,
        "AddRaftVoter",
        (0, 1),
        0,
        cluster_admin::ADD_RAFT_VOTER_REQUEST,
        cluster_admin::ADD_RAFT_VOTER_RESPONSE,
    ),
    never(
        81,
        "RemoveRaftVoter",
        (0, 0),
        0,
        cluster_admin::REMOVE_RAFT_VOTER_REQUEST,
        cluster_admin::REMOVE_RAFT_VOTER_RESPONSE,
    ),
    never(
        83,
        "InitializeShareGroupState",
        (0, 0),
        0,
        share_state::INITIALIZE_SHARE_GROUP_STATE_REQUEST,
        share_state::INITIALIZE_SHARE_GROUP_STATE_RESPONSE,
    ),
    never(
        84,
        "ReadShareGroupState",
        (0, 0),
        0,
        share_state::READ_SHARE_GROUP_STATE_REQUEST,
        share_state::READ_SHARE_GROUP_STATE_RESPONSE,
    ),
    never(
        85,
        "WriteShareGroupState",
        (0, 1),
        0,
        share_state::WRITE_SHARE_GROUP_STATE_REQUEST,
        share_state::WRITE_SHARE_GROUP_STATE_RESPONSE,
    ),
    never(
        86,
        "DeleteShareGroupState",
        (0, 0),
        0,
        share_state::DELETE_SHARE_GROUP_STATE_REQUEST,
        share_state::DELETE_SHARE_GROUP_STATE_RESPONSE,
    ),
    never(
        87,
        "ReadShareGroupStateSummary",
        (0, 1),
        0,
        share_state::READ_SHARE_GROUP_STATE_SUMMARY_REQUEST,
        share_state::READ_SHARE_GROUP_STATE_SUMMARY_RESPONSE,
    ),
    Api {
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(
                Subject::Topics(List::SubscribedTopics),
                Action::Describe,
                Refusal::Whole(ErrorCode::TOPIC_AUTHORIZATION_FAILED),
            ),
            need(TOPICS, Action::Describe, Refusal::Whole(ErrorCode::TOPIC_AUTHORIZATION_FAILED)),
            // Topics that the application needs and that are not there are made for it.
            need(TOPICS, Action::Create, Refusal::Whole(ErrorCode::TOPIC_AUTHORIZATION_FAILED))
                .when(When::AutoCreate)
                .or(Subject::Cluster, Action::Create),
        ],
        shows: &[need(Subject::Topics(List::AssignedTopics), Action::Describe, Refusal::Hide)],
        repeats: Versions::NONE,
        ..row(
            88,
            "StreamsGroupHeartbeat",
            (0, 0),
            0,
            streams_groups::STREAMS_GROUP_HEARTBEAT_REQUEST,
            streams_groups::STREAMS_GROUP_HEARTBEAT_RESPONSE,
        )
    },
    Api {
        needs: &[need(Subject::Groups, Action::Describe, EACH_GROUP)],
        shows: &[need(Subject::Topics(List::SubscribedTopics), Action::Describe, EACH_TOPIC)],
        ..row(
            89,
            "StreamsGroupDescribe",
            (0, 0),
            0,
            streams_groups::STREAMS_GROUP_DESCRIBE_REQUEST,
            streams_groups::STREAMS_GROUP_DESCRIBE_RESPONSE,
        )
    },
    Api {
        needs: &[
            need(Subject::Groups, Action::Describe, EACH_GROUP),
            need(TOPICS, Action::Describe, EACH_TOPIC),
        ],
        shows: &[need(TOPICS, Action::Describe, Refusal::Hide)],
        texts: TEXTS,
        ..row(
            90,
            "DescribeShareGroupOffsets",
            (0, 1),
            0,
            share_groups::DESCRIBE_SHARE_GROUP_OFFSETS_REQUEST,
            share_groups::DESCRIBE_SHARE_GROUP_OFFSETS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[
            need(Subject::Groups, Action::Read, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        texts: TEXTS,
        repeats: Versions::NONE,
        ..row(
            91,
            "AlterShareGroupOffsets",
            (0, 0),
            0,
            share_groups::ALTER_SHARE_GROUP_OFFSETS_REQUEST,
            share_groups::ALTER_SHARE_GROUP_OFFSETS_RESPONSE,
        )
    },
    Api {
        is_dangerous: true,
        needs: &[
            need(Subject::Groups, Action::Delete, WHOLE_GROUP),
            need(TOPICS, Action::Read, EACH_TOPIC),
        ],
        texts: TEXTS,
        repeats: Versions::NONE,
        ..row(
            92,
            "DeleteShareGroupOffsets",
            (0, 0),
            0,
            share_groups::DELETE_SHARE_GROUP_OFFSETS_REQUEST,
            share_groups::DELETE_SHARE_GROUP_OFFSETS_RESPONSE,
        )
    },
];

const fn row(
    key: i16,
    name: &'static str,
    (from, to): (i16, i16),
    flexible_from: i16,
    request: &'static [crate::kafka::schema::Field],
    response: &'static [crate::kafka::schema::Field],
) -> Api {
    let versions = Versions::new(from, to);
    Api {
        key,
        name,
        known: versions,
        offered: versions,
        carried: versions,
        flexible_from,
        handling: Handling::Enforce,
        is_dangerous: false,
        needs: &[],
        shows: &[],
        repeats: Versions::ALL,
        texts: &[],
        request,
        response,
    }
}

/// An API that nobody gets through the gateway.
const fn never(
    key: i16,
    name: &'static str,
    versions: (i16, i16),
    flexible_from: i16,
    request: &'static [crate::kafka::schema::Field],
    response: &'static [crate::kafka::schema::Field],
) -> Api {
    let row = row(key, name, versions, flexible_from, request, response);
    Api { handling: Handling::Never, ..row }
}

const fn need(subject: Subject, action: Action, refusal: Refusal) -> Need {
    Need { subject, action, versions: Versions::ALL, when: When::Always, instead: None, refusal }
}

impl Need {
    const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    const fn or(mut self, subject: Subject, action: Action) -> Self {
        self.instead = Some((subject, action));
        self
    }

    const fn within(mut self, from: i16, to: i16) -> Self {
        self.versions = Versions::new(from, to);
        self
    }
}

/// Kafka's own texts of these codes.
const TEXTS: &[(ErrorCode, &str)] = &[
    (ErrorCode::TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed."),
    (ErrorCode::GROUP_AUTHORIZATION_FAILED, "Group authorization failed."),
    (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed."),
    (ErrorCode::UNKNOWN_TOPIC_ID, "This server does not host this topic ID."),
];

const TOPICS: Subject = Subject::Topics(List::Topics);
const EACH_TOPIC: Refusal = Refusal::Element(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
const EACH_GROUP: Refusal = Refusal::Element(ErrorCode::GROUP_AUTHORIZATION_FAILED);
const EACH_TRANSACTIONAL: Refusal =
    Refusal::Element(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
const WHOLE_GROUP: Refusal = Refusal::Whole(ErrorCode::GROUP_AUTHORIZATION_FAILED);
const WHOLE_TRANSACTIONAL: Refusal =
    Refusal::Whole(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
const WHOLE_CLUSTER: Refusal = Refusal::Whole(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
const READ_GROUP: &[Need] = &[need(Subject::Groups, Action::Read, WHOLE_GROUP)];

#[cfg(test)]
mod tests;
