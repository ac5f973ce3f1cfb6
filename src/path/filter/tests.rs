use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::consumer_protocol_subscription::TopicPartition;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerProtocolSubscription,
    GroupId, JoinGroupRequest, JoinGroupResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::gateway::stage::Stage;
use crate::kafka::ErrorCode;
use crate::path::{Attempt, Path, Pending};

const PERMIT: &str =
    "@id(\"group\") permit (principal, action == Action::\"Read\", resource is ConsumerGroup);
@id(\"topic\") permit (principal, action == Action::\"Describe\", resource == Topic::\"alpha\");";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn subscription(topics: &[&str]) -> Bytes {
    let owned = topics.iter().map(|topic| {
        TopicPartition::default().with_topic(TopicName(text(topic))).with_partitions(vec![0])
    });
    let told = ConsumerProtocolSubscription::default()
        .with_topics(topics.iter().map(|topic| text(topic)).collect())
        .with_owned_partitions(owned.collect());
    let mut bytes = BytesMut::from(&[0, 1][..]);
    told.encode(&mut bytes, 1).unwrap();
    bytes.freeze()
}

/// What a leader is told of a member that subscribes to topics, one of which the leader may not see.
fn told(path: &Path, version: i16, kind: &str, metadata: Bytes) -> Bytes {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let request = JoinGroupRequest::default()
        .with_group_id(GroupId(text("group")))
        .with_protocol_type(text(kind))
        .with_protocols(vec![protocol]);
    let mut body = BytesMut::from(&[0, 11][..]);
    body.extend_from_slice(&version.to_be_bytes());
    body.extend_from_slice(b"\0\0\0\x2a\0\x06client");
    if version >= 6 {
        body.extend_from_slice(&[0]);
    }
    request.encode(&mut body, version).unwrap();
    let mut owed = None;
    path.carry_request(&mut framed(&body), &Attempt::default(), &mut |pending| {
        owed = Some(pending)
    })
    .unwrap();
    let Some(Pending::Broker(mut expected)) = owed else { panic!("{owed:?}") };

    let member = JoinGroupResponseMember::default().with_metadata(metadata);
    let mut response = JoinGroupResponse::default().with_members(vec![member]);
    if version >= 7 {
        response.protocol_type = Some(text(kind));
    }
    let mut body = BytesMut::from(&path.correlation.get().to_be_bytes()[..]);
    if version >= 6 {
        body.extend_from_slice(&[0]);
    }
    let header = body.len();
    response.encode(&mut body, version).unwrap();
    let mut frame = framed(&body);
    let pieces = path.carry_response(&mut expected, &mut frame, &mut []).unwrap();
    let whole = match pieces {
        Some(pieces) => pieces.iter().flat_map(|piece| piece.bytes(&frame).to_vec()).collect(),
        None => frame,
    };
    let mut body = Bytes::from(whole).slice(4 + header..);
    JoinGroupResponse::decode(&mut body, version).unwrap().members[0].metadata.clone()
}

#[test]
fn a_leader_is_told_of_topics_that_it_may_see() {
    let stage = Stage::set(PERMIT, "none", &["alpha", "beta"]);
    let path = stage.path();
    for version in 0..=9 {
        let both = subscription(&["alpha", "beta"]);
        assert_eq!(told(&path, version, "consumer", both), subscription(&["alpha"]), "{version}");
        let own = subscription(&["alpha"]);
        assert_eq!(told(&path, version, "consumer", own.clone()), own, "{version}");
        // Another kind of group: its members' words are not the consumer protocol's.
        let other = Bytes::from_static(b"\0\0\0\x15http://worker:8083/beta");
        assert_eq!(told(&path, version, "connect", other.clone()), other, "{version}");
    }
}

/// What a client is answered that describes a group whose one member subscribes to these topics and is assigned them.
fn described(path: &Path, version: i16, topics: &[&str]) -> DescribedGroup {
    let request =
        ConsumerGroupDescribeRequest::default().with_group_ids(vec![text("group").into()]);
    let mut body = BytesMut::from(&[0, 69][..]);
    body.extend_from_slice(&version.to_be_bytes());
    body.extend_from_slice(b"\0\0\0\x2a\0\x06client\0");
    request.encode(&mut body, version).unwrap();
    let mut owed = None;
    path.carry_request(&mut framed(&body), &Attempt::default(), &mut |pending| {
        owed = Some(pending)
    })
    .unwrap();
    let Some(Pending::Broker(mut expected)) = owed else { panic!("{owed:?}") };

    let partitions = |topic: &&str| {
        TopicPartitions::default().with_topic_name(TopicName(text(topic))).with_partitions(vec![0])
    };
    let assignment =
        Assignment::default().with_topic_partitions(topics.iter().map(partitions).collect());
    let member = Member::default()
        .with_subscribed_topic_names(topics.iter().map(|topic| TopicName(text(topic))).collect())
        .with_assignment(assignment.clone())
        .with_target_assignment(assignment);
    let group = DescribedGroup::default().with_group_id(text("group").into());
    let group = group.with_members(vec![member.clone(), member]);
    let response = ConsumerGroupDescribeResponse::default().with_groups(vec![group]);
    let mut body = BytesMut::from(&path.correlation.get().to_be_bytes()[..]);
    body.extend_from_slice(&[0]);
    response.encode(&mut body, version).unwrap();
    let mut frame = framed(&body);
    let pieces = path.carry_response(&mut expected, &mut frame, &mut []).unwrap();
    let whole = match pieces {
        Some(pieces) => pieces.iter().flat_map(|piece| piece.bytes(&frame).to_vec()).collect(),
        None => frame,
    };
    let mut body = Bytes::from(whole).slice(9..);
    let answer = ConsumerGroupDescribeResponse::decode(&mut body, version).unwrap();
    assert_eq!(answer.groups.len(), 1);
    answer.groups[0].clone()
}

#[test]
fn a_group_that_names_a_topic_in_three_lists_is_refused_once() {
    let policy =
        PERMIT.replace("== Action::\"Read\"", "in [Action::\"Read\", Action::\"Describe\"]");
    let stage = Stage::set(&policy, "none", &["alpha", "beta"]);
    let path = stage.path();
    for version in 0..=1 {
        let seen = described(&path, version, &["alpha"]);
        assert_eq!((seen.error_code, seen.members.len()), (0, 2), "{version}");
        let refused = described(&path, version, &["alpha", "beta"]);
        let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
        assert_eq!((refused.error_code, refused.members.len()), (code, 0), "{version}");
        assert_eq!(&**refused.group_id, "group");
    }
}
