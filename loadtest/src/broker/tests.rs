use std::time::Duration;

use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeClusterRequest, FetchRequest, InitProducerIdRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, ResponseHeader, SaslHandshakeRequest,
};
use kafka_protocol::protocol::Request;
use kafka_protocol::records::RecordBatchDecoder;

use super::*;
use crate::client::{Connection, PlainLogin};
use crate::requests::{
    FETCH_VERSION, FetchBounds, LIST_OFFSETS_VERSION, METADATA_VERSION, PRODUCE_VERSION, batch,
    fetch, list_offsets, metadata, produce,
};

fn connect() -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let contents = Contents {
        topics: vec!["load".to_owned()],
        partitions: 2,
        record_bytes: 100,
        batch_records: 10,
        value: None,
        batch: None,
        advertised: "127.0.0.1:7777".parse().unwrap(),
    };
    std::thread::spawn(move || run(&listener, contents));
    Connection::open(address, Duration::from_secs(10)).unwrap()
}

/// Every version that it offers of every API is answered in a form that the protocol crate reads to its last byte.
#[test]
fn every_version_that_it_offers_is_answered() {
    fn check<R: Request>(connection: &mut Connection, request: impl Fn(i16) -> R) {
        let key = ApiKey::try_from(R::KEY).unwrap();
        let offered = connection.call(3, &ApiVersionsRequest::default()).unwrap();
        let offered = offered.api_keys.iter().find(|api| api.api_key == R::KEY).unwrap();
        for version in offered.min_version.max(key.valid_versions().min)..=offered.max_version {
            connection
                .call(version, &request(version))
                .unwrap_or_else(|error| panic!("{key:?} version {version}: {error:#}"));
        }
    }
    let connection = &mut connect();
    check::<ApiVersionsRequest>(connection, |_| ApiVersionsRequest::default());
    check::<SaslHandshakeRequest>(connection, |_| SaslHandshakeRequest::default());
    check::<DescribeClusterRequest>(connection, |_| DescribeClusterRequest::default());
    check::<InitProducerIdRequest>(connection, |_| InitProducerIdRequest::default());
    check::<MetadataRequest>(connection, |_| {
        metadata(Some(&["load"])).with_allow_auto_topic_creation(true)
    });
    check::<ListOffsetsRequest>(connection, |_| list_offsets("load", 0));
    check::<ProduceRequest>(connection, |_| produce(1, &[("load", 0, batch([vec![1]]).unwrap())]));
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 5_000 };
    check::<FetchRequest>(connection, |version| {
        let mut request = fetch(bounds, &[("load", 0, 20)]);
        if version >= 13 {
            request.topics[0].topic_id = topic_id("load");
        }
        request
    });
}

#[test]
fn any_login_is_taken() {
    let login = PlainLogin { username: "any".to_owned(), password: "body".to_owned() };
    let mut connection = connect();
    connection.login(&login).unwrap();
    let response = connection.call(METADATA_VERSION, &metadata(None)).unwrap();
    assert_eq!(response.brokers[0].port, 7777);
    assert_eq!(response.topics[0].partitions.len(), 2);
}

#[test]
fn an_unknown_version_of_api_versions_gets_version_0() {
    let mut connection = connect();
    connection.send_bytes(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 5, 255, 255, 0]).unwrap();
    let mut frame = connection.read_frame().unwrap();
    let header = ResponseHeader::decode(&mut frame, 0).unwrap();
    assert_eq!(header.correlation_id, 5);
    let response = kafka_protocol::messages::ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!(response.error_code, 35);
    assert_eq!(response.api_keys.len(), 9);
}

/// Offset asked for → offsets of the records received; twice, because the second answer comes from memory.
#[test]
fn a_fetch_at_any_offset_gets_whole_batches_from_there() {
    let mut connection = connect();
    let one = i32::try_from(batch(vec![filler(100); 10]).unwrap().len()).unwrap();
    for (asked, bytes_max, first, count) in [
        (0, one * 3, 0, 30),
        (0, one * 3, 0, 30),
        (30, one * 3, 30, 30),
        (35, one * 3, 30, 30),
        (40, 1, 40, 10),
        (1_000_000_000_000, one, 1_000_000_000_000, 10),
    ] {
        let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max };
        let request = fetch(bounds, &[("load", 1, asked)]);
        let response = connection.call(FETCH_VERSION, &request).unwrap();
        let partition = &response.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.partition_index), (0, 1));
        let mut records = partition.records.clone().unwrap();
        // The decoder checks each batch's CRC.
        let sets = RecordBatchDecoder::decode_all(&mut records).unwrap();
        let offsets: Vec<i64> =
            sets.iter().flat_map(|set| &set.records).map(|record| record.offset).collect();
        assert_eq!(offsets, (first..first + count).collect::<Vec<i64>>(), "at {asked}");
    }
}

#[test]
fn what_it_does_not_hold_is_unknown() {
    let mut connection = connect();
    let bounds = FetchBounds { wait_ms_max: 0, bytes_min: 0, bytes_max: 1_000 };
    for position in [("other", 0, 0), ("load", 2, 0)] {
        let response = connection.call(FETCH_VERSION, &fetch(bounds, &[position])).unwrap();
        assert_eq!(response.responses[0].partitions[0].error_code, 3, "{position:?}");
        let request = list_offsets(position.0, position.1);
        let response = connection.call(LIST_OFFSETS_VERSION, &request).unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, 3, "{position:?}");
    }
    let response = connection.call(METADATA_VERSION, &metadata(Some(&["other"]))).unwrap();
    assert_eq!(response.topics[0].error_code, 3);
}

#[test]
fn produced_records_are_counted_and_acks_0_is_silent() {
    let mut connection = connect();
    for (acks, offset) in [(1, 0), (-1, 3)] {
        let batch = batch([vec![1], vec![2], vec![3]]).unwrap();
        let response =
            connection.call(PRODUCE_VERSION, &produce(acks, &[("load", 0, batch)])).unwrap();
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, offset));
    }
    let batch = batch([vec![1]]).unwrap();
    connection.send(PRODUCE_VERSION, &produce(0, &[("load", 0, batch)])).unwrap();
    // The next answer is to this one, or the ids would differ.
    connection.call(METADATA_VERSION, &metadata(None)).unwrap();
}
