//! FindCoordinator and the classic group protocol: fields in wire order.

use super::*;

/// FindCoordinatorRequest.
pub(in crate::kafka) static FIND_COORDINATOR_REQUEST: &[Field] = &[
    string("Key").to(3).is(Key),
    int8("KeyType").from(1).is(KeyType),
    strings("CoordinatorKeys", Keys).from(4),
];

/// FindCoordinatorResponse.
pub(in crate::kafka) static FIND_COORDINATOR_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    int16("ErrorCode").to(3).is(ErrorCode),
    string("ErrorMessage").within(1, 3).nullable_within(1, 3).is(ErrorMessage),
    int32("NodeId").to(3).int(-1).is(NodeId),
    string("Host").to(3).is(Host),
    int32("Port").to(3).int(-1).is(Port),
    array(
        "Coordinators",
        Endpoints,
        &[
            string("Key").from(4).is(Key),
            int32("NodeId").from(4).int(-1).is(NodeId),
            string("Host").from(4).is(Host),
            int32("Port").from(4).int(-1).is(Port),
            int16("ErrorCode").from(4).is(ErrorCode),
            string("ErrorMessage").from(4).nullable(4).is(ErrorMessage),
        ],
    )
    .from(4),
];

/// JoinGroupRequest.
pub(in crate::kafka) static JOIN_GROUP_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    int32("SessionTimeoutMs"),
    int32("RebalanceTimeoutMs").from(1),
    string("MemberId").is(MemberId),
    string("GroupInstanceId").from(5).nullable(5).is(GroupInstanceId),
    string("ProtocolType").is(ProtocolType),
    array("Protocols", Members, &[string("Name"), bytes("Metadata").is(MemberMetadata)]),
    string("Reason").from(8).nullable(8),
];

/// JoinGroupResponse.
pub(in crate::kafka) static JOIN_GROUP_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(2).is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    int32("GenerationId").int(-1).is(GenerationId),
    string("ProtocolType").from(7).nullable(7).null().is(ProtocolType),
    string("ProtocolName").nullable(7).null(),
    string("Leader"),
    boolean("SkipAssignment").from(9),
    string("MemberId").is(MemberId),
    array(
        "Members",
        Members,
        &[
            string("MemberId").is(MemberId),
            string("GroupInstanceId").from(5).nullable(5).null().is(GroupInstanceId),
            bytes("Metadata").is(MemberMetadata),
        ],
    ),
];

/// SyncGroupRequest.
pub(in crate::kafka) static SYNC_GROUP_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    int32("GenerationId").is(GenerationId),
    string("MemberId").is(MemberId),
    string("GroupInstanceId").from(3).nullable(3).is(GroupInstanceId),
    string("ProtocolType").from(5).nullable(5).is(ProtocolType),
    string("ProtocolName").from(5).nullable(5),
    array(
        "Assignments",
        Members,
        &[string("MemberId").is(MemberId), bytes("Assignment").is(MemberAssignment)],
    ),
];

/// SyncGroupResponse.
pub(in crate::kafka) static SYNC_GROUP_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    string("ProtocolType").from(5).nullable(5).null().is(ProtocolType),
    string("ProtocolName").from(5).nullable(5).null(),
    bytes("Assignment").is(MemberAssignment),
];

/// HeartbeatRequest.
pub(in crate::kafka) static HEARTBEAT_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    int32("GenerationId").is(GenerationId),
    string("MemberId").is(MemberId),
    string("GroupInstanceId").from(3).nullable(3).is(GroupInstanceId),
];

/// HeartbeatResponse.
pub(in crate::kafka) static HEARTBEAT_RESPONSE: &[Field] =
    &[int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs), int16("ErrorCode").is(ErrorCode)];

/// LeaveGroupRequest.
pub(in crate::kafka) static LEAVE_GROUP_REQUEST: &[Field] = &[
    string("GroupId").is(GroupId),
    string("MemberId").to(2).is(MemberId),
    array(
        "Members",
        Members,
        &[
            string("MemberId").from(3).is(MemberId),
            string("GroupInstanceId").from(3).nullable(3).is(GroupInstanceId),
            string("Reason").from(5).nullable(5),
        ],
    )
    .from(3),
];

/// LeaveGroupResponse.
pub(in crate::kafka) static LEAVE_GROUP_RESPONSE: &[Field] = &[
    int32("ThrottleTimeMs").from(1).is(ThrottleTimeMs),
    int16("ErrorCode").is(ErrorCode),
    array(
        "Members",
        Members,
        &[
            string("MemberId").from(3).is(MemberId),
            string("GroupInstanceId").from(3).nullable(3).is(GroupInstanceId),
            int16("ErrorCode").from(3).is(ErrorCode),
        ],
    )
    .from(3),
];
