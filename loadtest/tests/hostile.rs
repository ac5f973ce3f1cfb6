//! What no client would send: it costs the connection that sent it, and nobody else.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, ResponseHeader};
use kafka_protocol::protocol::{Decodable, StrBytes};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluicegate_loadtest::client::{Connection, PlainLogin};
use sluicegate_loadtest::requests::{
    LIST_OFFSETS_VERSION, METADATA_VERSION, list_offsets, metadata,
};

use crate::support::counting::Counting;
use crate::support::front::Front;
use crate::support::gateway::{Gateway, Setup};
use crate::support::kafka::Kafka;
use crate::support::null;
use crate::support::tokens::ALICE;
use crate::support::{PATIENCE, unique};

const MIB: u64 = 1024 * 1024;

/// How much more memory the gateway may hold after all that a test sent: far below what the lengths declare.
const GROWTH_BYTES_MAX: u64 = 64 * MIB;

/// Runs `attack` beside a client that behaves, who must not notice; the gateway must not have grown.
fn beside_a_good_client(attack: impl FnOnce(&Front)) {
    let Some(front) = Front::start(Setup::default()) else { return };
    let topic = unique("good");
    front.kafka.create_topic(&topic, 1);
    let mut good = front.connect_as(&ALICE);
    let mut ask = || {
        let response = good.call(LIST_OFFSETS_VERSION, &list_offsets(&topic, 0)).unwrap();
        assert_eq!(response.topics[0].partitions[0].error_code, 0);
    };
    ask();
    let before = front.gateway().resident_bytes();
    attack(&front);
    ask();
    let grown = front.gateway().resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_BYTES_MAX, "the gateway has grown by {} MiB", grown / MIB);
    // And newcomers come in.
    front.connect_as(&ALICE).call(METADATA_VERSION, &metadata(None)).unwrap();
}

/// What is sent, and whether the peer may only close: where not, an answer is fine too.
struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    half_close: bool,
}

fn row(name: &'static str, bytes: impl Into<Vec<u8>>) -> Row {
    Row { name, bytes: bytes.into(), half_close: false }
}

/// A frame with a length as declared, whatever follows.
fn declared(length: i32, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], body].concat()
}

/// A frame with a request header of the old form and whatever body.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(7);
    frame.put_i16(-1);
    frame.put_slice(body);
    declared(i32::try_from(frame.len()).unwrap(), &frame)
}

/// Frames that end a connection at any time.
fn broken_frames() -> Vec<Row> {
    let mut rows = vec![
        row("length 0", declared(0, &[])),
        row("length -1", declared(-1, &[1, 2, 3])),
        row("the least length", declared(i32::MIN, &[])),
        row("the greatest length", declared(i32::MAX, &[0; 100])),
        row("100 MiB and a byte", declared(100 * 1024 * 1024 + 1, &[0; 100])),
        row("less than a header", declared(3, &[0, 18, 0])),
        row(
            "a client id beyond the frame",
            declared(12, &[0, 18, 0, 3, 0, 0, 0, 1, 127, 255, 0, 0]),
        ),
        row("a negative API key", request(-1, 0, &[])),
        row("an unknown API key", request(999, 0, &[])),
        row("HTTP", *b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        row("TLS", [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 600]].concat()),
    ];
    for (name, bytes) in [
        ("nothing", vec![]),
        ("half a length", vec![0, 0]),
        ("half a frame", declared(100, &[0, 18, 0, 3, 0, 0])),
    ] {
        rows.push(Row { name, bytes, half_close: true });
    }
    rows
}

#[test]
fn broken_frames_before_the_login_end_the_connection() {
    beside_a_good_client(|front| {
        for row in broken_frames() {
            assert_ends_after(&mut front.connect(), &row);
        }
        // Before the login nothing needs more than 64 KiB.
        let large = row("64 KiB and a byte", declared(64 * 1024 + 1, &[0; 100]));
        assert_ends_after(&mut front.connect(), &large);
    });
}

#[test]
fn broken_frames_after_the_login_end_the_connection() {
    beside_a_good_client(|front| {
        for row in broken_frames() {
            assert_ends_after(&mut front.connect_as(&ALICE), &row);
        }
    });
}

#[test]
fn counts_beyond_the_frame_end_the_connection() {
    let most = i32::MAX.to_be_bytes();
    // The greatest unsigned varint of 32 bits.
    let compact_most = [255, 255, 255, 255, 15];
    let rows = [
        row("Metadata topics", request(3, 1, &most)),
        row("Metadata topics, negative", request(3, 1, &(-2_i32).to_be_bytes())),
        row("compact Metadata topics", request(3, 9, &[&[0][..], &compact_most].concat())),
        row("endless varint", request(3, 9, &[0, 255, 255, 255, 255, 255, 255, 255, 255, 1])),
        row("tagged fields", request(3, 9, &compact_most)),
        row("Produce topics", request(0, 3, &[&[255, 255, 0, 1, 0, 0, 0, 1][..], &most].concat())),
        row(
            "Produce records",
            request(
                0,
                3,
                &[
                    &[255, 255, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 120][..],
                    &[0, 0, 0, 1, 0, 0, 0, 0],
                    &most,
                ]
                .concat(),
            ),
        ),
        row("Fetch topics", request(1, 4, &[&[255; 4][..], &[0; 13], &most].concat())),
        row("ListOffsets topics", request(2, 1, &[&[255; 4][..], &most].concat())),
        row("OffsetCommit topics", request(8, 2, &[&[0, 1, 103][..], &[0; 14], &most].concat())),
        row(
            "JoinGroup protocols",
            request(11, 0, &[&[0, 1, 103, 0, 0, 39, 16, 0, 0, 0, 0][..], &most].concat()),
        ),
    ];
    beside_a_good_client(|front| {
        for row in &rows {
            assert_ends_after(&mut front.connect_as(&ALICE), row);
        }
    });
}

/// Sends a row and reads to the end, which must come soon and with nothing before it.
fn assert_ends_after(connection: &mut Connection, row: &Row) {
    // The peer may have closed before all is sent.
    connection.send_bytes(&row.bytes).ok();
    if row.half_close {
        connection.stream().shutdown(Shutdown::Write).ok();
    }
    let started = Instant::now();
    let mut received = Vec::new();
    let end = connection.stream().read_to_end(&mut received);
    let timed_out = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    assert!(!timed_out, "{}: the connection stays open", row.name);
    assert!(received.is_empty(), "{}: answered with {}", row.name, received.escape_ascii());
    assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", row.name, started.elapsed());
}

#[test]
fn an_unknown_version_of_api_versions_gets_version_0_before_the_login() {
    let Some(front) = Front::shared() else { return };
    let mut connection = front.connect();
    // No tagged fields behind the header, which is of the newest form in a version that nobody knows.
    connection.send_bytes(&request(18, 99, &[0])).unwrap();
    let mut frame = connection.read_frame().unwrap();
    assert_eq!(ResponseHeader::decode(&mut frame, 0).unwrap().correlation_id, 7);
    let response = kafka_protocol::messages::ApiVersionsResponse::decode(&mut frame, 0).unwrap();
    assert_eq!(response.error_code, 35);
    // KIP-511: the answer says which versions there are.
    let own = response.api_keys.iter().find(|api| api.api_key == 18);
    assert!(own.is_some_and(|own| own.min_version == 0 && own.max_version >= 3), "{response:?}");
}

/// The APIs and versions that `docs/PROTOCOL.md` says are carried; a test of the gateway holds the page against its table.
fn carried() -> BTreeSet<(i16, i16)> {
    let page = include_str!("../../docs/PROTOCOL.md");
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let key: i16 = cells.next()?.parse().ok()?;
        let (_, versions, needs) = (cells.next()?, cells.next()?, cells.next()?);
        let is_carried = !needs.contains("nobody gets it") && !needs.contains("by the gateway");
        let versions = versions.split(' ').next()?;
        let (from, to) = versions.split_once('–').unwrap_or((versions, versions));
        let range = from.parse::<i16>().ok()?..=to.parse::<i16>().ok()?;
        Some(range.filter(move |_| is_carried).map(move |version| (key, version)))
    });
    rows.flatten().collect()
}

/// Every key and version that the table or the broker does not have, with random bodies: none reaches the broker.
#[test]
fn what_is_not_offered_never_reaches_a_broker() {
    let table = carried();
    assert!(table.len() > 150, "{table:?}");
    let Some(kafka) = Kafka::shared() else { return };
    let broker = Counting::start(|own| null::start((1, 100), Some(own)));
    let gateway = Gateway::start(kafka, null::setup(broker.address));
    let login =
        PlainLogin { username: ALICE.name.to_owned(), password: gateway.issuer.token(&ALICE) };
    let connect = || {
        let mut connection = Connection::open(gateway.address, PATIENCE).unwrap();
        connection.login(&login).unwrap();
        connection
    };
    let offers = connect().call(3, &ApiVersionsRequest::default()).unwrap().api_keys;
    let is_offered = |(key, version): &(i16, i16)| {
        let offer = offers.iter().find(|offer| offer.api_key == *key);
        offer.is_some_and(|offer| (offer.min_version..=offer.max_version).contains(version))
    };
    let carried: BTreeSet<_> = table.iter().copied().filter(is_offered).collect();
    assert!(carried.len() > 50 && carried.len() < table.len(), "{carried:?}");
    // What both have does reach it, so that the counting counts; so does what the gateway asks for itself.
    connect().call(LIST_OFFSETS_VERSION, &list_offsets(null::TOPIC, 0)).unwrap();
    let own = broker.counts();
    assert_eq!(own.get(&(2, LIST_OFFSETS_VERSION)), Some(&1), "{own:?}");
    let seed = seed();
    let mut random = seed;
    let mut sent = 0;
    for key in -1..=100_i16 {
        for version in (-1..=20_i16).chain([99, i16::MAX, i16::MIN]) {
            // ApiVersions is answered in any version.
            if carried.contains(&(key, version)) || key == 18 {
                continue;
            }
            let body: Vec<u8> = (0..next(&mut random) % 120)
                .map(|_| next(&mut random).to_be_bytes()[0] & if sent % 2 == 0 { 0xff } else { 3 })
                .collect();
            let mut connection = connect();
            connection.send_bytes(&request(key, version, &body)).unwrap();
            connection.stream().shutdown(Shutdown::Write).unwrap();
            let mut received = Vec::new();
            let end = connection.stream().read_to_end(&mut received);
            let hangs = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(!hangs, "seed {seed}: {key} v{version} has no end");
            sent += 1;
        }
    }
    let counts = broker.counts();
    let is_stray = |it: &&(i16, i16)| !carried.contains(it) && !own.contains_key(it);
    let stray: Vec<_> = counts.keys().filter(is_stray).collect();
    assert!(stray.is_empty(), "seed {seed}: after {sent} requests {stray:?} reached the broker");
    assert!(sent > 1_500, "{sent}");
}

fn seed() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    time.as_nanos() as u64 | 1
}

/// The next number of a xorshift.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn frames_that_are_declared_and_not_sent_cost_no_memory() {
    beside_a_good_client(|front| {
        let before = front.gateway().resident_bytes();
        let connections: Vec<Connection> = (0..40)
            .map(|_| {
                let mut connection = front.connect_as(&ALICE);
                connection.send_bytes(&declared(100 * 1024 * 1024, &[0; 10_000])).unwrap();
                connection
            })
            .collect();
        // They stay open while others are served.
        for _ in 0..50 {
            front.connect_as(&ALICE).call(METADATA_VERSION, &metadata(Some(&[]))).unwrap();
        }
        let grown = front.gateway().resident_bytes().saturating_sub(before);
        assert!(grown < GROWTH_BYTES_MAX, "{} MiB for 400 KB sent", grown / MIB);
        drop(connections);
    });
}

#[test]
fn who_does_not_log_in_is_shown_the_door() {
    beside_a_good_client(|front| {
        let started = Instant::now();
        let mut silent = front.connect();
        let mut slow = front.connect();
        // A byte now and then does not buy time.
        let mut trickle = slow.stream().try_clone().unwrap();
        let trickler = std::thread::spawn(move || {
            for byte in declared(1_000, &[0; 100]) {
                if trickle.write_all(&[byte]).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        crate::login::assert_ends(&mut silent);
        crate::login::assert_ends(&mut slow);
        // 10 s are the limit; the rest is for a busy machine.
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        assert!(started.elapsed() > Duration::from_secs(5), "honest clients need a moment");
        trickler.join().unwrap();
    });
}

#[test]
fn what_is_no_tls_handshake_is_shown_the_door_too() {
    let setup = Setup { encrypted: true, ..Setup::default() };
    let Some(front) = Front::start(setup) else { return };
    let connect = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(front.gateway().address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let started = Instant::now();
    // The beginning of a ClientHello, which never goes on.
    let stalled = [connect(&[]), connect(&[22]), connect(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])];
    for (bytes, name) in [
        (&b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..], "HTTP"),
        (&request(18, 0, &[]), "Kafka"),
    ] {
        let mut answer = Vec::new();
        connect(bytes).read_to_end(&mut answer).unwrap();
        assert_eq!(answer[0], 21, "a TLS alert for {name}");
        let line = format!("the client speaks {name}, not TLS");
        assert!(front.gateway().process.await_line(&line, PATIENCE).is_some(), "{line}");
    }
    for mut stream in stalled {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.is_empty(), "{answer:?}");
    }
    // 10 s are the limit; the rest is for a busy machine.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(started.elapsed() > Duration::from_secs(5), "honest clients need a moment");
    assert!(front.gateway().process.log().contains("login-timeout"));
}

#[test]
fn ten_thousand_requests_unread_are_answered_in_order() {
    beside_a_good_client(|front| {
        let mut reader = front.connect_as(&ALICE);
        let mut writer = reader.stream().try_clone().unwrap();
        let progress = Mutex::new(0_u32);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..10_000_u32 {
                    writer.write_all(&numbered(number)).unwrap();
                    *progress.lock().unwrap() = number + 1;
                }
            });
            // Unread until the writer stands still: the gateway has stopped reading, or has taken them all.
            let mut seen = u32::MAX;
            while seen != *progress.lock().unwrap() {
                seen = *progress.lock().unwrap();
                std::thread::sleep(Duration::from_millis(300));
            }
            for number in 0..10_000_u32 {
                let frame = reader.read_frame().unwrap();
                let id = u32::from_be_bytes(frame[..4].try_into().unwrap());
                assert_eq!(id, number / 2, "answer {number}");
            }
        });
    });
}

/// Request `number`: a broker answers the even ones, the gateway itself the odd ones; pairs share a correlation id.
fn numbered(number: u32) -> BytesMut {
    let mut frame = BytesMut::new();
    let id = i32::try_from(number / 2).unwrap();
    let client_id = StrBytes::from_static_str("impatient");
    let encoded = if number.is_multiple_of(2) {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        sluicegate_loadtest::client::encode(&mut frame, id, &client_id, METADATA_VERSION, &request)
    } else {
        let request = ApiVersionsRequest::default();
        sluicegate_loadtest::client::encode(&mut frame, id, &client_id, 0, &request)
    };
    encoded.unwrap();
    frame
}

/// Any header of the table with any body: the connection ends or there is an answer; the gateway and a good client
/// live. A failure prints the case, shrunk.
#[test]
fn random_requests_harm_nobody() {
    beside_a_good_client(|front| {
        let body = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            // Small numbers make more of a message plausible than random bytes do.
            proptest::collection::vec(0_u8..4, 0..300),
        ];
        let strategy = (0_i16..=94, 0_i16..=18, body);
        let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
        let result = TestRunner::new(config).run(&strategy, |(key, version, body)| {
            let mut connection = Connection::open(front.broker_address(), PATIENCE).unwrap();
            connection.login(&front.login(&ALICE)).unwrap();
            connection.send_bytes(&request(key, version, &body)).unwrap();
            connection.stream().shutdown(Shutdown::Write).unwrap();
            let mut received = Vec::new();
            let end = connection.stream().read_to_end(&mut received);
            let hangs = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            prop_assert!(!hangs, "no end");
            prop_assert!(front.gateway().process.await_exit(Duration::ZERO).is_none(), "it died");
            Ok(())
        });
        result.unwrap();
    });
}
