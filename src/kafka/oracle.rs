//! `kafka-protocol` as the oracle of tests: it was generated from Kafka's own definitions.
//!
//! It is only ever given what our own tests made; see DESIGN for why it reads no byte from a
//! socket.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable};

use crate::kafka::Exchange;
use crate::kafka::samples::Direction;

/// The oracle was made for an older Kafka.
const NO_TYPE: &str = "no type for this key";

/// Whether the oracle has this version; it was made for another release of Kafka.
pub(in crate::kafka) fn knows(exchange: &Exchange) -> bool {
    let unsupported = "specified version not supported by this message type";
    let empty = round_trip(exchange, Direction::Request, &[]);
    !empty.is_err_and(|error| error == unsupported || error == NO_TYPE)
}

/// Decodes a body and encodes it again; an error where it does not read to the end.
#[expect(clippy::too_many_lines, reason = "a row for each API")]
pub(in crate::kafka) fn round_trip(
    exchange: &Exchange,
    direction: Direction,
    body: &[u8],
) -> Result<Vec<u8>, String> {
    use Direction::{Request, Response};
    let version = exchange.version;
    macro_rules! pairs {
        ($($key:literal $request:ident $response:ident,)*) => {
            match (exchange.api.key, direction) {
                $(($key, Request) => again::<$request>(body, version),
                  ($key, Response) => again::<$response>(body, version),)*
                _ => Err(NO_TYPE.to_owned()),
            }
        };
    }
    pairs! {
        0 ProduceRequest ProduceResponse,
        1 FetchRequest FetchResponse,
        2 ListOffsetsRequest ListOffsetsResponse,
        3 MetadataRequest MetadataResponse,
        8 OffsetCommitRequest OffsetCommitResponse,
        9 OffsetFetchRequest OffsetFetchResponse,
        10 FindCoordinatorRequest FindCoordinatorResponse,
        11 JoinGroupRequest JoinGroupResponse,
        12 HeartbeatRequest HeartbeatResponse,
        13 LeaveGroupRequest LeaveGroupResponse,
        14 SyncGroupRequest SyncGroupResponse,
        15 DescribeGroupsRequest DescribeGroupsResponse,
        16 ListGroupsRequest ListGroupsResponse,
        17 SaslHandshakeRequest SaslHandshakeResponse,
        18 ApiVersionsRequest ApiVersionsResponse,
        19 CreateTopicsRequest CreateTopicsResponse,
        20 DeleteTopicsRequest DeleteTopicsResponse,
        21 DeleteRecordsRequest DeleteRecordsResponse,
        22 InitProducerIdRequest InitProducerIdResponse,
        23 OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse,
        24 AddPartitionsToTxnRequest AddPartitionsToTxnResponse,
        25 AddOffsetsToTxnRequest AddOffsetsToTxnResponse,
        26 EndTxnRequest EndTxnResponse,
        28 TxnOffsetCommitRequest TxnOffsetCommitResponse,
        29 DescribeAclsRequest DescribeAclsResponse,
        30 CreateAclsRequest CreateAclsResponse,
        31 DeleteAclsRequest DeleteAclsResponse,
        32 DescribeConfigsRequest DescribeConfigsResponse,
        36 SaslAuthenticateRequest SaslAuthenticateResponse,
        37 CreatePartitionsRequest CreatePartitionsResponse,
        38 CreateDelegationTokenRequest CreateDelegationTokenResponse,
        39 RenewDelegationTokenRequest RenewDelegationTokenResponse,
        40 ExpireDelegationTokenRequest ExpireDelegationTokenResponse,
        41 DescribeDelegationTokenRequest DescribeDelegationTokenResponse,
        42 DeleteGroupsRequest DeleteGroupsResponse,
        46 ListPartitionReassignmentsRequest ListPartitionReassignmentsResponse,
        47 OffsetDeleteRequest OffsetDeleteResponse,
        50 DescribeUserScramCredentialsRequest DescribeUserScramCredentialsResponse,
        51 AlterUserScramCredentialsRequest AlterUserScramCredentialsResponse,
        60 DescribeClusterRequest DescribeClusterResponse,
        61 DescribeProducersRequest DescribeProducersResponse,
        68 ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse,
        69 ConsumerGroupDescribeRequest ConsumerGroupDescribeResponse,
        27 WriteTxnMarkersRequest WriteTxnMarkersResponse,
        33 AlterConfigsRequest AlterConfigsResponse,
        34 AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse,
        35 DescribeLogDirsRequest DescribeLogDirsResponse,
        43 ElectLeadersRequest ElectLeadersResponse,
        44 IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse,
        45 AlterPartitionReassignmentsRequest AlterPartitionReassignmentsResponse,
        48 DescribeClientQuotasRequest DescribeClientQuotasResponse,
        49 AlterClientQuotasRequest AlterClientQuotasResponse,
        55 DescribeQuorumRequest DescribeQuorumResponse,
        57 UpdateFeaturesRequest UpdateFeaturesResponse,
        64 UnregisterBrokerRequest UnregisterBrokerResponse,
        65 DescribeTransactionsRequest DescribeTransactionsResponse,
        66 ListTransactionsRequest ListTransactionsResponse,
        74 ListConfigResourcesRequest ListConfigResourcesResponse,
        75 DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse,
        76 ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse,
        77 ShareGroupDescribeRequest ShareGroupDescribeResponse,
        80 AddRaftVoterRequest AddRaftVoterResponse,
        81 RemoveRaftVoterRequest RemoveRaftVoterResponse,
        83 InitializeShareGroupStateRequest InitializeShareGroupStateResponse,
        84 ReadShareGroupStateRequest ReadShareGroupStateResponse,
        85 WriteShareGroupStateRequest WriteShareGroupStateResponse,
        86 DeleteShareGroupStateRequest DeleteShareGroupStateResponse,
        87 ReadShareGroupStateSummaryRequest ReadShareGroupStateSummaryResponse,
        90 DescribeShareGroupOffsetsRequest DescribeShareGroupOffsetsResponse,
        91 AlterShareGroupOffsetsRequest AlterShareGroupOffsetsResponse,
        78 ShareFetchRequest ShareFetchResponse,
        79 ShareAcknowledgeRequest ShareAcknowledgeResponse,
        92 DeleteShareGroupOffsetsRequest DeleteShareGroupOffsetsResponse,
    }
}

/// A message of the oracle from a body.
pub(in crate::kafka) fn decode<T: Decodable>(body: &[u8], version: i16) -> Result<T, String> {
    let mut bytes = Bytes::copy_from_slice(body);
    let message = T::decode(&mut bytes, version).map_err(|error| error.to_string())?;
    if bytes.is_empty() { Ok(message) } else { Err(format!("{} bytes left over", bytes.len())) }
}

/// The body of a message of the oracle.
pub(in crate::kafka) fn encode<T: Encodable>(message: &T, version: i16) -> Result<Vec<u8>, String> {
    let mut out = BytesMut::new();
    message.encode(&mut out, version).map_err(|error| error.to_string())?;
    Ok(out.to_vec())
}

fn again<T: Decodable + Encodable>(body: &[u8], version: i16) -> Result<Vec<u8>, String> {
    encode(&decode::<T>(body, version)?, version)
}
