//! DescribeGroups, ListGroups, DeleteGroups and OffsetDelete: fields in wire order.

use super::*;

/// DescribeGroupsRequest.
pub(in crate::kafka) static DESCRIBE_GROUPS_REQUEST: &[Field] = &[
    strings("Groups", Groups),
    boolean("IncludeAuthorizedOperations").from(3).is(IncludeGroupOperations),
];

/// DescribeGroupsResponse.
pub(in crate::kafka) static DESCRIBE_GROUPS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    array(
        "Groups",
        Groups,
        &[
            int16("ErrorCode").is(ErrorCode),
            string("ErrorMessage").from(6).nullable(6).null().is(ErrorMessage),
            string("GroupId").is(GroupId),
            string("GroupState"),
            string("ProtocolType").is(ProtocolType),
            string("ProtocolData"),
            array(
                "Members",
                Members,
                &[
                    string("MemberId").is(MemberId),
                    string("GroupInstanceId").from(4).nullable(4).null().is(GroupInstanceId),
                    string("ClientId"),
                    string("ClientHost"),
                    bytes("MemberMetadata").is(MemberMetadata),
                    bytes("MemberAssignment").is(MemberAssignment),
                ],
            ),
            int32("AuthorizedOperations").from(3).int(OPERATIONS_UNKNOWN).is(AuthorizedOperations),
        ],
    ),
];

/// ListGroupsRequest.
pub(in crate::kafka) static LIST_GROUPS_REQUEST: &[Field] =
    &[strings("StatesFilter", Plain).from(4), strings("TypesFilter", Plain).from(5)];

/// ListGroupsResponse.
pub(in crate::kafka) static LIST_GROUPS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    array(
        "Groups",
        Groups,
        &[
            string("GroupId").is(GroupId),
            string("ProtocolType"),
            string("GroupState").from(4),
            string("GroupType").from(5),
        ],
    ),
];

/// DeleteGroupsRequest.
pub(in crate::kafka) static DELETE_GROUPS_REQUEST: &[Field] = &[strings("GroupsNames", Groups)];

/// DeleteGroupsResponse.
pub(in crate::kafka) static DELETE_GROUPS_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").is(ThrottleTimeMs),
    array("Results", Groups, &[string("GroupId").is(GroupId), int16("ErrorCode").is(ErrorCode)]),
];

/// OffsetDeleteRequest.
pub(in crate::kafka) static OFFSET_DELETE_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    array(
        "Topics",
        Topics,
        &[
            string("Name").is(TopicName),
            array("Partitions", Partitions, &[int32("PartitionIndex").is(PartitionIndex)]),
        ],
    ),
];

/// OffsetDeleteResponse.
pub(in crate::kafka) static OFFSET_DELETE_RESPONSE: &[Field] = &[
    int16("ErrorCode").is(ErrorCode),
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
